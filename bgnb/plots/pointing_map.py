"""Polar map of pointings: zenith in the middle, north at the top, azimuth clockwise, so that east is on the right.

The distance from the middle is the zenith angle, deg.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.observations.groups import ObservationGroups
from bgnb.plots.colours import SELECTED, Colours, Stretch, choose_limits
from bgnb.plots.labels import format_number, with_minus
from bgnb.plots.view import Curve, Graph, Polygon, Series

#: Names of the coordinates of the map, in tables.
X_LABEL, Y_LABEL = "zenith angle × sin(azimuth) / deg", "zenith angle × cos(azimuth) / deg"
_GRID = "#999999"
#: Colours of whole numbers up to this one start at zero.
_MAX_WHOLE = 10
#: Colours are logarithmic if the values spread over more than this factor.
_LOG_SPREAD = 30
#: Minimum radius of a map, and multiple to which it is rounded, deg.
_MIN_ZENITH, _ZENITH_STEP = 40, 10
#: Margin for the letters N, E, S and W; width of a letter and height of a line, relative to the radius, in a small figure.
_MARGIN, _LETTER, _LINE = 1.13, 0.05, 0.1
# Step of points along an arc, and of attempts to place a text, deg.
_STEP = 5.0


def to_plane(alt: Any, az: Any) -> tuple[Floats, Floats]:
    """Project pointings.

    Parameters
    ----------
    alt, az : array_like
        Altitude and azimuth, deg.

    Returns
    -------
    x, y : ndarray
        Positions in the map, deg.
    """
    zenith, az = 90 - np.asarray(alt, dtype=float), np.radians(np.asarray(az, dtype=float))
    return zenith * np.sin(az), zenith * np.cos(az)


def to_sky(x: Any, y: Any) -> tuple[Floats, Floats]:
    """Find the pointings of positions in the map, the inverse of `to_plane`.

    Parameters
    ----------
    x, y : array_like
        Positions in the map, deg.

    Returns
    -------
    alt, az : ndarray
        Altitude and azimuth, deg; NaN below the horizon.
    """
    zenith, az = np.hypot(x, y), np.degrees(np.arctan2(x, y)) % 360
    outside = zenith > 90
    return np.where(outside, np.nan, 90 - zenith), np.where(outside, np.nan, az)


def group_at(groups: ObservationGroups, x: float, y: float) -> int | None:
    """Return the GROUP_ID of a position in the map; None outside all groups."""
    alt, az = to_sky(x, y)
    return None if np.isnan(alt) else groups.group_id(float(alt), float(az))


def pointing_map(
    groups: ObservationGroups,
    model_ids: Mapping[int, int],
    values: Mapping[int, float],
    label: str,
    unit: str,
    *,
    quantity: str = "",
    chosen: int | None = None,
    others: Collection[int] = (),
    max_zenith: float | None = None,
    series: tuple[Series, ...] = (),
    details: Mapping[int, Mapping[str, str]] | None = None,
) -> Graph:
    """Draw groups in altitude and azimuth, coloured by values.

    Parameters
    ----------
    groups : `ObservationGroups`
        Groups.
    model_ids : mapping of int to int
        For each GROUP_ID, the GROUP_ID of the group with its model; itself if not given.
    values : mapping of int to float
        Values by GROUP_ID of the model. Groups without a value, or with NaN, are grey.
    label, unit : str
        Description and unit of the values.
    quantity : str
        Quantity of the values, for the colour bar of static plots.
    chosen : int, optional
        GROUP_ID of the chosen group. It is marked with all groups of the same model.
    others : collection of int
        GROUP_IDs of further groups to mark, by dashed lines.
    max_zenith : float, optional
        Radius of the map, deg; by default that of `zenith_limit`.
    series : tuple of `Series`
        Points, at positions of `to_plane`.
    details : mapping of int to mapping of str to str, optional
        Further hover information, by GROUP_ID of the model.

    Returns
    -------
    Graph
        A map. Its texts are centred at their positions; the first ones are the most important.
    """
    known = {group_id: value for group_id, value in values.items() if np.isfinite(value)}
    shown = [group_id for group_id in range(len(groups)) if model_ids.get(group_id, group_id) in known]
    radius = zenith_limit(groups, shown, series) if max_zenith is None else max_zenith
    details = details or {}
    names = list(dict.fromkeys(name for texts in details.values() for name in texts))

    marked = None if chosen is None else model_ids.get(chosen, chosen)
    also_marked = {model_ids.get(group_id, group_id) for group_id in others} - {marked}
    polygons, curves = [], []
    for row in groups.table:
        group_id = int(row["GROUP_ID"])
        model_id = model_ids.get(group_id, group_id)
        outline = _sector(row, radius)
        if outline is None:
            continue
        x, y = outline
        value = known.get(model_id, np.nan)
        texts = {
            "group": f"{group_id}, merged into {model_id}" if model_id != group_id else str(group_id),
            "altitude": f"{row['ALT_MIN']:g}° to {row['ALT_MAX']:g}°",
            "azimuth": with_minus(f"{row['AZ_MIN']:g}° to {row['AZ_MAX']:g}°"),
            label: f"{format_number(value)} {unit}".rstrip() if np.isfinite(value) else "none",
        }
        texts |= {name: details.get(model_id, {}).get(name, "") for name in names}
        polygons.append(Polygon(x=x, y=y, value=value, marked=model_id == marked, details=texts))
        if model_id in also_marked:
            closed = np.append(x, x[0]), np.append(y, y[0])
            curves.append(Curve(x=closed[0], y=closed[1], colour=SELECTED, width=1.5, dash="dashed"))
    grid, texts_of_grid = graticule(radius)
    limits = -_MARGIN * radius, _MARGIN * radius
    placed = texts_of_grid + _group_texts(groups, shown, radius, texts_of_grid)
    placed.sort(key=lambda text: text[2] != str(marked))
    return Graph(
        label, X_LABEL, Y_LABEL, series, limits, limits, texts=tuple(placed), legend="below", curves=(*grid, *curves),
        polygons=tuple(polygons), colours=_colours(known.values()), unit=unit, quantity=quantity, is_map=True,
    )  # fmt: skip


def zenith_limit(groups: ObservationGroups, group_ids: Iterable[int], series: Iterable[Series] = ()) -> float:
    """Return the lowest multiple of 10 deg, at least 40 deg, that contains the zenith angles of groups and points."""
    ends = [90 - float(groups.table["ALT_MIN"][group_id]) for group_id in group_ids]
    for points in series:
        distance = np.hypot(points.x, points.y)
        ends.extend(distance[np.isfinite(distance)].tolist())
    highest = min(max(ends, default=0.0), 90.0)
    return float(max(_MIN_ZENITH, _ZENITH_STEP * math.ceil(highest / _ZENITH_STEP - 1e-9)))


def _colours(values: Collection[float]) -> Colours:
    """Choose colours of values: logarithmic if they are positive and differ a lot; from zero for small whole numbers."""
    array = np.array(list(values), dtype=float)
    whole = array.size > 0 and bool((array == np.rint(array)).all())
    if whole and array.min() >= 0 and array.max() <= _MAX_WHOLE:
        return Colours("viridis", "linear", 0.0, max(float(array.max()), 1.0), whole=True)
    log = array.size > 0 and array.min() > 0 and array.max() > _LOG_SPREAD * array.min()
    stretch: Stretch = "log" if log else "linear"
    return Colours("viridis", stretch, *choose_limits(array, stretch, 100), whole=whole)


def _sector(row: Any, radius: float) -> tuple[Floats, Floats] | None:
    """Return the corners of the part of a group within a zenith angle; None if there is none."""
    inner, outer = 90 - float(row["ALT_MAX"]), min(90 - float(row["ALT_MIN"]), radius)
    if inner >= outer:
        return None
    low, high = float(row["AZ_MIN"]), float(row["AZ_MAX"])
    az = np.linspace(low, high, math.ceil((high - low) / _STEP) + 1)
    inner_az = az[::-1] if inner > 0 else az[:1] if high - low < 360 else az[:0]
    zenith = np.concatenate([np.full(len(az), outer), np.full(len(inner_az), inner)])
    return to_plane(90 - zenith, np.concatenate([az, inner_az]))


def graticule(radius: float) -> tuple[list[Curve], list[tuple[float, float, str]]]:
    """Draw circles of equal zenith angle with their labels, and the points of the compass."""
    az = np.linspace(0, 360, 121)
    zeniths = np.arange(20, radius + 1, 20) if radius > _MIN_ZENITH else np.arange(10, radius + 1, 10)
    curves, texts = [], []
    for zenith in sorted({*zeniths.tolist(), radius}):
        x, y = to_plane(np.full(len(az), 90 - zenith), az)
        curves.append(Curve(x=x, y=y, colour=_GRID, width=1.0 if zenith == radius else 0.5))
    for zenith in zeniths[zeniths < radius].tolist():
        texts.append((zenith, 0.0, f"{zenith:g}°"))
    for az_point, name in ((0, "N"), (90, "E"), (180, "S"), (270, "W")):
        x, y = to_plane(90 - radius * (1 + _LINE / 1.6), az_point)
        texts.append((float(x), float(y), name))
    return curves, texts


def _group_texts(
    groups: ObservationGroups, shown: Iterable[int], radius: float, taken: Iterable[tuple[float, float, str]]
) -> list[tuple[float, float, str]]:
    """Place the GROUP_IDs in the middle of their groups, moved in azimuth where they would overlap another text."""
    boxes = [_box(*text, radius) for text in taken]
    texts = []
    for row in groups.table[list(shown)]:
        low, high, inner = float(row["AZ_MIN"]), float(row["AZ_MAX"]), 90 - float(row["ALT_MAX"])
        zenith = (inner + min(90 - float(row["ALT_MIN"]), radius)) / 2
        steps = np.arange(0, (high - low) / 2, _STEP)
        for offset in np.ravel(np.column_stack([steps, -steps])):
            x, y = to_plane(90 - zenith, (low + high) / 2 + offset)
            text = float(x), float(y), str(row["GROUP_ID"])
            box = _box(*text, radius)
            if not any(_overlap(box, other) for other in boxes):
                boxes.append(box)
                texts.append(text)
                break
    return texts


def _box(x: float, y: float, text: str, radius: float) -> tuple[float, float, float, float]:
    """Return the centre and the size of a text."""
    return x, y, _LETTER * radius * (len(text) + 0.5), _LINE * radius


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return abs(one[0] - other[0]) < (one[2] + other[2]) / 2 and abs(one[1] - other[1]) < (one[3] + other[3]) / 2
