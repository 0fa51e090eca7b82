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
    DataError,
    Stack,
    make_test_bg_cube_model,
    read_background,
    read_model,
    write_background_2d,
    write_image,
    write_model,
)
from bgnb.files.gadf import read_model_and_pointing
from tests.helpers.errors import raises
from tests.helpers.models import AXES, LIVE_FRACTION, asymmetric_model, stating_model


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


@pytest.mark.parametrize(
    ("name", "value"),
    [("NAXIS1", 3), ("FOVALIGN", "RADEC"), ("METHOD", "x"), ("TOO_LONG_NAME", 1), ("é", 1), (3, 1), ("A", np.nan), ("A", "é")],
)
def test_keywords_that_a_header_cannot_contain(tmp_path, name, value):
    """Keywords of the structure of a file, or that FITS cannot contain, are refused before the file is replaced."""
    model = asymmetric_model()
    write_model(model, tmp_path / "m.fits", {"ALT_PNT": (60.0, "[deg] mean"), "NOTE": "all well"})
    before = (tmp_path / "m.fits").read_bytes()
    for write in (write_model, write_image, write_background_2d):
        with raises("invalid-argument", "keywords", name):
            write(model, tmp_path / "m.fits", {name: value})
    assert (tmp_path / "m.fits").read_bytes() == before
    with raises("invalid-argument", "keywords"):
        write_model(model, tmp_path / "m.fits", ["ALT_PNT"])


def test_livetime_to_the_microsecond(tmp_path):
    """Write and read livetimes to the microsecond."""
    model = asymmetric_model()
    livetime = np.random.default_rng(4).integers(1, 3_000_250_000, AXES.shape)
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
    cases = [("missing-keyword", {})]
    cases += [("bad-keyword", {"AZ_PNT": value}) for value in ("north", True, 1e5)]
    for code, keywords in cases:
        write_model(asymmetric_model(), path, {"ALT_PNT": 47.0, **keywords})
        with raises(code, "m.fits", "AZ_PNT"):
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


def test_rates_that_could_not_be_read_are_not_written(tmp_path):
    """Rates and errors above those of single precision, which readers refuse."""
    model = asymmetric_model()
    high = Cube(AXES, model.rate.quantity / model.rate.quantity.max().value * 1e39)
    for each in (replace(model, rate=high), replace(model, error=high)):
        with raises("invalid-value", "rates"):
            write_model(each, tmp_path / "m.fits")
    assert not (tmp_path / "m.fits").exists()


def test_stated_error_is_written(tmp_path):
    """Write and read a model with an error."""
    model = asymmetric_model()
    stating = replace(model, error=Cube(AXES, model.rate.quantity * np.linspace(0.1, 0.9, 7)[:, None]))
    write_model(stating, tmp_path / "m.fits")
    assert_allclose(read_model(tmp_path / "m.fits").error.quantity, stating.error.quantity, rtol=1e-15)


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
        hdus.writeto(tmp_path / "old.fits", checksum=True)
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


@pytest.mark.parametrize("fraction", [None, 0.0, 0.5, 80.0, "most", True])
@pytest.mark.parametrize("hdu", ["BACKGROUND", "ERROR"])
def test_invalid_live_fraction_is_refused(tmp_path, fraction, hdu):
    """Rates per ontime without a valid DEADC are refused."""
    write_model(stating_model(), tmp_path / "m.fits")
    with fits.open(tmp_path / "m.fits", mode="update") as hdus:
        del hdus[hdu].header["DEADC"]
        if fraction is not None:
            hdus[hdu].header["DEADC"] = fraction
    with raises("missing-keyword" if fraction is None else "bad-keyword", "m.fits", hdu, "DEADC", kind=DataError):
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
