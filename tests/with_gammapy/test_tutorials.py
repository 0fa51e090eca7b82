"""Notebooks with analyses in Gammapy."""

import pytest

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")

from bgnb import notebook_result, run_notebook
from tests.notebooks.test_run import pictures


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
def test_map_of_the_crab_nebula(hess_data, tmp_path):
    """The Crab Nebula is found; away from it, significances with models of off runs are those of chance."""
    result = notebook_result(run_notebook("significance_map", tmp_path / "out.ipynb", {"indir": str(hess_data)}))
    assert result["source"] > 30
    assert len(result["norms"]) == 4
    assert all(0.9 < norm < 1.3 for norm in result["norms"])
    assert result["observed"]["mean"] == pytest.approx(0, abs=0.05)
    assert result["observed"]["width"] == pytest.approx(1, abs=0.05)
    assert pictures(tmp_path / "out.ipynb") == 2
