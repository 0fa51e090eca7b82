"""An index or a catalogue that cannot be used stops the command with one line, before anything is written."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from bgnb import BgnbError, make_bg_cube_models, read_catalog
from bgnb.observations.datastore import hess_run_file
from tests.broken.directory import EVENTS, good_totals, in_index, make_models, parts_of_run, totals
from tests.helpers.files import names
from tests.helpers.run_files import write_hess


def index(name):
    return lambda indir: indir / f"{name}.fits.gz"


OBS, HDU = index("obs-index"), index("hdu-index")


def gone(path):
    return lambda indir: path(indir).unlink()


def content(path, change):
    return lambda indir: path(indir).write_bytes(change(path(indir).read_bytes()))


def plain(path, change):
    """The index inflated, changed, and in the place of the other."""

    def apply(indir):
        path(indir).with_suffix("").write_bytes(change(gzip.decompress(path(indir).read_bytes())))
        path(indir).unlink()

    return apply


def instead(path, make):
    def apply(indir):
        path(indir).unlink()
        make(path(indir))

    return apply


def without_column(index_name, name):
    return in_index(index_name, lambda table: table.remove_column(name))


def column(name, values, unit=None, index_name="obs-index"):
    def change(table):
        table.replace_column(name, Table({name: values})[name])
        table[name].unit = unit

    return in_index(index_name, change)


def none(table):
    return table[:0]


UNUSABLE = {
    "no obs-index": (gone(OBS), "has neither obs-index.fits.gz nor obs-index.fits", "is the scheme right"),
    "no hdu-index": (gone(HDU), "has neither hdu-index.fits.gz nor hdu-index.fits"),
    "obs-index empty": (content(OBS, lambda old: b""), "obs-index.fits.gz: is empty"),
    "hdu-index empty": (content(HDU, lambda old: b""), "hdu-index.fits.gz: is empty"),
    "obs-index cut": (content(OBS, lambda old: old[:-100]), "obs-index.fits.gz: is cut"),
    "hdu-index cut": (content(HDU, lambda old: old[:-100]), "hdu-index.fits.gz: is cut"),
    "plain obs-index cut": (plain(OBS, lambda old: old[:-2880]), "obs-index.fits, HDU 1: the file ends within the table"),
    "plain hdu-index cut": (plain(HDU, lambda old: old[:5000]), "hdu-index.fits: is cut, at the header of HDU 1"),
    "obs-index damaged": (content(OBS, lambda old: old[:90] + bytes(8) + old[98:]), "obs-index.fits.gz: is damaged"),
    "web page": (content(OBS, lambda old: b"<html>"), "obs-index.fits.gz: is a web page"),
    "pointer": (content(HDU, lambda old: b"version https://git-lfs"), "hdu-index.fits.gz: is a pointer of git-lfs"),
    "folder": (instead(OBS, Path.mkdir), "obs-index.fits.gz: is a folder, not a file"),
    "pipe": (instead(HDU, os.mkfifo), "hdu-index.fits.gz: is a pipe or a device, not a file"),
    "device": (instead(OBS, lambda path: path.symlink_to("/dev/zero")), "obs-index.fits.gz: is a pipe or a device"),
    "link to nothing": (
        instead(OBS, lambda path: path.symlink_to("gone")),
        "is a link to gone, which is not there",
    ),
    "no table": (instead(OBS, fits.PrimaryHDU(np.zeros(3)).writeto), "obs-index.fits.gz: there is no table HDU 1"),
    "an image": (
        instead(HDU, lambda path: fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.eye(3))]).writeto(path)),
        "no table HDU 1",
    ),
    "no OBS_ID": (without_column("obs-index", "OBS_ID"), "obs-index.fits.gz, HDU 1: column OBS_ID is missing"),
    "no OBS_ID of HDUs": (without_column("hdu-index", "OBS_ID"), "hdu-index.fits.gz, HDU 1: column OBS_ID is missing"),
    "no FILE_NAME": (without_column("hdu-index", "FILE_NAME"), "hdu-index.fits.gz, HDU 1: column FILE_NAME is missing"),
    "no HDU_NAME": (without_column("hdu-index", "HDU_NAME"), "hdu-index.fits.gz, HDU 1: column HDU_NAME is missing"),
    "OBS_ID of words": (column("OBS_ID", ["a", "b", "c"]), "HDU 1: column OBS_ID must hold whole numbers"),
    "OBS_ID not whole": (column("OBS_ID", [2.5, 4.0, 8.0]), "HDU 1: column OBS_ID must hold whole numbers"),
    "OBS_ID too large": (column("OBS_ID", ["2", "4", "9" * 30]), "HDU 1: column OBS_ID must hold whole numbers"),
    "OBS_ID of vectors": (column("OBS_ID", np.eye(3, dtype=int)), "HDU 1: column OBS_ID must hold whole numbers"),
    "no rows": (in_index("obs-index", none), "obs-index.fits.gz, HDU 1: has no runs"),
    "no rows of HDUs": (in_index("hdu-index", none), "hdu-index.fits.gz, HDU 1: names no event list"),
    "no HDUs of known kinds": (
        in_index("hdu-index", lambda table: table[table["HDU_TYPE"] == "gti"]),
        "hdu-index.fits.gz, HDU 1: names no event list",
    ),
    "positions are text": (column("RA_PNT", ["a", "b", "c"]), "column RA_PNT must hold one number a row"),
    "positions are no angles": (
        column("DEC_PNT", [1.0, 2.0, 3.0], "TeV"),
        "column DEC_PNT has the unit 'TeV'",
    ),
    "the other scheme's directory": (lambda indir: [OBS(indir).unlink(), HDU(indir).unlink()], "is it a directory of runs"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_index_that_cannot_be_used_stops_with_one_line(indir, tmp_path, name):
    change, *words = UNUSABLE[name]
    change(indir)
    with pytest.raises(BgnbError) as caught:
        make_models(indir, tmp_path / "out")
    message = str(caught.value)
    assert message.isprintable()
    for word in words:
        assert word in message
    assert names(tmp_path) == {"in"}


@pytest.mark.parametrize(
    ("indir", "word"), [("x" * 300, "cannot be read: File name too long"), ("file/in", "no such directory")]
)
def test_a_directory_that_cannot_be(tmp_path, indir, word):
    (tmp_path / "file").touch()
    with pytest.raises(BgnbError, match=word):
        make_models(tmp_path / indir, tmp_path / "out")
    assert names(tmp_path) == {"file"}


def test_scheme_hess_names_index_and_runs_as_well(tmp_path):
    indir = write_hess(tmp_path / "in", [parts_of_run(obs_id) for obs_id in EVENTS])
    hess_run_file(indir, 4, "events").unlink()
    hess_run_file(indir, 8, "aeff_2d").write_bytes(b"")
    report = make_bg_cube_models(indir, "HESS", tmp_path / "out", select="all", n_energy=6, n_fov=4)
    assert totals(report) == good_totals(2)
    assert "hess_events_000004.fits.gz: there is no such file" in report.faults[4]
    assert "hess_aeff_2d_000008.fits.gz: is empty" in report.faults[8]
    table = Table.read(indir / "runinfo.fits")
    table.rename_column("OBS_ID", "RUN")
    table.meta.clear()
    table.write(indir / "runinfo.fits", overwrite=True)
    with pytest.raises(BgnbError, match=r"runinfo\.fits, HDU 1: column OBS_ID is missing"):
        make_bg_cube_models(indir, "HESS", tmp_path / "other", select="all")


CATALOGS = {
    "negative radius": ({"EXTENSION": [0.1, -1.0]}, "EXTENSION of B is -1 deg, and must lie within 0 and 180 deg"),
    "radius that is no number": ({"EXTENSION": [0.1, np.nan]}, "EXTENSION of B is nan deg"),
    "infinite radius": ({"EXTENSION": [np.inf, 0.0]}, "EXTENSION of A is inf deg"),
    "radius of text": ({"EXTENSION": ["wide", "small"]}, "column EXTENSION of the catalogue is not an angle"),
    "position that is no number": ({"RA": [np.nan, 3.0]}, "RA of A is nan deg, and must lie within -360 and 360 deg"),
    "position beyond the pole": ({"DEC": [3.0, 91.0]}, "DEC of B is 91 deg, and must lie within -90 and 90 deg"),
    "position in hours as text": ({"RA": ["05h34m", "1h"]}, "column RA of the catalogue is not an angle"),
    "no position": ({"DEC": None}, "the catalogue has no column DEC; it has NAME, RA, EXTENSION"),
    "empty position": ({"RA": MaskedColumn([1.0, 2.0], mask=[False, True])}, "RA of B is nan deg"),
}


def catalog_of(changes):
    columns = {"NAME": ["A", "B"], "RA": [10.0, 20.0], "DEC": [0.0, 5.0], "EXTENSION": [0.0, 0.2]} | changes
    return Table({name: values for name, values in columns.items() if values is not None})


@pytest.mark.parametrize("sources", ["drop", "mask"])
@pytest.mark.parametrize("name", CATALOGS)
def test_an_impossible_catalogue_stops_with_one_line(good_runs, tmp_path, name, sources):
    changes, word = CATALOGS[name]
    catalog_of(changes).write(tmp_path / "catalog.ecsv")
    for catalog, where in ((tmp_path / "catalog.ecsv", "catalog.ecsv: "), (catalog_of(changes), "catalog: ")):
        with pytest.raises(BgnbError) as caught:
            make_bg_cube_models(good_runs, "GADF", tmp_path / "out", catalog=catalog, sources=sources)
        assert where + word in str(caught.value)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"catalog.ecsv"}


@pytest.mark.parametrize("name", ["catalog.ecsv", "catalog.fits"])
def test_an_empty_radius_means_a_point_source(tmp_path, name):
    extension = MaskedColumn([0.5, 7.0], mask=[False, True])
    catalog_of({"EXTENSION": extension}).write(tmp_path / name)
    for catalog in (tmp_path / name, catalog_of({"EXTENSION": extension})):
        assert read_catalog(catalog)["EXTENSION"].tolist() == [0.5, 0.0]


def test_a_catalogue_in_radians_drops_the_runs_near_its_sources(indir, tmp_path):
    """As a table in memory: one source 1 deg from the pointing of all runs, and one far away."""
    pointing = parts_of_run(2)
    sources = catalog_of({"RA": np.radians([pointing["RA_PNT"], 0.0]), "DEC": np.radians([pointing["DEC_PNT"] - 1, 80.0])})
    sources["RA"].unit = sources["DEC"].unit = "rad"
    with pytest.raises(BgnbError, match=r"no run is left of the 3 .*: 3 near a known source"):
        make_bg_cube_models(indir, "GADF", tmp_path / "out", catalog=sources)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", catalog=sources[1:], n_energy=6, n_fov=4)
    assert totals(report) == good_totals(*EVENTS)
