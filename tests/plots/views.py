"""A view with all kinds of panels."""

import numpy as np

from bgnb.plots.colours import LINES, SELECTED, Colours
from bgnb.plots.view import Curve, Graph, Image, Polygon, Series, View

X, Y = np.linspace(-3, 3, 13), np.linspace(-2, 2, 9)
VALUES = 1.7e-4 * np.linspace(0, 1, 12) * np.linspace(1, 0, 8)[:, None]
ANGLES = np.linspace(0, 2 * np.pi, 40)


def circle(radius, **options):
    """Make a circle."""
    return Curve(x=radius * np.cos(ANGLES), y=radius * np.sin(ANGLES), colour=SELECTED, **options)


def image(title, values=VALUES, **options):
    """Make an image, with an outline and a contour."""
    colours = options.pop("colours", Colours("viridis", "linear", 0, 1.7e-4))
    curves = circle(1, width=2, name="region"), circle(0.5, dash="dashed")
    return Image(title, "DETX / deg", "DETY / deg", "MeV⁻¹ s⁻¹", values, X, Y, colours, curves)


def spectrum(title="Spectrum", curves=()):
    """Make a graph with logarithmic axes, a band, lines and points with errors."""
    x, edges = np.geomspace(0.2, 80, 12), np.geomspace(0.18, 90, 13)
    y = 1e-4 * x**-2.7
    series = (
        Series("model", x, y, "line", LINES[0], y * 0.8, y * 1.2, edges),
        Series("_data", x, 2 * y, "points", LINES[1], y * 1.5, y * 2.5),
        Series("", x, 2 * y, "dotted", LINES[1]),
    )
    ranges = {"x_range": (0.18, 90.0), "y_range": (1e-10, 0.1), "x_log": True, "y_log": True}
    return Graph(title, "energy / TeV", "MeV⁻¹ s⁻¹", series, **ranges, band=(1.0, 2.0), curves=curves)


def sectors():
    """Make a map of four sectors: without value, with the minimum, marked, with the maximum."""
    polygons = []
    for number, value in enumerate((np.nan, 0.0, 5.0, 10.0)):
        angles = np.linspace(number, number + 1, 20) * np.pi / 2
        x, y = np.append(60 * np.sin(angles), 0), np.append(60 * np.cos(angles), 0)
        polygons.append(Polygon(x=x, y=y, value=value, marked=number == 2, details={"group": str(number)}))
    points = Series("runs", np.array([10.0]), np.array([20.0]), "points", LINES[1])
    return Graph(
        "Livetime", "x", "y", (points,), (-65.0, 65.0), (-65.0, 65.0), texts=((20.0, 20.0, "17"),), legend="below",
        polygons=tuple(polygons), colours=Colours("viridis", "linear", 0, 10), unit="h", is_map=True,
    )  # fmt: skip


def bars(**options):
    """Make a histogram."""
    heights = np.array([1.0, 5.0, 2.0]) * 1e5
    series = Series("runs", np.array([0.5, 1.5, 2.5]), heights, "bars", LINES[0], edges=np.arange(4.0))
    return Graph("Histogram\nof runs", "zenith / deg", "livetime / s", (series,), (3.0, 0.0), (0.0, 6e5), **options)


def view(title="Group 3 costs $5 or $6", **panels):
    """Make a view with all kinds of panels, or with given ones."""
    shown = {"image": image("Rate"), "spectrum": spectrum(), "map": sectors(), "bars": bars()}
    return View(title, "First line.\nSecond <line>.", panels or shown)
