"""What the classical algorithms earn on tasks of a family: the columns beside a policy's own."""

from typing import Any

import numpy as np

from metazoo.classical import bayes_optimal
from metazoo.classical.bandits import play_bandit, regret
from metazoo.classical.mdps import play_mdp
from metazoo.classical.settings import bandit_algorithms, mdp_algorithms
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.tabular_mdp import TabularMDP
from metazoo.tasks.host_family import AnyFamily

FAMILIES = (Bandit.name, TabularMDP.name)
"""Families that have classical algorithms."""


def classical_baselines(family: AnyFamily, tasks: Any, episodes: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns ``[tasks, episodes]`` of every classical algorithm over a trial of ``episodes`` episodes of each task.

    Knowledge is kept over the episodes of a trial; totals are sums over the last axis. Bayesian algorithms have the
    prior of the training tasks, so out of range they are not what they are within it. ``bayes_optimal`` is there for
    bandits of up to ``bayes_optimal.REACH`` pulls.

    Raises:
        ValueError: no episodes, or a family without classical algorithms.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; it must be at least 1.")
    if isinstance(family, Bandit):
        rewards = bandit_rewards(family, tasks, episodes, seed)
        return {name: one.reshape(-1, episodes, family.horizon).sum(-1) for name, one in rewards.items()}
    if isinstance(family, TabularMDP):
        return {
            name: play_mdp(algorithm, tasks, episodes, seed, family.horizon)
            for name, algorithm in mdp_algorithms(episodes).items()
        }
    raise ValueError(f"the family {family.name!r} has no classical algorithms; {' and '.join(FAMILIES)} have.")


def bandit_rewards(family: Bandit, tasks: Any, episodes: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """Rewards ``[tasks, pulls]`` of every classical algorithm over a trial of ``episodes`` episodes of each bandit."""
    pulls = episodes * family.horizon
    algorithms = bandit_algorithms(family.arms, pulls)
    return {name: play_bandit(algorithm, tasks.means, pulls, seed)[0] for name, algorithm in algorithms.items()}


def optimal_total(family: AnyFamily, episodes: int = 1) -> float | None:
    """The exact Bayes-optimal total of a trial on training or test tasks; None where it is out of reach."""
    pulls = episodes * family.horizon
    if not isinstance(family, Bandit) or pulls > bayes_optimal.REACH:
        return None
    return bayes_optimal.value(family.arms, pulls)


def regret_curves(means: Any, pulls: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Mean expected regret ``[pulls]`` after each pull of every classical algorithm, on bandits ``means [N, arms]``.

    A policy's own curve on the same bandits: ``bandits.regret(means, arms pulled).mean(0)``.

    Raises:
        ValueError: no pulls, or means of another shape.
    """
    algorithms = bandit_algorithms(np.shape(means)[-1], pulls)
    return {name: regret(means, play_bandit(one, means, pulls, seed)[1]).mean(0) for name, one in algorithms.items()}
