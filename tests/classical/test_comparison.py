"""The columns beside a policy's own."""

import numpy as np
import pytest

from metazoo.classical import comparison, settings
from metazoo.classical.bandits import UCB1
from metazoo.tasks.families.bandit import Bandit, GaussianBandit
from metazoo.tasks.families.tabular_mdp import TabularMDP


def test_bandits_keep_what_they_know_over_the_episodes_of_a_trial():
    family = Bandit(3, 5)
    tasks = family.sample(200, "test", 0)
    returns = comparison.classical_baselines(family, tasks, episodes=2)
    assert set(returns) >= {"gittins", "ucb1", "thompson", "bayes_optimal", "finite_gittins", "random"}
    assert {one.shape for one in returns.values()} == {(200, 2)}
    assert returns["gittins"][:, 1].mean() > returns["gittins"][:, 0].mean()
    one = comparison.classical_baselines(family, tasks)
    assert np.abs(one["random"] - returns["random"][:, :1]).max() == 0.0


def test_regret_curves_rise_and_the_best_algorithm_regrets_least():
    curves = comparison.regret_curves(Bandit(3, 10).sample(300, "test", 0).means.numpy(), 10)
    assert all(curve.shape == (10,) and (np.diff(curve) >= 0.0).all() for curve in curves.values())
    assert min(curves, key=lambda name: curves[name][-1]) in {"bayes_optimal", "finite_gittins"}
    assert max(curves, key=lambda name: curves[name][-1]) == "random"


def test_mdps():
    family = TabularMDP()
    returns = comparison.classical_baselines(family, family.sample(50, "test", 0), episodes=3)
    assert set(returns) == {"random", "greedy", "epsilon_greedy", "psrl", "opsrl", "ucrl2", "beb", "beb_replanned"}
    assert {one.shape for one in returns.values()} == {(50, 3)}


def test_optimal_total_where_it_is_known():
    assert comparison.optimal_total(Bandit(5, 10)) == pytest.approx(6.66, abs=5e-4)
    assert comparison.optimal_total(Bandit(5, 10), episodes=2) is None
    assert comparison.optimal_total(TabularMDP()) is None


def test_families_without_classical_algorithms_are_refused():
    family = GaussianBandit(3, 5)
    with pytest.raises(ValueError, match="gaussian_bandit"):
        comparison.classical_baselines(family, family.sample(2, "test", 0))
    with pytest.raises(ValueError, match="episodes is 0"):
        comparison.classical_baselines(Bandit(3, 5), None, episodes=0)


def test_settings_are_those_of_the_nearest_size():
    near = settings.bandit_algorithms(arms=6, pulls=90)["ucb1"]
    assert near == UCB1(settings.BANDIT[100, 5].c)


def test_long_trials_leave_out_what_does_not_reach():
    assert not {"finite_gittins", "bayes_optimal"} & set(settings.bandit_algorithms(5, 500))
