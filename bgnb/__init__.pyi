from . import dashboards, gammapy
from ._util.errors import BgnbError, DataError
from .cubes.cells import Cell
from .cubes.compare import Comparison, compare
from .cubes.cube import Cube, CubeAxes
from .cubes.event_cuts import RunCounts
from .cubes.method import Method, register_method
from .cubes.model import BackgroundModel, make_model
from .cubes.model_set import ModelSet
from .cubes.prediction import point_rate, predicted_rate
from .cubes.profiles import Spectrum, spectrum
from .cubes.run_norm import RunNorm, norm_of_run
from .cubes.spline import fit_spline
from .cubes.spline_model import SplineModel
from .cubes.stack import Stack, stack_runs
from .files.background_tables import read_background
from .files.exclusion_regions import read_exclusions
from .files.gadf import read_model, write_background_2d, write_image, write_model
from .files.group_file import read_groups, write_groups
from .files.manifest import check
from .files.model_directory import ModelDirectory, read_group_model, read_models
from .files.spline_file import read_spline, write_spline
from .gammapy.attach import Attachments, attach
from .notebooks.content import notebook_parameters, notebook_result
from .notebooks.group_reports import run_groups
from .notebooks.run import NotebookError, run_notebook
from .notebooks.shipped import copy_notebooks
from .observations.catalog import read_catalog
from .observations.datastore import Runs, open_runs
from .observations.event_list import EventList
from .observations.event_reader import read_event_list
from .observations.groups import ObservationGroups
from .observations.run_selection import Selection, select_all_runs, select_listed_runs, select_off_runs
from .plots.model_pictures import plot
from .production.epochs import make_epoch_models
from .production.make_models import Production
from .production.pipeline import make_bg_cube_models, make_models, merge
from .production.report import Report
from .production.write_models import write_models
from .simulation.dataset import make_test_dataset
from .simulation.event_lists import PointSource, make_test_eventlist, make_test_observation_table
from .simulation.true_model import TrueModel, make_test_bg_cube_model
from .simulation.true_reco import make_true_reco
from .validation.check_runs import RunChecks, check_runs
from .validation.compare_models import ModelComparison, compare_models
from .validation.inspect_runs import inspect
from .validation.inspection import Inspection
from .validation.result import Validation
from .validation.run_prediction import Grid, RunPrediction
from .validation.validate import cross_validate, validate

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
    "Inspection",
    "Method",
    "ModelComparison",
    "ModelDirectory",
    "ModelSet",
    "NotebookError",
    "ObservationGroups",
    "PointSource",
    "Production",
    "Report",
    "RunChecks",
    "RunCounts",
    "RunNorm",
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
    "check_runs",
    "compare",
    "compare_models",
    "copy_notebooks",
    "cross_validate",
    "dashboards",
    "fit_spline",
    "gammapy",
    "inspect",
    "make_bg_cube_models",
    "make_epoch_models",
    "make_model",
    "make_models",
    "make_test_bg_cube_model",
    "make_test_dataset",
    "make_test_eventlist",
    "make_test_observation_table",
    "make_true_reco",
    "merge",
    "norm_of_run",
    "notebook_parameters",
    "notebook_result",
    "open_runs",
    "plot",
    "point_rate",
    "predicted_rate",
    "read_background",
    "read_catalog",
    "read_event_list",
    "read_exclusions",
    "read_group_model",
    "read_groups",
    "read_model",
    "read_models",
    "read_spline",
    "register_method",
    "run_groups",
    "run_notebook",
    "select_all_runs",
    "select_listed_runs",
    "select_off_runs",
    "spectrum",
    "stack_runs",
    "validate",
    "write_background_2d",
    "write_groups",
    "write_image",
    "write_model",
    "write_models",
    "write_spline",
]
