"""Dashboards for the tests in one file, which share a server, its notebooks and a browser.

Without Chromium the tests are skipped; with BGNB_BROWSER=required, as in CI, they fail instead.
"""

import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell

import bgnb
from bgnb.notebooks.shipped import notebook_directory
from tests.browser.dashboards import first_state, open_dashboards
from tests.browser.driver import browser, chromium, lab

VALIDATION = "validation = dashboards.explore_validation(bgnb.validate('models', 'in', 'GADF'))\nvalidation"


@pytest.fixture(autouse=True, scope="session")
def _browser():
    try:
        import playwright  # noqa: F401
    except ImportError:
        missing = "playwright, from the dependency group test"
    else:
        if chromium():
            return
        missing = "Chromium, from the packages of the system (chromium), or BGNB_CHROMIUM with its path"
    if os.environ.get("BGNB_BROWSER") == "required":
        pytest.fail(f"these tests need {missing}")
    pytest.skip(f"needs {missing}")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Notebooks, and the runs and models that they show."""
    root = tmp_path_factory.mktemp("lab")
    bgnb.make_test_dataset(root / "in", n_runs=9, trigger_rate=20.0, alt_range=(45, 80), seed=3)
    bgnb.make_bg_cube_models(root / "in", "GADF", root / "models", select="all", n_energy=8, n_fov=12, alt_edges=[0, 64, 90])
    for name, values in (
        ("explore", {"modeldir": "models"}),
        ("explore_true_reco", {"dir1": "simulation/true", "dir2": "simulation/reco"}),
    ):
        notebook = nbformat.read(notebook_directory() / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                for parameter, value in values.items():
                    cell.source = cell.source.replace(f'{parameter}: str = ""', f"{parameter}: str = '{value}'")
        if name == "explore_true_reco":
            notebook.cells.append(new_code_cell(VALIDATION))
        nbformat.write(notebook, root / f"{name}.ipynb")
    return root


@pytest.fixture(scope="module")
def simulation(root):
    """A true model, and one of runs that are simulated with it."""
    bgnb.make_true_reco(root / "simulation", n_runs=4, trigger_rate=20.0, n_energy=6, n_fov=10, gradient_x=0.1)
    return root / "simulation"


@pytest.fixture(scope="module")
def url(root, tmp_path_factory):
    with lab(root, tmp_path_factory.mktemp("state")) as url:
        yield url


@pytest.fixture(scope="module")
def open_page():
    with browser() as open_page:
        yield open_page


@pytest.fixture(scope="module")
def explore(open_page, url):
    return open_dashboards(open_page, url, "explore.ipynb", "runs", "models")


@pytest.fixture(scope="module")
def explore_true_reco(open_page, url, simulation):
    return open_dashboards(open_page, url, "explore_true_reco.ipynb", "comparison", "validation")


@pytest.fixture
def models(explore):
    yield from first_state(explore, "models")


@pytest.fixture
def runs(explore):
    yield from first_state(explore, "runs")


@pytest.fixture
def comparison(explore_true_reco):
    yield from first_state(explore_true_reco, "comparison")


@pytest.fixture
def validation(explore_true_reco):
    yield from first_state(explore_true_reco, "validation")
