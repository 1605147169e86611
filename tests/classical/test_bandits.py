"""Index rules by hand; playing many instances at once; totals where they are known."""

import math

import numpy as np
import pytest
from scipy import stats

from metazoo import random
from metazoo.classical import bandits, bayes_optimal, draws
from metazoo.tasks.families.bandit import Bandit

ALGORITHMS = {
    "random": bandits.uniformly_random,
    "greedy": bandits.greedy,
    "epsilon_greedy": bandits.EpsilonGreedy(0.2),
    "thompson": bandits.thompson,
    "optimistic_thompson": bandits.optimistic_thompson,
    "likeliest_thompson": bandits.LikeliestThompson(3),
    "ucb1": bandits.UCB1(0.3),
    "gittins": bandits.Gittins(0.9),
    "finite_gittins": bandits.finite_gittins,
    "bayes_optimal": bandits.bayes_optimal_play,
}
MEANS = Bandit(3, 8).sample(500, "validation", 0).means.numpy()


def seen(successes, failures, pull, pulls=10, rows=1, seed=0):
    counts = (np.tile(np.array(count, np.float32), (rows, 1)) for count in (successes, failures))
    return bandits.Seen(*counts, pull, pulls, random.spread(random.key(seed), rows))


def test_posterior_mean_counts_one_success_and_one_failure():
    np.testing.assert_allclose(bandits.greedy(seen([0, 2, 1], [0, 1, 3], 7)), [[1 / 2, 3 / 5, 2 / 6]], rtol=1e-6)


def test_ucb1_by_hand():
    scores = bandits.UCB1(0.5)(seen([2, 0], [1, 0], 3))
    bonus = [0.5 * math.sqrt(2 * math.log(4) / count) for count in (5, 2)]
    np.testing.assert_allclose(scores, [[3 / 5 + bonus[0], 1 / 2 + bonus[1]]], rtol=1e-6)


def test_thompson_sampling_picks_an_arm_as_often_as_it_is_best():
    # P(Beta(3, 1) > U[0, 1]) is the mean of Beta(3, 1)
    scores = bandits.thompson(seen([2, 0], [0, 0], 2, rows=20_000))
    assert np.mean(scores[:, 0] > scores[:, 1]) == pytest.approx(3 / 4, abs=0.015)


def test_optimistic_thompson_never_goes_below_the_mean():
    known = seen([2, 0], [1, 3], 6, rows=1000)
    sampled, optimistic = bandits.thompson(known), bandits.optimistic_thompson(known)
    np.testing.assert_array_equal(optimistic, np.maximum(sampled, known.means))
    assert (sampled < known.means).any()


def test_likeliest_thompson_takes_the_draw_with_the_highest_density():
    known = seen([2, 0], [1, 3], 6, rows=1000)
    drawn = [draws.beta(known.keys(i), known.successes + 1, known.failures + 1) for i in range(4)]
    densities = [stats.beta(3, 2).logpdf(one[:, 0]) + stats.beta(1, 4).logpdf(one[:, 1]) for one in drawn]
    expected = np.stack(drawn)[np.argmax(densities, 0), np.arange(1000)]
    np.testing.assert_allclose(bandits.LikeliestThompson(4)(known), expected, rtol=1e-5)


def test_epsilon_greedy_leaves_the_best_arm_as_often_as_it_says():
    arms = bandits.EpsilonGreedy(0.3)(seen([3, 0, 0], [0, 0, 0], 3, rows=20_000)).argmax(1)
    assert np.mean(arms != 0) == pytest.approx(0.3 * 2 / 3, abs=0.015)


def test_gittins_reads_the_index_of_each_arm():
    scores = bandits.Gittins(0.9)(seen([1, 0, 0], [0, 1, 0], 2))
    np.testing.assert_allclose(scores, [[0.8001, 0.5001, 0.7029]], atol=2e-4)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_instance_is_played_the_same_alone_and_among_others(name):
    rewards, arms = bandits.play_bandit(ALGORITHMS[name], MEANS, 8, seed=4)
    for count in (1, 3):
        few = bandits.play_bandit(ALGORITHMS[name], MEANS[:count], 8, seed=4)
        np.testing.assert_array_equal(few[0], rewards[:count])
        np.testing.assert_array_equal(few[1], arms[:count])
    assert set(np.unique(rewards)) == {0.0, 1.0}


def test_another_seed_pays_other_rewards():
    first, second = (bandits.play_bandit(bandits.greedy, MEANS, 8, seed)[0] for seed in (0, 1))
    assert (first != second).any()


def test_the_pulls_of_an_arm_pay_the_same_whoever_makes_them():
    def sequences(algorithm):
        rewards, arms = bandits.play_bandit(algorithm, MEANS, 8)
        return [[row[pulled == arm] for arm in range(3)] for row, pulled in zip(rewards, arms, strict=True)]

    for one, other in zip(sequences(bandits.greedy), sequences(bandits.thompson), strict=True):
        for first, second in zip(one, other, strict=True):
            common = min(len(first), len(second))
            np.testing.assert_array_equal(first[:common], second[:common])


def test_an_arm_pays_as_often_as_its_mean():
    rewards, arms = bandits.play_bandit(bandits.uniformly_random, np.tile([[0.2, 0.9]], (4000, 1)), 10)
    assert rewards[arms == 0].mean() == pytest.approx(0.2, abs=0.01)
    assert rewards[arms == 1].mean() == pytest.approx(0.9, abs=0.01)


def test_optimal_play_earns_the_optimal_value_and_no_other_earns_more():
    means = Bandit(5, 10).sample(4000, "validation", 0).means.numpy()
    totals = {
        name: np.take_along_axis(means, bandits.play_bandit(algorithm, means, 10)[1], 1).sum(1)
        for name, algorithm in ALGORITHMS.items()
    }
    optimal = totals.pop("bayes_optimal")
    assert optimal.mean() == pytest.approx(bayes_optimal.value(5, 10), abs=float(3 * optimal.std() / math.sqrt(4000)))
    for name, total in totals.items():
        gap = total - optimal
        assert gap.mean() <= 3 * gap.std() / math.sqrt(4000), name
    assert totals["finite_gittins"].mean() > totals["greedy"].mean() > totals["thompson"].mean()


def test_regret_adds_up_what_the_best_arm_pays_more():
    regret = bandits.regret(np.array([[0.2, 0.7, 0.6]]), np.array([[0, 1, 2, 2]]))
    np.testing.assert_allclose(regret, [[0.5, 0.5, 0.6, 0.7]])


@pytest.mark.parametrize(("means", "pulls", "message"), [([0.5], 3, "shape"), ([[0.5]], 0, "pulls is 0")])
def test_what_cannot_be_played_is_refused(means, pulls, message):
    with pytest.raises(ValueError, match=message):
        bandits.play_bandit(bandits.greedy, means, pulls)
