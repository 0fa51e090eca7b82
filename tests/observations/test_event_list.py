"""Runs divided by their pointing: nothing is lost or counted twice."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from bgnb import EventList, ObservationGroups
from bgnb.observations.coordinates import pointing_radec
from bgnb.observations.event_list import PIECE
from tests.helpers.run_files import HESS, MJDREF, TSTART


def long_run(*gti, alt_pnt=56.0, az_pnt=218.0, n=500, livetime=0.87654321, seed=1) -> EventList:
    """Make a run with events also outside its good time; the pointing is that in the middle of the run."""
    gti = TSTART + np.array(gti, dtype=float)
    middle = MJDREF + (gti[0, 0] + gti[-1, 1]) / 2 / 86400
    ra_pnt, dec_pnt = pointing_radec(alt_pnt, az_pnt, middle, HESS)
    rng = np.random.default_rng(seed)
    return EventList(
        obs_id=5,
        time=np.sort(rng.uniform(gti[0, 0] - 300, gti[-1, 1] + 300, n)),
        ra=rng.normal(ra_pnt, 1, n) % 360,
        dec=np.clip(rng.normal(dec_pnt, 1, n), -90, 90),
        energy=rng.uniform(0.5, 2, n),
        mjdref=MJDREF,
        gti=gti,
        livetime=float(livetime * np.diff(gti).sum()),
        ra_pnt=ra_pnt,
        dec_pnt=dec_pnt,
        site=HESS,
        energy_threshold=None,
    )


def assert_whole(parts, events):
    """Assert that parts have each event, each good second and all livetime of a run once."""
    assert sum(len(part) for part in parts) == len(events)
    for name in ("time", "ra", "dec", "energy"):
        np.testing.assert_array_equal(
            np.sort(np.concatenate([getattr(p, name) for p in parts])), np.sort(getattr(events, name))
        )
    assert sum(int(part.in_gti.sum()) for part in parts) == events.in_gti.sum()
    assert sum(round(part.livetime * 1e6) for part in parts) == round(events.livetime * 1e6)
    assert sum(np.diff(part.gti).sum() for part in parts) == pytest.approx(np.diff(events.gti).sum())
    assert min(part.livetime for part in parts) > 0


def test_run_is_split_at_group_edges():
    """Events of each part are those of the pieces whose pointing in the middle, by Astropy, is in the group."""
    events = long_run((0, 7000), (7600, 18000))
    groups = ObservationGroups()
    parts = events.split(lambda alt_pnt, az_pnt: groups.group_ids(alt_pnt, az_pnt).tolist())
    assert len(parts) > 5
    assert_whole(list(parts.values()), events)
    location = EarthLocation(lon=HESS.lon * u.deg, lat=HESS.lat * u.deg, height=HESS.height * u.m)
    pointing = SkyCoord(events.ra_pnt * u.deg, events.dec_pnt * u.deg)
    for group_id, part in parts.items():
        good = part.time[part.in_gti]
        seen = pointing.transform_to(AltAz(obstime=Time(MJDREF, format="mjd", scale="tt") + good * u.s, location=location))
        row = groups.table[group_id]
        slack = 0.004178 * PIECE / 2 + 0.01  # the altitude changes by less in half a piece
        assert np.all((seen.alt.deg > row["ALT_MIN"] - slack) & (seen.alt.deg < row["ALT_MAX"] + slack))
        assert part.mean_pointing[0] == pytest.approx(seen.alt.deg.mean(), abs=0.5)
        assert part.livetime == pytest.approx(events.livetime * np.diff(part.gti).sum() / 17400, abs=1e-6)


def test_run_with_one_label_is_unchanged():
    """A run in a single group is not copied."""
    events = long_run((0, 1680))
    assert events.split(lambda alt_pnt, _: ["same"] * len(alt_pnt)) == {"same": events}


def test_intervals_without_livetime_are_kept_together():
    """The events of an interval shorter than a microsecond of livetime join the longest part."""
    events = long_run((0, 600), (700, 700 + 2e-7), (800, 1700))
    parts = events.split(lambda alt_pnt, _: ["first", "first", "short", *["last"] * (len(alt_pnt) - 3)])
    assert list(parts) == ["first", "last"]
    assert_whole(list(parts.values()), events)


@settings(max_examples=40)
@given(
    cuts=st.lists(st.integers(1, 4000), min_size=2, max_size=9, unique=True).filter(lambda cuts: len(cuts) % 2 == 0),
    seed=st.integers(0, 99),
)
def test_labels_in_any_order_lose_nothing(cuts, seed):
    """With random labels and good time intervals, the parts make up the run."""
    events = long_run(*np.sort(cuts).reshape(-1, 2), seed=seed)
    rng = np.random.default_rng(seed)
    parts = events.split(lambda alt_pnt, _: rng.integers(0, 3, len(alt_pnt)).tolist())
    assert_whole(list(parts.values()), events)
