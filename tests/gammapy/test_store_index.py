"""Index files of the data stores of attach."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import bgnb.gammapy.attach as attach_module
from bgnb import (
    attach,
    open_runs,
    read_event_list,
)
from tests.helpers.commands import output_of
from tests.helpers.errors import raises
from tests.helpers.files import changed_file, digests_and_times
from tests.helpers.run_files import run, write_gadf, write_hess


def test_index_refers_to_original_files(models, tmp_path):
    """The index refers to unchanged original files, and bgnb can read the data store."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3, 5)])
    rows = Table.read(indir / "hdu-index.fits.gz")
    rows["SIZE"] = np.arange(len(rows), dtype=np.int64) + 7
    rows.add_row((2, "bkg", "bkg_3d", "data", "old.fits", "BKG", 1))
    rows.write(indir / "hdu-index.fits.gz", overwrite=True)
    before = digests_and_times(indir)
    report = attach(models, indir, "GADF", tmp_path / "deep" / "er" / "store")
    assert digests_and_times(indir) == before
    store = tmp_path / "deep" / "er" / "store"
    index = Table.read(store / "hdu-index.fits.gz")
    assert index["HDU_TYPE"].tolist() == 3 * ["events", "gti", "aeff", "bkg"]
    assert set(index["FILE_DIR"].tolist()) == {"../../../in/data", "backgrounds"}
    for row in index:
        found = [hdu.name for hdu in fits.open(store / row["FILE_DIR"] / row["FILE_NAME"])]
        assert row["HDU_NAME"].upper() in found
    assert index["SIZE"][index["HDU_TYPE"] == "gti"].tolist() == [8, 11, 14]
    ours, theirs = (fits.open(path / "obs-index.fits.gz")[1] for path in (store, indir))
    assert ours.columns.names == theirs.columns.names
    assert ours.data.tolist() == theirs.data.tolist()
    runs = open_runs(store, "GADF")
    assert runs.obs_ids == report.obs_ids == [2, 3, 5]
    assert len(read_event_list(runs.files(3))) == 50
    manifest = json.loads((store / "manifest.json").read_text())
    assert "backgrounds/bkg_5.fits.gz" in manifest["files"]


def test_checksums_of_other_indices(models, tmp_path):
    """Indices and runs that were changed without their checksums are used if they are allowed."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3, 5)])
    for name in ("data/run2.fits.gz", "obs-index.fits.gz", "hdu-index.fits.gz"):
        with fits.open(indir / name) as hdus:
            hdus.writeto(indir / name, overwrite=True, checksum=True)
    fits.setval(indir / "data" / "run2.fits.gz", "OBSERVER", value="another", ext=1)
    for name in ("obs-index.fits.gz", "hdu-index.fits.gz"):
        table = Table.read(indir / name)
        table.remove_columns([column for column in ("ALT_PNT", "AZ_PNT") if column in table.colnames])
        table[table["OBS_ID"] != 3].write(indir / name, overwrite=True)
        with raises("damaged", indir / "obs-index.fits.gz", "--allow damaged"):
            open_runs(indir, "GADF")
    assert sum("allowed (damaged)" in note for note in open_runs(indir, "GADF", allow="damaged").notes) == 2
    report = attach(models, indir, "GADF", tmp_path / "store", allow="damaged")
    assert report.obs_ids == open_runs(tmp_path / "store", "GADF").obs_ids == [2, 5]


@pytest.mark.parametrize(("name", "scheme"), [("rüns", "GADF"), ("r$HOME", "GADF"), ("rüns", "FILES"), ("r$HOME", "HESS")])
def test_paths_that_an_index_cannot_contain(models, tmp_path, monkeypatch, name, scheme):
    """Refuse paths that FITS cannot contain or Gammapy would change, before any background is made; stores beside work."""
    indir = (write_hess if scheme == "HESS" else write_gadf)(tmp_path / name / "in", [run(202, 50)])
    store = attach(models, indir, scheme, tmp_path / name / "store")
    assert store.obs_ids == [202]
    again = attach(models, tmp_path / name / "store", "GADF", tmp_path / name / "again")
    assert again.obs_ids == [202]
    with monkeypatch.context() as patch:
        patch.setattr("bgnb.gammapy.attach.make_backgrounds", None)
        with raises("bad-target", tmp_path / "store", name, "rename"):
            attach(models, indir, scheme, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_names_of_hdus_that_were_read(models, tmp_path):
    """The index of a store names the HDUs that were read, where the original one names HDUs that are missing."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    with fits.open(indir / "data" / "run3.fits.gz") as hdus:
        hdus["EVENTS"].name = "PHOTONS"  # unusual, but right
        hdus.writeto(indir / "data" / "run3.fits.gz", overwrite=True)
    rows = Table.read(indir / "hdu-index.fits.gz")
    rows["HDU_NAME"] = ["EVENTS_1", "GTI_1", "aeff", "photons", "gti", "aeff"]
    rows.write(indir / "hdu-index.fits.gz", overwrite=True)
    assert attach(models, indir, "GADF", tmp_path / "store").obs_ids == [2, 3]
    index = Table.read(tmp_path / "store" / "hdu-index.fits.gz")
    names = ["EVENTS", "GTI", "aeff", "BACKGROUND", "photons", "gti", "aeff", "BACKGROUND"]
    assert index["HDU_NAME"].tolist() == names
    report = json.loads((tmp_path / "store" / "report.json").read_text())
    assert any("EVENTS_1" in note for note in report["runs"][0]["notes"])


def test_hdus_that_only_the_index_names(models, tmp_path):
    """With `--allow missing-hdu`, a store has no rows of instrument responses that do not exist: others can read its runs."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    file = indir / "data" / "run3.fits.gz"
    with fits.open(file) as hdus:
        fits.HDUList([hdu.copy() for hdu in hdus if hdu.name != "AEFF"]).writeto(file, overwrite=True)
    index = Table.read(indir / "hdu-index.fits.gz")
    for file_name, hdu_name in [("run2.fits.gz", "PSF"), ("gone.fits.gz", "PSF")]:
        index.add_row(
            dict(index[-1]) | {"HDU_TYPE": "psf", "HDU_CLASS": "psf_table", "FILE_NAME": file_name, "HDU_NAME": hdu_name}
        )
    index.write(indir / "hdu-index.fits.gz", overwrite=True)
    report = attach(models, indir, "GADF", tmp_path / "store", allow="missing-hdu")
    assert [entry.missing for entry in report.runs] == [("edisp", "psf"), ("aeff", "edisp", "psf")]
    store = open_runs(tmp_path / "store", "GADF")
    assert [read_event_list(store.files(obs_id)).energy_threshold is None for obs_id in (2, 3)] == [False, True]


def test_file_names_that_an_index_cannot_contain(models, tmp_path):
    """Refuse names of files that FITS cannot contain, in scheme FILES."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    (indir / "data" / "run3.fits.gz").rename(indir / "data" / "rün3.fits.gz")
    with raises("bad-target", "rün3.fits.gz"):
        attach(models, indir, "FILES", tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["run$HOME.fits.gz", "r\u00fcn3.fits.gz"])
def test_file_names_of_an_index_that_a_store_cannot_contain(models, tmp_path, monkeypatch, name):
    """In scheme GADF, refuse names of files that Gammapy would change, or that FITS cannot contain, before the work."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    (indir / "data" / "run3.fits.gz").rename(indir / "data" / name)
    index = Table.read(indir / "hdu-index.fits.gz")
    index["FILE_NAME"] = np.char.encode([str(each).replace("run3.fits.gz", name) for each in index["FILE_NAME"]], "utf-8")
    index.write(indir / "hdu-index.fits.gz", overwrite=True)
    monkeypatch.setattr("bgnb.gammapy.attach.make_backgrounds", None)
    with raises("bad-target", tmp_path / "store", name, "rename"):
        attach(models, indir, "GADF", tmp_path / "store")


def test_texts_of_an_index_that_fits_cannot_contain(models, tmp_path):
    """Other texts of the index that are not ASCII do not stop the command."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    index = Table.read(indir / "hdu-index.fits.gz")
    index["COMMENTS"] = np.char.encode(["gut", "schön", ""] * 2, "utf-8")
    index.write(indir / "hdu-index.fits.gz", overwrite=True)
    assert attach(models, indir, "GADF", tmp_path / "store").obs_ids == [2, 3]
    store = Table.read(tmp_path / "store" / "hdu-index.fits.gz")
    assert "sch?n" in store["COMMENTS"].astype(str).tolist()


def test_index_as_gammapy_spells_it(models, tmp_path):
    """Types and classes in any spelling, missing rows of good time and names of columns are those that Gammapy finds."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    usual = attach(models, indir, "GADF", tmp_path / "usual")
    index = Table.read(indir / "hdu-index.fits.gz")
    index["HDU_TYPE"] = ["EVENTS", "GTI", "AEFF", "Events", "gti ", "aeff"]
    index["HDU_CLASS"] = ["EVENTS", "", "effarea", " events", "GTI", "AEFF_2D"]
    index[[0, 2, 3, 4, 5]].write(indir / "hdu-index.fits.gz", overwrite=True)
    with changed_file(indir / "obs-index.fits.gz") as hdus:
        for name in ("OBS_ID", "RA_PNT"):
            hdus[1].columns.change_name(name, name.lower())
    odd = attach(models, indir, "GADF", tmp_path / "odd")
    assert (odd.obs_ids, odd.call) == (usual.obs_ids, usual.call)
    one, other = (Table.read(tmp_path / name / "hdu-index.fits.gz") for name in ("usual", "odd"))
    names = ["OBS_ID", "HDU_TYPE", "HDU_CLASS", "FILE_NAME", "HDU_NAME"]
    rows = [{tuple(str(value) for value in row) for row in table[names]} for table in (one, other)]
    classes = {(hdu_type, hdu_class) for _, hdu_type, hdu_class, *_ in rows[1]}
    assert classes == {("events", "events"), ("gti", "gti"), ("aeff", "aeff_2d"), ("bkg", "bkg_3d")}
    assert {row[:2] for row in rows[0]} == {row[:2] for row in rows[1]}
    assert {row for row in rows[1] if row[1] == "gti"} == {
        (f"{n}", "gti", "gti", f"run{n}.fits.gz", name) for n, name in ((2, "GTI"), (3, "gti"))
    }
    assert {"OBS_ID", "RA_PNT"} <= {*Table.read(tmp_path / "odd" / "obs-index.fits.gz").colnames}


def test_types_of_hdus_that_are_numbers(models, tmp_path):
    """Numbers in HDU_TYPE, as of a program that counts the types, do not matter if HDU_CLASS states them."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    index = Table.read(indir / "hdu-index.fits.gz")
    index["HDU_TYPE"] = [1, 2, 3] * 2
    index.write(indir / "hdu-index.fits.gz", overwrite=True)
    report = attach(models, indir, "GADF", tmp_path / "store")
    assert (report.obs_ids, report.call) == ([2, 3], 'get_observations(required_irf=["aeff", "bkg"])')
    types = Table.read(tmp_path / "store" / "hdu-index.fits.gz")["HDU_TYPE"].astype(str)
    assert [text.strip() for text in types.tolist()] == ["events", "gti", "aeff", "bkg"] * 2


@pytest.mark.parametrize("name", ["obs-index.fits.gz", "hdu-index.fits.gz"])
def test_index_that_changes_while_runs_are_read(models, tmp_path, monkeypatch, name):
    """A store never has the backgrounds of some files and the index of others."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    make = attach_module.make_backgrounds

    def change_and_make(*arguments):
        table = Table.read(indir / name)
        table[table["OBS_ID"] == 2].write(indir / name, overwrite=True)
        yield from make(*arguments)

    monkeypatch.setattr(attach_module, "make_backgrounds", change_and_make)
    with raises("changed", indir):
        attach(models, indir, "GADF", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_arrays_of_variable_length_in_the_index(models, tmp_path):
    """Columns of the index that Astropy cannot copy are left out of that of the store; the others stay."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    with fits.open(indir / "obs-index.fits.gz") as hdus:
        telescopes = fits.Column("TELS", "PJ()", array=np.array([np.arange(3), np.arange(4)], dtype=object))
        columns = [*hdus[1].columns, telescopes, fits.Column("LAST", "I", array=[7, 8])]
        fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "index.fits.gz")
    (tmp_path / "index.fits.gz").replace(indir / "obs-index.fits.gz")
    assert attach(models, indir, "GADF", tmp_path / "store", select=[3]).obs_ids == [3]
    index = Table.read(tmp_path / "store" / "obs-index.fits.gz")
    assert "TELS" not in index.colnames
    assert (index["OBS_ID"].tolist(), index["LAST"].tolist()) == ([3], [8])


def test_names_that_appear_twice(models, tmp_path):
    """Gammapy opens the first HDU of a name, so that one behind an image of the same name is missing in a store."""
    indir = write_gadf(tmp_path / "in", [run(2, 50)])
    with changed_file(indir / "data" / "run2.fits.gz") as hdus:
        hdus.insert(1, fits.ImageHDU(np.zeros((2, 2)), name="AEFF"))
    report = attach(models, indir / "data", "FILES", tmp_path / "store")
    assert report.call == 'get_observations(required_irf=["bkg"])'
    assert "AEFF" not in [str(name).strip() for name in Table.read(tmp_path / "store" / "hdu-index.fits.gz")["HDU_NAME"]]


@pytest.mark.parametrize("index", ["obs-index.fits.gz", "hdu-index.fits.gz"])
def test_obs_ids_of_more_than_64_bits(models, tmp_path, index):
    """Unsigned OBS_IDs that would become negative are refused."""
    indir = write_gadf(tmp_path / "in", [run(2, 50)])
    table = Table.read(indir / index)
    table["OBS_ID"] = np.full(len(table), 2**63 + 1, dtype=np.uint64)
    table.write(indir / index, overwrite=True)
    with raises("bad-column", index, "OBS_ID"):
        open_runs(indir, "GADF")


def test_missing_components_are_noted(models, tmp_path):
    """In scheme HESS, missing components are noted with advice, and the store can be read in scheme GADF."""
    indir = write_hess(tmp_path / "in", [run(obs_id, 50) for obs_id in (201, 202)])
    without = indir / "run000200-000399" / "run000202" / "hess_events_000202.fits.gz"
    with fits.open(without) as hdus:
        fits.HDUList([hdus[0], hdus["EVENTS"]]).writeto(without, overwrite=True)
    before = digests_and_times(indir)
    report = attach(models, indir, "HESS", tmp_path / "store")
    assert digests_and_times(indir) == before
    assert [entry.missing for entry in report.runs] == [("edisp", "psf"), ("gti", "edisp", "psf")]
    first, second = (line for line in str(report).splitlines() if line.startswith("note: 1 run "))
    assert "edisp, psf" in first
    assert 'get_observations(required_irf=["aeff", "bkg"])' in first
    assert "gti, edisp, psf" in second
    assert report.call == 'get_observations(required_irf=["aeff", "bkg"])'
    assert output_of("attach", models, indir, "HESS", tmp_path / "other").rstrip().endswith(f'/other").{report.call}')
    rows = Table.read(tmp_path / "store" / "hdu-index.fits.gz")
    assert rows["HDU_NAME"].tolist() == ["EVENTS", "GTI", "AEFF", "BACKGROUND", "EVENTS", "AEFF", "BACKGROUND"]
    assert rows["FILE_DIR"][0] == "../in/run000200-000399/run000201"
    observations = Table.read(tmp_path / "store" / "obs-index.fits.gz")
    assert {"OBS_ID", "RA_PNT", "ALT_PNT", "LIVETIME"} <= set(observations.colnames)
    assert len(read_event_list(open_runs(tmp_path / "store", "GADF").files(201))) == 50


def test_store_of_single_files(models, tmp_path):
    """In scheme FILES, the index has a row for each HDU that Gammapy uses, with the classes that files state."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    for name in ("obs-index.fits.gz", "hdu-index.fits.gz"):
        (indir / name).unlink()
    responses = {  # EXTNAME: HDUCLAS1, HDUCLAS2, HDUCLAS4
        "POINT SPREAD FUNCTION": ("RESPONSE", "RPSF", "3GAUSS"),  # as of CTA 1DC
        "EDISP": ("RESPONSE", "EDISP", "EDISP_2D"),
        "BKG": ("RESPONSE", "BKG", "BKG_3D"),
        "PSF": ("RESPONSE", "RPSF", "PSF_NEW"),  # unknown to Gammapy
        "RAD_MAX": ("RESPONSE", "RAD_MAX", "RAD_MAX_2D"),
        "": ("RESPONSE", "RPSF", "PSF_TABLE"),  # Gammapy opens HDUs by name
    }
    with fits.open(indir / "data" / "run3.fits.gz") as hdus:
        for name, classes in responses.items():
            hdu = fits.BinTableHDU.from_columns([fits.Column("ENERG_LO", "E", array=[0.1])], name=name)
            hdu.header["HDUCLAS1"], hdu.header["HDUCLAS2"], hdu.header["HDUCLAS4"] = classes
            hdus.append(hdu)
        hdus.writeto(indir / "data" / "run3.fits.gz", overwrite=True)
    before = digests_and_times(indir)
    report = attach(models, indir, "FILES", tmp_path / "store")
    assert digests_and_times(indir) == before
    assert [entry.missing for entry in report.runs] == [("edisp", "psf"), ()]
    rows = Table.read(tmp_path / "store" / "hdu-index.fits.gz")
    assert [tuple(row[name] for name in ("HDU_TYPE", "HDU_CLASS", "HDU_NAME")) for row in rows[rows["OBS_ID"] == 3]] == [
        ("events", "events", "EVENTS"),
        ("gti", "gti", "GTI"),
        ("aeff", "aeff_2d", "AEFF"),
        ("psf", "psf_3gauss", "POINT SPREAD FUNCTION"),
        ("edisp", "edisp_2d", "EDISP"),
        ("rad_max", "rad_max_2d", "RAD_MAX"),
        ("bkg", "bkg_3d", "BACKGROUND"),
    ]
    assert set(rows["FILE_DIR"]) == {"../in/data", "backgrounds"}
    assert len(rows[rows["OBS_ID"] == 2]) == 4
    observations = Table.read(tmp_path / "store" / "obs-index.fits.gz")
    assert observations["OBS_ID"].tolist() == [2, 3]
    assert (observations["TSTART"].unit, observations.meta["MJDREFI"]) == ("s", 51910)
    assert len(read_event_list(open_runs(tmp_path / "store", "GADF").files(3))) == 50


@pytest.mark.parametrize(("base_dir", "file_dir"), [("/data/of/another/computer", "data"), ("data", "")])
def test_base_dir_of_index(models, tmp_path, base_dir, file_dir):
    """The index of the store finds files beside the original index, and those in its BASE_DIR."""
    indir = write_gadf(tmp_path / "in", [run(2, 50)])
    path = indir / "hdu-index.fits.gz"
    index = Table.read(path)
    index["FILE_DIR"], index.meta["BASE_DIR"] = file_dir, base_dir
    index.write(path, overwrite=True)
    attach(models, indir, "GADF", tmp_path / "store")
    assert len(read_event_list(open_runs(tmp_path / "store", "GADF").files(2))) == 50


def test_missing_location_is_noted(models, tmp_path):
    """Runs without the location of the observatory in the header of the events are noted."""
    indir = write_gadf(tmp_path / "in", [run(2, 50, GEOLON=None)])
    with fits.open(indir / "obs-index.fits.gz", mode="update") as hdus:
        hdus[1].header["GEOLON"], hdus[1].header["GEOLAT"] = 16.5, -23.3
    report = attach(models, indir, "GADF", tmp_path / "store")
    assert report.runs[0].missing[0] == "site"
    (note,) = (line for line in str(report).splitlines() if "GEOLON" in line)
    assert note.startswith("note: 1 run without site")
