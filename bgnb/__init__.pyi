from . import dashboards
from .attach import Attachments, attach
from .batch import NotebookError, copy_notebooks, notebook_parameters, notebook_result, run_notebook
from .cells import Cell
from .compare import Comparison, compare
from .comparisons import ModelComparison, compare_models
from .cube import Cube, CubeAxes
from .dataset import make_test_dataset
from .datastore import Runs, open_runs
from .errors import BgnbError, DataError
from .eventfile import read_event_list
from .eventlist import EventList
from .gadf import read_background, read_model, write_image, write_model
from .groupreports import run_groups
from .groups import ObservationGroups
from .groupsfile import read_groups, write_groups
from .manifest import check
from .model import BackgroundModel, make_model
from .modelset import ModelSet, read_group_model
from .pipeline import make_bg_cube_models, merge
from .predict import point_rate, predicted_rate
from .profiles import Spectrum, spectrum
from .report import Report
from .runprediction import Grid, RunPrediction
from .runs import Selection, read_catalog, select_all_runs, select_listed_runs, select_off_runs
from .simulate import PointSource, make_test_eventlist, make_test_observation_table
from .spline import SplineModel, fit_spline
from .splinefile import read_spline, write_spline
from .stack import RunCounts, Stack, stack_runs
from .truereco import make_true_reco
from .truth import TrueModel, make_test_bg_cube_model
from .validate import cross_validate, validate
from .validation import Validation

__version__: str

__all__ = [
    "Attachments",
    "BackgroundModel",
    "BgnbError",
    "Cell",
    "Comparison",
    "Cube",
    "CubeAxes",
    "DataError",
    "EventList",
    "Grid",
    "ModelComparison",
    "ModelSet",
    "NotebookError",
    "ObservationGroups",
    "PointSource",
    "Report",
    "RunCounts",
    "RunPrediction",
    "Runs",
    "Selection",
    "Spectrum",
    "SplineModel",
    "Stack",
    "TrueModel",
    "Validation",
    "attach",
    "check",
    "compare",
    "compare_models",
    "copy_notebooks",
    "cross_validate",
    "dashboards",
    "fit_spline",
    "make_bg_cube_models",
    "make_model",
    "make_test_bg_cube_model",
    "make_test_dataset",
    "make_test_eventlist",
    "make_test_observation_table",
    "make_true_reco",
    "merge",
    "notebook_parameters",
    "notebook_result",
    "open_runs",
    "point_rate",
    "predicted_rate",
    "read_background",
    "read_catalog",
    "read_event_list",
    "read_group_model",
    "read_groups",
    "read_model",
    "read_spline",
    "run_groups",
    "run_notebook",
    "select_all_runs",
    "select_listed_runs",
    "select_off_runs",
    "spectrum",
    "stack_runs",
    "validate",
    "write_groups",
    "write_image",
    "write_model",
    "write_spline",
]
