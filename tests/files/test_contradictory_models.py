"""Models whose HDUs, columns, keywords or files contradict each other are refused, instead of giving wrong rates."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

import bgnb
from bgnb import DataError, read_group_model, read_model, read_models, read_spline, write_groups, write_model, write_spline
from bgnb.files.epoch_directory import read_epoch_models
from tests.helpers.errors import raises
from tests.helpers.model_directories import model_directory
from tests.helpers.models import stating_model
from tests.helpers.run_files import run, write_gadf

HDUS = {"COUNTS": "COUNTS", "LIVETIME": "LIVETIME", "ERROR": "ERROR", "BACKGROUND": "BKG"}
NAME = "bg_cube_model_group27_table.fits.gz"


def changed(path: Path, change: Callable[[fits.HDUList], Any]) -> None:
    """Change a FITS file, with new checksums."""
    with fits.open(path) as hdus:
        for hdu in hdus:
            hdu.data  # noqa: B018 # read before the file is replaced
        change(hdus)
        hdus.writeto(path, overwrite=True, checksum=True)


def values(hdu: str, column: str, factor: Any, where: Any = ...) -> Callable[[fits.HDUList], None]:
    """Return a function that multiplies values of a column."""

    def change(hdus: fits.HDUList) -> None:
        hdus[hdu].data[column][where] = hdus[hdu].data[column][where] * factor

    return change


def keyword(hdu: str | int, name: str, value: Any) -> Callable[[fits.HDUList], None]:
    """Return a function that sets a keyword, or removes it."""
    return lambda hdus: hdus[hdu].header.remove(name) if value is None else hdus[hdu].header.set(name, value)


def unit(hdu: str, column: str, value: str) -> Callable[[fits.HDUList], None]:
    """Return a function that sets the unit of a column."""
    return lambda hdus: hdus[hdu].columns.change_unit(column, value)


def text(hdu: str, column: str) -> Callable[[fits.HDUList], None]:
    """Return a function that replaces a column by a text."""

    def change(hdus: fits.HDUList) -> None:
        table = hdus[hdu]
        others = [each for each in table.columns if each.name != column]
        replaced = fits.Column(column, "3A", array=["abc"] * len(table.data))
        hdus[hdu] = fits.BinTableHDU.from_columns([*others, replaced], name=hdu)

    return change


CONTRADICTIONS = {
    "livetime NaN": ("bad-column", "LIVETIME", values("LIVETIME", "LIVETIME", np.nan)),
    "rates beyond single precision": ("bad-column", "BKG", values("BACKGROUND", "BKG", 1e300, (0, 1, 2, 3))),
    "errors beyond single precision": ("bad-column", "ERROR", values("ERROR", "ERROR", 1e300, (0, 1, 2, 3))),
    "endless livetime": ("bad-column", "LIVETIME", values("LIVETIME", "LIVETIME", np.inf, (0, 0, 0, 0))),
    "livetime beyond that of the runs": ("bad-column", "RUNS", values("LIVETIME", "LIVETIME", 3)),
    "counts beyond those of the runs": ("bad-column", "RUNS", values("COUNTS", "COUNTS", 3)),
    "livetime in hours": ("bad-column", "RUNS", unit("LIVETIME", "LIVETIME", "h")),
    "livetime in metres": ("bad-unit", "LIVETIME", unit("LIVETIME", "LIVETIME", "m")),
    "threshold in hours": ("bad-unit", "LO_THRES", unit("RUNS", "LO_THRES", "h")),
    "livetimes of runs as text": ("bad-column", "LIVETIME", text("RUNS", "LIVETIME")),
    "edges as text": ("bad-column", "ENERG_LO", text("BACKGROUND", "ENERG_LO")),
    "ends of bins in GeV": ("bad-column", "ENERG", unit("BACKGROUND", "ENERG_HI", "GeV")),
    "ends of bins in metres": ("bad-unit", "ENERG_HI", unit("BACKGROUND", "ENERG_HI", "m")),
    "no runs with events": ("missing-column", "EVENTS", lambda hdus: hdus["RUNS"].columns.del_col("EVENTS")),
    "no time base": ("missing-keyword", "TIMEBASE", keyword("BACKGROUND", "TIMEBASE", None)),
    "unknown time base": ("bad-keyword", "TIMEBASE", keyword("BACKGROUND", "TIMEBASE", "OnTime")),
    "other frame": ("bad-keyword", "FOVALIGN", keyword("BACKGROUND", "FOVALIGN", "RADEC")),
    "reversed frame": ("bad-keyword", "FOVALIGN", keyword("BACKGROUND", "FOVALIGN", "REVERSE_LON_RADEC")),
    "unknown edge": ("bad-keyword", "CAMERA", keyword(0, "CAMERA", "square")),
    "image": ("bad-header", "COUNTS", lambda hdus: hdus.__setitem__("COUNTS", fits.ImageHDU(np.ones(3), name="COUNTS"))),
}
for _hdu, _column in HDUS.items():
    CONTRADICTIONS[f"two HDUs {_hdu}"] = ("ambiguous-hdu", _hdu, lambda hdus, name=_hdu: hdus.append(hdus[name].copy()))
    if _hdu != "BACKGROUND":
        for _axis in ("ENERG", "DETX", "DETY"):
            CONTRADICTIONS[f"{_axis} of {_hdu}"] = (
                "axes-mismatch",
                _hdu,
                lambda hdus, hdu=_hdu, axis=_axis: [values(hdu, f"{axis}_{end}", 1.1)(hdus) for end in ("LO", "HI")],
            )


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictory_models_are_refused(tmp_path, name):
    """Name the file, and the HDU, column or keyword."""
    write_model(stating_model(), tmp_path / "m.fits")
    code, word, change = CONTRADICTIONS[name]
    changed(tmp_path / "m.fits", change)
    with raises(code, "m.fits", word, kind=DataError):
        read_model(tmp_path / "m.fits")


def test_fractions_of_counts_are_refused(tmp_path):
    """Counts are whole numbers."""
    write_model(stating_model(), tmp_path / "m.fits")

    def halve(hdus: fits.HDUList) -> None:
        columns = [
            fits.Column(each.name, each.format.replace("K", "D"), each.unit, dim=each.dim, array=hdus["COUNTS"].data[each.name])
            for each in hdus["COUNTS"].columns
        ]
        hdus["COUNTS"] = fits.BinTableHDU.from_columns(columns, hdus["COUNTS"].header)
        hdus["COUNTS"].data["COUNTS"][0, 1, 1, 0] += 0.5

    changed(tmp_path / "m.fits", halve)
    with raises("bad-column", "m.fits", "COUNTS", "whole", kind=DataError):
        read_model(tmp_path / "m.fits")


def test_damaged_data_are_refused(tmp_path):
    """A changed bit of the data is detected without compression; keywords may be edited."""
    path = tmp_path / "m.fits"
    write_model(stating_model(), path)
    fits.setval(path, "OBSERVER", value="Mayer")
    rate = read_model(path).rate.quantity
    content = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        content[hdus["BACKGROUND"].fileinfo()["datLoc"] + 2000] ^= 1
    path.write_bytes(content)
    with raises("damaged", "m.fits", "BACKGROUND", "DATASUM", kind=DataError):
        read_model(path)
    changed(path, lambda hdus: None)
    assert not np.array_equal(read_model(path).rate.quantity, rate)


def test_units_of_runs_are_converted(tmp_path):
    """Columns in other units than those that bgnb writes are converted."""
    write_model(stating_model(), tmp_path / "m.fits")
    changed(tmp_path / "m.fits", lambda hdus: (values("RUNS", "ONTIME", 1e3)(hdus), unit("RUNS", "ONTIME", "ms")(hdus)))
    found = read_model(tmp_path / "m.fits").stack.runs
    assert [run.ontime_s for run in found] == pytest.approx([1600.0, 1900.25])


@pytest.mark.parametrize("altitude", [90.0, 89.0, 5.0])
def test_splines_of_runs_at_one_altitude_are_read(tmp_path, altitude):
    """The range of zenith angles of such a spline is wider than that of its runs, but ends at the zenith."""
    write_gadf(tmp_path / "in", [run(obs_id, 100, pointing=(altitude, 30.0)) for obs_id in (2, 4)])
    made = bgnb.make_models(tmp_path / "in", "GADF", select="all", pointing="header", n_energy=5, n_fov=8)
    bgnb.write_models(made, tmp_path / "out")
    expected = made.models.rate_for(altitude, 30).rate.quantity
    assert np.array_equal(read_models(tmp_path / "out").rate_for(altitude, 30).rate.quantity, expected)


def test_files_of_other_groups_are_refused(tmp_path):
    """A model under the name of another group, and two files of a group, are refused."""
    directory = model_directory(tmp_path / "models")
    changed(directory / NAME, keyword(0, "GROUP_ID", 27))
    assert read_models(directory).group_ids == [27]
    shutil.move(directory / NAME, directory / NAME.replace("27", "15"))
    for read in (read_models, lambda path: read_group_model(path, 15)):
        with raises("groups-mismatch", "group15", "27"):
            read(directory)
    for name in (NAME.removesuffix(".gz"), NAME.replace("27", "027")):
        twice = model_directory(tmp_path / name)
        shutil.copy(twice / NAME, twice / name)
        with raises("groups-mismatch", NAME, name):
            read_models(twice)


@pytest.fixture
def pointed(tmp_path) -> Path:
    """Write models of two groups that state the pointings of their runs, but no GROUP_ID."""
    directory = model_directory(tmp_path / "models", groups=(27, 15))
    for group_id, (altitude, azimuth) in {27: (80.0, 170.0), 15: (42.0, 190.0)}.items():
        path = directory / NAME.replace("27", str(group_id))
        model = read_model(path)
        runs = tuple(replace(run, alt_pnt=altitude, az_pnt=azimuth) for run in model.stack.runs)
        stack = replace(model.stack, runs=runs)
        write_model(replace(model, stack=stack), path, {"ALT_PNT": altitude + 0.5, "AZ_PNT": azimuth})
    return directory


def test_exchanged_models_are_refused(pointed):
    """A model whose runs point into other groups is not used, also without GROUP_ID, and whoever reads it."""
    assert read_models(pointed).group_ids == [15, 27]
    paths = [pointed / NAME, pointed / NAME.replace("27", "15"), pointed / "other"]
    for old, new in ((0, 2), (1, 0), (2, 1)):
        paths[old].rename(paths[new])
    for read in (read_models, lambda path: read_group_model(path, 15)):
        with raises("groups-mismatch", "group15", "RUNS", "group 15", kind=DataError):
            read(pointed)
    write_groups(bgnb.ObservationGroups(), pointed / "bg_observation_groups.ecsv", {15: 27, 27: 27, 14: 15})
    with raises("groups-mismatch"):
        read_models(pointed)


def test_runs_at_the_edge_of_a_group_belong_to_it(pointed):
    """The mean of equal altitudes and azimuths may be rounded to just outside the group that begins there."""
    model = read_model(pointed / NAME)
    runs = tuple(replace(run, alt_pnt=np.nextafter(72, 0), az_pnt=np.nextafter(90, 0)) for run in model.stack.runs)
    write_model(replace(model, stack=replace(model.stack, runs=runs)), pointed / NAME, {"ALT_PNT": 72.0, "AZ_PNT": 90.0})
    assert read_models(pointed).group_ids == [15, 27]


def test_merged_groups_contain_the_runs_of_their_model(pointed):
    """A model may have runs of any group that it serves."""
    shutil.move(pointed / NAME.replace("27", "15"), pointed / NAME)
    write_groups(bgnb.ObservationGroups(), pointed / "bg_observation_groups.ecsv", {15: 27, 27: 27})
    assert read_models(pointed).group_ids == [27]


def test_altitude_that_is_not_that_of_the_runs_is_refused(pointed):
    """The interpolation between groups needs the mean altitude of the runs."""
    changed(pointed / NAME, keyword(0, "ALT_PNT", 60.0))
    with raises("bad-keyword", NAME, "ALT_PNT is 60 deg", "80 deg", kind=DataError):
        read_models(pointed)


def test_missing_models_are_refused(pointed):
    """A model that the table of groups names is not replaced by its neighbours, unless the table says so."""
    (pointed / NAME).unlink()
    assert read_models(pointed).group_ids == [15]  # the table does not say which groups have models
    for model_ids in ({15: 15, 27: 27}, {15: 15}):
        write_groups(bgnb.ObservationGroups(), pointed / "bg_observation_groups.ecsv", model_ids)
        if 27 in model_ids:
            with raises("not-found", str(pointed), "group 27", "MODEL_ID", kind=DataError):
                read_models(pointed)
    assert read_models(pointed).group_ids == [15]


def half_of_the_counts(hdus):
    """Leave out half of the bins in DETY, but not their edges."""
    columns = [
        fits.Column(
            "COUNTS",
            f"{column.array[:, :, ::2].size}K",
            dim=str(column.array[0, :, ::2].shape[::-1]),
            unit=column.unit,
            array=column.array[:, :, ::2],
        )
        if column.name == "COUNTS"
        else column
        for column in hdus["COUNTS"].columns
    ]
    header = hdus["COUNTS"].header
    number = hdus.index_of("COUNTS")
    hdus[number] = fits.BinTableHDU.from_columns(columns, header)


SPLINES = {
    "NaN": ("bad-column", "COEFFICIENTS", values("COEFFICIENTS", "COEFFICIENT", np.nan, 1)),
    "covariance": ("bad-column", "COVARIANCE", lambda hdus: setattr(hdus["COVARIANCE"], "data", np.ones((2, 2)))),
    "infinite covariance": ("bad-column", "COVARIANCE", lambda hdus: hdus["COVARIANCE"].data.fill(np.inf)),
    "order of means": ("bad-column", "MEANS", values("MEANS", "COLUMN", 2)),
    "no means": ("bad-column", "MEANS", lambda hdus: setattr(hdus["MEANS"], "data", hdus["MEANS"].data[:0])),
    "one mean": ("bad-column", "MEANS", lambda hdus: setattr(hdus["MEANS"], "data", hdus["MEANS"].data[:1])),
    "shape of counts": ("bad-column", "COUNTS", half_of_the_counts),
    "fewer coefficients": ("bad-header", "coefficients", lambda hdus: hdus["TERMS"].data["ENERGY"].fill("1")),
    "scatter": ("bad-keyword", "SCATTER", keyword(0, "SCATTER", "small")),
    "endless scatter": ("bad-keyword", "SCATTER", keyword(0, "SCATTER", 1e308)),
    "endless tilt": ("bad-keyword", "TILT", keyword(0, "TILT", 1e308)),
    "negative tilt": ("bad-keyword", "TILT", keyword(0, "TILT", -0.5)),
    "zenith": ("bad-keyword", "COSZ_MIN", keyword(0, "COSZ_MIN", 0.999999)),
    "equal zenith": ("bad-keyword", "COSZ_MIN", lambda hdus: [keyword(0, f"COSZ_{end}", 0.9)(hdus) for end in ("MIN", "MAX")]),
    "no frame": ("missing-keyword", "FOVALIGN", keyword(0, "FOVALIGN", None)),
    "no pixels": ("bad-column", "no pixel", lambda hdus: hdus["CAMERA"].data.fill(0.4)),
    "two tables": ("ambiguous-hdu", "TERMS", lambda hdus: hdus.append(hdus["TERMS"].copy())),
    "other runs": ("groups-mismatch", "other runs", values("COUNTS", "COUNTS", 0)),
    "other axes": (
        "groups-mismatch",
        "other runs",
        lambda hdus: [values("COUNTS", f"ENERG_{end}", 1.1)(hdus) for end in ("LO", "HI")],
    ),
}


@pytest.mark.parametrize("name", SPLINES)
def test_contradictory_splines_are_refused(models, tmp_path, name):
    """A spline with invalid content, or one of other runs, is not used for the models beside it."""
    directory = shutil.copytree(models, tmp_path / "models")
    code, word, change = SPLINES[name]
    changed(directory / "bg_spline.fits.gz", change)
    with raises(code, "bg_spline.fits.gz", word, kind=DataError):
        read_models(directory)


@pytest.mark.parametrize(
    ("name", "read"), [("bg_spline.fits.gz", read_spline), ("bg_cube_model_group*_table.fits.gz", read_model)]
)
def test_tables_of_too_many_rows(models, monkeypatch, name, read):
    """The number of rows, of which a small compressed file may have many millions, is limited before they are read."""
    monkeypatch.setattr("bgnb.observations.fits_table.ROWS_MAX", 1)
    (path,) = models.glob(name)
    with raises("too-large", path, "rows", kind=DataError):
        read(path)


def test_model_of_another_method_needs_the_axes_of_the_spline(models, tmp_path):
    """A model on other axes, copied into the directory of a spline, cannot be used with its errors."""
    directory = shutil.copytree(models, tmp_path / "models")
    path = next(directory.glob("*_table.fits.gz"))
    own = read_model(path).axes
    for axes in (bgnb.CubeAxes.regular(n_energy=2, n_fov=4), own):
        nothing = np.zeros(axes.shape, np.int64)
        stack = bgnb.Stack(axes, "ALTAZ", nothing, nothing, ())
        rate = bgnb.Cube(axes, nothing / u.Unit("MeV s sr"))
        write_model(bgnb.BackgroundModel(rate, stack, "classic"), path, {"ALT_PNT": 75.0, "AZ_PNT": 180.0})
        if axes != own:
            with raises("groups-mismatch", "bg_spline.fits.gz", "axes", kind=DataError):
                read_models(directory)
            opened = bgnb.ModelDirectory(directory)  # as for pictures and dashboards
            with raises("groups-mismatch", "bg_spline.fits.gz", "axes", kind=DataError):
                [opened.read(group_id) for group_id in opened.group_ids]
    assert any(group.model.method == "classic" for group in read_models(directory).models)


def test_intact_spline_is_read(models, tmp_path):
    """The spline that the cases above change is read, with its means in order."""
    spline = read_spline(models / "bg_spline.fits.gz")
    write_spline(spline, tmp_path / "s.fits")
    again = read_spline(tmp_path / "s.fits")
    assert all(np.array_equal(again.means[name], spline.means[name]) for name in spline.means)
    assert read_models(models).for_pointing is not None


def test_decompressed_directory_is_read(models, tmp_path):
    """All files may be decompressed, also that of the spline, of which there must not be two."""
    directory = shutil.copytree(models, tmp_path / "models")
    for path in directory.glob("*.fits.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert np.array_equal(
        read_models(directory).rate_for(70, 180).rate.quantity, read_models(models).rate_for(70, 180).rate.quantity
    )
    shutil.copy(models / "bg_spline.fits.gz", directory)
    with raises("groups-mismatch", "bg_spline.fits.gz", "bg_spline.fits;"):
        read_models(directory)


GROUPS = {
    "no such group": ("groups-mismatch", "MODEL_ID", [99] * 28),
    "group of another model": ("groups-mismatch", "MODEL_ID", [27] * 27 + [-1]),
    "fractions": ("bad-column", "MODEL_ID", [27.5] * 28),
    "truth values": ("bad-column", "MODEL_ID", [True] * 28),
    "empty cells": ("bad-column", "MODEL_ID", np.ma.masked_all(28, int)),
    "text": ("bad-column", "MODEL_ID", ["x"] * 28),
    "complex": ("bad-column", "ALT_MIN", [1j] * 28),
    "fractional groups": ("bad-column", "GROUP_ID", np.arange(28.0)),
}


@pytest.mark.parametrize("name", GROUPS)
def test_contradictory_groups_are_refused(tmp_path, name):
    """Numbers of groups are integers, and a model that is used for a group is used for its own."""
    directory = model_directory(tmp_path / "models")
    code, column, values = GROUPS[name]
    table = Table.read(directory / "bg_observation_groups.ecsv")
    table[column] = values
    table.write(directory / "bg_observation_groups.ecsv", overwrite=True)
    with raises(code, "bg_observation_groups.ecsv", column, kind=DataError):
        read_models(directory)


def test_models_of_undefined_groups_are_refused(tmp_path):
    """The groups of another directory do not define the group of a model."""
    directory = model_directory(tmp_path / "models")
    write_groups(bgnb.ObservationGroups([0, 45, 90] * u.deg), directory / "bg_observation_groups.ecsv")
    with raises("groups-mismatch", "bg_observation_groups.ecsv", "4 groups", "27", kind=DataError):
        read_models(directory)


MIXED = {
    "frames": ("frame-mismatch", "RADEC", "FOVALIGN"),
    "instruments": ("mixed-instruments", "VERITAS", "TELESCOP"),
    "selections": ("mixed-selections", "MULTIP > 2", "EVENTSEL"),
}


@pytest.mark.parametrize("name", MIXED)
def test_models_of_different_directories_are_refused(tmp_path, name):
    """A model that was copied from another directory is not used as if it had the frame or the runs of the first one."""
    code, value, keyword_name = MIXED[name]
    directory = model_directory(tmp_path / "models", groups=(27, 15))

    def replaced(hdus: fits.HDUList, found: str) -> None:
        for hdu in (hdus[0], hdus["BACKGROUND"]):
            hdu.header[keyword_name] = found

    usual = {"FOVALIGN": "ALTAZ", "TELESCOP": "H.E.S.S.", "EVENTSEL": ""}[keyword_name]
    changed(directory / NAME, lambda hdus: replaced(hdus, usual))
    changed(directory / NAME.replace("27", "15"), lambda hdus: replaced(hdus, usual))
    assert read_models(directory).group_ids == [15, 27]
    changed(directory / NAME, lambda hdus: replaced(hdus, value))
    with raises(code, str(directory), "groups 15 and 27", keyword_name, value, kind=DataError):
        read_models(directory)


def test_altitudes_of_models_of_no_group(tmp_path):
    """A model that MODEL_ID does not name is for the altitudes of its own group."""
    directory = model_directory(tmp_path / "models")
    write_groups(bgnb.ObservationGroups(), directory / "bg_observation_groups.ecsv", {})
    assert read_models(directory).altitudes == (72, 90)


@pytest.mark.parametrize("content", ["{}", '{"epochs": 5}', '{"epochs": [5]}', '{"epochs": ["../models"]}'])
def test_invalid_epochs_are_refused(tmp_path, content):
    """Epochs in a report that are not names of directories are an error of the report."""
    (tmp_path / "report.json").write_text(content)
    with raises("damaged", "report.json", "epochs"):
        read_epoch_models(tmp_path)


def test_notes_in_reports_can_be_written(tmp_path):
    """Control characters in notes, and parts of names that are not UTF-8, do not reach pictures or pages."""
    directory = model_directory(tmp_path / "models")
    (directory / "report.json").write_text(json.dumps({"notes": ["run \udcff\x1b[31m", 5]}))
    assert bgnb.ModelDirectory(directory).notes == ("run \ufffd\ufffd[31m", "5")
    bgnb.plot(directory, output=tmp_path / "model.svg")
    assert "run \ufffd\ufffd[31m" in (tmp_path / "model.svg").read_text("utf-8")


@pytest.mark.parametrize("counts", ["NaN", "1e400"])
def test_infinite_counts_in_reports_are_ignored(tmp_path, counts):
    """Counts that are not finite are read from the models instead."""
    directory = model_directory(tmp_path / "models")
    (directory / "report.json").write_text(f'{{"groups": [{{"group_id": 27, "counts": {counts}}}]}}')
    assert bgnb.ModelDirectory(directory).counts == {27: float(read_model(directory / NAME).stack.counts.sum())}
