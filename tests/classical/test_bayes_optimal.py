"""The exact value of optimal play."""

import itertools

import numpy as np
import pytest

from metazoo.classical import bayes_optimal


def plain(successes, failures, left):
    """Dynamic programming that knows nothing of symmetry."""
    if left == 0:
        return 0.0
    best = 0.0
    for arm in range(len(successes)):
        mean = (successes[arm] + 1) / (successes[arm] + failures[arm] + 2)
        won, lost = list(successes), list(failures)
        won[arm] += 1
        lost[arm] += 1
        best = max(best, mean * (1 + plain(won, failures, left - 1)) + (1 - mean) * plain(successes, lost, left - 1))
    return best


@pytest.mark.parametrize(("arms", "value"), [(5, 6.659988), (10, 6.713951), (50, 6.713951)])
def test_value_of_ten_pulls(arms, value):
    assert bayes_optimal.value(arms, 10) == pytest.approx(value, abs=5e-7)


def test_two_pulls_by_hand():
    assert bayes_optimal.value(1, 2) == pytest.approx(1.0)
    # stay after a success (2/3), change after a failure (1/2)
    assert bayes_optimal.value(2, 2) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3 + 1 / 2 * 1 / 2)


@pytest.mark.parametrize(("arms", "pulls"), itertools.product((2, 3), (1, 4, 5)))
def test_symmetry_changes_nothing(arms, pulls):
    assert bayes_optimal.value(arms, pulls) == pytest.approx(plain([0] * arms, [0] * arms, pulls))


def test_scores_are_the_values_of_each_arm():
    scores = bayes_optimal.scores(np.array([[1, 0, 0]]), np.array([[0, 2, 0]]), 1)
    np.testing.assert_allclose(scores, [[2 / 3, 1 / 4, 1 / 2]])
    start = bayes_optimal.scores(np.zeros((2, 5)), np.zeros((2, 5)), 10)
    np.testing.assert_allclose(start, bayes_optimal.value(5, 10))


@pytest.mark.parametrize(("arms", "pulls", "message"), [(5, 17, "pulls is 17"), (0, 3, "arms is 0")])
def test_what_is_out_of_reach_is_refused(arms, pulls, message):
    with pytest.raises(ValueError, match=message):
        bayes_optimal.value(arms, pulls)
