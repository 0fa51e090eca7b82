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
def test_limits_grow_with_uncertainty(hess_data, tmp_path):
    """A limit on NGC 253 rises with the uncertainty of the norms of its runs, which have fewer events than the models say."""
    values = {"indir": str(hess_data), "scan_max": "4e-12 cm-2 s-1 TeV-1"}
    result = notebook_result(run_notebook("upper_limit", tmp_path / "out.ipynb", values))
    limits = result["limits"]
    assert 0.8e-12 < limits["background exact"] < limits["norm of the run"] < 2e-12
    assert 0.5e-12 < limits["norm of the models"] < 2e-12  # its background is higher, and less certain
    assert result["norms"] == pytest.approx([0.90, 0.74, 0.96], abs=0.03)
    assert pictures(tmp_path / "out.ipynb") == 1
