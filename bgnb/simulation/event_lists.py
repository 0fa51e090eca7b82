"""Simulated observation tables and event lists of a known true model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Row, Table

from bgnb._util.arrays import Floats, blocks
from bgnb._util.checks import check_type, finite_number, whole_number
from bgnb._util.errors import BgnbError
from bgnb._util.settings_groups import with_settings
from bgnb.observations.coordinates import FieldOfView, Site, pointing_radec, sun_altitude, tt_of
from bgnb.observations.event_list import EventList
from bgnb.observations.gadf_keywords import SIMULATED
from bgnb.observations.sites import OBSERVATORIES
from bgnb.simulation.settings import ObservationSettings
from bgnb.simulation.true_model import LIVETIME, ONTIME, TrueModel, altitude_factor, detxy_of

#: Reference of the simulated mission time: 2001-01-01 in UTC.
MJDREFI, MJDREFF = 51910, 0.0007428703703703703
_MJDREF = MJDREFI + MJDREFF
#: Maximum altitude of the Sun during a run, deg: astronomical night.
SUN_ALT_MAX = -18.0
#: Width of the image of a point source (Gaussian sigma), deg.
PSF_SIGMA = 0.06
_SOURCE_INDEX = 2.0
_SOURCE_MAX_OFFSET = 5.0


@dataclass(frozen=True)
class PointSource:
    """A gamma-ray source in simulated data.

    Parameters
    ----------
    name : str
        Name of the source.
    ra, dec : float
        Position, ICRS, deg.
    rate : float
        Events per second of livetime, in runs that point within 5 deg of it.

    Examples
    --------
    >>> import bgnb
    >>> row = bgnb.make_test_observation_table(1)[0]
    >>> source = bgnb.PointSource("New source", row["RA_PNT"], row["DEC_PNT"], rate=1.0)
    >>> truth = bgnb.TrueModel(trigger_rate=2)
    >>> added = len(bgnb.make_test_eventlist(row, truth, point_sources=[source])) - len(bgnb.make_test_eventlist(row, truth))
    >>> round(added / row["LIVETIME"])
    1
    """

    name: str
    ra: float
    dec: float
    rate: float

    def __post_init__(self) -> None:
        for name, unit in (("ra", "deg"), ("dec", "deg"), ("rate", "1/s")):
            object.__setattr__(self, name, finite_number(name, getattr(self, name), unit))
        if not (0 <= self.ra <= 360 and -90 <= self.dec <= 90 and 0 <= self.rate < np.inf):
            limits = "RA from 0 to 360 deg, DEC from -90 to 90 deg, and a finite rate of at least 0"
            raise BgnbError("invalid-argument", f"source {self.name} must have {limits}")


@with_settings(ObservationSettings)
def make_test_observation_table(n_runs: int = 10, *, settings: ObservationSettings) -> Table:
    """Simulate a table of runs of 30 min at night, with 25 min livetime.

    Altitude and azimuth at the middle of a run are uniform in solid angle within the ranges;
    right ascension and declination follow from them, the time and the site. Runs are
    independent of each other, and may overlap in time.

    Parameters
    ----------
    n_runs : int
        Number of runs; OBS_IDs count from 1.
    {settings}

    Returns
    -------
    `~astropy.table.Table`
        One row per run, with GADF column names.

    Raises
    ------
    BgnbError
        If a range is empty, or there is no night between the dates.

    Examples
    --------
    >>> import bgnb
    >>> table = bgnb.make_test_observation_table(3, observatory="CTAO-NORTH", alt_range=(60, 70))
    >>> table["OBS_ID"].tolist(), table["LIVETIME"].quantity.sum().to("h")
    ([1, 2, 3], <Quantity 1.25 h>)
    """
    site, n_runs = OBSERVATORIES[settings.observatory], settings.n_runs
    alt_range, az_range, date_range = settings.alt_range, settings.az_range, settings.date_range
    n_tels_range, muoneff_range = settings.n_tels_range, settings.muoneff_range
    first, last = (_mission_time(date) for date in date_range)
    if not _mission_time("1970-01-01") <= first < last <= _mission_time("2100-01-01"):
        raise BgnbError("invalid-argument", f"date_range must be two increasing dates from 1970 to 2099, got {date_range}")
    rng = np.random.default_rng([settings.seed, 0])
    tstart = np.sort([_night_start(rng, first, last, site) for _ in range(n_runs)])
    sin_low, sin_high = np.sin(np.radians(alt_range))
    alt = np.degrees(np.arcsin(rng.uniform(sin_low, sin_high, n_runs)))
    az = rng.uniform(az_range[0], az_range[1], n_runs) % 360
    middle = _MJDREF + (tstart + ONTIME / 2) / 86400
    radec = [pointing_radec(*pointing, site) for pointing in zip(alt, az, middle, strict=True)]
    table = Table({"OBS_ID": np.arange(1, n_runs + 1)})
    for name, unit, values in (
        ("RA_PNT", "deg", [ra for ra, _ in radec]),
        ("DEC_PNT", "deg", [dec for _, dec in radec]),
        ("ZEN_PNT", "deg", 90 - alt),
        ("ALT_PNT", "deg", alt),
        ("AZ_PNT", "deg", az),
        ("ONTIME", "s", np.full(n_runs, ONTIME)),
        ("LIVETIME", "s", np.full(n_runs, LIVETIME)),
        ("DEADC", "", np.full(n_runs, LIVETIME / ONTIME)),
        ("TSTART", "s", tstart),
        ("TSTOP", "s", tstart + ONTIME),
        ("MUONEFF", "", rng.uniform(muoneff_range[0], muoneff_range[1], n_runs)),
    ):
        table[name] = np.asarray(values, dtype=float)
        table[name].unit = unit
    table["N_TELS"] = rng.integers(n_tels_range[0], n_tels_range[1], n_runs, endpoint=True)
    table["OBJECT"] = np.full(n_runs, SIMULATED)
    table.meta |= {"MJDREFI": MJDREFI, "MJDREFF": MJDREFF, "TIMEUNIT": "s", "TIMESYS": "TT", "TIMEREF": "LOCAL"}
    table.meta |= {"TELESCOP": settings.observatory, "GEOLON": site.lon, "GEOLAT": site.lat, "ALTITUDE": site.height}
    return table


def make_test_eventlist(
    observation: Row,
    model: TrueModel | None = None,
    *,
    energy_threshold: float | None = None,
    point_sources: Sequence[PointSource] = (),
    seed: int = 0,
) -> EventList:
    """Simulate the events of one run, in order of time.

    Parameters
    ----------
    observation : `~astropy.table.Row`
        A row of `make_test_observation_table`.
    model : `TrueModel`, optional
        The true model; by default that of default parameters.
    energy_threshold : float, optional
        LO_THRES at the zenith, TeV; it grows as sin(altitude)^−3, as showers are farther
        away. By default the minimum energy of the model, in all runs.
    point_sources : sequence of `PointSource`
        Gamma-ray sources; those outside the field of view add no events.
    seed : int
        Seed of the random numbers; the same seed and OBS_ID give the same events.

    Returns
    -------
    EventList
        The simulated run.

    Raises
    ------
    BgnbError
        If ``energy_threshold`` cannot be used, or the run would have more than `MAX_EVENTS`
        events.

    Examples
    --------
    >>> import bgnb
    >>> table = bgnb.make_test_observation_table(1, alt_range=(89, 90))
    >>> run = bgnb.make_test_eventlist(table[0], bgnb.TrueModel(trigger_rate=2))
    >>> run.livetime, round(len(run) / run.livetime)
    (1500.0, 2)
    """
    return simulate_run(observation, model, energy_threshold=energy_threshold, point_sources=point_sources, seed=seed)[0]


def simulate_run(
    observation: Row,
    model: TrueModel | None,
    *,
    energy_threshold: float | None = None,
    point_sources: Sequence[PointSource] = (),
    seed: int = 0,
) -> tuple[EventList, Floats]:
    """Simulate a run, see `make_test_eventlist`; return it with DETX and DETY in the frame of the model, deg, shape (2, n)."""
    check_type("observation", observation, Row)
    check_type("point_sources", point_sources, Sequence)
    for source in point_sources:
        check_type("each of point_sources", source, PointSource)
    model = TrueModel() if model is None else model
    meta, obs_id = observation.meta, int(observation["OBS_ID"])
    rng = np.random.default_rng([whole_number("seed", seed, 0), obs_id])
    ra_pnt, dec_pnt, tstart = (float(observation[name]) for name in ("RA_PNT", "DEC_PNT", "TSTART"))
    ontime, livetime = float(observation["ONTIME"]), float(observation["LIVETIME"])
    site = Site(meta["GEOLON"], meta["GEOLAT"], meta["ALTITUDE"])
    middle = tstart + ontime / 2
    view = FieldOfView(ra_pnt, dec_pnt, _MJDREF + middle / 86400, site)
    # The pointing changes during the run, and the rate with it.
    energy, directions = model.draw_directions(rng, 90.0, livetime)
    time = _sorted_times(rng, len(energy), tstart, ontime)
    columns = _kept_events(rng, model, view, energy, directions, time, middle)
    near = [source for source in point_sources if _in_view(source, view)]
    if near:
        of_sources = [_source_events(rng, source, model, livetime) for source in near]
        times = [_sorted_times(rng, len(events[0]), tstart, ontime) for events in of_sources]
        for (energy, ra, dec), time in zip(of_sources, times, strict=True):
            position = view.detxy(model.fovalign, ra, dec, time - middle)
            columns = np.concatenate([columns, np.stack([energy, time, ra, dec, *position])], axis=1)
        columns = columns[:, np.argsort(columns[1], kind="stable")]
    energy, time, ra, dec = columns[:4]
    events = EventList(
        obs_id=obs_id,
        time=time,
        ra=ra,
        dec=dec,
        energy=energy,
        mjdref=_MJDREF,
        gti=np.array([[tstart, tstart + ontime]]),
        livetime=livetime,
        ra_pnt=ra_pnt,
        dec_pnt=dec_pnt,
        site=site,
        energy_threshold=_threshold(energy_threshold, model, float(observation["ALT_PNT"])),
        telescop=str(observation.meta["TELESCOP"]),
        n_tels=int(observation["N_TELS"]),
        simulated=True,
    )
    return events, columns[4:]


def _kept_events(
    rng: np.random.Generator,
    model: TrueModel,
    view: FieldOfView,
    energy: Floats,
    directions: Floats,
    time: Floats,
    middle: float,
) -> Floats:
    """Select events by the rate at the pointing of their time; return energy, time, RA, DEC, DETX and DETY, shape (6, n)."""
    columns, end = np.empty((6, len(time))), 0
    rng.random(out=columns[0])  # replaced by the energies
    for block in blocks(len(time)):
        seconds = time[block] - middle
        if model.elongation == 1:
            fraction = altitude_factor(view.pointing_altitude(seconds))
        else:
            altitude, azimuth = view.pointing_altaz(seconds)
            position = (energy[block], *detxy_of(directions[:, block]))
            fraction = altitude_factor(altitude) * model.elongated_part(*position, altitude, azimuth)
        kept = np.flatnonzero(columns[0, block] < fraction)
        direction = directions[:, block].take(kept, axis=1)
        start, end = end, end + len(kept)
        columns[:2, start:end] = energy[block][kept], time[block][kept]
        columns[2:4, start:end] = view.sky_of_directions(model.fovalign, direction, seconds[kept])
        columns[4:, start:end] = detxy_of(direction)
    return columns[:, :end]


def _threshold(at_zenith: float | None, model: TrueModel, alt_pnt: float) -> float:
    """Return the energy threshold of a run, TeV."""
    if at_zenith is None:
        return model.energy_min
    at_zenith = finite_number("energy_threshold", at_zenith, "TeV")
    if not at_zenith > 0:
        raise BgnbError("invalid-argument", f"energy_threshold must be above 0 TeV, got {at_zenith}")
    threshold = float(at_zenith / np.sin(np.radians(max(alt_pnt, 5.0))) ** 3)
    if not threshold < model.energy_max:
        of_run = f"it is {threshold:.3g} TeV at altitude {alt_pnt:.1f} deg"
        highest = f"the highest energy of the true model, {model.energy_max:g} TeV"
        raise BgnbError("invalid-argument", f"energy_threshold must be below {highest}; {of_run}")
    return threshold


def _in_view(source: PointSource, view: FieldOfView) -> bool:
    """Check that a source is close enough to the pointing to be simulated."""
    x, y = view.detxy_radec(np.array([source.ra]), np.array([source.dec]))
    return bool(np.hypot(x[0], y[0]) <= _SOURCE_MAX_OFFSET)


def _source_events(rng: np.random.Generator, source: PointSource, model: TrueModel, livetime: float) -> tuple[Floats, ...]:
    """Draw energies (TeV), right ascensions and declinations (deg) of the events of a source."""
    n = int(rng.poisson(source.rate * livetime))
    low, high = (limit ** (1 - _SOURCE_INDEX) for limit in (model.energy_min, model.energy_max))
    energy = (low + (high - low) * rng.random(n)) ** (1 / (1 - _SOURCE_INDEX))
    around = FieldOfView(source.ra, source.dec, _MJDREF, Site(0.0, 0.0, 0.0))  # RADEC depends neither on time nor on site
    x, y = rng.normal(0, PSF_SIGMA, (2, n))
    return energy, *around.sky_position("RADEC", x, y, np.zeros(n))


def _sorted_times(rng: np.random.Generator, n: int, start: float, duration: float) -> Floats:
    """Draw sorted uniform times as sums of exponential waiting times, scaled to the duration."""
    waiting = rng.standard_exponential(n + 1)
    np.cumsum(waiting, out=waiting)
    time = waiting[:-1]
    time *= duration
    time /= waiting[-1]
    time += start
    return time


def _mission_time(date: str) -> float:
    """Convert a date in UTC to mission time, s."""
    try:
        return (tt_of(date, scale="utc") - _MJDREF) * 86400
    except ValueError:
        raise BgnbError("invalid-argument", f"date_range must be dates such as 2010-01-31, got '{date}'") from None


def _night_start(rng: np.random.Generator, first: float, last: float, site: Site) -> float:
    """Draw the start of a run at night, in whole seconds of mission time."""
    for _ in range(10_000):
        tstart = float(np.floor(rng.uniform(first, last)))
        if all(sun_altitude(_MJDREF + (tstart + s) / 86400, site) < SUN_ALT_MAX for s in (0, ONTIME)):
            return tstart
    raise BgnbError("invalid-argument", "date_range: there is no night at this observatory between these dates; widen it")
