"""Notebooks with analyses of simulated runs in Gammapy."""

import pytest

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")

from bgnb import NotebookError, make_test_dataset, notebook_result, run_notebook
from tests.helpers.errors import raises
from tests.helpers.notebooks import pictures

pytestmark = pytest.mark.usefixtures("offline_kernels")


@pytest.mark.slow
def test_map_of_simulated_runs(tmp_path):
    """With default parameters, a simulated source is found, and significances away from it are those of chance."""
    result = notebook_result(run_notebook("significance_map", tmp_path / "out.ipynb"))
    assert result["norms"] == pytest.approx([1], abs=0.02)
    assert result["source"] > 5
    for quantity in ("mean", "width"):
        assert result["observed"][quantity] == pytest.approx(result["by chance"][quantity], abs=0.05)
    assert pictures(tmp_path / "out.ipynb") == 2


@pytest.mark.slow
def test_extended_source_is_found(tmp_path):
    """A simulated cloud of 51 expected events is found, as large as it is, beside a source that is excluded."""
    result = notebook_result(run_notebook("extended_source", tmp_path / "out.ipynb"))
    assert result["outside"] == pytest.approx(1, abs=0.08)
    for name in ("background fixed", "background with priors"):
        excess, sigma = result[name]["excess"], result[name]["sigma"]
        assert excess[0] > 3 * excess[1]
        assert excess[0] == pytest.approx(51, abs=2 * excess[1])
        assert sigma[0] == pytest.approx(0.25, abs=2 * sigma[1])
    assert pictures(tmp_path / "out.ipynb") == 1


@pytest.mark.slow
def test_runs_elsewhere_are_refused(tmp_path):
    """Runs that do not contain the source are named, instead of an error in an empty map."""
    table = make_test_dataset(tmp_path / "in", n_runs=2, trigger_rate=3.0)
    away = {"indir": str(tmp_path / "in"), "obs_ids": [1], "source_dec": float(table["DEC_PNT"][0]) + 20}
    with raises("notebook-failed", "obs_ids have no events around source_ra", kind=NotebookError):
        run_notebook("significance_map", tmp_path / "out.ipynb", away)
