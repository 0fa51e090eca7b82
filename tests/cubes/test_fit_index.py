"""The fit of a power law to counts."""

import numpy as np
import pytest
from scipy.optimize import minimize

from bgnb.cubes.profiles import fit_index

ENERGY = np.geomspace(0.2, 50, 9)
EXPOSURE = np.linspace(2, 5, 9) * ENERGY


def expected(norm, index):
    return EXPOSURE * norm * ENERGY**-index


def test_fit_maximises_poisson_likelihood():
    counts = np.random.default_rng(1).poisson(expected(3.0, 2.7)).astype(float)
    assert (counts == 0).sum() >= 2
    index, _ = fit_index(ENERGY, counts, EXPOSURE)

    def negative_log_likelihood(parameters):
        mean = expected(np.exp(parameters[0]), parameters[1])
        return (mean - counts * np.log(mean)).sum()

    best = minimize(
        negative_log_likelihood, [0.0, 2.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 2000}
    )
    assert index == pytest.approx(best.x[1], abs=1e-5)


def test_fit_of_few_counts():
    """With few counts, the index is unbiased and its error has the right size."""
    rng = np.random.default_rng(2)
    laws = [fit_index(ENERGY, rng.poisson(expected(10.0, 2.7)).astype(float), EXPOSURE) for _ in range(400)]
    pulls = np.array([(index - 2.7) / error for index, error in laws])
    assert abs(pulls.mean()) < 4 / np.sqrt(400) + 0.05  # 0.05: the fit is unbiased for many counts only
    assert 0.88 < pulls.std() < 1.12


def test_one_bin_with_counts_has_no_index():
    counts = np.zeros(9)
    counts[3] = 5
    assert np.isnan(fit_index(ENERGY, counts, EXPOSURE)).all()
