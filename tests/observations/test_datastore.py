"""Index files: values, paths and statements about files. Unusable indices are tested in tests/broken."""

import hashlib
import shutil

import numpy as np
import pytest
from astropy.table import Table

from bgnb import DataError, attach, make_models, open_runs, read_event_list
from bgnb.observations.consistency_checks import check_files
from bgnb.observations.findings import Findings
from bgnb.observations.run_selection import select_runs
from bgnb.observations.sites import instrument_name, same_instrument
from tests.helpers.errors import raises
from tests.helpers.files import names
from tests.helpers.model_directories import model_directory
from tests.helpers.run_files import run, write_gadf

OBS_IDS = [2, 3, 5]


@pytest.fixture
def indir(tmp_path):
    """Make a directory of three runs."""
    return write_gadf(tmp_path / "in", [run(obs_id, 60) for obs_id in OBS_IDS])


def change(indir, name, **columns):
    """Replace columns of an index; None removes them."""
    table = Table.read(indir / f"{name}.fits.gz")
    for column, values in columns.items():
        unit = table[column].unit if column in table.colnames else None
        if column in table.colnames:
            table.remove_column(column)
        if values is not None:
            table[column] = values
            table[column].unit = unit
    table.write(indir / f"{name}.fits.gz", overwrite=True)


def notes_on_files(indir, obs_id):
    """Return the notes on files of a run."""
    files = open_runs(indir, "GADF").files(obs_id)
    findings = Findings(files.reading)
    check_files(files, findings)
    return findings.notes


def test_directory_of_the_index_is_suggested(indir, tmp_path, monkeypatch):
    """If the index lies above or below the directory, the error names where."""
    inside = tmp_path / "far" / "near" / "in"
    shutil.copytree(indir, inside)
    for given in (inside.parent, inside.parent.parent, inside / "data"):
        with raises("not-found", f"{given}: has neither", f"give the directory that has it: {inside}"):
            open_runs(given, "GADF")
    with raises("not-found", "use the scheme FILES"):
        open_runs(inside, "HESS")
    monkeypatch.chdir(inside / "data")
    with raises("not-found", str(inside)):
        open_runs(".", "GADF")


def test_text_in_columns_of_numbers(indir):
    """A value that is not a number is missing for its run alone, and noted; numbers in text are read."""
    ra = open_runs(indir, "GADF").table["RA_PNT"].tolist()
    values = {"LIVETIME": ["1500.5", "1800 s", ""], "RA_PNT": [str(ra[0]), str(ra[1]), "five"], "N_TELS": ["4", "3", "2"]}
    change(indir, "obs-index", **values, EVENT_COUNT=["60", "sixty", "61"], QUALITY=["0", "1", "-1"])
    runs = open_runs(indir, "GADF")
    assert not runs.errors
    index = [runs.files(obs_id).index for obs_id in OBS_IDS]
    assert [row.get("LIVETIME") for row in index] == [1500.5, None, None]
    assert [row.get("EVENT_COUNT") for row in index] == [60, None, 61]
    assert runs.table["N_TELS"].tolist() == [4, 3, 2]
    assert runs.table["N_TELS"].dtype.kind == "i"
    assert runs.table["LIVETIME"].unit == "s"
    np.testing.assert_allclose(runs.table["RA_PNT"], ra)  # that of run 5 from its events
    assert len(runs.notes) == 3
    for words in (("LIVETIME", "run 3", "'1800 s'"), ("RA_PNT", "run 5", "'five'"), ("EVENT_COUNT", "run 3", "'sixty'")):
        assert any(all(word in note for word in (*words, "obs-index.fits.gz")) for note in runs.notes)
    assert [read_event_list(runs.files(obs_id)).livetime for obs_id in OBS_IDS] == [1502, 1503, 1505]


def test_index_of_too_many_rows(indir, monkeypatch):
    """The number of rows, of which a small compressed index may have many millions, is limited."""
    monkeypatch.setattr("bgnb.observations.datastore._MAX_RUNS", 2)
    with raises("too-large", "obs-index.fits.gz", "2 rows"):
        open_runs(indir, "GADF")


def test_unit_of_times(indir):
    """Times in an index without TUNIT are in the unit TIMEUNIT, as in event lists."""
    before = np.array(open_runs(indir, "GADF").table["TSTART"])
    table = Table.read(indir / "obs-index.fits.gz")
    table["TSTART"] = np.array(table["TSTART"]) / 86400
    table.meta["TIMEUNIT"] = "d"
    table.write(indir / "obs-index.fits.gz", overwrite=True)
    np.testing.assert_allclose(open_runs(indir, "GADF").table["TSTART"], before, rtol=1e-12)


def test_text_that_is_needed(tmp_path):
    """A position that is not a number is an error of its run if the events do not state it either."""
    indir = write_gadf(tmp_path / "in", [run(2, 60), run(3, 60) | {"DEC_PNT": None}], drop=["DEC_PNT"])
    change(indir, "obs-index", DEC_PNT=["-20.0", "south"])
    runs = open_runs(indir, "GADF")
    assert list(runs.errors) == [3]
    with raises("missing-keyword", "run3.fits.gz", "DEC_PNT", kind=DataError):
        runs.files(3)
    assert select_runs(runs, "all").kept == (2,)


def test_pointings_in_another_turn(indir):
    """Right ascensions and azimuths up to ±720 deg are wrapped; others are errors of their runs."""
    expected = open_runs(indir, "GADF").table
    ra, az = (np.array(expected[name]) for name in ("RA_PNT", "AZ_PNT"))
    change(indir, "obs-index", RA_PNT=np.add(ra, [360, 0, 1080]), AZ_PNT=np.add(az, [0, 360, 0]))
    runs = open_runs(indir, "GADF")
    assert list(runs.errors) == [5]
    assert runs.errors[5].code == "bad-position"
    np.testing.assert_allclose(runs.table["RA_PNT"][:2], ra[:2] % 360)
    np.testing.assert_allclose(runs.table["AZ_PNT"] % 360, az % 360)
    assert read_event_list(runs.files(2)).notes == ()


def test_subsets_have_known_runs(indir):
    """A subset has the runs with the given OBS_IDs; masks, texts and other runs are refused."""
    runs = open_runs(indir, "GADF")
    assert runs.subset([5, 2]).obs_ids == [2, 5]
    for wrong in (runs.table["ALT_PNT"] > 60, ["2"], "2", [True]):
        with raises("invalid-argument", "obs_ids must be a list of OBS_IDs"):
            runs.subset(wrong)
    with raises("not-found", "runs 1, 9 are not in"):
        runs.subset([1, 2, 9])
    for arguments in ({"select": runs.table["ALT_PNT"] > 60}, {"select": "all", "n_fov": np.True_}):
        with raises("invalid-argument", [*arguments][-1]):
            make_models(indir, "GADF", **arguments)


@pytest.mark.parametrize("kind", [float, str, np.float32])
def test_kinds_of_obs_id_columns(indir, kind):
    """OBS_ID may be a float or text in both index files."""
    for name in ("obs-index", "hdu-index"):
        obs_ids = Table.read(indir / f"{name}.fits.gz")["OBS_ID"]
        change(indir, name, OBS_ID=np.array(obs_ids).astype(kind))
    runs = open_runs(indir, "GADF")
    assert runs.obs_ids == OBS_IDS
    assert len(read_event_list(runs.files(3))) == 60


@pytest.mark.parametrize("values", [[2.0, np.nan, 5.0], [2.0, np.inf, 5.0], [2.0, 3.5, 5.0], [2.0, 1e300, 5.0]])
def test_floats_that_are_no_obs_ids(indir, values):
    """OBS_IDs must be whole numbers."""
    change(indir, "obs-index", OBS_ID=values)
    with raises("bad-column", "obs-index.fits.gz", "OBS_ID"):
        open_runs(indir, "GADF")


def test_files_beside_an_index(indir):
    """Without FILE_DIR, files are beside the index."""
    change(indir, "hdu-index", FILE_DIR=None)
    for path in (indir / "data").iterdir():
        shutil.move(path, indir)
    assert len(read_event_list(open_runs(indir, "GADF").files(5))) == 60


def test_variables_in_paths(indir, monkeypatch):
    """Variables in paths of the index and of lists are expanded only if that is allowed, with a note."""
    monkeypatch.setenv("BGNB_FOLDER", "data")
    rows = len(Table.read(indir / "hdu-index.fits.gz"))
    change(indir, "hdu-index", FILE_DIR=["$BGNB_FOLDER"] * rows)
    with raises("not-found", "$BGNB_FOLDER", "--allow path-variables", kind=DataError):
        read_event_list(open_runs(indir, "GADF").files(2))
    runs = open_runs(indir, "GADF", allow="path-variables")
    assert len(read_event_list(runs.files(2))) == 60
    assert any("path-variables" in note for note in runs.notes)
    (indir / "runs.txt").write_text("${BGNB_FOLDER}/run2.fits.gz\n$BGNB_FOLDER/run3.fits.gz\n")
    assert open_runs(indir / "runs.txt", "FILES", allow="path-variables").obs_ids == [2, 3]
    with raises("no-runs", "$", "--allow path-variables"):
        open_runs(indir / "runs.txt", "FILES")
    table = Table.read(indir / "hdu-index.fits.gz")
    table["FILE_DIR"] = "data"
    table.meta["BASE_DIR"] = "$BGNB_BASE"
    shutil.move(indir / "data", indir.parent / "data")
    table.write(indir / "hdu-index.fits.gz", overwrite=True)
    monkeypatch.setenv("BGNB_BASE", "..")
    assert len(read_event_list(open_runs(indir, "GADF", allow="path-variables").files(3))) == 60


def test_index_names_events_for_gti(indir, tmp_path):
    """An index that names HDU EVENTS for the good time intervals is read with HDU GTI, noted, and corrected by attach."""
    kinds = Table.read(indir / "hdu-index.fits.gz")["HDU_TYPE"].tolist()
    change(indir, "hdu-index", HDU_NAME=["Events" if kind == "gti" else kind for kind in kinds], FILE_DIR=None)
    for path in (indir / "data").iterdir():
        shutil.move(path, indir)
    runs = open_runs(indir, "GADF")
    assert runs.files(3).gti.hdu == "GTI"
    (note,) = runs.notes
    for word in ("hdu-index.fits.gz", "EVENTS", "2, 3, 5", "GTI"):
        assert word in note
    attach(model_directory(tmp_path / "models"), indir, "GADF", tmp_path / "store")
    index = Table.read(tmp_path / "store" / "hdu-index.fits.gz")
    assert index["HDU_NAME"][index["HDU_TYPE"] == "gti"].tolist() == ["GTI"] * 3
    assert set(index["FILE_DIR"][index["HDU_TYPE"] != "bkg"].tolist()) == {"../in"}
    assert names(tmp_path / "store") >= {"hdu-index.fits.gz", "obs-index.fits.gz"}


def test_stated_sizes_and_checksums(indir):
    """A file of another size or checksum than the index states is noted for its run; sizes of HDUs are not compared."""
    rows = Table.read(indir / "hdu-index.fits.gz")
    paths = [indir / row["FILE_DIR"] / row["FILE_NAME"] for row in rows]
    sizes = np.array([path.stat().st_size for path in paths])
    sums = np.array([hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in paths])
    of_run = np.array(rows["OBS_ID"]) == 3
    for columns, word in (
        ({"SIZE": sizes}, ""),
        ({"SIZE": sizes + 7 * of_run}, "size"),
        ({"SIZE": sizes.astype(float) + 7 * of_run}, "size"),
        ({"SIZE": np.where(of_run, 0, sizes)}, ""),
        ({"SIZE": sizes + np.arange(len(rows))}, ""),  # of each HDU, as in H.E.S.S. DR1
        ({"SIZE": ["large"] * len(rows)}, ""),
        ({"SIZE": None, "MD5": np.char.upper(sums)}, ""),
        ({"MD5": np.where(of_run, sums[0], sums)}, "checksum"),
        ({"MD5": np.where(of_run, "unknown", sums)}, ""),
    ):
        change(indir, "hdu-index", **columns)
        notes = {obs_id: notes_on_files(indir, obs_id) for obs_id in OBS_IDS}
        assert (notes[2], notes[5]) == ([], [])
        assert len(notes[3]) == bool(word), (columns, notes)
        if word:
            assert "run3.fits.gz" in notes[3][0]
            assert word in notes[3][0]
    shutil.rmtree(indir / "data")
    assert notes_on_files(indir, 2) == []


def test_stated_size_in_kilobytes(indir):
    """SIZE is compared only if it is in bytes."""
    rows = Table.read(indir / "hdu-index.fits.gz")
    for unit, number in (("byte", 1), ("kbyte", 0)):
        rows["SIZE"] = 12
        rows["SIZE"].unit = unit
        rows.write(indir / "hdu-index.fits.gz", overwrite=True)
        assert len(notes_on_files(indir, 2)) == number


def test_runs_of_bad_quality(indir):
    """Runs with QUALITY 2 are errors, or noted if they are allowed; other values are used."""
    change(indir, "obs-index", QUALITY=[-1, 2, 1])
    runs = open_runs(indir, "GADF")
    assert list(runs.errors) == [3]
    with raises("bad-quality", "obs-index.fits.gz", "run 3", "--allow bad-quality", kind=DataError):
        runs.files(3)
    assert select_runs(runs, "all").kept == (2, 5)
    allowed = open_runs(indir, "GADF", allow="bad-quality")
    assert select_runs(allowed, "all").kept == (2, 3, 5)
    (note,) = allowed.notes
    assert "bad-quality" in note
    assert "run 3" in note
    change(indir, "obs-index", QUALITY=["-1", "2", "bad"])
    assert list(open_runs(indir, "GADF").errors) == [3]


def test_minimum_livetime_of_events(tmp_path):
    """Groups are merged by the livetimes of events if the index has none."""
    parts = [run(obs_id, 200, pointing=(alt, 20.0)) for obs_id, alt in ((2, 41.0), (3, 46.0), (5, 51.0), (7, 55.0))]
    settings = {"select": "all", "method": "unsmoothed", "n_energy": 4, "n_fov": 4, "min_livetime": "0.6 h"}
    groups = [
        make_models(write_gadf(tmp_path / f"in{len(drop)}", parts, drop=drop), "GADF", **settings).report.groups
        for drop in ((), ("LIVETIME",))
    ]
    assert any(each.merged for each in groups[0])
    assert groups[0] == groups[1]
    assert all(each.livetime_s > 2160 for each in groups[1])


def test_places_and_arrays_of_instruments():
    """INSTRUME distinguishes places and arrays under one TELESCOP, whatever the spelling, but no periods."""
    same = [
        [("CTA", "North"), ("CTAO-NORTH", ""), ("CTA-N", "North"), ("CTA", "North_z20_50h")],
        [("CTA", "South"), ("CTAO-South", "1DC")],
        [("CTA-N", "LST1_M1_M2"), ("", "LST1_M1_M2"), ("MAGIC", "LST1_M1_M2"), ("", "MAGIC+LST1")],
        [("CTA-S", "LST-2"), ("CTAO South", "")],
        [("MAGIC", "MAGIC stereo, post major upgrade"), ("MAGIC", ""), ("MAGIC", "M1_M2")],
        [("HESS", "H.E.S.S. Phase I"), ("H.E.S.S.", "H.E.S.S. Phase II"), ("hess", "")],
        [("VERITAS", "Epoch V6"), ("VERITAS", "EPOCH V5")],
        [("HESS", "North")],
        [("HESS", "South")],
    ]
    kinds = [[instrument_name(*pair) for pair in pairs] for pairs in same]
    for one, ours in enumerate(kinds):
        for other, theirs in enumerate(kinds):
            is_same = {same_instrument(first, second) for first in ours for second in theirs}
            # A name without a place or an array matches those with one.
            generic = {one, other} in ({0, 2}, {5, 7}, {5, 8}, {1, 3})
            assert generic or is_same == {one == other}, (ours, theirs)
    assert not same_instrument(instrument_name("CTA-N", "LST-1"), instrument_name("CTA-N", "LST1_M1_M2"))
    assert same_instrument(instrument_name("CTA-N", "LST-1"), instrument_name("LST-1", ""))
