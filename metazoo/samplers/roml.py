"""RoML: the cross-entropy method towards the worst tasks (Greenberg et al. 2023, arXiv 2301.11147, algorithm 2).

Tasks come from D_φ(τ) ∝ p(τ) Π_d Beta(u_d(τ); 2 φ_d, 2 − 2 φ_d), with p the training distribution and u_d(τ) in (0, 1)
the rank of the task's d-th number in it; φ_d, the mean, is ½ at first, and D_φ is p. A share ν of every update's tasks
still comes from p. After an update with returns R and weights w = p / D_φ,

q = max(q_α(R of tasks from p), q_β(R of all)),   φ ← (1 − s) φ + s Σ w u 1{R ≤ q} / Σ w 1{R ≤ q}.

Differs from the paper: a task's numbers tilt the training distribution itself, so families whose tasks are no box keep
their shape; q_α is taken over the reference tasks of the last updates, where one update has too few of them.
"""

from typing import Any, ClassVar, final

import numpy as np

from metazoo.samplers.sampler import Sampler, joined, rows

TAIL, WORST_SHARE = 0.1, 0.2
"""α, the part of all tasks that is aimed at, and β, which keeps a step from resting on too few tasks."""
REFERENCE_SHARE = 0.2
"""ν"""
SOFT = 0.5
"""s"""
MARGIN = 0.02
"""φ stays so far from 0 and 1."""
LARGEST_WEIGHT = 5.0
POOL = 16
"""Candidates for each task that is drawn from D_φ."""
REMEMBERED = 100
"""Returns of reference tasks that q_α is taken over."""


@final
class RoML(Sampler):
    """Moves a proposal distribution towards the tasks with the lowest returns."""

    name: ClassVar[str] = "roml"
    about: ClassVar[str] = "the cross-entropy method moves towards the worst tasks (RoML, Greenberg et al. 2023)"

    def __init__(self, family: Any, count: int, seed: int = 0):
        super().__init__(family, count, seed)
        self._usual = max(1, round(REFERENCE_SHARE * count))
        self.state = {"mean": np.full(self.dimensions, 0.5), "reference": np.full(REMEMBERED, np.nan)}
        self._weights = np.ones(count)

    def propose(self, update: int) -> Any:
        usual, tilted = self.drawn(update, self._usual), self.count - self._usual
        pool = self.drawn(update, POOL * tilted, 2) if tilted else usual
        chances = density(self.ranks(pool), self.state["mean"])
        weights = chances.mean() / chances  # p / D_φ, its normaliser estimated on the pool
        which = self.rng(update, 1).choice(len(chances), tilted, replace=False, p=chances / chances.sum())
        self._weights = np.concatenate([np.ones(self._usual), np.minimum(weights[which], LARGEST_WEIGHT)])
        return joined(usual, rows(pool, which))

    def learn(self, update: int, tasks: Any, returns: np.ndarray) -> None:
        earned = returns.mean(1)
        self.state["reference"] = np.concatenate([self.state["reference"][self._usual :], earned[: self._usual]])
        known = self.state["reference"]
        level = quantile_to_reach(known[np.isfinite(known)], earned)
        self.state["mean"] = moved(self.state["mean"], self.ranks(tasks), self._weights, earned, level)


def density(ranks: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Π_d Beta(u_d; 2 φ_d, 2 − 2 φ_d) of ``ranks [N, D]``, up to a factor; ``[N]``."""
    logs = (2 * mean - 1) * np.log(ranks) + (1 - 2 * mean) * np.log1p(-ranks)
    return np.exp((whole := logs.sum(1)) - whole.max())


def quantile_to_reach(reference: np.ndarray, earned: np.ndarray) -> float:
    """q: returns up to it count as among the worst."""
    return float(max(np.quantile(reference, TAIL), np.quantile(earned, WORST_SHARE)))


def moved(mean: np.ndarray, ranks: np.ndarray, weights: np.ndarray, earned: np.ndarray, level: float) -> np.ndarray:
    """φ ``[D]`` after a step towards the tasks ``[N]`` that earned at most ``level``."""
    chosen = weights * (earned <= level)
    target = chosen @ ranks / chosen.sum()
    return np.clip((1 - SOFT) * mean + SOFT * target, MARGIN, 1 - MARGIN)
