"""Gittins indices: published tables, and small cases by hand."""

import numpy as np
import pytest

from metazoo.classical import gittins


@pytest.mark.parametrize(
    ("gamma", "successes", "failures", "index"),
    [  # Gittins (1989), tables of the Beta prior: there a = successes + 1, b = failures + 1
        (0.9, 0, 0, 0.7029),
        (0.9, 1, 0, 0.8001),
        (0.9, 0, 1, 0.5001),
        (0.9, 1, 1, 0.6346),
        (0.9, 0, 2, 0.3796),
        (0.99, 0, 0, 0.8699),
        (0.99, 1, 0, 0.9102),
        (0.99, 0, 1, 0.7005),
    ],
)
def test_discounted_indices_are_those_of_the_published_table(gamma, successes, failures, index):
    table = gittins.discounted(gamma, 5)
    assert table[gittins.triangle(successes, failures)] == pytest.approx(index, abs=2e-4)


def test_without_a_future_the_index_is_the_mean():
    np.testing.assert_allclose(gittins.discounted(0.0, 3), [1 / 2, 1 / 3, 2 / 3, 1 / 4, 2 / 4, 3 / 4], atol=1e-4)


def test_last_pull_of_a_trial_is_worth_its_mean():
    last = gittins.finite_horizon(3)[-1]
    np.testing.assert_allclose(last, [1 / 2, 1 / 3, 2 / 3, 1 / 4, 2 / 4, 3 / 4], atol=1e-4)


def test_with_two_pulls_left_the_index_counts_a_second_pull_after_success():
    # (1/2 − λ) + 1/2 (2/3 − λ) = 0
    assert gittins.finite_horizon(2)[0][0] == pytest.approx(5 / 9, abs=1e-4)


def test_the_more_pulls_are_left_the_larger_the_index():
    fresh = [table[0] for table in gittins.finite_horizon(20)]
    assert np.all(np.diff(fresh) < 0.0)


def test_triangle_numbers_states_without_gaps():
    states = [(s, n - s) for n in range(4) for s in range(n + 1)]
    assert [gittins.triangle(*state) for state in states] == list(range(10))


def test_a_discount_of_one_is_refused():
    with pytest.raises(ValueError, match="gamma is 1"):
        gittins.discounted(1, 10)
