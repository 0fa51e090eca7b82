"""Event lists and run tables: units and layouts; tests/broken has what cannot be used."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from numpy.testing import assert_allclose

from bgnb import BgnbError, DataError, open_runs, read_event_list
from bgnb.observations.fits_table import read_table, read_tables
from bgnb.observations.gadf_keywords import mjdref_tt, site_of
from tests.helpers.run_files import MJDREF, ONTIME, SITE, TSTART, run, write_gadf, write_hess


def test_fits_reader_agrees_with_astropy(tmp_path):
    columns = [
        fits.Column("TEXT", "5A", array=["ab", "cde"]),
        fits.Column("SCALED", "E", array=np.array([1.5, -2.5]), bscale=0.5, bzero=1.0),
        fits.Column("COUNT", "J", array=np.array([1, 4_000_000_000], dtype=np.uint32), bzero=2**31),
        fits.Column("VECTOR", "3E", array=[[1, 2, 3], [4, 5, 6]]),
        fits.Column("BITS", "11X", array=np.zeros((2, 11), dtype=bool)),
        fits.Column("FLAG", "L", array=[True, False]),
        fits.Column("BIG", "K", array=[2**62, -5], unit="s"),
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name="MIXED")
    hdu.header["HIERARCH A LONG NAME"] = "it's"
    hdu.header["LONG"] = "a 'folder'/" * 12
    hdu.header["NUMBER"] = (1.5e3, "[GeV] a / b")
    hdu.header["FLAG1"] = True
    image = fits.ImageHDU(np.arange(5000.0))
    fits.HDUList([fits.PrimaryHDU(), image, hdu]).writeto(tmp_path / "a.fits")
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    for name in ("a.fits", "a.fits.gz"):
        table = read_table(tmp_path / name, "mixed")
        assert table.columns["TEXT"].tolist() == ["ab", "cde"]
        assert table.columns["SCALED"].tolist() == [1.5, -2.5]
        assert table.columns["COUNT"].tolist() == [1, 4_000_000_000]
        assert table.columns["VECTOR"].tolist() == [[1, 2, 3], [4, 5, 6]]
        assert table.columns["BIG"].tolist() == [2**62, -5]
        assert table.units["BIG"] == "s"
        assert (table.get("A LONG NAME"), table.get("FLAG1"), table.number("NUMBER")) == ("it's", True, 1500.0)
        assert table.get("LONG") == "a 'folder'/" * 12  # goes on in further cards
        assert table.comment("NUMBER") == "[GeV] a / b"
        assert read_tables(tmp_path / name, ["NONE", 2])[0] is None
        assert list(read_table(tmp_path / name, 2, columns=["BIG"]).columns) == ["BIG"]


def one_run(tmp_path, **changes):
    runs = open_runs(write_gadf(tmp_path / "in", [run(7, 50, **changes)]), "GADF")
    return read_event_list(runs.files(7))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": np.ones(49)}, "run 7: time, ra, dec and energy must be lists of equal length"),
        ({"gti": np.array([[5.0, 9.0], [1.0, 4.0]])}, "gti must be one or more intervals in order"),
        ({"gti": np.array([5.0, 9.0])}, "gti must be one or more intervals in order"),
        ({"gti": np.zeros((0, 2))}, "gti must be one or more intervals in order"),
        ({"livetime": -5.0}, "livetime must be above 0 s, got -5"),
        ({"livetime": np.nan}, "livetime must be above 0 s, got nan"),
    ],
)
def test_an_event_list_is_valid_or_cannot_be_made(tmp_path, changes, message):
    with pytest.raises(BgnbError, match=message):
        replace(one_run(tmp_path), **changes)


def test_event_list_holds_what_was_written(tmp_path):
    parts = run(7, 50)
    events = one_run(tmp_path)
    assert (events.obs_id, len(events), events.livetime, events.energy_threshold) == (7, 50, 1507.0, 0.3)
    assert (events.ra_pnt, events.dec_pnt) == (parts["RA_PNT"], parts["DEC_PNT"])
    assert_allclose(events.mjdref, MJDREF, rtol=0, atol=1e-9)
    assert (events.site.lon, events.site.lat, events.site.height) == tuple(SITE.values())
    for name, values in parts["events"].items():
        assert_allclose(getattr(events, name.lower()), values, rtol=1e-15)


def test_units_are_respected(tmp_path):
    plain = run(7, 50)["events"]
    written = plain | {"ENERGY": plain["ENERGY"] * 1e3, "RA": np.radians(plain["RA"]), "DEC": np.radians(plain["DEC"])}
    units = {"TIME": "s", "RA": "rad", "DEC": "rad", "ENERGY": "GeV"}
    events = one_run(tmp_path, events=written, units=units, threshold=300.0, threshold_comment="low [GeV]")
    assert_allclose(events.energy, plain["ENERGY"])
    assert_allclose(events.ra, plain["RA"])
    assert_allclose(events.dec, plain["DEC"])
    assert_allclose(events.energy_threshold, 0.3)


def test_energies_without_unit_follow_eunit(tmp_path):
    units = {"TIME": "s", "RA": "deg", "DEC": "deg"}
    events = run(7, 50)["events"]
    in_gev = events | {"ENERGY": 1e3 * events["ENERGY"]}
    assert_allclose(one_run(tmp_path / "a", units=units, EUNIT="GeV", events=in_gev).energy, events["ENERGY"])


def test_what_the_header_lacks_comes_from_the_index_and_the_header_wins(tmp_path):
    parts = run(7, 50)
    write_gadf(tmp_path / "in", [parts])
    index = Table.read(tmp_path / "in" / "obs-index.fits.gz")
    index["LIVETIME"] = 1234.0
    index.meta |= SITE | {"MJDREFI": 51910, "MJDREFF": 0.0025}
    index.write(tmp_path / "in" / "obs-index.fits.gz", overwrite=True)
    assert read_event_list(open_runs(tmp_path / "in", "GADF").files(7)).livetime == 1507.0
    path = tmp_path / "in" / "data" / "run7.fits.gz"
    with fits.open(path) as hdus:
        for name in ("LIVETIME", "GEOLON", "GEOLAT", "ALTITUDE", "MJDREFI", "MJDREFF"):
            del hdus["EVENTS"].header[name]
            hdus["GTI"].header.remove(name, ignore_missing=True)
        hdus.writeto(path, overwrite=True)
    events = read_event_list(open_runs(tmp_path / "in", "GADF").files(7))
    assert (events.livetime, events.mjdref, events.site.lat) == (1234.0, 51910.0025, SITE["GEOLAT"])


def test_events_in_gaps_between_good_time_intervals_are_outside(tmp_path):
    gti = [(TSTART + 1000, TSTART + 1200), (TSTART, TSTART + 400)]  # not in order of time, with a gap
    events = one_run(tmp_path, gti=gti)
    seconds = events.time - TSTART
    assert np.array_equal(events.in_gti, (seconds <= 400) | ((seconds >= 1000) & (seconds <= 1200)))
    assert 0 < events.in_gti.sum() < len(events)


def test_a_threshold_that_nobody_states_is_none(tmp_path):
    assert one_run(tmp_path, threshold=None).energy_threshold is None


def test_scheme_hess_reads_the_same_runs(tmp_path):
    parts = [run(obs_id, 40) for obs_id in (23523, 199, 23400)]
    gadf = open_runs(write_gadf(tmp_path / "gadf", parts), "GADF")
    hess = open_runs(write_hess(tmp_path / "hess", parts), "hess")
    assert gadf.obs_ids == hess.obs_ids == [199, 23400, 23523]
    for name in ("RA_PNT", "ALT_PNT", "AZ_PNT", "LIVETIME", "MUONEFF"):
        assert np.array_equal(gadf.table[name], hess.table[name])
    for obs_id in gadf.obs_ids:
        one, other = (read_event_list(runs.files(obs_id)) for runs in (gadf, hess))
        assert np.array_equal(one.energy, other.energy)
        assert (one.livetime, one.energy_threshold, one.site) == (other.livetime, other.energy_threshold, other.site)


def test_altitude_and_azimuth_are_computed_where_nothing_states_them(tmp_path):
    positions = [{"RA_PNT": ra, "DEC_PNT": -45.0} for ra in (70.0, 80.0)]
    parts = [run(number, 5, **position) for number, position in zip((7, 8), positions, strict=True)]
    write_gadf(tmp_path / "in", parts, drop=["ALT_PNT", "AZ_PNT", "RA_PNT"])
    table = open_runs(tmp_path / "in", "GADF").table
    assert table["RA_PNT"].tolist() == [70.0, 80.0]
    middle = Time(MJDREF, format="mjd", scale="tt") + (TSTART + ONTIME / 2) * u.s
    location = EarthLocation(lon=16.5002222 * u.deg, lat=-23.2717778 * u.deg, height=1835 * u.m)
    expected = SkyCoord([70, 80] * u.deg, [-45, -45] * u.deg).transform_to(AltAz(obstime=middle, location=location))
    assert_allclose(table["ALT_PNT"], expected.alt.deg, atol=1e-4)
    assert_allclose(table["AZ_PNT"], expected.az.deg, atol=1e-4)


def test_a_run_whose_pointing_cannot_be_known_is_a_fault_not_a_crash(tmp_path):
    write_gadf(tmp_path / "in", [run(7, 5), run(8, 5)], drop=["ALT_PNT", "AZ_PNT"])
    (tmp_path / "in" / "data" / "run7.fits.gz").unlink()
    runs = open_runs(tmp_path / "in", "GADF")
    assert list(runs.faults) == [7]
    assert "there is no such file" in runs.faults[7]
    with pytest.raises(DataError, match="no such file"):
        runs.files(7)


def test_wrong_directories_and_schemes(tmp_path):
    with pytest.raises(BgnbError, match="no such directory"):
        open_runs(tmp_path / "nowhere", "GADF")
    with pytest.raises(BgnbError, match=r"neither obs-index\.fits\.gz nor obs-index\.fits"):
        open_runs(tmp_path, "GADF")
    with pytest.raises(BgnbError, match=r"neither runinfo\.fits\.gz nor runinfo\.fits"):
        open_runs(tmp_path, "HESS")
    with pytest.raises(BgnbError, match="unknown scheme 'FITS': use one of GADF, HESS"):
        open_runs(tmp_path, "FITS")


def rewritten(tmp_path, change, drop=()):
    """Run 7 with its file changed by ``change(hdus)``, and without some columns of the index."""
    write_gadf(tmp_path / "in", [run(7, 50)], drop=drop)
    path = tmp_path / "in" / "data" / "run7.fits.gz"
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(path, overwrite=True)
    return read_event_list(open_runs(tmp_path / "in", "GADF").files(7))


def test_time_scales_and_zeros_of_events_and_gti_may_differ(tmp_path):
    plain = one_run(tmp_path / "plain")

    def utc(hdus):
        hdus["EVENTS"].header["TIMESYS"] = "UTC"

    shifted = rewritten(tmp_path / "utc", utc)
    assert_allclose((shifted.mjdref - plain.mjdref) * 86400, 64.184, atol=1e-3)
    # The GTI keeps counting in TT: in the events' seconds it begins 64 s earlier.
    assert_allclose(shifted.gti, plain.gti - 64.184, atol=1e-3)

    def other_zero(hdus):
        header = hdus["GTI"].header
        header["MJDREFI"] += 10
        for name in ("START", "STOP"):
            hdus["GTI"].data[name] -= 864000

    assert_allclose(rewritten(tmp_path / "zero", other_zero).gti, plain.gti, atol=1e-3)


def table_of(tmp_path, **keywords):
    hdu = fits.BinTableHDU.from_columns([fits.Column("N", "J", array=[1])], name="EVENTS")
    hdu.header.update(keywords)
    hdu.writeto(tmp_path / "t.fits", overwrite=True)
    return read_table(tmp_path / "t.fits", "EVENTS")


@pytest.mark.parametrize(
    ("keywords", "mjd", "seconds"),
    [
        ({"MJDREFI": 51910, "MJDREFF": 0.25}, 51910.25, 0),
        ({"MJDREFI": 51910, "MJDREF": 40000.0}, 51910, 0),
        ({"MJDREF": 51910.25}, 51910.25, 0),
        ({"MJDREF": 51910.25, "MJDREFF": 0.5, "TIMESYS": "TDT"}, 51910.25, 0),
        ({"MJDREFI": 51910, "TIMESYS": "et"}, 51910, 0),
        ({"MJDREFI": 51910, "TIMESYS": "IAT"}, 51910, 32.184),
        ({"MJDREFI": 51910, "TIMESYS": "GMT"}, 51910, 64.184),
        ({"MJDREFI": 30001}, 30001, 0),
        ({"MJDREFI": 99999}, 99999, 0),
    ],
)
def test_the_zero_of_mission_times(tmp_path, keywords, mjd, seconds):
    assert_allclose((mjdref_tt(table_of(tmp_path, **keywords)) - mjd) * 86400, seconds, atol=1e-5)


@pytest.mark.parametrize("mjd", [29999, 2451545])
def test_a_zero_of_mission_times_that_is_none(tmp_path, mjd):
    with pytest.raises(DataError, match=r"t\.fits, HDU EVENTS: MJDREF = .* is no modified Julian date"):
        mjdref_tt(table_of(tmp_path, MJDREFI=mjd))


def test_places_of_observatories(tmp_path):
    """The first pair of keywords that is filled in, a height if there is one, else a name, that of the observatory first."""
    geodetic = {"OBSGEO-L": -70.5, "OBSGEO-B": -24.5}
    for keywords, place in (
        ({"GEOLON": 0.0, "GEOLAT": 90.0}, (0, 90, 0)),
        ({"GEOLON": -17.9, "GEOLAT": 0.0, "ALTITUDE": 9999.0} | geodetic, (-17.9, 0, 9999)),
        ({"GEOLON": 0.0, "GEOLAT": 0.0, "TELESCOP": "HESS"} | geodetic, (-70.5, -24.5, 0)),
        (geodetic | {"OBSGEO-H": -430.0}, (-70.5, -24.5, -430)),
        ({"HIERARCH OBSERVATORY_NAME": "Magic", "TELESCOP": "HESS"}, (-17.89, 28.7619444, 2200)),
        ({"TELESCOP": "Veritas"}, (-110.9521306, 31.6750583, 1268)),
    ):
        site = site_of(table_of(tmp_path, **keywords))
        assert (site.lon, site.lat, site.height) == place
    for wrong in ({"GEOLON": 361.0}, {"GEOLAT": -90.5}, {"ALTITUDE": 10_000.0}, {"ALTITUDE": -1000.0}):
        with pytest.raises(DataError, match="is no place on Earth"):
            site_of(table_of(tmp_path, **SITE | wrong))
    for keywords in ({"TELESCOP": "Dish"}, {}, {"GEOLON": 0.0, "GEOLAT": 0.0}):
        with pytest.raises(DataError, match="GEOLON, GEOLAT and ALTITUDE are missing or 0, and TELESCOP is unknown"):
            site_of(table_of(tmp_path, **keywords))


def test_livetime_from_ontime_and_deadc_where_it_is_not_stated(tmp_path):
    def without(hdus):
        del hdus["EVENTS"].header["LIVETIME"]
        hdus["EVENTS"].header["DEADC"] = 0.875

    assert rewritten(tmp_path, without, drop=["LIVETIME"]).livetime == 0.875 * ONTIME


def test_site_from_obsgeo_or_the_name_of_the_telescope(tmp_path):
    def obsgeo(hdus):
        header = hdus["EVENTS"].header
        for old, new in (("GEOLON", "OBSGEO-L"), ("GEOLAT", "OBSGEO-B"), ("ALTITUDE", "OBSGEO-H")):
            header[new] = str(header[old])  # as text, as some archives have it
            del header[old]

    assert rewritten(tmp_path / "a", obsgeo).site == one_run(tmp_path / "b").site

    def named(hdus):
        for name in SITE:
            del hdus["EVENTS"].header[name]
        hdus["EVENTS"].header["TELESCOP"] = "hess"

    assert rewritten(tmp_path / "c", named).site.lat == pytest.approx(-23.2717, abs=1e-3)


def test_index_in_other_units_with_zenith_base_dir_class_names_and_text_numbers(tmp_path):
    write_gadf(tmp_path / "in", [run(7, 5), run(8, 5)], drop=["ALT_PNT"])
    path = tmp_path / "in" / "obs-index.fits.gz"
    index = Table.read(path)
    index["ZEN_PNT"] = [40.0, 15.0]
    index["ZEN_PNT"].unit = "deg"
    index["RA_PNT"] = np.radians(index["RA_PNT"])
    index["RA_PNT"].unit = "rad"
    index["OBS_ID"] = ["7", "8"]
    index["FLAG"] = [True, False]
    index.write(path, overwrite=True)
    path = tmp_path / "in" / "hdu-index.fits.gz"
    hdus = Table.read(path)
    hdus["HDU_TYPE"] = [{"aeff": "effarea"}.get(kind, kind) for kind in hdus["HDU_TYPE"]]
    hdus["HDU_CLASS"] = [{"aeff": "aeff_2d"}.get(kind, kind) for kind in hdus["HDU_CLASS"]]
    hdus["FILE_DIR"] = ""
    hdus.meta["BASE_DIR"] = "data"
    hdus.write(path, overwrite=True)
    runs = open_runs(tmp_path / "in", "GADF")
    assert runs.table["ALT_PNT"].tolist() == [50.0, 75.0]
    assert_allclose(runs.table["RA_PNT"], [run(7, 5)["RA_PNT"], run(8, 5)["RA_PNT"]])
    assert runs.table["FLAG"].tolist() == [True, False]
    assert read_event_list(runs.files(8)).energy_threshold == 0.3


def test_the_value_that_stands_for_none_is_none(tmp_path):
    columns = [fits.Column("OBS_ID", "K", array=[7]), fits.Column("N_TELS", "J", array=[-99], null=-99)]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    assert np.isnan(read_table(tmp_path / "t.fits").columns["N_TELS"][0])


def test_scheme_hess_respects_a_short_gti(tmp_path):
    parts = run(300, 200, gti=[(TSTART, TSTART + 500)])
    events = read_event_list(open_runs(write_hess(tmp_path / "hess", [parts]), "HESS").files(300))
    assert 0 < events.in_gti.sum() < 200
    assert events.livetime == 450
