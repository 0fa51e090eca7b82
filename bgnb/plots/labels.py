"""What pictures of all kinds share: words, and values that can be drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import quotient
from bgnb.cubes.compare import Comparison
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.profiles import Spectrum

#: DETX and DETY, deg.
Position = tuple[float, float]

RATE_LABEL = "MeV⁻¹ s⁻¹ sr⁻¹"


def energy_bins(axes: CubeAxes, energies: Sequence[u.Quantity]) -> list[int]:
    """The energy bins that hold these energies, each once; energies outside the axis are passed over."""
    bins = {axes.bin_of("energy", energy.to_value("TeV")) for energy in energies}
    return sorted(number for number in bins if number is not None)


def energy_label(axes: CubeAxes, number: int) -> str:
    """Ends of an energy bin."""
    low, high = axes.energy[number : number + 2].value
    return f"{low:.3g} to {high:.3g} TeV"


def place(detx: float, dety: float) -> str:
    """A position in the field of view (deg), in few words."""
    return f"({detx:g}, {dety:g}) deg"


def number(value: float, digits: int = 3) -> str:
    """A number to read: three digits, or a dash where there is none."""
    return f"{value:.{digits}g}".replace("-", "−") if math.isfinite(value) else "–"


def counted(number: int, word: str) -> str:
    """A number of things, in words."""
    return f"{number} {word}{'s' * (number != 1)}"


def index_label(line: Spectrum) -> str:
    """The spectral index of a spectrum, in words."""
    return f"γ = {line.index:.2f}" if np.isfinite(line.index) else "no power law"


def index_words(line: Spectrum) -> str:
    """The spectral index with its error, in words."""
    return index_label(line) + (f" ± {line.index_error:.2f}" if line.index_error > 0 else "")


def hidden(values: NDArray[Any], error: NDArray[Any] | None = None) -> NDArray[Any]:
    """Values above zero; not a number for the others, which a logarithm cannot show, and where there is no error."""
    shown = values > 0 if error is None else (values > 0) & np.isfinite(error)
    return np.where(shown, values, np.nan)


def spectra_ratio(comparison: Comparison, first: Spectrum, second: Spectrum) -> tuple[NDArray[Any], NDArray[Any]]:
    """Second over first and its error; not a number at energies at which one was not exposed, and where one has no error.

    The error is zero where the models share runs: it is much smaller than that of
    independent ones, and not known.
    """
    ratio = quotient(hidden(second.rate, second.error), hidden(first.rate, first.error))
    ratio = np.where(comparison.exposed, ratio, np.nan)
    if not comparison.independent:
        return ratio, np.zeros_like(ratio)
    relative = [quotient(line.error, line.rate) for line in (first, second)]
    return ratio, ratio * np.hypot(*relative)


def measured_planes(comparison: Comparison) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rate of the whole field of view, s-1, of both; not a number in planes that were not exposed or are extrapolated."""
    models, integrals = (comparison.first, comparison.second), comparison.plane_integrals()
    first, second = (
        np.where(model.exposed & ~model.extrapolated, hidden(integral), np.nan)
        for model, integral in zip(models, integrals, strict=True)
    )
    return first, second
