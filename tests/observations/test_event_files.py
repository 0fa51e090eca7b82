"""Runs without index files, in scheme FILES."""

import bz2
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from bgnb import DataError, make_bg_cube_models, make_models, open_runs, read_event_list
from bgnb.observations.run_selection import select_runs
from tests.helpers.commands import command, error_of
from tests.helpers.errors import raises
from tests.helpers.files import changed_file
from tests.helpers.run_files import TSTART, aeff_hdu, events_hdu, gti_hdu, run, write_gadf

SMALL = {"select": "all", "method": "classic", "n_energy": 6, "n_fov": 4, "workers": 1, "progress": False}


def write_run(path, number=7, *, drop=(), extra=(), names=(), **changes):
    """Write the file of a run, without some HDUs, with further ones, and with other EXTNAMEs and HDUCLAS."""
    parts = run(number, 60, **changes)
    hdus = {"EVENTS": events_hdu(parts), "GTI": gti_hdu(parts), "AEFF": aeff_hdu(parts)}
    for name, keywords in dict(names).items():
        hdus[name].header.update(keywords)
    kept = [hdu for name, hdu in hdus.items() if name not in drop]
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(), *kept, *extra]).writeto(path)
    return path


@pytest.fixture
def indir(tmp_path):
    """Make a directory of two runs without an index."""
    directory = write_gadf(tmp_path / "in", [run(obs_id, 60, N_TELS=4, OBJECT="Crab", MUONEFF=0.9) for obs_id in (2, 3)])
    for name in ("obs-index.fits.gz", "hdu-index.fits.gz"):
        (directory / name).unlink()
    return directory


@pytest.mark.parametrize("scheme", ["FILES", "GADF"])
def test_altitude_that_nobody_states(tmp_path, scheme):
    """With the pointing of the header, an altitude is not computed from times, which may be placeholders."""
    gadf = write_gadf(tmp_path / "in", [run(2, 60)])
    with changed_file(gadf / "obs-index.fits.gz") as hdus:
        for name in ("ALT_PNT", "AZ_PNT"):
            hdus[1].columns.del_col(name)
    runs = open_runs(gadf / "data" if scheme == "FILES" else gadf, scheme, pointing="header")
    with raises("missing-keyword", "ALT_PNT and AZ_PNT are missing in header and index"):
        read_event_list(runs.files(2))


def codes(runs):
    """Return the codes of the errors of files, by name."""
    return {Path(error.message.partition(": ")[0]).name: error.code for error in runs.file_errors}


def test_same_runs_as_with_an_index(tmp_path):
    """Table and event lists are those of scheme GADF, also if altitude and azimuth are computed."""
    gadf = write_gadf(tmp_path / "in", [run(obs_id, 60, N_TELS=4, OBJECT="Crab", MUONEFF=0.9) for obs_id in (3, 2, 11)])
    files, index = open_runs(gadf / "data", "FILES"), open_runs(gadf, "GADF")
    assert files.obs_ids == index.obs_ids == [2, 3, 11]
    assert not files.errors
    assert not files.notes
    for name in index.table.colnames:
        if name not in ("ALT_PNT", "AZ_PNT", "TSTOP"):
            np.testing.assert_array_equal(files.table[name], index.table[name])
        assert files.table[name].unit == index.table[name].unit
    for name in ("ALT_PNT", "AZ_PNT"):  # not in the headers
        np.testing.assert_allclose(files.table[name], index.table[name], atol=1e-6)
    assert files.table["OBJECT"].tolist() == ["Crab"] * 3
    assert files.table["N_TELS"].dtype == np.int64
    assert files.table["EVENT_COUNT"].tolist() == [60] * 3
    assert (files.table.meta["TELESCOP"], files.table.meta["MJDREFI"]) == ("HESS", 51910)
    for obs_id in index.obs_ids:
        one, other = (read_event_list(runs.files(obs_id)) for runs in (files, index))
        for name in ("time", "ra", "energy", "gti", "livetime", "energy_threshold", "n_tels", "notes"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_livetime_of_the_header_is_not_that_of_an_index(tmp_path):
    """A livetime that is scaled to a shorter good time is noted once, and no index is blamed."""
    path = write_run(tmp_path / "run7.fits", gti=[(TSTART, TSTART + 1280)], ONTIME=1680.0, LIVETIME=1512.0)
    events = read_event_list(open_runs(path, "FILES").files(7))
    assert events.livetime == pytest.approx(1280 * 0.9)
    (note,) = events.notes
    assert "scaled to the good time" in note


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spline", "classic"])
def test_real_runs_as_with_an_index(hess_data, method):
    """Models of real runs are bit-identical to those with an index."""
    some = open_runs(hess_data, "GADF").obs_ids[::4]
    arguments = {"method": method, "select": some, "n_energy": 8, "n_fov": 12, "workers": 1, "progress": False}
    index, files = make_models(hess_data, "GADF", **arguments), make_models(hess_data / "data", "FILES", **arguments)
    assert index.report.runs == files.report.runs
    assert index.models.group_ids == files.models.group_ids
    for group_id in index.models.group_ids:
        one, other = index.models[group_id], files.models[group_id]
        np.testing.assert_array_equal(one.stack.counts, other.stack.counts)
        np.testing.assert_array_equal(one.stack.livetime, other.stack.livetime)
        np.testing.assert_array_equal(one.rate.quantity, other.rate.quantity)


def test_hdus_are_found_by_content(tmp_path):
    """HDUs are found by HDUCLAS1 and HDUCLAS2, or by the names of other telescopes."""
    classes = {
        "EVENTS": {"EXTNAME": "EVT", "HDUCLAS1": "EVENTS"},
        "GTI": {"EXTNAME": "GTI_CAMERA", "HDUCLAS1": "GTI"},
        "AEFF": {"EXTNAME": "SPECRESP", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "EFF_AREA"},
    }
    gti = [(TSTART + 80, TSTART + 1680)]
    write_run(tmp_path / "in" / "run7.fits", gti=gti, threshold=0.7, names=classes)
    names = {"AEFF": {"EXTNAME": "Effective Area"}, "EVENTS": {"HDUCLAS1": ""}}
    write_run(tmp_path / "in" / "run8.fits.gz", 8, gti=gti, threshold=0.7, names=names)
    runs = open_runs(tmp_path / "in", "FILES")
    for obs_id in (7, 8):
        events = read_event_list(runs.files(obs_id))
        assert (events.ontime, events.energy_threshold) == (1600, 0.7)
        assert not events.notes


def test_missing_gti_and_effective_area(tmp_path):
    """A run without good time intervals is used from TSTART to TSTOP, and one without effective area at all energies."""
    runs = open_runs(write_run(tmp_path / "run7.fits", drop=("GTI", "AEFF")), "FILES")
    events = read_event_list(runs.files(7))
    assert (events.ontime, events.energy_threshold) == (1680, None)
    assert len([note for note in events.notes if "GTI" in note]) == len(events.notes) == 1


@pytest.mark.parametrize("content", ["EVENTS", "GTI", "AEFF"])
def test_ambiguous_hdus_are_refused(tmp_path, content):
    """A second HDU of the same content, which would be dropped or counted silently, is an error of the run."""
    parts = run(7, 60)
    second = {"EVENTS": events_hdu, "GTI": gti_hdu, "AEFF": aeff_hdu}[content](parts)
    second.header["EXTVER"] = 2
    write_run(tmp_path / "in" / "run7.fits.gz", extra=[second])
    write_run(tmp_path / "in" / "run8.fits.gz", 8)
    runs = open_runs(tmp_path / "in", "FILES")
    with raises("ambiguous-hdu", "run7.fits.gz", f"{['EVENTS', 'GTI', 'AEFF'].index(content) + 1} and 4", content, "GADF"):
        read_event_list(runs.files(7))
    report = make_bg_cube_models(tmp_path / "in", "FILES", tmp_path / "out", **SMALL)
    assert list(report.faults) == [7]
    assert [entry.obs_id for entry in report.runs if entry.reason is None] == [8]


def test_files_below_a_directory(tmp_path):
    """Files are found in all subdirectories, also behind links, but each once, and not in hidden ones."""
    indir = tmp_path / "in"
    write_run(indir / "a b" / "run 7.FITS.gz")
    write_run(indir / "2011" / "x.fts", 8)
    write_run(indir / ".partial" / "run9.fits", 9)
    write_run(indir / ".run10.fits", 10)
    write_run(indir / "run11.fits.tmp", 11)
    write_run(tmp_path / "elsewhere" / "run12.fit", 12)
    (indir / "loop").symlink_to(indir)
    (indir / "2011" / "up").symlink_to("..")
    (indir / "link").symlink_to(tmp_path / "elsewhere")
    (indir / "zlink.fits").symlink_to("2011/x.fts")
    (indir / "empty.fits").mkdir()
    runs = open_runs(indir, "FILES")
    assert runs.obs_ids == [7, 8, 12]
    assert not runs.errors
    assert not runs.notes
    assert not runs.file_errors
    assert runs.files(7).events.path == indir / "a b" / "run 7.FITS.gz"
    assert len(read_event_list(runs.files(7)).time) == 60
    (indir / "above").symlink_to(tmp_path)  # with runs beside those of the directory
    write_run(tmp_path / "beside" / "run13.fits", 13)
    runs = open_runs(indir, "FILES")
    assert runs.obs_ids == [7, 8, 12]
    (note,) = runs.notes
    assert f"{indir / 'above'}: is a link to a directory that contains {indir}" in note


def test_other_fits_files_are_counted(indir):
    """FITS files without events are ignored, and counted in one note."""
    fits.HDUList([fits.PrimaryHDU(), aeff_hdu(run(2))]).writeto(indir / "irf.fits.gz")
    Table({"OBS_ID": [2]}).write(indir / "obs-index.fits.gz")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, 2)), name="EVENTS")]).writeto(indir / "image.fits")
    (indir / "notes.txt").write_text("no FITS file")
    runs = open_runs(indir, "FILES")
    assert runs.obs_ids == [2, 3]
    (note,) = runs.notes
    assert "3 FITS files" in note
    assert not runs.file_errors


def test_unusable_files_are_named(indir, tmp_path, monkeypatch):
    """Files that cannot be read, or whose run is unknown, are named with the code of the error, and stop with ``fail``."""
    content = (indir / "data" / "run2.fits.gz").read_bytes()
    (indir / "text.fits").write_text("not FITS")
    (indir / "empty.fits").touch()
    (indir / "short.fits.gz").write_bytes(content[:300])
    (indir / "junk.fits.gz").write_bytes(content[:200] + b"junk" * 99)
    (indir / "run4.fits.bz2").write_bytes(bz2.compress(content))
    (indir / "dangling.fits").symlink_to("nowhere")
    os.mkfifo(indir / "pipe.fits")
    write_run(indir / "without.fits", 5, OBS_ID=None)
    write_run(indir / "half.fits", 5, OBS_ID=5.5)
    write_run(indir / "text_id.fits", 5, OBS_ID="five")
    plain = write_run(tmp_path / "plain.fits", drop=("EVENTS",), extra=[events_hdu(run(5, 60))]).read_bytes()
    (indir / "cut.fits").write_bytes(plain[: 2 * 2880 + 8])  # within the GTI, before the events
    (indir / "locked").mkdir()
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    runs = open_runs(indir, "FILES")
    assert runs.obs_ids == [2, 3]
    assert codes(runs) == {
        "text.fits": "not-fits",
        "empty.fits": "empty-file",
        "short.fits.gz": "truncated",
        "junk.fits.gz": "damaged",
        "run4.fits.bz2": "not-fits",
        "dangling.fits": "not-found",
        "pipe.fits": "not-a-file",
        "without.fits, HDU EVENTS": "missing-keyword",
        "half.fits, HDU EVENTS": "bad-keyword",
        "text_id.fits, HDU EVENTS": "bad-keyword",
        "cut.fits, HDU GTI": "truncated",
        "locked": "unreadable",
    }
    assert [str(error) in note for error, note in zip(runs.file_errors, runs.notes, strict=True)] == [True] * 12
    assert select_runs(runs, "all").kept == (2, 3)
    with raises(runs.file_errors[0].code, runs.file_errors[0], kind=DataError):
        select_runs(runs, "all", on_error="fail")
    assert select_runs(runs, [2], on_error="fail").kept == (2,)
    with raises("not-found", "run 5", indir, "12 files"):
        select_runs(runs, [2, 5])


def test_damaged_events_of_a_known_run(indir):
    """A file whose first header is intact is an error of its run when the events are read."""
    path = indir / "data" / "run2.fits.gz"
    path.write_bytes(path.read_bytes()[:-500])
    runs = open_runs(indir, "FILES")
    assert runs.obs_ids == [2, 3]
    assert not runs.errors
    with raises("truncated", path, kind=DataError):
        read_event_list(runs.files(2))


def test_damaged_headers_of_known_runs(tmp_path):
    """Keywords that are not needed to open a run are errors only when the events are read."""
    indir = tmp_path / "in"
    path = write_run(indir / "run7.fits", N_TELS=1e300)
    content = path.read_bytes()
    assert content.count(b"NAXIS2  =                   60") == 1
    path.write_bytes(content.replace(b"NAXIS2  =                   60", b"NAXIS2  = 'sixty'             "[:30]))
    write_run(indir / "run8.fits", 8, N_TELS=4, TSTOP=TSTART - 1)
    runs = open_runs(indir, "FILES")
    assert runs.table["N_TELS"].tolist() == [1e300, 4]
    assert np.isnan(runs.table["EVENT_COUNT"][0])
    assert np.isnan(runs.table["TSTOP"][1])
    with raises("bad-keyword", "run7.fits", "NAXIS2", kind=DataError):
        read_event_list(runs.files(7))
    with raises("inconsistent-times", "run8.fits", kind=DataError):
        runs.files(8)


def test_two_files_of_one_run(indir):
    """Two files with the same OBS_ID are an error of this run, which names both; others are used."""
    copied = indir / "later" / "other.fits.gz"
    copied.parent.mkdir()
    copied.write_bytes((indir / "data" / "run2.fits.gz").read_bytes())
    runs = open_runs(indir, "FILES")
    assert runs.obs_ids == [2, 3]
    assert list(runs.errors) == [2]
    with raises("duplicate-run", indir / "data" / "run2.fits.gz", copied, "run 2", kind=DataError):
        runs.files(2)
    assert read_event_list(runs.files(3)).obs_id == 3


def test_files_of_event_classes(tmp_path):
    """Files with event classes of the same run are an error of this run, which names the classes and what to do."""
    one, two = (write_run(tmp_path / "in" / f"{name}.fits", EV_CLASS=name) for name in ("gold", "silver"))
    write_run(tmp_path / "in" / "other.fits", 8, EV_CLASS="silver")
    runs = open_runs(tmp_path / "in", "FILES")
    assert list(runs.errors) == [7]
    with raises("duplicate-run", one, two, "classes (gold and silver)", "list", "index", kind=DataError):
        runs.files(7)
    (tmp_path / "gold.txt").write_text("in/gold.fits\nin/other.fits\n")
    assert not open_runs(tmp_path / "gold.txt", "FILES").errors


def test_lists_of_files(indir, tmp_path):
    """A list contains paths relative to its own; missing files are errors, and repeated ones are read once."""
    listed = [
        "# runs",
        "",
        "in/data/run3.fits.gz",
        " in/data/../data/run3.fits.gz\r",
        str(write_run(tmp_path / "a #7 b.dl3", 7)),
    ]
    (tmp_path / "runs.txt").write_text("\n".join([*listed, "in/data/run4.fits.gz", "in/data"]))
    runs = open_runs(tmp_path / "runs.txt", "files")
    assert runs.obs_ids == [3, 7]
    assert codes(runs) == {"run4.fits.gz": "not-found", "data": "not-a-file"}
    assert not runs.errors
    assert runs.path == tmp_path / "runs.txt"
    assert open_runs(indir / "data" / "run2.fits.gz", "FILES").obs_ids == [2]
    report = make_bg_cube_models(tmp_path / "runs.txt", "FILES", tmp_path / "out", **SMALL)
    assert sorted(entry.obs_id for entry in report.runs) == [3, 7]


def test_no_runs_in_files(indir, tmp_path):
    """If there are no runs at all, the message says what was found."""
    with raises("not-found", tmp_path / "nowhere", "list"):
        open_runs(tmp_path / "nowhere", "FILES")
    (tmp_path / "none").mkdir()
    with raises("no-runs", tmp_path / "none") as caught:
        open_runs(tmp_path / "none", "FILES")
    assert "without events" not in str(caught.value)
    fits.HDUList([fits.PrimaryHDU(), aeff_hdu(run(2))]).writeto(tmp_path / "none" / "irf.fits")
    (tmp_path / "none" / "text.fits").write_text("not FITS")
    with raises("no-runs", tmp_path / "none", "1 FITS file ", "text.fits", "[not-fits]"):
        open_runs(tmp_path / "none", "FILES")
    (tmp_path / "list.txt").write_text("run7.fits\0run8.fits\0")  # by find -print0
    with raises("invalid-argument", "list.txt", "in each line"):
        open_runs(tmp_path / "list.txt", "FILES")
    (tmp_path / "run7.dl3").write_bytes(write_run(tmp_path / "run7.fits").read_bytes())
    with raises("invalid-argument", "run7.dl3", "*.fits"):
        open_runs(tmp_path / "run7.dl3", "FILES")
    (tmp_path / "runs.txt").write_text("# nothing\n")
    with raises("no-runs", "runs.txt"):
        open_runs(tmp_path / "runs.txt", "FILES")
    error = error_of("make-bg-cube-models", indir, "GADF", tmp_path / "out")
    assert "not-found" in error
    assert "FILES" in error


@pytest.mark.parametrize(
    ("obs_id", "expected"), [("00123", 123), (123.0, 123), (2**62 + 1, 2**62 + 1)], ids=["text", "float", "large"]
)
def test_kinds_of_obs_ids(tmp_path, obs_id, expected):
    """OBS_ID may be text or a float, and is not rounded."""
    path = write_run(tmp_path / "run.fits", OBS_ID=obs_id)
    assert open_runs(path, "FILES").obs_ids == [expected]


def test_pointings_from_headers(tmp_path):
    """A pointing that is missing, not a number or out of range is an error of the run that names the file."""
    indir = tmp_path / "in"
    pointing = {"RA_PNT": 70.0, "DEC_PNT": -45.0}
    write_run(indir / "one.fits", 1, **pointing, ALT_PNT=-5.0, AZ_PNT=100.0)
    two = write_run(indir / "two.fits", 2, **pointing)
    write_run(indir / "three.fits", 3, **pointing, ALT_PNT="high", AZ_PNT=100.0)
    write_run(indir / "four.fits", 4, **pointing, MUONEFF="?", ALT_PNT=52.5, AZ_PNT=100.0)
    with fits.open(two, mode="update") as hdus:
        del hdus["EVENTS"].header["RA_PNT"]
    runs = open_runs(indir, "FILES")
    assert runs.obs_ids == [1, 2, 3, 4]
    assert "MUONEFF" not in runs.table.colnames
    assert runs.pointing(4) == (52.5, 100.0)
    for obs_id, words in {1: ("one.fits", "-5 deg"), 2: ("two.fits", "RA_PNT"), 3: ("three.fits", "ALT_PNT")}.items():
        with raises({1: "bad-position", 2: "missing-keyword", 3: "bad-keyword"}[obs_id], *words, kind=DataError):
            runs.files(obs_id)
    assert select_runs(runs, "all").kept == (4,)


def test_altitudes_below_the_horizon(tmp_path):
    """The error of a run without ALT_PNT whose position never rises says that the altitude is computed, and from what."""
    write_run(tmp_path / "run.fits", 1, RA_PNT=70.0, DEC_PNT=85.0)
    for pointing in ("auto", "header", "computed"):
        with raises("below-horizon", "run.fits", "by RA_PNT, DEC_PNT, time and site", "--pointing header", kind=DataError):
            open_runs(tmp_path, "FILES", pointing=pointing).files(1)


def test_command_names_unusable_files(indir, tmp_path):
    """The command prints and stores the notes, and stops with ``--on-error fail``."""
    (indir / "text.fits").write_text("not FITS")
    options = ("--select", "all", "--method", "classic", "--n-energy", 6, "--n-fov", 4, "--workers", 1)
    done = command("make-bg-cube-models", indir, "FILES", tmp_path / "out", *options)
    assert done.exit_code == 0
    (line,) = (line for line in done.output.splitlines() if "text.fits" in line)
    assert "[not-fits]" in line
    assert "text.fits" in (tmp_path / "out" / "report.json").read_text()
    assert "not-fits" in error_of("make-bg-cube-models", indir, "FILES", tmp_path / "fail", *options, "--on-error", "fail")
    assert not (tmp_path / "fail").exists()
