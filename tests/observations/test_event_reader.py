"""Event lists and run tables: units and layouts. Broken input is tested in tests/broken."""

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

from bgnb import DataError, open_runs, read_event_list
from bgnb.observations.coordinates import tt_of
from bgnb.observations.event_list import HduLocation
from bgnb.observations.event_reader import read_events_header
from bgnb.observations.fits_table import read_table, read_tables
from bgnb.observations.gadf_keywords import mjdref_tt, site_of
from bgnb.observations.run_times import cut_gaps
from tests.helpers import run_files
from tests.helpers.errors import raises
from tests.helpers.run_files import MJDREF, ONTIME, SITE, TSTART, run, write_gadf, write_hess


def test_fits_reader_against_astropy(tmp_path):
    """Read tables of all column types as astropy writes them."""
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
        assert table.get("LONG") == "a 'folder'/" * 12  # continued in further cards
        assert table.comment("NUMBER") == "[GeV] a / b"
        assert read_tables(tmp_path / name, ["NONE", 2])[0] is None
        assert list(read_table(tmp_path / name, 2, columns=["BIG"]).columns) == ["BIG"]


def one_run(tmp_path, **changes):
    runs = open_runs(write_gadf(tmp_path / "in", [run(7, 50, **changes)]), "GADF")
    return read_event_list(runs.files(7))


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"energy": np.ones(49)}, "invalid-value", "energy"),
        ({"ra": np.r_[np.ones(49), np.nan]}, "bad-column", "RA is not finite in 1 of 50"),
        ({"time": np.r_[np.ones(48), np.inf, np.inf]}, "bad-column", "TIME is not finite in 2 of 50"),
        ({"energy": np.r_[np.ones(49), 0]}, "bad-energy", "1 of 50"),
        ({"dec": np.r_[np.ones(49), 90.1]}, "bad-position", "DEC"),
        ({"ra": np.r_[np.ones(49), -360.1]}, "bad-position", "RA"),
        ({"dec_pnt": -91.0}, "bad-position", "DEC_PNT = -91"),
        ({"ra_pnt": np.nan}, "bad-position", "RA_PNT = nan"),
        ({"mjdref": 30000.0}, "bad-time", "MJD"),
        ({"livetime": -5.0}, "invalid-value", "livetime"),
        ({"livetime": np.nan}, "invalid-value", "livetime"),
    ],
)
def test_event_list_checks_itself(tmp_path, changes, code, word):
    """Refuse impossible values in the constructor, with the number of the run."""
    with raises(code, "run 7", word):
        replace(one_run(tmp_path), **changes)


@pytest.mark.parametrize(
    ("gti", "word"),
    [
        ([[5.0, 9.0], [1.0, 4.0]], "not in order"),
        ([[1.0, 5.0], [4.0, 9.0]], "overlap"),
        ([[5.0, 5.0]], "ends before"),
        ([[5.0, np.nan]], "not finite"),
        ([5.0, 9.0], "shape"),
        (np.zeros((0, 2)), "no good time"),
    ],
)
def test_event_list_checks_good_time(tmp_path, gti, word):
    """Refuse good time intervals that are empty, overlap or are not in order."""
    with raises("bad-gti", word):
        replace(one_run(tmp_path), gti=np.array(gti) + TSTART)


def test_event_list_is_read_only(tmp_path):
    """Refuse to change the arrays of an event list; they are views, and arrays passed in stay writable."""
    energy = np.ones(50)
    events = replace(one_run(tmp_path), energy=energy)
    for values in (events.time, events.ra, events.dec, events.energy, events.gti):
        assert not values.flags.writeable
    assert np.shares_memory(events.energy, energy)
    assert energy.flags.writeable


def test_event_list_round_trip(tmp_path):
    """Read the values that were written."""
    parts = run(7, 50)
    events = one_run(tmp_path)
    assert (events.obs_id, len(events), events.livetime, events.energy_threshold) == (7, 50, 1507.0, 0.3)
    assert (events.ra_pnt, events.dec_pnt) == (parts["RA_PNT"], parts["DEC_PNT"])
    assert_allclose(events.mjdref, MJDREF, rtol=0, atol=1e-9)
    assert (events.site.lon, events.site.lat, events.site.height) == tuple(SITE.values())
    for name, values in parts["events"].items():
        assert_allclose(getattr(events, name.lower()), values, rtol=1e-15)


def test_units_are_converted(tmp_path):
    """Convert columns and keywords by their units."""
    plain = run(7, 50)["events"]
    written = plain | {"ENERGY": plain["ENERGY"] * 1e3, "RA": np.radians(plain["RA"]), "DEC": np.radians(plain["DEC"])}
    units = {"TIME": "s", "RA": "rad", "DEC": "rad", "ENERGY": "GeV"}
    events = one_run(tmp_path, events=written, units=units, threshold=300.0, threshold_comment="low [GeV]")
    assert_allclose(events.energy, plain["ENERGY"])
    assert_allclose(events.ra, plain["RA"])
    assert_allclose(events.dec, plain["DEC"])
    assert_allclose(events.energy_threshold, 0.3)


def test_energy_unit_from_eunit(tmp_path):
    """Take the unit of energies from EUNIT if the column has none."""
    units = {"TIME": "s", "RA": "deg", "DEC": "deg"}
    events = run(7, 50)["events"]
    in_gev = events | {"ENERGY": 1e3 * events["ENERGY"]}
    assert_allclose(one_run(tmp_path / "a", units=units, EUNIT="GeV", events=in_gev).energy, events["ENERGY"])


def test_missing_keywords_from_index(tmp_path):
    """Take missing keywords from the index, but prefer the header."""
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


def test_header_has_reference_time_of_intervals(tmp_path):
    """If the events lack MJDREFF, their header alone gives the reference time of the good time intervals too."""
    write_gadf(tmp_path / "in", [run(7, 50)])
    path = tmp_path / "in" / "data" / "run7.fits.gz"
    with fits.open(path) as hdus:
        hdus["GTI"].header["MJDREFF"] = 0.5
        del hdus["EVENTS"].header["MJDREFF"]
        hdus.writeto(path, overwrite=True)
    assert read_events_header(open_runs(tmp_path / "in", "GADF").files(7)).number("MJDREFF") == 0.5


def test_events_between_intervals(tmp_path):
    """Exclude events in gaps between good time intervals."""
    gti = [(TSTART + 1000, TSTART + 1200), (TSTART, TSTART + 400)]  # not in order of time, with a gap
    events = one_run(tmp_path, gti=gti)
    seconds = events.time - TSTART
    assert np.array_equal(events.in_gti, (seconds <= 400) | ((seconds >= 1000) & (seconds <= 1200)))
    assert 0 < events.in_gti.sum() < len(events)


def test_gaps_are_cut_out_of_intervals():
    """Gaps of the events are cut out of the good time, also if they span intervals, as second by second."""
    rng = np.random.default_rng(5)
    steps = rng.integers(1, 40, 400)
    edges = np.cumsum(steps).reshape(-1, 2).astype(float)
    seconds = np.arange(edges[-1, 1])
    is_good = ((seconds[:, None] >= edges[:, 0]) & (seconds[:, None] < edges[:, 1])).any(axis=1)
    elapsed = np.cumsum(is_good) - 1  # good time at the start of each second
    in_gap = np.isin(elapsed // 150, [2, 3, 7, 11, 20]) & is_good
    time = np.sort((seconds[is_good & ~in_gap, None] + rng.uniform(0, 1, (1, 40))).ravel())
    intervals, gaps = cut_gaps(time, edges)
    assert len(gaps) == 4  # two are adjacent
    left = ((seconds[:, None] + 0.5 >= intervals[:, 0]) & (seconds[:, None] + 0.5 < intervals[:, 1])).any(axis=1)
    assert np.array_equal(left, is_good & ~in_gap)
    assert np.diff(intervals).sum() == pytest.approx((is_good & ~in_gap).sum(), abs=2)


@pytest.mark.parametrize("limit", [None, 0.0, -1.0, "inf", "Infinity"])
def test_no_energy_limit(tmp_path, limit):
    """There is no limit if HI_THRES is missing, not filled in or infinite."""
    assert one_run(tmp_path, limit=limit).energy_limit is None


def test_energy_limit_in_its_unit(tmp_path):
    """HI_THRES is in TeV, or in the unit that its comment states."""
    assert one_run(tmp_path / "a", limit=20.0).energy_limit == 20
    assert_allclose(one_run(tmp_path / "b", limit=2500.0, limit_comment="high [GeV]").energy_limit, 2.5)
    assert one_run(tmp_path / "c", threshold=None, limit=0.01).energy_limit == 0.01


def test_energy_threshold_missing(tmp_path):
    """Return None if LO_THRES is missing."""
    assert one_run(tmp_path, threshold=None).energy_threshold is None


def test_schemes_read_equal_runs(tmp_path):
    """Read equal runs in both schemes."""
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


@pytest.mark.slow
def test_run_in_memory(tmp_path):
    """A run in memory is read like that of its file, also with wrong names of HDUs; errors have the name of its path."""
    files = open_runs(write_gadf(tmp_path / "in", [run(1)]), "GADF").files(1)
    content = gzip.decompress(files.events.path.read_bytes())
    place = HduLocation(tmp_path / "nowhere", "EVENTS")
    for gti in ("GTI", "STDGTI"):
        places = {"events": place, "gti": replace(place, hdu=gti), "aeff": replace(place, hdu="AEFF")}
        one, other = read_event_list(replace(files, **places, content=lambda: content)), read_event_list(files)
        for name in ("time", "ra", "dec", "energy", "gti"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (one.livetime, one.energy_threshold) == (other.livetime, other.energy_threshold)
    for broken, code in ((content[:6000], "truncated"), (b"", "empty-file")):
        with raises(code, "nowhere", kind=DataError):
            read_event_list(replace(files, **places, content=lambda broken=broken: broken))


def test_computed_altitude_and_azimuth(tmp_path):
    """Compute altitude and azimuth that are not stated as astropy does."""
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


def test_unknown_pointing_is_an_error(tmp_path):
    """Keep the error of a run whose pointing cannot be read, as `Runs.errors`."""
    write_gadf(tmp_path / "in", [run(7, 5), run(8, 5)], drop=["ALT_PNT", "AZ_PNT"])
    (tmp_path / "in" / "data" / "run7.fits.gz").unlink()
    runs = open_runs(tmp_path / "in", "GADF")
    assert list(runs.errors) == [7]
    with raises("not-found", "run7.fits.gz", kind=DataError) as caught:
        runs.files(7)
    assert caught.value is runs.errors[7]


def test_wrong_directories_and_schemes(tmp_path):
    """Name the directory, the index or the scheme that cannot be used."""
    with raises("not-found", tmp_path / "nowhere"):
        open_runs(tmp_path / "nowhere", "GADF")
    with raises("not-found", "obs-index.fits.gz nor obs-index.fits", "FILES"):
        open_runs(tmp_path, "GADF")
    with raises("not-found", "runinfo.fits.gz nor runinfo.fits"):
        open_runs(tmp_path, "HESS")
    with raises("unknown-choice", "scheme", "FITS", "GADF, HESS, FILES"):
        open_runs(tmp_path, "FITS")


def rewritten(tmp_path, change, drop=()):
    """Read run 7 after ``change(hdus)`` of its file, without some columns of the index."""
    write_gadf(tmp_path / "in", [run(7, 50)], drop=drop)
    path = tmp_path / "in" / "data" / "run7.fits.gz"
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(path, overwrite=True)
    return read_event_list(open_runs(tmp_path / "in", "GADF").files(7))


def test_different_times_of_events_and_gti(tmp_path):
    """Convert good time intervals to the time scale and the zero of time of the events."""
    plain = one_run(tmp_path / "plain")

    def utc(hdus):
        hdus["EVENTS"].header["TIMESYS"] = "UTC"

    shifted = rewritten(tmp_path / "utc", utc)
    assert_allclose((shifted.mjdref - plain.mjdref) * 86400, 64.184, atol=1e-3)
    # The GTI is still in TT: in mission time of the events it starts 64 s earlier.
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
        ({"MJDREFI": 40587.0, "TIMESYS": "UTC", "TSTART": 1.6e9}, 40587, 69.184),  # Unix time, with 37 leap seconds
        ({"MJDREFI": 40587, "TIMESYS": "utc", "TIMEUNIT": "d", "TSTART": 15000.0}, 40587, 66.184),
        ({"MJDREFI": 40587, "TIMESYS": "TT", "TSTART": 1.6e9}, 40587, 0),
        ({"MJDREFI": 99999}, 99999, 0),
    ],
)
def test_zero_of_mission_time(tmp_path, keywords, mjd, seconds):
    """Read MJDREF in all forms and time scales."""
    assert_allclose((mjdref_tt(table_of(tmp_path, **keywords)) - mjd) * 86400, seconds, atol=1e-5)


@pytest.mark.parametrize("mjd", [29999, 2451545])
def test_implausible_mjdref(tmp_path, mjd):
    """Refuse an MJDREF that is not a plausible date."""
    with raises("bad-time", "t.fits, HDU EVENTS", "MJDREF", kind=DataError):
        mjdref_tt(table_of(tmp_path, MJDREFI=mjd))


def test_sites_of_observatories(tmp_path):
    """Use the first longitude and latitude that are filled in, else the name of the observatory or the instrument."""
    geodetic = {"OBSGEO-L": -70.5, "OBSGEO-B": -24.5}
    for keywords, location in (
        ({"GEOLON": 0.0, "GEOLAT": 90.0}, (0, 90, 0)),
        ({"GEOLON": -17.9, "GEOLAT": 0.0, "ALTITUDE": 9999.0} | geodetic, (-17.9, 0, 9999)),
        ({"GEOLON": 0.0, "GEOLAT": 0.0, "TELESCOP": "HESS"} | geodetic, (-70.5, -24.5, 0)),
        (geodetic | {"OBSGEO-H": -430.0}, (-70.5, -24.5, -430)),
        ({"HIERARCH OBSERVATORY_NAME": "Magic", "TELESCOP": "HESS"}, (-17.89, 28.7619444, 2200)),
        ({"TELESCOP": "Veritas"}, (-110.9521306, 31.6750583, 1268)),
        ({"GEOLON": -17.9, "GEOLAT": 28.7, "GEOALT": 2200.0, "OBSGEO-X": 5e6}, (-17.9, 28.7, 2200)),
        ({"TELESCOP": "CTA-N", "INSTRUME": "LST-1"}, (-17.892005, 28.762164, 2147)),
        ({"TELESCOP": "CTA", "INSTRUME": "South"}, (-70.3163444, -24.6834278, 2150)),
        ({"INSTRUME": "LST1_M1_M2"}, (-17.89, 28.7619444, 2200)),
    ):
        site = site_of(table_of(tmp_path, **keywords))
        assert (site.lon, site.lat, site.height) == location
    for wrong in ({"GEOLON": 361.0}, {"GEOLAT": -90.5}, {"ALTITUDE": 10_000.0}, {"ALTITUDE": -1000.0}):
        with raises("bad-position", "t.fits, HDU EVENTS", *wrong, kind=DataError):
            site_of(table_of(tmp_path, **SITE | wrong))
    for keywords in ({"TELESCOP": "Dish"}, {}, {"GEOLON": 0.0, "GEOLAT": 0.0}):
        with raises("unknown-site", "t.fits, HDU EVENTS", "GEOLON, GEOLAT", "TELESCOP", kind=DataError):
            site_of(table_of(tmp_path, **keywords))


def test_geocentric_site(tmp_path):
    """Read the site from OBSGEO-X, -Y and -Z, and refuse a position that is not on the ground."""
    location = EarthLocation.from_geodetic(-17.9 * u.deg, 28.7 * u.deg, 2200 * u.m)
    keywords = {f"OBSGEO-{axis.upper()}": getattr(location, axis).to_value("m") for axis in "xyz"}
    site = site_of(table_of(tmp_path, GEOLON=0.0, GEOLAT=0.0, **keywords))
    assert_allclose([site.lon, site.lat, site.height], [-17.9, 28.7, 2200], rtol=1e-9)
    with raises("bad-position", "t.fits, HDU EVENTS", "OBSGEO-X", kind=DataError):
        site_of(table_of(tmp_path, **{name: value / 1000 for name, value in keywords.items()}))


def test_files_beside_index_before_base_dir(tmp_path):
    """Read the files beside an index that was copied with them, although those in its BASE_DIR are there too."""
    for name, n_events in (("first", 40), ("second", 50)):
        write_gadf(tmp_path / name, [run(7, n_events)])
    with fits.open(tmp_path / "second" / "hdu-index.fits.gz", mode="update") as hdus:
        hdus[1].header["BASE_DIR"] = str(tmp_path / "first")
    assert len(read_event_list(open_runs(tmp_path / "second", "GADF").files(7))) == 50


def test_livetime_from_ontime_and_deadc(tmp_path):
    """Compute a LIVETIME that is not stated."""

    def without(hdus):
        del hdus["EVENTS"].header["LIVETIME"]
        hdus["EVENTS"].header["DEADC"] = 0.875

    assert rewritten(tmp_path, without, drop=["LIVETIME"]).livetime == 0.875 * ONTIME


def test_site_from_obsgeo_or_telescop(tmp_path):
    """Read the site from OBSGEO keywords, or by TELESCOP."""

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


def test_index_of_another_style(tmp_path):
    """Read an index in other units, with zenith angle, BASE_DIR, HDU classes and OBS_ID as text."""
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


def test_null_values_are_nan(tmp_path):
    """Replace TNULL by NaN."""
    columns = [fits.Column("OBS_ID", "K", array=[7]), fits.Column("N_TELS", "J", array=[-99], null=-99)]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    assert np.isnan(read_table(tmp_path / "t.fits").columns["N_TELS"][0])


def test_short_gti_of_scheme_hess(tmp_path):
    """Read the GTI of scheme HESS."""
    parts = run(300, 200, gti=[(TSTART, TSTART + 500)])
    events = read_event_list(open_runs(write_hess(tmp_path / "hess", [parts]), "HESS").files(300))
    assert 0 < events.in_gti.sum() < 200
    assert events.livetime == 450


def test_late_runs_use_a_predicted_orientation(tmp_path, monkeypatch):
    """Runs after the table of the Earth's orientation are read with a note, which is no error with on_error="fail"."""
    monkeypatch.setattr(run_files, "MJDREF", 66000.0)  # warnings are errors in tests
    indir = run_files.write_gadf(tmp_path / "in", [run_files.run(2, 100)])
    runs = open_runs(indir, "GADF").with_on_error("fail")
    assert any("prediction" in note for note in read_event_list(runs.files(2)).notes)
    assert tt_of(66000.0, format="mjd", scale="utc") == pytest.approx(66000 + 69.184 / 86400, abs=1e-9)


@pytest.mark.parametrize("name", ["AEFF", "EVENTS"])
def test_hdu_that_only_the_index_names(tmp_path, name):
    """A run without the effective area that the index names may be used, without threshold, but not one without events."""
    indir = write_gadf(tmp_path / "in", [run(7, 50)])
    path = indir / "data" / "run7.fits.gz"
    with fits.open(path) as hdus:
        fits.HDUList([hdu.copy() for hdu in hdus if hdu.name != name]).writeto(path, overwrite=True)
    with raises("missing-hdu", path, *(["--allow missing-hdu"] if name == "AEFF" else []), kind=DataError):
        read_event_list(open_runs(indir, "GADF").files(7))
    allowed = open_runs(indir, "GADF", allow=["missing-hdu"]).files(7)
    if name == "EVENTS":
        with raises("missing-hdu", kind=DataError) as caught:
            read_event_list(allowed)
        assert "--allow" not in str(caught.value)
        return
    events = read_event_list(allowed)
    assert events.energy_threshold is None
    assert any("missing-hdu" in note for note in events.notes)
