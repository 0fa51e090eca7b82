"""Models to files and back."""

import bz2
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
    CubeAxes,
    DataError,
    Stack,
    TrueModel,
    make_test_bg_cube_model,
    open_runs,
    read_background,
    read_event_list,
    read_model,
    select_off_runs,
    stack_runs,
    write_background_2d,
    write_image,
    write_model,
)
from bgnb.cubes.radial import cube_of_radial, radial_mean
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
    assert_allclose(back.rate.quantity, model.rate.quantity, rtol=1e-15)
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


def test_the_exposed_energies_are_stated(tmp_path):
    """The lowest and the highest energy with livetime are stated."""
    model = asymmetric_model()
    counts, livetime = model.stack.counts.copy(), np.zeros(AXES.shape, dtype=np.int64)
    livetime[2, 5, 3], livetime[3] = 1, 2
    counts[livetime == 0] = 0
    nothing = np.zeros_like(counts)
    for stack, lowest in (
        (Stack(AXES, "ALTAZ", counts, livetime, model.stack.runs), 2),
        (Stack(AXES, "ALTAZ", nothing, nothing, ()), 0),
    ):
        write_model(replace(model, stack=stack), tmp_path / f"m{lowest}.fits")
        header = fits.getheader(tmp_path / f"m{lowest}.fits", "BACKGROUND")
        assert header["LO_THRES"] == pytest.approx(AXES.energy[lowest].value)
        assert header["HI_THRES"] == pytest.approx(AXES.energy[4 if lowest else 5].value)


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
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "COUNTS", "LIVETIME", "BACKGROUND", "RUNS", "ERROR"]
        for hdu in hdus:
            assert "CHECKSUM" in hdu.header
            assert "DATASUM" in hdu.header
        header = hdus["BACKGROUND"].header
        expected = {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "BKG", "HDUCLAS3": "FULL-ENCLOSURE", "HDUCLAS4": "BKG_3D"}
        assert {name: header[name] for name in expected} == expected
        assert (header["FOVALIGN"], header["TIMEBASE"], header["TDIM7"]) == ("ALTAZ", "ONTIME", "(5,9,7)")
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


@pytest.mark.parametrize("read", [read_model, read_background])
def test_truncated_files_are_refused(tmp_path, read):
    """A truncated or damaged file is refused, also if the HDUs up to there are a model without ERROR."""
    write_model(stating_model(), tmp_path / "whole.fits.gz")
    content = (tmp_path / "whole.fits.gz").read_bytes()
    plain = gzip.decompress(content)
    table = plain.index(b"XTENSION", plain.index(b"EXTNAME = 'RUNS"))  # of ERROR, the last HDU
    cases = {
        "gzip.fits.gz": (content[: len(content) * 4 // 5], "truncated"),
        "end.fits.gz": (content[:-3], "truncated"),
        "crc.fits.gz": (content[:-8] + bytes(4) + content[-4:], "damaged"),
        "header.fits": (plain[: table + 2880], "truncated"),
    }
    for name, (damaged, code) in cases.items():
        (tmp_path / name).write_bytes(damaged)
        with raises(code, tmp_path / name, kind=DataError):
            read(tmp_path / name)
    for name, size, hdu in (("card.fits", table + 800, "HDU 5"), ("table.fits", -1000, "HDU ERROR")):
        (tmp_path / name).write_bytes(plain[:size])
        with raises("truncated", name, hdu, kind=DataError):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["m.fits", "m.fits.gz", "m.fits.bz2", "gzipped.fits"])
def test_compressed_models_are_read(tmp_path, name):
    """Models are read whatever the name says about their compression."""
    write_model(stating_model(), tmp_path / "model.fits")
    content = (tmp_path / "model.fits").read_bytes()
    compressed = {"m.fits": content, "m.fits.bz2": bz2.compress(content)}.get(name, gzip.compress(content) + bytes(100))
    (tmp_path / name).write_bytes(compressed)
    found = read_model(tmp_path / name)
    assert_allclose(found.error.quantity, stating_model().error.quantity, rtol=1e-14)
    assert found.stack.runs == stating_model().stack.runs


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
    assert_allclose(read_model(tmp_path / "m.fits").error.quantity, stating.error.quantity, rtol=1e-15)


LIVE_FRACTION = (1500.125 + 1500.125001) / (1600 + 1900.25)


def stating_model(**changes):
    """A model that states its error and its instrument."""
    model = asymmetric_model()
    runs = tuple(replace(run, telescop="VERITAS", **changes) for run in model.stack.runs)
    error = Cube(AXES, model.rate.quantity * np.linspace(0.1, 0.9, 7)[:, None])
    return replace(model, error=error, stack=replace(model.stack, runs=runs))


def test_rates_in_files_are_per_ontime(tmp_path):
    """BACKGROUND and ERROR are per ontime, with the keywords that GADF readers look for."""
    model = stating_model()
    write_model(model, tmp_path / "m.fits", {"ALT_PNT": (47.5, "[deg] mean of the runs"), "AZ_PNT": 190.5})
    with fits.open(tmp_path / "m.fits") as hdus:
        for name, column, cube in (("BACKGROUND", "BKG", model.rate), ("ERROR", "ERROR", model.error)):
            values = hdus[name].data[column][0].transpose(2, 0, 1)
            assert_allclose(values, cube.quantity.value * LIVE_FRACTION, rtol=1e-14)
            header = hdus[name].header
            expected = {"TIMEBASE": "ONTIME", "TELESCOP": "VERITAS", "ALT_PNT": 47.5, "AZ_PNT": 190.5, "ZEN_PNT": 42.5}
            assert {keyword: header[keyword] for keyword in expected} == expected
            assert header["FOVALIGN"] == "ALTAZ"
            found = [header[keyword] for keyword in ("DEADC", "ONTIME", "LIVETIME", "LO_THRES", "HI_THRES")]
            assert_allclose(found, [LIVE_FRACTION, 3500.25, 3000.250001, 0.3, 60], rtol=1e-14)
        assert hdus["RUNS"].data["ONTIME"].tolist() == [1600.0, 1900.25]
    assert read_model(tmp_path / "m.fits").live_fraction == pytest.approx(LIVE_FRACTION, rel=1e-14)


def test_files_of_earlier_versions_are_read(tmp_path):
    """Models whose rates and errors are per livetime, and whose runs have no ontime, are read and written again."""
    model = stating_model()
    write_model(model, tmp_path / "m.fits")
    with fits.open(tmp_path / "m.fits") as hdus:
        for name, column in (("BACKGROUND", "BKG"), ("ERROR", "ERROR")):
            hdus[name].data[column] /= LIVE_FRACTION
            for keyword in ("DEADC", "ONTIME", "LIVETIME", "TIMEBASE"):
                del hdus[name].header[keyword]
        hdus["BACKGROUND"].header["TIMEBASE"] = "LIVETIME"
        hdus["RUNS"].columns.del_col("ONTIME")
        hdus.writeto(tmp_path / "old.fits")
    old = read_model(tmp_path / "old.fits")
    assert [run.ontime_s for run in old.stack.runs] == [None, None]
    write_model(old, tmp_path / "again.fits")
    header = fits.getheader(tmp_path / "again.fits", "BACKGROUND")
    assert header["TIMEBASE"] == "LIVETIME"
    assert not {"DEADC", "ONTIME", "LIVETIME"} & set(header)
    for back in (old, read_model(tmp_path / "again.fits")):
        assert back.live_fraction is None
        assert_allclose(back.rate.quantity, model.rate.quantity, rtol=1e-14)
        assert_allclose(back.error.quantity, model.error.quantity, rtol=1e-14)


def test_one_run_without_ontime_counts(tmp_path):
    """If a run does not state its ontime, rates are written per livetime, and the known ontimes are kept."""
    model = stating_model()
    first, second = model.stack.runs
    model = replace(model, stack=replace(model.stack, runs=(replace(first, ontime_s=None), second)))
    write_model(model, tmp_path / "m.fits")
    assert fits.getheader(tmp_path / "m.fits", "BACKGROUND")["TIMEBASE"] == "LIVETIME"
    back = read_model(tmp_path / "m.fits")
    assert [run.ontime_s for run in back.stack.runs] == [None, 1900.25]
    assert np.array_equal(back.rate.quantity, model.rate.quantity)


@pytest.mark.parametrize("fraction", [None, 0.0, "most", True])
@pytest.mark.parametrize("hdu", ["BACKGROUND", "ERROR"])
def test_invalid_live_fraction_is_refused(tmp_path, fraction, hdu):
    """Rates per ontime without a valid DEADC are refused."""
    write_model(stating_model(), tmp_path / "m.fits")
    with fits.open(tmp_path / "m.fits", mode="update") as hdus:
        del hdus[hdu].header["DEADC"]
        if fraction is not None:
            hdus[hdu].header["DEADC"] = fraction
    with raises("bad-keyword", "m.fits", hdu, "DEADC", kind=DataError):
        read_model(tmp_path / "m.fits")


def test_true_models_are_per_ontime(tmp_path):
    """True models are written with the live fraction of simulated runs, 25 of 30 minutes, and keep it."""
    model = make_test_bg_cube_model(AXES, "60 deg")
    write_model(model, tmp_path / "m.fits")
    with fits.open(tmp_path / "m.fits") as hdus:
        header = hdus["BACKGROUND"].header
        assert (header["TIMEBASE"], header["DEADC"]) == ("ONTIME", pytest.approx(25 / 30))
        assert not {"ONTIME", "LIVETIME"} & set(header)
        values = hdus["BACKGROUND"].data["BKG"][0].transpose(2, 0, 1)
        assert_allclose(values, model.rate.quantity.value * 25 / 30, rtol=1e-14)
    back = read_model(tmp_path / "m.fits")
    assert back.live_fraction == pytest.approx(25 / 30)
    assert_allclose(back.rate.quantity, model.rate.quantity, rtol=1e-15)


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
            "(6,8)",
            "(ENERG_LO:ENERG_HI,THETA_LO:THETA_HI)",
        )
        assert [header[name] for name in ("TIMEBASE", "ZEN_PNT", "GROUP_ID", "METHOD")] == ["ONTIME", 30.0, 4, "true"]
        assert_allclose(row["THETA_HI"], theta[1:].value)
        assert_allclose(row["BKG"].T, values.value * 25 / 30, rtol=1e-6)
    cube, fovalign = read_background(tmp_path / "r.fits.gz", "BACKGROUND")
    assert fovalign == "ALTAZ"
    for axis in ("energy", "dety", "detx"):
        assert_allclose(getattr(cube.axes, axis).value, getattr(model.axes, axis).value, rtol=1e-12, atol=1e-12)
    expected = cube_of_radial(model.axes.energy, theta, values).quantity.value * 25 / 30
    assert_allclose(cube.quantity.value, expected, rtol=1e-5)


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
