"""Lines of the guide on Gammapy, run on real data."""

import shlex

import numpy as np
import pytest
from astropy.table import Table

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.data import DataStore

from tests.helpers.commands import output_of
from tests.test_documents import steps

#: Runs of the Crab Nebula, and some of those far from known sources: all 40 are read in test_attach.py.
RUNS = (23523, 23526, 23559, 23592)
RUNS += (21613, 21807, 22593, 22997, 23246, 25345, 26791, 29177)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.mark.slow
def test_lines_on_gammapy(hess_data, tmp_path, monkeypatch):
    """Commands and Python lines of the guide run in order, and make the background of a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hess-dl3-dr1").mkdir()
    (tmp_path / "hess-dl3-dr1" / "data").symlink_to(hess_data / "data")
    for name in ("obs-index.fits.gz", "hdu-index.fits.gz"):
        index = Table.read(hess_data / name)
        index[np.isin(index["OBS_ID"], RUNS)].write(tmp_path / "hess-dl3-dr1" / name)
    names: dict[str, object] = {}
    output_of("make-bg-cube-models", "hess-dl3-dr1", "GADF", "models", "--method", "classic")
    for kind, text in steps("docs/how_to/maps.md"):
        if kind == "bgnb":
            output_of(*shlex.split(text, comments=True))
        else:
            exec(compile(text, "maps.md", "exec"), names)
    assert len(DataStore.from_dir("store").get_observations()) == len(RUNS)
    counts, background = (names["dataset"].counts.data.sum(), names["dataset"].background.data.sum())
    assert 1.05 < counts / background < 1.08  # the Crab Nebula
    assert names["background"].data.shape == (20, 60, 60)
    dataset = names["dataset"]
    assert 0 < dataset.mask_fit.data.sum() < 0.1 * dataset.mask_fit.data.size  # those that did not determine the norms
    assert dataset.models["crab"].spectral_model.index.value == pytest.approx(2.55, abs=0.2)
    assert dataset.background_model.parameters["norm"].value == pytest.approx(1, abs=0.02)
