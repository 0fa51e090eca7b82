"""Notebooks with analyses of simulated runs in Gammapy."""

import pytest

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")

from bgnb import notebook_result, run_notebook
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
