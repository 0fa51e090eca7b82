"""Power laws fitted to counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bgnb._util.arrays import Floats


@dataclass(frozen=True)
class PowerLaw:
    """Rate = ``norm`` · (energy / ``pivot``)^−``index``; the error of the index is statistical."""

    pivot: float
    norm: float
    index: float
    index_error: float

    def at(self, energy: float | Floats) -> float | Floats:
        """Rate at an energy, in the units of the fit."""
        return self.norm * (energy / self.pivot) ** -self.index


def fit_power_law(energy: Floats, counts: Floats, exposure: Floats) -> PowerLaw | None:
    """Fit counts / exposure ∝ E^−index by maximum likelihood; counts are Poisson distributed.

    Poisson regression with a logarithmic link, by Fisher scoring (McCullagh and Nelder,
    Generalized Linear Models, 1989). Empty bins count as what they are.

    Parameters
    ----------
    energy, counts, exposure : ndarray, shape (n,)
        Bins, all exposed. Counts need not be whole.

    Returns
    -------
    PowerLaw or None
        None where fewer than two bins hold counts, or the fit does not converge.
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
