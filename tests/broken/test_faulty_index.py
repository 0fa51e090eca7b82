"""An index or a catalogue that cannot be used is one line of error, and nothing is written."""

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
from tests.helpers.errors import raises
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
    """Replace the index by a changed, decompressed one."""

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


def without_rows(table):
    return table[:0]


UNUSABLE = {
    "no obs-index": (gone(OBS), "not-found", "obs-index.fits.gz nor obs-index.fits", "scheme"),
    "no hdu-index": (gone(HDU), "not-found", "hdu-index.fits.gz nor hdu-index.fits"),
    "obs-index empty": (content(OBS, lambda old: b""), "empty-file", "obs-index.fits.gz"),
    "hdu-index empty": (content(HDU, lambda old: b""), "empty-file", "hdu-index.fits.gz"),
    "obs-index truncated": (content(OBS, lambda old: old[:-100]), "truncated", "obs-index.fits.gz"),
    "hdu-index truncated": (content(HDU, lambda old: old[:-100]), "truncated", "hdu-index.fits.gz"),
    "plain obs-index truncated": (plain(OBS, lambda old: old[:-2880]), "truncated", "obs-index.fits, HDU 1"),
    "plain hdu-index truncated": (plain(HDU, lambda old: old[:5000]), "truncated", "hdu-index.fits", "HDU 1"),
    "obs-index damaged": (content(OBS, lambda old: old[:90] + bytes(8) + old[98:]), "damaged", "obs-index.fits.gz"),
    "web page": (content(OBS, lambda old: b"<html>"), "not-fits", "obs-index.fits.gz", "web page"),
    "Git LFS pointer": (content(HDU, lambda old: b"version https://git-lfs"), "not-fits", "hdu-index.fits.gz", "git lfs pull"),
    "directory": (instead(OBS, Path.mkdir), "not-a-file", "obs-index.fits.gz", "directory"),
    "pipe": (instead(HDU, os.mkfifo), "not-a-file", "hdu-index.fits.gz", "pipe"),
    "device": (instead(OBS, lambda path: path.symlink_to("/dev/zero")), "not-a-file", "obs-index.fits.gz", "device"),
    "link to nothing": (instead(OBS, lambda path: path.symlink_to("gone")), "not-found", "obs-index.fits.gz", "gone"),
    "no table": (instead(OBS, fits.PrimaryHDU(np.zeros(3)).writeto), "missing-hdu", "obs-index.fits.gz", "HDU 1"),
    "an image": (
        instead(HDU, lambda path: fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.eye(3))]).writeto(path)),
        "missing-hdu",
        "hdu-index.fits.gz",
        "HDU 1",
    ),
    "no OBS_ID": (without_column("obs-index", "OBS_ID"), "missing-column", "obs-index.fits.gz, HDU 1", "column OBS_ID"),
    "no OBS_ID of HDUs": (without_column("hdu-index", "OBS_ID"), "missing-column", "hdu-index.fits.gz, HDU 1", "column OBS_ID"),
    "no FILE_NAME": (
        without_column("hdu-index", "FILE_NAME"),
        "missing-column",
        "hdu-index.fits.gz, HDU 1",
        "column FILE_NAME",
    ),
    "no HDU_NAME": (without_column("hdu-index", "HDU_NAME"), "missing-column", "hdu-index.fits.gz, HDU 1", "column HDU_NAME"),
    "OBS_ID of words": (column("OBS_ID", ["a", "b", "c"]), "bad-column", "obs-index.fits.gz, HDU 1", "column OBS_ID"),
    "OBS_ID not whole": (column("OBS_ID", [2.5, 4.0, 8.0]), "bad-column", "obs-index.fits.gz, HDU 1", "column OBS_ID"),
    "OBS_ID too large": (column("OBS_ID", ["2", "4", "9" * 30]), "bad-column", "obs-index.fits.gz, HDU 1", "column OBS_ID"),
    "OBS_ID of vectors": (column("OBS_ID", np.eye(3, dtype=int)), "bad-column", "obs-index.fits.gz, HDU 1", "column OBS_ID"),
    "no rows": (in_index("obs-index", without_rows), "bad-index", "obs-index.fits.gz, HDU 1", "no runs"),
    "no rows of HDUs": (in_index("hdu-index", without_rows), "bad-index", "hdu-index.fits.gz, HDU 1", "no event lists"),
    "no HDUs of a known kind": (
        in_index("hdu-index", lambda table: table[table["HDU_TYPE"] == "gti"]),
        "bad-index",
        "hdu-index.fits.gz, HDU 1",
        "no event lists",
    ),
    "positions not angles": (column("DEC_PNT", [1.0, 2.0, 3.0], "TeV"), "bad-unit", "column DEC_PNT", "'TeV'"),
    "the other scheme's directory": (
        lambda indir: [OBS(indir).unlink(), HDU(indir).unlink()],
        "not-found",
        "obs-index.fits",
        "scheme",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_index_stops(indir, tmp_path, name):
    """Stop with one line that names the index, and write nothing."""
    change, code, *words = UNUSABLE[name]
    change(indir)
    with raises(code, *words) as caught:
        make_models(indir, tmp_path / "out")
    assert str(caught.value).isprintable()
    assert names(tmp_path) == {"in"}


@pytest.mark.parametrize(("indir", "code"), [("x" * 300, "unreadable"), ("file/in", "not-found")])
def test_impossible_input_directory(tmp_path, indir, code):
    """Stop with one line that names the directory, and write nothing."""
    (tmp_path / "file").touch()
    with raises(code, indir):
        make_models(tmp_path / indir, tmp_path / "out")
    assert names(tmp_path) == {"file"}


def test_errors_of_scheme_hess(tmp_path):
    """Name files of runs and the index in scheme HESS as well."""
    indir = write_hess(tmp_path / "in", [parts_of_run(obs_id) for obs_id in EVENTS])
    hess_run_file(indir, 4, "events").unlink()
    hess_run_file(indir, 8, "aeff_2d").write_bytes(b"")
    report = make_bg_cube_models(indir, "HESS", tmp_path / "out", select="all", n_energy=6, n_fov=4)
    assert totals(report) == good_totals(2)
    for obs_id, file, code in (
        (4, "hess_events_000004.fits.gz", "not-found"),
        (8, "hess_aeff_2d_000008.fits.gz", "empty-file"),
    ):
        assert file in report.faults[obs_id]
        assert report.faults[obs_id].endswith(f"[{code}]")
    table = Table.read(indir / "runinfo.fits")
    table.rename_column("OBS_ID", "RUN")
    table.meta.clear()
    table.write(indir / "runinfo.fits", overwrite=True)
    with raises("missing-column", "runinfo.fits, HDU 1", "OBS_ID"):
        make_bg_cube_models(indir, "HESS", tmp_path / "other", select="all")


CATALOGS = {
    "negative radius": ({"EXTENSION": [0.1, -1.0]}, ("EXTENSION of B", "-1 deg", "0 and 180 deg")),
    "infinite radius": ({"EXTENSION": [np.inf, 0.0]}, ("EXTENSION of A", "inf deg")),
    "radius of text": ({"EXTENSION": ["wide", "small"]}, ("column EXTENSION", "angle")),
    "position NaN": ({"RA": [np.nan, 3.0]}, ("RA of A", "nan deg", "-360 and 360 deg")),
    "position beyond the pole": ({"DEC": [3.0, 91.0]}, ("DEC of B", "91 deg", "-90 and 90 deg")),
    "position in hours as text": ({"RA": ["05h34m", "1h"]}, ("column RA", "angle")),
    "no position": ({"DEC": None}, ("no column DEC", "NAME, RA, EXTENSION")),
    "empty position": ({"RA": MaskedColumn([1.0, 2.0], mask=[False, True])}, ("RA of B", "nan deg")),
}


def catalog_of(changes):
    columns = {"NAME": ["A", "B"], "RA": [10.0, 20.0], "DEC": [0.0, 5.0], "EXTENSION": [0.0, 0.2]} | changes
    return Table({name: values for name, values in columns.items() if values is not None})


@pytest.mark.parametrize("sources", ["drop", "mask"])
@pytest.mark.parametrize("name", CATALOGS)
def test_impossible_catalogue_stops(good_runs, tmp_path, name, sources):
    """Stop with one line that names the catalogue and its column, and write nothing."""
    changes, words = CATALOGS[name]
    catalog_of(changes).write(tmp_path / "catalog.ecsv")
    for catalog, where in ((tmp_path / "catalog.ecsv", "catalog.ecsv: "), (catalog_of(changes), "catalog: ")):
        with raises("bad-catalog", where, *words) as caught:
            make_bg_cube_models(good_runs, "GADF", tmp_path / "out", catalog=catalog, sources=sources)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"catalog.ecsv"}


@pytest.mark.parametrize("name", ["catalog.ecsv", "catalog.fits"])
def test_empty_radius_is_a_point_source(tmp_path, name):
    """Read an empty EXTENSION as 0."""
    extension = MaskedColumn([0.5, 7.0], mask=[False, True])
    catalog_of({"EXTENSION": extension}).write(tmp_path / name)
    for catalog in (tmp_path / name, catalog_of({"EXTENSION": extension})):
        assert read_catalog(catalog)["EXTENSION"].tolist() == [0.5, 0.0]


def test_catalogue_in_radians(indir, tmp_path):
    """Skip the runs near a source of a table in memory: one source 1 deg from the pointing of all runs, one far away."""
    pointing = parts_of_run(2)
    sources = catalog_of({"RA": np.radians([pointing["RA_PNT"], 0.0]), "DEC": np.radians([pointing["DEC_PNT"] - 1, 80.0])})
    sources["RA"].unit = sources["DEC"].unit = "rad"
    with pytest.raises(BgnbError, match=r"3 near a known source"):
        make_bg_cube_models(indir, "GADF", tmp_path / "out", catalog=sources)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", catalog=sources[1:], n_energy=6, n_fov=4)
    assert totals(report) == good_totals(*EVENTS)
