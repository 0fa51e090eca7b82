"""Texts in plots: numbers, energies and positions."""

from __future__ import annotations

import math

from bgnb.cubes.cube import CubeAxes

RATE_LABEL = "MeV⁻¹ s⁻¹ sr⁻¹"


def format_number(value: float, digits: int = 3) -> str:
    """Format a number with a few digits; NaN and infinity as a dash."""
    return f"{value:.{digits}g}".replace("-", "−") if math.isfinite(value) else "–"


def format_value(value: float, error: float) -> str:
    """Format a number with its error, if it has one."""
    return format_number(value) + (f" ± {format_number(error)}" if error > 0 else "")


def format_count(number: int, noun: str) -> str:
    """Format a number of things, such as ``1 run`` or ``2 runs``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def energy_label(axes: CubeAxes, first: int, last: int | None = None) -> str:
    """Format the edges of an energy bin, or of the bins between two edges."""
    low, high = axes.energy.value[[first, first + 1 if last is None else last]]
    return f"{low:.3g} to {high:.3g} TeV"


def position_label(detx: float, dety: float) -> str:
    """Format a position in the field of view (deg)."""
    return f"({detx:g}, {dety:g}) deg"


def bin_label(axes: CubeAxes, iy: int, ix: int) -> str:
    """Format the centre of a bin of the field of view."""
    return f"DETX {axes.detx_centers[ix].value:.2f}°, DETY {axes.dety_centers[iy].value:.2f}°"
