"""Notebooks with analyses of real runs in Gammapy."""

import pytest

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")

from bgnb import notebook_result, run_notebook
from tests.helpers.notebooks import pictures

pytestmark = pytest.mark.usefixtures("offline_kernels")


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
def test_limits_grow_with_uncertainty(hess_data, tmp_path):
    """A limit on NGC 253 rises with the uncertainty of the norms of its runs, which have fewer events than the models say."""
    result = notebook_result(run_notebook("upper_limit", tmp_path / "out.ipynb", {"indir": str(hess_data)}))
    limits = [result["limits"][name] for name in ("background exact", "norm of the run", "norm of the models")]
    assert limits == pytest.approx([1.232e-12, 1.259e-12, 1.170e-12], rel=0.01)  # the last background is higher
    assert result["norms"] == pytest.approx([0.90, 0.74, 0.96], abs=0.03)
    assert pictures(tmp_path / "out.ipynb") == 1
