from .cube import Cube, CubeAxes
from .datastore import Runs, open_runs
from .errors import BgnbError, DataError
from .eventlist import EventList, read_event_list
from .gadf import read_background, read_groups, read_model, write_groups, write_image, write_model
from .model import BackgroundModel, make_model
from .pipeline import make_bg_cube_models
from .report import Report
from .runs import (
    ObservationGroups,
    Selection,
    read_catalog,
    select_all_runs,
    select_listed_runs,
    select_off_runs,
)
from .stack import RunCounts, Stack, stack_runs

__version__: str

__all__ = [
    "BackgroundModel",
    "BgnbError",
    "Cube",
    "CubeAxes",
    "DataError",
    "EventList",
    "ObservationGroups",
    "Report",
    "RunCounts",
    "Runs",
    "Selection",
    "Stack",
    "make_bg_cube_models",
    "make_model",
    "open_runs",
    "read_background",
    "read_catalog",
    "read_event_list",
    "read_groups",
    "read_model",
    "select_all_runs",
    "select_listed_runs",
    "select_off_runs",
    "stack_runs",
    "write_groups",
    "write_image",
    "write_model",
]
