"""Texts that describe images and graphs to readers who do not see them."""

from __future__ import annotations

import numpy as np

from bgnb.plots.labels import format_number
from bgnb.plots.view import Image, Panel


def describe(panel: Panel) -> str:
    """Describe a panel in a sentence: its title, what is shown, and its range."""
    title = " ".join(panel.title.split())
    start = f"{title}: " if title else ""
    if isinstance(panel, Image):
        return f"{start}image over {panel.x_label} and {panel.y_label}, {_describe_values(panel.values, panel.unit)}."
    names = dict.fromkeys([series.legend_name for series in panel.series] + [curve.legend_name for curve in panel.curves])
    names.pop("", None)
    shown = f" of {', '.join(names)}" if names else ""
    if panel.is_map:
        values = np.array([polygon.value for polygon in panel.polygons])
        return f"{start}map{shown}" + (f", {_describe_values(values, panel.unit)}." if panel.polygons else ".")
    return f"{start}graph{shown}; {panel.y_label} against {panel.x_label}."


def _describe_values(values: np.ndarray, unit: str) -> str:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "without values"
    return f"values from {format_number(float(finite.min()))} to {format_number(float(finite.max()))} {unit}".rstrip()
