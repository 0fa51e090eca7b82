"""Power laws fitted to counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bgnb._util.arrays import Floats


@dataclass(frozen=True)
class PowerLaw:
    """Power law: rate = ``norm`` · (energy / ``pivot``)^−``index``. ``index_error`` is the statistical error."""

    pivot: float
    norm: float
    index: float
    index_error: float

    def at(self, energy: float | Floats) -> float | Floats:
        """Return the rate at an energy, in the units of the fit."""
        return self.norm * (energy / self.pivot) ** -self.index


def fit_power_law(energy: Floats, counts: Floats, exposure: Floats) -> PowerLaw | None:
    """Fit counts / exposure ∝ E^−index to Poisson distributed counts by maximum likelihood.

    This is a Poisson regression with a logarithmic link, solved by Fisher scoring (McCullagh
    and Nelder, Generalized Linear Models, 1989). Bins without counts contribute to the
    likelihood.

    Parameters
    ----------
    energy, counts, exposure : ndarray, shape (n,)
        Energy, counts and exposure of each bin; exposures above zero. Counts need not be integers.

    Returns
    -------
    PowerLaw or None
        None if fewer than two bins have counts, or the fit does not converge.
    """
    populated = counts > 0
    if np.count_nonzero(populated) < 2:
        return None
    log_pivot = np.average(np.log(energy), weights=counts)
    x = np.log(energy) - log_pivot
    design = np.stack([np.ones_like(x), -x], axis=1)
    rate = counts[populated] / exposure[populated]
    slope, constant = np.polyfit(x[populated], np.log(rate), 1, w=np.sqrt(counts[populated]))
    beta = np.array([constant, -slope])
    for _ in range(100):
        expected = exposure * np.exp(np.clip(design @ beta, -700, 700))
        information = (design * expected[:, None]).T @ design
        try:
            covariance = np.linalg.inv(information)
        except np.linalg.LinAlgError:
            return None
        step = covariance @ design.T @ (counts - expected)
        beta = beta + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-8:
            return PowerLaw(float(np.exp(log_pivot)), float(np.exp(beta[0])), float(beta[1]), float(np.sqrt(covariance[1, 1])))
    return None
