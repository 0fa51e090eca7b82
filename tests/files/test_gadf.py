"""Models to files and back."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose

from bgnb import (
    BackgroundModel,
    Cube,
    DataError,
    Stack,
    open_runs,
    read_background,
    read_event_list,
    read_model,
    select_off_runs,
    stack_runs,
    write_image,
    write_model,
)
from bgnb.files.gadf import read_model_and_pointing
from tests.helpers.errors import raises
from tests.helpers.models import AXES, asymmetric_model


@pytest.mark.parametrize("name", ["model.fits.gz", "model.fits"])
def test_a_model_survives_its_file(tmp_path, name):
    model = asymmetric_model("RADEC", "michi")
    runs = tuple(replace(run, telescop="VERITAS") for run in model.stack.runs)
    model = replace(model, stack=replace(model.stack, runs=runs))
    write_model(model, tmp_path / name, {"GROUP_ID": 3})
    back = read_model(tmp_path / name)
    assert back.axes == model.axes
    assert np.array_equal(back.rate.quantity, model.rate.quantity)
    assert np.array_equal(back.stack.counts, model.stack.counts)
    assert np.array_equal(back.stack.livetime_us, model.stack.livetime_us)
    assert back.stack.runs == model.stack.runs
    assert (back.method, back.stack.fovalign) == ("michi", "RADEC")


def test_livetime_to_the_microsecond(tmp_path):
    """Write and read livetimes to the microsecond."""
    model = asymmetric_model()
    livetime = np.random.default_rng(4).integers(1, 4_000_000_000, AXES.shape)
    write_model(replace(model, stack=replace(model.stack, livetime_us=livetime)), tmp_path / "m.fits")
    assert np.array_equal(read_model(tmp_path / "m.fits").stack.livetime_us, livetime)


def test_lowest_exposed_energy(tmp_path):
    """LO_THRES is the lower edge of the first exposed plane."""
    model = asymmetric_model()
    counts, livetime = model.stack.counts.copy(), np.zeros(AXES.shape, dtype=np.int64)
    livetime[2, 5, 3], livetime[3:] = 1, 2
    counts[livetime == 0] = 0
    nothing = np.zeros_like(counts)
    for stack, lowest in (
        (Stack(AXES, "ALTAZ", counts, livetime, model.stack.runs), 2),
        (Stack(AXES, "ALTAZ", nothing, nothing, ()), 0),
    ):
        write_model(replace(model, stack=stack), tmp_path / f"m{lowest}.fits")
        header = fits.getheader(tmp_path / f"m{lowest}.fits", "BACKGROUND")
        assert header["LO_THRES"] == pytest.approx(AXES.energy[lowest].value)


def test_mean_pointing(tmp_path):
    """Read the mean pointing, or name the keywords that are missing."""
    path = tmp_path / "m.fits"
    write_model(asymmetric_model(), path, {"ALT_PNT": 47, "AZ_PNT": 190.5})
    assert read_model_and_pointing(path)[1] == (47.0, 190.5)
    for keywords in ({"ALT_PNT": 47.0}, {"ALT_PNT": 47.0, "AZ_PNT": "north"}):
        write_model(asymmetric_model(), path, keywords)
        with raises("missing-keyword", "m.fits", "ALT_PNT", "AZ_PNT"):
            read_model_and_pointing(path)


def test_hdus_units_and_keywords(tmp_path):
    write_model(asymmetric_model(), tmp_path / "m.fits.gz", {"GROUP_ID": 3})
    with fits.open(tmp_path / "m.fits.gz", checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "COUNTS", "LIVETIME", "BACKGROUND", "ERROR", "RUNS"]
        for hdu in hdus:
            assert "CHECKSUM" in hdu.header
            assert "DATASUM" in hdu.header
        header = hdus["BACKGROUND"].header
        expected = {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "BKG", "HDUCLAS3": "FULL-ENCLOSURE", "HDUCLAS4": "BKG_3D"}
        assert {name: header[name] for name in expected} == expected
        assert (header["FOVALIGN"], header["TIMEBASE"], header["TDIM7"]) == ("ALTAZ", "LIVETIME", "(5,9,7)")
        units = {column.name: column.unit for column in hdus["BACKGROUND"].columns}
        assert (units["ENERG_LO"], units["DETX_HI"], units["BKG"]) == ("TeV", "deg", "s-1 MeV-1 sr-1")
        assert hdus["LIVETIME"].columns["LIVETIME"].unit == "s"
        assert hdus["RUNS"].data["OBS_ID"].tolist() == [11, 5_000_000_012]
        assert hdus[0].header["GROUP_ID"] == 3
        # By hand: FITS order (ENERG, DETX, DETY) is numpy order (dety, detx, energy).
        assert hdus["COUNTS"].data["COUNTS"][0][6, 2, 4] == asymmetric_model().stack.counts[4, 6, 2]


def test_date_only_if_set(tmp_path, monkeypatch):
    """Write a date only if SOURCE_DATE_EPOCH is set."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    write_model(asymmetric_model(), tmp_path / "m.fits.gz")
    content = (tmp_path / "m.fits.gz").read_bytes()
    assert content[4:8] == bytes(4)  # where gzip keeps a time
    assert gzip.decompress(content).startswith(b"SIMPLE  =")
    with fits.open(tmp_path / "m.fits.gz") as hdus:
        assert not [hdu.name for hdu in hdus if "DATE" in hdu.header]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    write_model(asymmetric_model(), tmp_path / "dated.fits.gz")
    assert fits.getheader(tmp_path / "dated.fits.gz")["DATE"] == "2001-09-09T01:46:40"


def test_image_of_rate(tmp_path):
    """The image has the rate at the right positions, and the energies."""
    model = asymmetric_model()
    write_image(model, tmp_path / "i.fits.gz")
    with fits.open(tmp_path / "i.fits.gz") as hdus:
        assert hdus[0].header["BUNIT"] == "s-1 MeV-1 sr-1"
        assert_allclose(hdus[0].data, model.rate.quantity.value, rtol=1e-6)
        wcs = WCS(hdus[0].header)
        (detx, dety, plane), unit = wcs.wcs_pix2world([[2, 6, 3]], 0)[0], wcs.wcs.cunit[0]
        assert_allclose([detx, dety, plane], [AXES.detx_centers[2].value, AXES.dety_centers[6].value, 4])
        assert unit == "deg"
        energies = hdus["ENERGIES"].data
        assert energies["BIN"].tolist() == [1, 2, 3, 4, 5]
        for name, edges in (("ENERG_LO", AXES.energy[:-1]), ("ENERG_HI", AXES.energy[1:])):
            assert_allclose(energies[name], edges.value)
            assert hdus["ENERGIES"].columns[name].unit == "TeV"


def test_bins_of_unequal_width_make_no_image(tmp_path):
    model = asymmetric_model()
    for name, edges in (("DETX", AXES.detx), ("DETY", AXES.dety)):
        axes = replace(AXES, **{name.lower(): edges + np.r_[np.zeros(len(edges) - 1), 0.01] * edges.unit})
        uneven = BackgroundModel(Cube(axes, model.rate.quantity), replace(model.stack, axes=axes), "classic")
        with raises("invalid-value", name):
            write_image(uneven, tmp_path / "i.fits.gz")


def write_cube(path, values, tdim, cref=None, columns=()):
    """A BKG_3D file by hand."""
    names = (("ENERG", AXES.energy), ("DETX", AXES.detx), ("DETY", AXES.dety))
    made = [
        fits.Column(f"{name}_{end}", f"{len(edges) - 1}E", unit=str(edges.unit), array=[part])
        for name, edges in names
        for end, part in (("LO", edges[:-1].value), ("HI", edges[1:].value))
    ]
    made.append(fits.Column("BKG", f"{values.size}D", unit="s-1 TeV-1 sr-1", dim=tdim, array=values[None]))
    hdu = fits.BinTableHDU.from_columns(made, name="BKG")
    if cref:
        hdu.header["CREF7"] = cref
    hdu.writeto(path)


def test_both_axis_orders_are_read(tmp_path):
    rate = asymmetric_model().rate.quantity
    values = rate.to_value("s-1 TeV-1 sr-1")
    write_cube(tmp_path / "gadf.fits", values.transpose(1, 2, 0), "(5,9,7)")
    write_cube(tmp_path / "dr1.fits", values.transpose(0, 2, 1), "(7,9,5)")
    odd = "(DETY_LO:DETY_HI,ENERG_LO:ENERG_HI,DETX_LO:DETX_HI)"
    write_cube(tmp_path / "odd.fits", values.transpose(2, 0, 1), "(7,5,9)", odd)
    for name in ("gadf.fits", "dr1.fits", "odd.fits"):
        cube, fovalign = read_background(tmp_path / name)
        assert fovalign == "ALTAZ"
        assert_allclose(cube.quantity.to_value("s-1 TeV-1 sr-1"), values)
    write_cube(tmp_path / "lost.fits", values.transpose(2, 0, 1), "(7,5,9)")
    with raises("bad-header", "BKG", kind=DataError):
        read_background(tmp_path / "lost.fits")


def test_orientation_of_hess_cubes(hess_data):
    """Among all eight orientations, events of off runs have the maximum likelihood in that of the H.E.S.S. cubes."""
    runs = open_runs(hess_data, "GADF")
    turns = [lambda a: a, lambda a: a[:, ::-1], lambda a: a[::-1], lambda a: a[::-1, ::-1]]
    turns += [lambda a, turn=turn: turn(a.T) for turn in turns]
    likelihood = np.zeros(8)
    for obs_id in select_off_runs(runs).kept:
        files = runs.files(obs_id)
        cube, fovalign = read_background(files.events.path)
        assert (cube.axes.shape, fovalign) == ((20, 50, 50), "RADEC")
        stack = stack_runs([read_event_list(files)], cube.axes, fovalign)
        inside = np.hypot(cube.axes.detx_centers.value, cube.axes.dety_centers.value[:, None]) < 2.3
        for counts, rate in zip(stack.counts, cube.quantity.value, strict=True):
            turned = np.array([turn(rate) for turn in turns])
            use = inside & (counts > 0) & np.all(turned > 0, axis=0)
            shape = turned[:, use] / turned[:, inside].sum(axis=1)[:, None]
            likelihood += np.log(shape) @ counts[use]
    assert np.all(likelihood[0] - likelihood[1:] > 50)


def test_what_is_no_model_is_refused(tmp_path):
    with raises("not-found", "none.fits", kind=DataError):
        read_model(tmp_path / "none.fits")
    with raises("not-a-file", tmp_path, kind=DataError):
        read_background(tmp_path)
    (tmp_path / "text.fits").write_text("not FITS")
    with raises("not-fits", "text.fits", kind=DataError):
        read_model(tmp_path / "text.fits")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with raises("not-a-model", "empty.fits", "COUNTS, LIVETIME, BACKGROUND, RUNS", kind=DataError):
        read_model(tmp_path / "empty.fits")


def test_missing_column_is_named(tmp_path):
    path = tmp_path / "m.fits"
    write_model(asymmetric_model(), path)
    with fits.open(path, mode="update") as hdus:
        hdus["COUNTS"].columns.change_name("COUNTS", "EVENTS")
    with raises("missing-column", "m.fits, HDU COUNTS", "column COUNTS", kind=DataError):
        read_model(path)


def test_file_cannot_be_written(tmp_path):
    with raises("not-writable", "nowhere"):
        write_model(asymmetric_model(), tmp_path / "nowhere" / "m.fits.gz")


def test_stated_error_is_written(tmp_path):
    """Write and read a model with an error."""
    model = asymmetric_model()
    stating = replace(model, error=Cube(AXES, model.rate.quantity * np.linspace(0.1, 0.9, 7)[:, None]))
    write_model(stating, tmp_path / "m.fits")
    assert np.array_equal(read_model(tmp_path / "m.fits").error.quantity, stating.error.quantity)


ERRORS = {
    "no rate": (lambda columns, data: columns.change_name("BKG", "RATE"), "missing-column", ["BKG", "BGD"]),
    "no unit": (lambda columns, data: columns.change_unit("BKG", ""), "bad-unit", ["column BKG", "no unit"]),
    "unit of a time": (
        lambda columns, data: columns.change_unit("BKG", "s"),
        "bad-unit",
        ["column BKG", "'s'", "s-1 MeV-1 sr-1"],
    ),
    "unknown unit": (lambda columns, data: columns.change_unit("BKG", "off"), "bad-unit", ["column BKG", "'off'"]),
    "no edges": (lambda columns, data: columns.change_name("DETY_HI", "Y"), "missing-column", ["DETY_HI"]),
    "gap": (lambda columns, data: data["DETX_LO"][0].__setitem__(3, 7.0), "bad-column", ["DETX", "gaps"]),
    "unordered edges": (lambda columns, data: data["DETX_LO"][0].__setitem__(0, 1.9), "invalid-value", ["detx", "increasing"]),
    "NaN": (lambda columns, data: data["BKG"][0].__setitem__((1, 2, 3), np.nan), "invalid-value", ["finite"]),
}


@pytest.mark.parametrize("error", ERRORS)
def test_unusable_background(tmp_path, error):
    """Name the file and HDU of a background that cannot be used."""
    path = tmp_path / "m.fits"
    write_model(asymmetric_model(), path)
    change, code, words = ERRORS[error]
    with fits.open(path, mode="update") as hdus:
        change(hdus["BACKGROUND"].columns, hdus["BACKGROUND"].data)
    with raises(code, *words, kind=DataError) as caught:
        read_background(path, "BACKGROUND")
    assert str(caught.value).startswith(f"{path}, HDU BACKGROUND: ")


def test_missing_hdu_and_unknown_layout(tmp_path):
    write_model(asymmetric_model(), tmp_path / "m.fits")
    with raises("missing-hdu", "m.fits", "BKG", "PRIMARY, COUNTS", kind=DataError):
        read_background(tmp_path / "m.fits")
    with raises("unknown-choice", "FORTRAN", "GADF"):
        read_background(tmp_path / "m.fits", "BACKGROUND", layout="FORTRAN")
