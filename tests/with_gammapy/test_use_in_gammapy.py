"""Notebook with an analysis in Gammapy."""

import pytest

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")

from bgnb import notebook_result, open_runs, run_notebook
from tests.notebooks.test_run import pictures


@pytest.mark.slow
def test_notebook_on_simulated_runs(tmp_path, monkeypatch):
    """With default parameters, significances of simulated runs are those of chance."""
    monkeypatch.chdir(tmp_path)
    values = {"n_energy": 10, "min_counts": 20.0}
    result = notebook_result(run_notebook("use_in_gammapy", "out.ipynb", values))
    assert result["norms"]["1"] == pytest.approx(1, abs=0.1)
    assert result["pixels"] > 3000
    for quantity in ("mean", "width"):
        expected, error = result["by_chance"][quantity]
        assert result[quantity] == pytest.approx(expected, abs=4 * error)
    assert result["width"] == pytest.approx(1, abs=0.1)
    assert pictures(tmp_path / "out.ipynb") == 2


@pytest.mark.slow
def test_notebook_on_the_crab_nebula(hess_data, tmp_path):
    """Away from the Crab Nebula, significances with models of off runs are those of chance."""
    values = {"indir": str(hess_data), "outdir": str(tmp_path / "store")}
    result = notebook_result(run_notebook("use_in_gammapy", tmp_path / "out.ipynb", values))
    assert open_runs(tmp_path / "store", "GADF").obs_ids == [23523, 23526, 23559, 23592]
    assert set(result["norms"]) == {"23523", "23526", "23559", "23592"}
    assert all(0.7 < norm < 1.5 for norm in result["norms"].values())
    assert result["mean"] == pytest.approx(0, abs=0.1)
    assert result["width"] == pytest.approx(1, abs=0.06)
    assert pictures(tmp_path / "out.ipynb") == 2
