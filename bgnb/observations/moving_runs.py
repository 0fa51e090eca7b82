"""Runs that do not track one position on the sky: they are cut into short pieces, each with its own pointing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.observations import tolerances
from bgnb.observations.coordinates import Site, pointing_radec, separation
from bgnb.observations.event_list import MICROSECONDS, EventList, RunFiles, pieces_of
from bgnb.observations.findings import Findings
from bgnb.observations.fits_table import FitsTable
from bgnb.observations.gadf_keywords import altaz_in, column_in
from bgnb.observations.run_times import times_of

#: Maximum duration of a piece, s, in which the sky moves by less than `_MOTION`, deg.
PIECE_DURATION, _MOTION = 20.0, 0.1
# Maximum good time of such a run, s: no night is longer than a day.
_MAX_DURATION = 86400.0
# Minimum number of events that are compared with the track.
_MIN_EVENTS = 100
#: Modes of runs that are cut into pieces, if the file states the pointing at each time.
MOVING = ("DRIFT", "RASTER", "SCAN")

# Maximum time without positions at the ends of a run, s.
_MARGIN = 5.0

# Modes in which the field of view does not track one position on the sky, or telescopes point to different positions.
_OTHER_MODES = ("DRIFT", "SLEW", "RASTER", "SCAN", "DIVERGENT")


class Track(NamedTuple):
    """Pointing of a run as a function of mission time, s: ICRS, deg; and altitude and azimuth if they stay the same, deg.

    At and near the zenith, the azimuth does not follow from the position on the sky.
    """

    position: Callable[[float], tuple[float, float]]
    altaz: tuple[float, float] | None = None


def unusual_mode(files: RunFiles, events: FitsTable) -> str:
    """Return the mode in OBS_MODE of header, or else index, if the run does not track one position; "" otherwise."""
    stated = str(replace(events, defaults={}).get("OBS_MODE") or files.index.get("OBS_MODE") or "").upper()
    return next((mode for mode in _OTHER_MODES if mode in stated), "")


def track_of(
    files: RunFiles,
    events: FitsTable,
    pointings: FitsTable | None,
    mjdref: float,
    site: Site,
    gti: Floats,
    findings: Findings,
) -> Track | None:
    """Return the pointing at each time; None for runs that track a position.

    A run with OBS_MODE = DRIFT has the altitude and azimuth in its header. Others need HDU POINTING with the columns TIME,
    RA_PNT and DEC_PNT for all of the good time ``gti``, between whose rows positions are interpolated. It is also used for
    runs with OBS_MODE = DRIFT if it contradicts their header, or the pointing is to be computed.

    Raises
    ------
    DataError
        If a run does not track a position, and the pointing at each time is not known.
    """
    if not (mode := unusual_mode(files, events)):
        return None
    if mode not in MOVING or "unsupported-mode" in files.reading.allow:
        text = f"OBS_MODE is {mode}; only runs that track a fixed position are supported"
        findings.refuse(events.error("unsupported-mode", text))
        return None
    drift = None
    if mode == "DRIFT" and (altaz := altaz_in(replace(events, defaults={}))):
        altitude, azimuth = altaz[0], altaz[1] % 360
        if abs(altitude) > 90:
            raise events.error("bad-position", f"ALT_PNT = {altitude:g} deg is not an altitude")
        drift = Track(lambda at: pointing_radec(altitude, azimuth, mjdref + at / 86400, site), (altitude, azimuth))
    if pointings is not None and {"TIME", "RA_PNT", "DEC_PNT"} <= pointings.columns.keys():
        time = times_of(pointings, mjdref)
        ra, dec = (column_in(pointings, name, "deg") for name in ("RA_PNT", "DEC_PNT"))
        known = np.isfinite(time) & np.isfinite(ra) & np.isfinite(dec)
        if (
            np.count_nonzero(known) > 1
            and time[known].min() <= gti[0, 0] + _MARGIN
            and time[known].max() >= gti[-1, 1] - _MARGIN
        ):
            order = np.flatnonzero(known)[np.argsort(time[known], kind="stable")]
            time, ra, dec = time[order], np.unwrap(ra[order], period=360), dec[order]
            track = Track(lambda at: (float(np.interp(at, time, ra)) % 360, float(np.interp(at, time, dec))))
            if drift is None or findings.reading.pointing == "computed":
                return track
            if any(separation(*track.position(at), *drift.position(at)) > _MOTION for at in gti[[0, -1], [0, 1]]):
                return track
    if drift is not None:
        return drift
    missing = "HDU POINTING does not state the pointing from its start to its end (columns TIME, RA_PNT, DEC_PNT)"
    if mode == "DRIFT":
        missing += ", nor the header ALT_PNT and AZ_PNT"
    findings.refuse(events.error("unsupported-mode", f"OBS_MODE is {mode}, and {missing}"))
    return None


def cut_into_pieces(run: EventList, events: FitsTable, track: Track, findings: Findings) -> list[EventList]:
    """Cut a run into pieces with constant pointing.

    Parameters
    ----------
    run : `~bgnb.EventList`
        The run.
    events : `~bgnb.observations.fits_table.FitsTable`
        Its HDU of events, for errors.
    track : Track
        Pointing at each time.
    findings : `~bgnb.observations.findings.Findings`
        Checks that the run may fail.

    Returns
    -------
    list of `~bgnb.EventList`
        Pieces in order of time, whose livetimes add up to that of the run, in whole microseconds. Events outside the good time
        are in the piece before them.

    Raises
    ------
    DataError
        If the events do not follow the track, or the run is longer than a day.
    """
    if (good := float(np.diff(run.gti).sum())) > _MAX_DURATION:
        text = f"the good time of a run that does not track a position is {good / 3600:.0f} h; are all times in seconds?"
        raise events.error("inconsistent-times", text)
    pieces, livetime_us = pieces_of(run, PIECE_DURATION)
    pieces, livetime_us = pieces[livetime_us > 0], livetime_us[livetime_us > 0]
    number = np.maximum(np.searchsorted(pieces[:, 0], run.time, side="right") - 1, 0)
    parts = []
    for row, (gti, microseconds) in enumerate(zip(pieces, livetime_us.tolist(), strict=True)):
        ra_pnt, dec_pnt = track.position(float(gti.mean()))
        chosen = number == row
        columns = {name: getattr(run, name)[chosen] for name in ("time", "ra", "dec", "energy")}
        where = {"ra_pnt": ra_pnt, "dec_pnt": dec_pnt, "gti": gti[None], "livetime": microseconds / MICROSECONDS}
        parts.append(replace(run, **columns, **where, time_cut=0.0, drift_altaz=track.altaz))
    _check_track(parts, events, findings)
    findings.note("the run moves, but without --sources mask only sources near RA_PNT and DEC_PNT are noticed", requested=True)
    return [replace(part, notes=(*part.notes, *findings.notes)) for part in parts]


def _check_track(parts: list[EventList], events: FitsTable, findings: Findings) -> None:
    """Check that the centre of the events stays at the pointing."""
    thirds: list[list[Floats]] = [[], [], []]
    for row, part in enumerate(parts):
        if len(part):
            thirds[3 * row // len(parts)].append(np.stack(part.field_of_view.detxy_radec(part.ra, part.dec)))
    if not thirds[0] or not thirds[2] or sum(map(len, parts)) < _MIN_EVENTS:
        return
    first, last = (np.concatenate(thirds[which], axis=1) for which in (0, 2))
    spread = min(float(np.median(np.hypot(*(each - np.median(each, axis=1)[:, None])))) for each in (first, last))
    motion = float(np.hypot(*(np.median(last, axis=1) - np.median(first, axis=1))))
    shift = float(np.hypot(*np.median(np.concatenate([first, last], axis=1), axis=1)))
    error = spread * np.sqrt(1 / first.shape[1] + 1 / last.shape[1]) * np.sqrt(2)
    if motion > max(tolerances.DRIFT_OFFSET, tolerances.DRIFT * spread, tolerances.DRIFT_ERRORS * error):
        text = f"the run does not track a position (OBS_MODE), but its events move by {motion:.1f} deg against its pointing"
        findings.refuse(events.error("unsupported-mode", text))
    if shift > max(tolerances.CENTER * spread, tolerances.CENTER_OFFSET):
        text = f"the centre of the events is {shift:.1f} deg from the pointing at their times"
        findings.refuse(events.error("inconsistent-pointing", text))
