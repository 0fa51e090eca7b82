"""Tables of backgrounds: units, axis orders, and files of others."""

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose

from bgnb import (
    CubeAxes,
    DataError,
    TrueModel,
    make_test_bg_cube_model,
    open_runs,
    read_background,
    read_event_list,
    read_model,
    select_off_runs,
    stack_runs,
    write_background_2d,
    write_model,
)
from bgnb.cubes.radial import cube_of_radial, radial_mean
from tests.helpers.errors import raises
from tests.helpers.models import AXES, LIVE_FRACTION, asymmetric_model, stating_model


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


@pytest.mark.slow
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


UNITS = {
    "s-1 MeV-1 sr-1": 1,
    "MeV-1 s-1 sr-1": 1,
    "1/s/MeV/sr": 1,
    " 1 / s / MeV / sr": 1,
    "/s/MeV/sr": 1,
    "s^-1 MeV^-1 sr^-1": 1,
    "s**-1 MeV**-1 sr**-1": 1,
    "1/(s MeV sr)": 1,
    "1/(MeV*s*sr)": 1,
    "MeV-1.s-1.sr-1": 1,
    "s-1/MeV/sr": 1,
    "1/TeV/s/sr": 1e-6,
    "TeV^-1 s^-1 sr^-1": 1e-6,
    "Hz/GeV/sr": 1e-3,
    "1/s/MeV/deg2": (180 / np.pi) ** 2,
    "1/s/MeV/deg^2": (180 / np.pi) ** 2,
}


def change_units(path, hdu, **units):
    """Change the units of columns in a file."""
    with fits.open(path) as hdus:
        header = hdus[hdu].header
        for number in range(1, header["TFIELDS"] + 1):
            if (name := header[f"TTYPE{number}"]) in units:
                header[f"TUNIT{number}"] = units[name]
        hdus.writeto(path, overwrite=True)


@pytest.mark.parametrize("unit", UNITS)
def test_spellings_of_units_are_read(tmp_path, unit):
    """Rates and errors are read in the spellings of units that are around, as those of CTA 1DC."""
    path, model = tmp_path / "m.fits", stating_model()
    write_model(model, path)
    for hdu, column in (("BACKGROUND", "BKG"), ("ERROR", "ERROR")):
        change_units(path, hdu, **{column: unit})
    cube, _ = read_background(path, "BACKGROUND")
    assert_allclose(cube.quantity.value, model.rate.quantity.value * LIVE_FRACTION * UNITS[unit], rtol=1e-14)
    assert_allclose(read_model(path).error.quantity.value, model.error.quantity.value * UNITS[unit], rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["off", "s", "1/s/MeV", "1/s/MeV/m", "1/s/MeV sr/s", "1/s/MeV/sr/", "()/s/s", "1/s/off/sr"])
def test_other_units_are_refused(tmp_path, unit):
    """Other units than those of a rate are an error that names the column, for rates and errors."""
    path = tmp_path / "m.fits"
    for hdu, column in (("BACKGROUND", "BKG"), ("ERROR", "ERROR")):
        write_model(stating_model(), path)
        change_units(path, hdu, **{column: unit})
        with raises("bad-unit", "m.fits", hdu, column, unit.strip(), kind=DataError):
            read_model(path)
        path.unlink()


@pytest.mark.parametrize("unit", ["off", "1/s/MeV/sr", "dex(TeV)", "MeV2"])
@pytest.mark.parametrize("column", ["ENERG_LO", "DETX_LO"])
def test_units_of_edges_are_checked(tmp_path, unit, column):
    """Edges in an unknown unit, or in one of another kind, are an error of the file."""
    path = tmp_path / "m.fits"
    write_model(asymmetric_model(), path)
    change_units(path, "BACKGROUND", **{column: unit})
    with raises("bad-unit", "m.fits", "BACKGROUND", kind=DataError):
        read_background(path, "BACKGROUND")


def test_radial_backgrounds_are_read_again(tmp_path):
    """A radial background is the mean over the azimuth, per ontime, and is read as a cube."""
    model = make_test_bg_cube_model(CubeAxes.regular(n_energy=6, n_fov=16), "60 deg", TrueModel(gradient_x=0.2))
    write_background_2d(model, tmp_path / "r.fits.gz", {"ALT_PNT": 60.0, "AZ_PNT": 10.0, "GROUP_ID": 4})
    theta, values = radial_mean(model.rate)
    with fits.open(tmp_path / "r.fits.gz") as hdus:
        header, row = hdus["BACKGROUND"].header, hdus["BACKGROUND"].data[0]
        assert [column.name for column in hdus["BACKGROUND"].columns[:4]] == ["ENERG_LO", "ENERG_HI", "THETA_LO", "THETA_HI"]
        assert (header["HDUCLAS4"], header["TDIM5"], header["CREF5"]) == (
            "BKG_2D",
            "(6,65)",
            "(ENERG_LO:ENERG_HI,THETA_LO:THETA_HI)",
        )
        assert [header[name] for name in ("TIMEBASE", "ZEN_PNT", "GROUP_ID", "METHOD")] == ["ONTIME", 30.0, 4, "true"]
        assert_allclose(row["THETA_HI"], theta[1:].value)
        assert_allclose(row["BKG"].T, values.value * 25 / 30, rtol=1e-6)
    cube, fovalign = read_background(tmp_path / "r.fits.gz", "BACKGROUND")
    assert fovalign == "ALTAZ"
    expected = cube_of_radial(model.axes.energy, theta, values)
    assert cube.axes.shape == (6, 128, 128)
    for axis in ("energy", "dety", "detx"):
        assert_allclose(getattr(cube.axes, axis).value, getattr(expected.axes, axis).value, rtol=1e-12, atol=1e-12)
    assert_allclose(cube.quantity.value, expected.quantity.value * 25 / 30, rtol=1e-5)


def test_axis_orders_of_radial_tables(tmp_path):
    """Radial tables are read in both axis orders; an ambiguous one needs a layout."""
    energy, values = np.array([1.0, 2, 5]), np.arange(1.0, 7).reshape(2, 3)

    def write(name, values, tdim, theta=(0.0, 1, 2, 3)):
        edges = {"ENERG": (energy, "TeV"), "THETA": (np.array(theta), "deg")}
        columns = [
            fits.Column(f"{axis}_{end}", f"{len(part)}D", unit=unit, array=part[None])
            for axis, (both, unit) in edges.items()
            for end, part in (("LO", both[:-1]), ("HI", both[1:]))
        ]
        columns.append(fits.Column("BGD", f"{values.size}D", unit="1/s/MeV/sr", dim=tdim, array=values[None]))
        fits.BinTableHDU.from_columns(columns, name="BKG").writeto(tmp_path / name)

    write("gadf.fits", values.T, "(2,3)")
    write("other.fits", values, "(3,2)")
    one, other = (read_background(tmp_path / name)[0] for name in ("gadf.fits", "other.fits"))
    assert one.axes.shape == (2, 6, 6)
    assert np.array_equal(one.quantity, other.quantity)
    assert_allclose(one.quantity.value[:, 3, 3] / [1, 4], np.exp(np.log([2, 5 / 4]) * 0.2071), rtol=1e-3)
    write("square.fits", values[:, :2].T, "(2,2)", (0.0, 1, 2))
    with raises("bad-header", "square.fits", "BGD", kind=DataError):
        read_background(tmp_path / "square.fits")
    assert read_background(tmp_path / "square.fits", layout="GADF")[0].quantity.value[1, 2, 2] > 4
    write("gap.fits", values.T, "(2,3)", (0.0, 2, 1, 3))
    with raises("invalid-value", "gap.fits", "theta", kind=DataError):
        read_background(tmp_path / "gap.fits")


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


def test_default_hdu_is_that_of_backgrounds(tmp_path):
    """By default the HDU BKG is read, or else BACKGROUND."""
    path, model = tmp_path / "m.fits", asymmetric_model()
    write_model(model, path)
    cube, _ = read_background(path)
    assert np.array_equal(cube.quantity, read_background(path, "BACKGROUND")[0].quantity)
    write_cube(tmp_path / "b.fits", 3 * model.rate.quantity.to_value("s-1 TeV-1 sr-1").transpose(1, 2, 0), "(5,9,7)")
    with fits.open(path, mode="append") as hdus, fits.open(tmp_path / "b.fits") as other:
        hdus.append(other["BKG"].copy())
    assert_allclose(read_background(path)[0].quantity.value, 3 * model.rate.quantity.value)


def test_missing_hdu_and_unknown_layout(tmp_path):
    write_model(asymmetric_model(), tmp_path / "m.fits")
    with raises("missing-hdu", "m.fits", "BKG", "PRIMARY, COUNTS", kind=DataError):
        read_background(tmp_path / "m.fits", "BKG")
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "none.fits")
    with raises("missing-hdu", "none.fits", "BKG", kind=DataError):
        read_background(tmp_path / "none.fits")
    with raises("unknown-choice", "FORTRAN", "GADF"):
        read_background(tmp_path / "m.fits", "BACKGROUND", layout="FORTRAN")
