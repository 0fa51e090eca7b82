"""Pointing of a run, from all statements about it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import Floats
from bgnb.observations import tolerances
from bgnb.observations.coordinates import FieldOfView, Site, separation
from bgnb.observations.event_list import EventList, RunFiles
from bgnb.observations.findings import Findings
from bgnb.observations.fits_table import FitsTable
from bgnb.observations.gadf_keywords import BELOW_HORIZON, altaz_in, column_in
from bgnb.observations.run_times import times_of

_SAMPLE_SIZE = 1000
# Minimum number of events whose median position is compared with the pointing, or with two pointings.
_MIN_EVENTS, _MIN_EVENTS_TO_CHOOSE = 100, 20
# Maximum distance of the median position from the right one of two pointings, as a fraction of their distance.
_CLEAR = 1 / 3


# Time step in which the middle of the good time is found, s.
_STEP = 60.0
# Time and site, on which the frame RADEC does not depend.
_ANY_TIME, _ANYWHERE = 51544.0, Site(0.0, 0.0, 0.0)
#: Maximum right ascension, deg: larger ones are not angles.
MAX_RA = 720.0
# Maximum distance of positions in HDU POINTING from the pointing, deg.
_MAX_MOTION = 0.3


class _Candidate(NamedTuple):
    """A stated pointing, ICRS, deg, and what the events say about it.

    ``detxy`` is the median difference between the offsets of the events and those of DETX and DETY (None without them),
    ``center`` the median position of the events relative to it (east, north), ``spread`` their median distance from that.
    """

    source: str
    ra: float
    dec: float
    detxy: float | None
    center: Floats
    spread: float


def pointing_of_events(files: RunFiles, table: FitsTable, ra: Floats, dec: Floats, findings: Findings) -> tuple[float, float]:
    """Return the pointing, ICRS, deg, of header or index, whichever agrees with the events.

    Raises
    ------
    DataError
        If they differ and the events do not tell which is right, or if the events contradict both.
    """
    stated = {"header": dict(table.cards), "index": files.index}
    candidates: list[_Candidate] = []
    rows = sample_rows(len(ra))
    offsets = _stated_offsets(table, rows)
    for source, values in stated.items():
        if source == "index" and {"RA_PNT", "DEC_PNT"} <= values.keys():
            position = float(values["RA_PNT"]), float(values["DEC_PNT"])
        elif source == "header" and {"RA_PNT", "DEC_PNT"} <= values.keys():
            position = table.number("RA_PNT"), table.number("DEC_PNT")
        else:
            continue
        if not (abs(position[1]) <= 90 and abs(position[0]) <= MAX_RA):
            raise table.error(
                "bad-position", f"RA_PNT = {position[0]:g}, DEC_PNT = {position[1]:g} deg is not a valid position"
            )
        if any(position == (each.ra, each.dec) for each in candidates):
            continue  # the same, which would be chosen
        candidates.append(_candidate(source, *position, ra[rows], dec[rows], offsets))
    if not candidates:
        return table.number("RA_PNT"), table.number("DEC_PNT")  # raises that they are missing
    chosen = candidates[0]
    if len(candidates) > 1:
        chosen = _choose(table, candidates, len(ra), findings)
    _check_events(table, chosen, len(ra), findings)
    far = float(np.mean(separation(ra[rows], dec[rows], chosen.ra, chosen.dec) > tolerances.OFFSET)) if len(rows) else 0.0
    if far > tolerances.MAX_INVALID:
        findings.note(f"{far:.0%} of the events are more than {tolerances.OFFSET:g} deg from the pointing")
    return chosen.ra, chosen.dec


def _candidate(source: str, ra_pnt: float, dec_pnt: float, ra: Floats, dec: Floats, offsets: Floats | None) -> _Candidate:
    x, y = FieldOfView(ra_pnt, dec_pnt, _ANY_TIME, _ANYWHERE).detxy_radec(ra, dec)
    center = np.array([np.median(x), np.median(y)]) if len(x) else np.zeros(2)
    spread = float(np.median(np.hypot(x - center[0], y - center[1]))) if len(x) else 0.0
    difference = None
    if offsets is not None:
        known = np.isfinite(offsets)
        difference = float(np.median(np.abs(separation(ra, dec, ra_pnt, dec_pnt) - offsets)[known]))
    return _Candidate(source, ra_pnt, dec_pnt, difference, center, spread)


def _stated_offsets(table: FitsTable, rows: NDArray[np.intp]) -> Floats | None:
    """Return the offsets of events from the pointing by DETX and DETY, whatever their frame; None if there are none."""
    if not {"DETX", "DETY"} <= table.columns.keys():
        return None
    detx, dety = (np.radians(column_in(table, name, "deg")[rows]) for name in ("DETX", "DETY"))
    offsets = np.degrees(np.arccos(np.cos(detx) * np.cos(dety)))
    return offsets if np.any(np.isfinite(offsets)) and np.nanmax(offsets) > 0 else None


def _choose(table: FitsTable, candidates: list[_Candidate], n_events: int, findings: Findings) -> _Candidate:
    header, index = candidates
    distance = float(separation(header.ra, header.dec, index.ra, index.dec))
    if distance <= tolerances.POINTING:
        return header
    trusted = [each for each in candidates if each.source in findings.reading.trust]
    by_index = {"header": "; whether the run is far from known sources was decided by the index", "index": ""}
    if len(trusted) == 1:
        text = f"RA_PNT and DEC_PNT of header and index differ by {distance:.1f} deg"
        source = trusted[0].source
        findings.note(f"{text}; those of the {source} are trusted{by_index[source]}", requested=True)
        return trusted[0]
    reasons: dict[str, list[str]] = {"header": [], "index": []}
    for one, other in ((header, index), (index, header)):
        if one.detxy is not None and other.detxy is not None and one.detxy < tolerances.DETXY < other.detxy:
            reasons[one.source].append("DETX and DETY")
        if n_events >= _MIN_EVENTS_TO_CHOOSE and np.hypot(*one.center) < _CLEAR * distance:
            reasons[one.source].append("the centre of the events")
    differ = f"RA_PNT and DEC_PNT are {distance:.1f} deg from those in the index"
    found = [each for each in candidates if reasons[each.source]]
    if distance > tolerances.OTHER_FIELD or len(found) != 1:
        which = "is this another run?" if distance > tolerances.OTHER_FIELD else "the events do not tell which are right"
        raise table.error("inconsistent-pointing", f"{differ}; {which}; use --trust header or --trust index")
    (chosen,) = found
    text = f"{differ}; those of the {chosen.source} are used, which agree with {' and '.join(reasons[chosen.source])}"
    findings.note(text + by_index[chosen.source])
    return chosen


def _check_events(table: FitsTable, chosen: _Candidate, n_events: int, findings: Findings) -> None:
    """Check that the events are around the pointing."""
    if not n_events:
        return
    shift = float(np.hypot(*chosen.center))
    if shift > tolerances.OFFSET:
        raise table.error("inconsistent-pointing", f"columns RA and DEC are {shift:.0f} deg (median) from the pointing")
    if chosen.source in findings.reading.trust or n_events < _MIN_EVENTS:
        return
    if shift > max(tolerances.CENTER * chosen.spread, tolerances.CENTER_OFFSET):
        text = f"the centre of the events is {shift:.1f} deg from RA_PNT and DEC_PNT, and their median offset from it"
        findings.refuse(table.error("inconsistent-pointing", f"{text} {chosen.spread:.1f} deg"))
    elif chosen.detxy is not None and chosen.detxy > 2 * tolerances.DETXY:
        text = f"offsets by DETX and DETY differ by {chosen.detxy:.2f} deg (median) from those by RA, DEC, RA_PNT and DEC_PNT"
        if shift > tolerances.CENTER / 2 * chosen.spread:
            findings.refuse(table.error("inconsistent-pointing", f"{text}, and so does the centre of the events"))
        else:
            findings.note(f"{text}, which are used")


def check_altaz(files: RunFiles, table: FitsTable, run: EventList, findings: Findings) -> None:
    """Compare stated altitudes and azimuths with those that follow from pointing, time and site.

    Raises
    ------
    DataError
        If the run points below the horizon, or if they differ so much that times, site or pointing must be wrong.
    """
    if findings.reading.pointing == "header":
        return
    first, last = run.gti[[0, -1], [0, 1]] - run.middle
    seconds, parts = run.good_seconds(_STEP)
    middle = float(np.interp(0.5, np.cumsum(parts) - parts / 2, seconds))  # of the good time, not of a gap in it
    altitude, azimuth = run.field_of_view.pointing_altaz(np.array([middle, first, 0.0, last]))
    advice = "if times are placeholders, or the site is wrong, use --pointing header; if they are right, --pointing computed"
    if altitude[0] < 0:
        raise table.error("below-horizon", BELOW_HORIZON.format(altitude[0]))
    if findings.reading.pointing == "computed":
        return
    stated = stated_altaz(files, table)
    distances = {source: float(separation(azimuth, altitude, az, alt).min()) for source, (alt, az) in stated.items()}
    confirmed = any(distance <= tolerances.ALTAZ for distance in distances.values())
    for source, distance in distances.items():
        if distance <= tolerances.ALTAZ:
            continue
        alt, az = stated[source]
        text = f"ALT_PNT = {alt:.1f}, AZ_PNT = {az:.1f} deg in the {source}, but {altitude[0]:.1f}, {azimuth[0]:.1f} deg "
        text += "from RA, DEC, time and site"
        from_south = float(separation(azimuth, altitude, az + 180, alt).min()) <= tolerances.ALTAZ
        if distance > tolerances.OTHER_SKY and not from_south and not confirmed:
            raise table.error("inconsistent-pointing", f"{text}; {advice}")
        findings.note(f"{text}, which are used{'; the former azimuth is counted from south' * from_south}")


def stated_altaz(files: RunFiles, table: FitsTable) -> dict[str, tuple[float, float]]:
    """Return the altitude and azimuth, deg, of header and index, by source; observations in memory have no index."""
    found = {}
    if altaz := altaz_in(replace(table, defaults={})):
        found["header"] = altaz
    if {"ALT_PNT", "AZ_PNT"} <= files.index.keys() and files.content is None:
        found["index"] = float(files.index["ALT_PNT"]), float(files.index["AZ_PNT"])
    return found


def header_altaz(files: RunFiles, table: FitsTable) -> tuple[float, float]:
    """Return the altitude and azimuth that the index or the header states, deg.

    Raises
    ------
    DataError
        If neither states them, or the pointing is below the horizon.
    """
    stated = stated_altaz(files, table)
    found = stated.get("header" if "header" in files.reading.trust else "index") or next(iter(stated.values()), None)
    if found is None:
        raise table.error("missing-keyword", "ALT_PNT and AZ_PNT are missing in header and index; --pointing header needs them")
    if not 0 <= found[0] <= 90:
        advice = "correct it, or use --pointing computed if times and site are right"
        raise table.error("below-horizon", f"ALT_PNT = {found[0]:g} deg is below the horizon; {advice}")
    return found[0], found[1] % 360


def check_tracking(table: FitsTable, pointings: FitsTable | None, run: EventList, findings: Findings) -> None:
    """Check that the run tracks one position: by its events, and by HDU POINTING if there is one.

    Raises
    ------
    DataError
        If it does not.
    """
    rows = np.flatnonzero(run.in_gti)
    if len(rows) >= _MIN_EVENTS:
        rows = rows[sample_rows(len(rows), 3 * _SAMPLE_SIZE)]
        rows = rows[np.argsort(run.time[rows], kind="stable")]
        first, _, last = np.array_split(rows, 3)
        position = [run.field_of_view.detxy_radec(run.ra[part], run.dec[part]) for part in (first, last)]
        centers = [np.array([np.median(x), np.median(y)]) for x, y in position]
        spread = min(float(np.median(np.hypot(x - c[0], y - c[1]))) for (x, y), c in zip(position, centers, strict=True))
        motion = float(np.hypot(*(centers[1] - centers[0])))
        error = spread * np.sqrt(6 / len(rows))  # of the difference of two medians of a third of the events each
        if motion > max(tolerances.DRIFT_OFFSET, tolerances.DRIFT * spread, tolerances.DRIFT_ERRORS * error):
            text = f"the centre of the events moves by {motion:.1f} deg during the run; it does not track a position"
            findings.refuse(table.error("drifting", text))
    if pointings is not None and {"RA_PNT", "DEC_PNT"} <= pointings.columns.keys() and len(pointings.columns["RA_PNT"]):
        ra, dec = (column_in(pointings, name, "deg") for name in ("RA_PNT", "DEC_PNT"))
        known = np.isfinite(ra) & np.isfinite(dec)
        if "TIME" in pointings.columns:
            time = times_of(pointings, run.mjdref)
            known &= (time >= run.gti[0, 0]) & (time <= run.gti[-1, 1])
        distance = float(separation(ra[known], dec[known], run.ra_pnt, run.dec_pnt).max()) if known.any() else 0.0
        if distance > _MAX_MOTION:
            text = f"HDU POINTING has positions up to {distance:.1f} deg from RA_PNT and DEC_PNT; the run does not track one"
            findings.refuse(table.error("drifting", text))


def sample_rows(number: int, maximum: int = _SAMPLE_SIZE) -> NDArray[np.intp]:
    """Return up to ``maximum`` rows of ``number``, evenly spaced: enough for a median."""
    return np.linspace(0, number - 1, min(number, maximum)).astype(np.intp)
