"""Classical algorithms for Bernoulli bandits with means ~ U[0, 1], on many instances at once.

Each is an index rule: it gives every arm of every instance a score, and the arm with the largest is pulled (of equal
ones the first; arms are exchangeable). All start from the prior Beta(1, 1), which counts one success and one failure of
each arm, the frequentist rules included, as in RL² (Duan et al. 2016, arXiv 1611.02779, section 3.1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.classical import bayes_optimal, draws, gittins
from metazoo.tasks.families.bandit import Bandit, BanditTask


class Seen(NamedTuple):
    """What an algorithm knows before a pull."""

    successes: np.ndarray
    """``[N, arms]`` float32."""
    failures: np.ndarray
    """``[N, arms]`` float32."""
    pull: int
    """Pulls made so far."""
    pulls: int
    """Pulls of the whole trial."""
    key: tf.Tensor
    """Keys ``[N]`` for the algorithm's own draws at this pull."""

    @property
    def means(self) -> np.ndarray:
        """Posterior means ``[N, arms]``."""
        return (self.successes + 1.0) / (self.successes + self.failures + 2.0)

    def keys(self, purpose: int) -> tf.Tensor:
        """One key for each arm, ``[N, arms]``."""
        return random.spread(random.fold(self.key, purpose), self.successes.shape[1])


Algorithm = Callable[[Seen], np.ndarray]
"""Scores ``[N, arms]``."""


def uniformly_random(seen: Seen) -> np.ndarray:
    """Every arm with equal probability."""
    return random.uniform(seen.keys(0)).numpy()


def greedy(seen: Seen) -> np.ndarray:
    """The largest posterior mean."""
    return seen.means


def thompson(seen: Seen) -> np.ndarray:
    """Thompson sampling (Thompson 1933; Chapelle and Li 2011): a draw from each arm's posterior."""
    return draws.beta(seen.keys(0), seen.successes + 1.0, seen.failures + 1.0)


def optimistic_thompson(seen: Seen) -> np.ndarray:
    """Optimistic Thompson sampling (May et al. 2012): a posterior draw, or the posterior mean if that is larger."""
    return np.maximum(thompson(seen), seen.means)


@dataclass(frozen=True)
class LikeliestThompson:
    """Thompson sampling with the likeliest, by the posterior density, of several draws of all arms' means.

    This is what RL² calls optimistic Thompson sampling ("samples N times from the posterior, and takes the one with the
    highest probability"); May et al. (2012), whom it cites, mean ``optimistic_thompson``.
    """

    samples: int

    def __call__(self, seen: Seen) -> np.ndarray:
        best, scores = np.float32(-np.inf), np.zeros_like(seen.successes)
        for sample in range(self.samples):
            means = draws.beta(seen.keys(sample), seen.successes + 1.0, seen.failures + 1.0).clip(1e-7, 1.0 - 1e-7)
            density = (seen.successes * np.log(means) + seen.failures * np.log1p(-means)).sum(1, keepdims=True)
            scores = np.where(density > best, means, scores)
            best = np.maximum(best, density)
        return scores


def bayes_optimal_play(seen: Seen) -> np.ndarray:
    """Optimal play by dynamic programming, for trials of up to ``bayes_optimal.REACH`` pulls."""
    return bayes_optimal.scores(seen.successes, seen.failures, seen.pulls - seen.pull)


@dataclass(frozen=True)
class EpsilonGreedy:
    """Any arm with probability ``epsilon``, otherwise the largest posterior mean."""

    epsilon: float

    def __call__(self, seen: Seen) -> np.ndarray:
        explore = random.bernoulli(random.fold(seen.key, 1), self.epsilon).numpy()
        return np.where(explore[:, None], uniformly_random(seen), seen.means)


@dataclass(frozen=True)
class UCB1:
    """mean + c √(2 ln t / n) (Auer et al. 2002; c as in Audibert and Munos 2011): n counts the arm's pulls, the prior's
    two included, and t is the number of the pull to be made."""

    c: float

    def __call__(self, seen: Seen) -> np.ndarray:
        counts = seen.successes + seen.failures + 2.0
        return seen.means + self.c * np.sqrt(np.float32(2.0 * np.log(seen.pull + 1.0)) / counts)


@dataclass(frozen=True)
class Gittins:
    """The largest Gittins index for the discount ``gamma`` (Gittins 1979)."""

    gamma: float

    def __call__(self, seen: Seen) -> np.ndarray:
        table = gittins.discounted(self.gamma, seen.pulls)
        return table[gittins.triangle(seen.successes.astype(np.int32), seen.failures.astype(np.int32))]


def finite_gittins(seen: Seen) -> np.ndarray:
    """The largest undiscounted Gittins index for the pulls that are left (Niño-Mora 2011; Lattimore 2016)."""
    table = gittins.finite_horizon(seen.pulls)[seen.pull]
    return table[gittins.triangle(seen.successes.astype(np.int32), seen.failures.astype(np.int32))]


def play_bandit(algorithm: Algorithm, means, pulls: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Play ``pulls`` pulls of each instance.

    The j-th pull of an arm pays the same whenever it is made and whoever makes it, so algorithms are compared on common
    random numbers; and what happens to instance i depends on its means, on i and on ``seed`` only.

    Args:
        algorithm: an index rule of this module.
        means: success probabilities ``[N, arms]``.
        pulls: length of the trial.
        seed: of rewards and of the algorithm's draws.

    Returns:
        Rewards ``[N, pulls]``, float32, and the arms pulled ``[N, pulls]``, int32.

    Raises:
        ValueError: no pulls, or means of another shape.
    """
    means = np.asarray(means, np.float32)
    if means.ndim != 2:
        raise ValueError(f"means have the shape {means.shape}; it must be [instances, arms].")
    if pulls < 1:
        raise ValueError(f"pulls is {pulls}; it must be at least 1.")
    count, arms = means.shape
    step = _stepper(arms)
    rows = np.arange(count)
    world = random.spread(random.spread(random.fold(random.key(seed), 0), count), arms).numpy()
    own = random.spread(random.fold(random.key(seed), 1), count)
    successes, failures = np.zeros((2, count, arms), np.float32)
    rewards, chosen = np.empty((count, pulls), np.float32), np.empty((count, pulls), np.int32)
    for pull in range(pulls):
        scores = algorithm(Seen(successes, failures, pull, pulls, random.fold(own, pull)))
        arm = chosen[:, pull] = scores.argmax(1)
        earlier = successes[rows, arm] + failures[rows, arm]
        reward = rewards[:, pull] = step(means, arm, world[rows, arm], earlier.astype(np.int32)).numpy()
        successes[rows, arm] += reward
        failures[rows, arm] += 1.0 - reward
    return rewards, chosen


@cache
def _stepper(arms: int) -> Callable[..., tf.Tensor]:
    """The family's own step, compiled: means, arms pulled, their keys, their earlier pulls → rewards ``[N]``."""
    family = Bandit(arms)

    @tf.function(jit_compile=True, autograph=False)
    def step(means, arm, key, earlier):
        key, task = random.fold(key, earlier)[:, None], BanditTask(means[:, None])
        return family.step(task, family.reset(task, key), arm[:, None], key).rewards[:, 0]

    return step


def regret(means, chosen: np.ndarray) -> np.ndarray:
    """Expected cumulative regret ``[N, pulls]``: what always pulling the best arm would have earned more by then."""
    means = np.asarray(means, np.float64)
    return np.cumsum(means.max(1, keepdims=True) - np.take_along_axis(means, chosen, 1), 1)
