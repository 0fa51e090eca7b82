"""The benchmark that others can enter: it hides the truth, and wrong backgrounds score worse."""

import shutil
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from benchmarks.challenge import run
from bgnb import BgnbError, open_runs, read_event_list


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A small simulated set with gradients."""
    return next(run.simulated(tmp_path_factory.mktemp("challenge"), seed=1, n_runs=12))


@pytest.fixture(scope="module")
def backgrounds(case, tmp_path_factory):
    """The backgrounds of an entry."""
    folder = tmp_path_factory.mktemp("entry") / "classic"
    command = f"{sys.executable} -m benchmarks.challenge.bgnb_entry classic model"
    assert run.run_entry(command, case, folder) > 0
    return folder


def changed(folder, target, change):
    """Copy backgrounds with a changed rate."""
    shutil.copytree(folder, target)
    for path in target.iterdir():
        with fits.open(path, mode="update") as hdus:
            rate = hdus["BACKGROUND"].data["BKG"]
            rate[:] = change(rate)
    return target


@pytest.mark.slow
def test_entries_see_neither_the_truth_nor_what_is_scored(case):
    """Entries get the runs without backgrounds and settings, and of test runs one half, of which the other is scored."""
    seen, hidden, train = (open_runs(path, "GADF") for path in (case.folder / "test", case.hidden, case.folder / "train"))
    assert seen.obs_ids == hidden.obs_ids == [1, 2, 3, 4]
    assert train.obs_ids == list(range(5, 13))
    assert {path.name for path in case.folder.iterdir()} == {"train", "test"}
    for folder in case.folder.iterdir():
        assert {path.name for path in folder.iterdir()} == {"data", "obs-index.fits.gz", "hdu-index.fits.gz"}
        assert "EVENT_COUNT" not in Table.read(folder / "obs-index.fits.gz").colnames
    source = open_runs(case.folder.parent / "gradient-source", "GADF")
    for obs_id in seen.obs_ids:
        whole, first, second = (read_event_list(runs.files(obs_id)) for runs in (source, seen, hidden))
        np.testing.assert_array_equal(np.sort([*first.time, *second.time]), whole.time)
        assert first.livetime == second.livetime == whole.livetime / 2
        assert len(first) / len(whole) == pytest.approx(0.5, abs=2.5 / np.sqrt(len(whole)))


@pytest.mark.slow
def test_wrong_backgrounds_score_worse(case, backgrounds, tmp_path):
    """A rate twice as high has wrong counts, a mirrored one a wrong shape; the truth is best."""
    truth, good = run.score("truth", [case], [None]), run.score("classic", [case], [backgrounds])
    twice = run.score("twice", [case], [changed(backgrounds, tmp_path / "twice", lambda rate: 2 * rate)])
    mirrored = run.score("mirrored", [case], [changed(backgrounds, tmp_path / "mirrored", lambda rate: rate[..., ::-1, :])])
    assert truth["rms"] == truth["centre"] == truth["edge"] == 0
    assert truth["pred/obs"] == pytest.approx(1, abs=0.15)
    assert truth["dev/exp"] == pytest.approx(1, abs=0.1)
    assert truth["deviance"] < good["deviance"] < mirrored["deviance"] - 10
    assert good["rms"] < 0.5 * mirrored["rms"]
    assert twice["pred/obs"] == pytest.approx(2 * good["pred/obs"])
    assert twice["deviance"] == pytest.approx(good["deviance"])
    assert abs(good["centre"]) < 0.1 < 0.8 < twice["centre"]
    assert good["rms"] < 0.5 * twice["rms"]
    table = run.lines([truth, good, twice, mirrored], markdown=True)
    assert [line.split(" | ")[1] for line in table[2:]] == ["truth", "classic", "twice", "mirrored"]
    run.draw([truth, good, twice, mirrored], tmp_path / "scores.png")
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_truth_in_both_frames(case):
    """Turned into RADEC, the true counts have the same profile in offset."""
    runs = open_runs(case.hidden, "GADF")
    for obs_id in runs.obs_ids:
        events, pointing = read_event_list(runs.files(obs_id)), runs.pointing(obs_id)
        altaz, radec = (run.true_counts(case.true, events, pointing, frame) for frame in ("ALTAZ", "RADEC"))
        assert not np.allclose(altaz, radec, rtol=0.02)
        for part in (run.CENTRE, run.EDGE):
            np.testing.assert_allclose(radec[:, part].sum(axis=1), altaz[:, part].sum(axis=1), rtol=0.02)


@pytest.mark.slow
def test_incomplete_entries_are_refused(case, backgrounds, tmp_path):
    """A run without a background, or one that does not cover the bins, is an error, not a better score."""
    fewer = shutil.copytree(backgrounds, tmp_path / "fewer")
    next(fewer.iterdir()).unlink()
    with pytest.raises(BgnbError, match=r"must have one file bkg_\d"):
        run.score("fewer", [case], [fewer])
    narrow = shutil.copytree(backgrounds, tmp_path / "narrow")
    for path in narrow.iterdir():
        with fits.open(path, mode="update") as hdus:
            for name in ("DETX_LO", "DETX_HI"):
                hdus["BACKGROUND"].data[name] *= 0.3
    with pytest.raises(BgnbError, match="must cover"):
        run.score("narrow", [case], [narrow])
