"""Gamma, Beta and Dirichlet draws: distributed as they claim, each by its own key."""

import numpy as np
import pytest
from scipy import stats

from metazoo import random
from metazoo.classical import draws

KEYS = random.spread(random.key(3), 20_000)


@pytest.mark.parametrize("shape", [1.0, 2.5, 40.0])
def test_gamma_is_distributed_as_it_says(shape):
    drawn = draws.gamma(KEYS, np.full(20_000, shape))
    assert stats.kstest(drawn, stats.gamma(shape).cdf).pvalue > 0.01


def test_beta_is_distributed_as_it_says():
    drawn = draws.beta(KEYS, np.full(20_000, 3.0), np.full(20_000, 1.0))
    assert stats.kstest(drawn, stats.beta(3, 1).cdf).pvalue > 0.01


def test_dirichlet_sums_to_one_and_has_the_right_means():
    drawn = draws.dirichlet(KEYS, np.tile([1.0, 2.0, 5.0], (20_000, 1)))
    np.testing.assert_allclose(drawn.sum(-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(drawn.mean(0), [1 / 8, 2 / 8, 5 / 8], atol=0.005)


def test_a_draw_depends_on_its_own_key_and_parameter_only():
    shapes = np.linspace(1.0, 9.0, 20_000)
    np.testing.assert_array_equal(draws.gamma(KEYS[:7], shapes[:7]), draws.gamma(KEYS, shapes)[:7])
