"""ALP-GMM: more of the tasks where something is being learned (Portelas et al. 2019, arXiv 1910.07224, section 3.2).

ALP(τ) = |R(τ) − R(τ')|, the absolute learning progress, with τ' the nearest task of the past. Every 250 tasks, Gaussian
mixtures of 2 to 10 components are fitted to [τ, ALP] of the last 250, the one with the best Akaike criterion is kept;
tasks come from its components in proportion to their mean ALP, and one in five from the training distribution.

Differs from the paper: what a component draws becomes the nearest of many candidates from the training distribution, so
that every task is a legal one; the past is that of the last 2,000 tasks.
"""

from typing import Any, ClassVar, final

import numpy as np

from metazoo.samplers.mixtures import MOST, Mixture, best_mixture
from metazoo.samplers.sampler import Sampler, joined, rows

PAST, WINDOW = 2000, 250
USUAL = 0.2
"""The share of an update's tasks from the training distribution."""
POOL = 16


@final
class ALPGMM(Sampler):
    """Draws tasks near those whose return changes most."""

    name: ClassVar[str] = "alp_gmm"
    about: ClassVar[str] = "tasks on which returns are changing (ALP-GMM, Portelas et al. 2019)"

    def __init__(self, family: Any, count: int, seed: int = 0):
        super().__init__(family, count, seed)
        size = self.dimensions
        self.state = {
            "points": np.zeros((PAST, size)),
            "returns": np.zeros(PAST),
            "progress": np.zeros(PAST),
            "met": np.zeros((), np.int64),
            "fitted": np.zeros((), np.int64),
            "weights": np.zeros(MOST),
            "means": np.zeros((MOST, size + 1)),
            "covariances": np.zeros((MOST, size + 1, size + 1)),
        }

    def propose(self, update: int) -> Any:
        if not self.state["weights"].any():
            return self.drawn(update, self.count)
        usual = max(1, round(USUAL * self.count))
        rng = self.rng(update, 1)
        wanted = self._mixture().draw(rng, self.count - usual)
        pool = self.drawn(update, POOL * self.count, 2)
        return joined(self.drawn(update, usual), rows(pool, nearest_each(self.points(pool), wanted)))

    def learn(self, update: int, tasks: Any, returns: np.ndarray) -> None:
        points, earned, met = self.points(tasks), returns.mean(1), int(self.state["met"])
        known = min(met, PAST)
        progress = learning_progress(self.state["points"][:known], self.state["returns"][:known], points, earned)
        where = (met + np.arange(self.count)) % PAST
        for name, values in (("points", points), ("returns", earned), ("progress", progress)):
            self.state[name][where] = values
        self.state["met"] = np.asarray(met + self.count)
        if met + self.count - int(self.state["fitted"]) >= WINDOW:
            self._fit(update)

    def _fit(self, update: int) -> None:
        met = int(self.state["met"])
        latest = (met - 1 - np.arange(WINDOW)) % PAST
        progress = self.state["progress"][latest]
        samples = np.concatenate([self.state["points"][latest], scaled(progress)[:, None]], 1)
        found = best_mixture(samples, self.rng(update, 3))
        for name, values in found._asdict().items():
            self.state[name] = np.zeros_like(self.state[name])
            self.state[name][: len(values)] = values
        self.state["fitted"] = np.asarray(met)

    def _mixture(self) -> Mixture:
        used = self.state["weights"] > 0
        return Mixture(*(self.state[name][used] for name in Mixture._fields))


def learning_progress(known: np.ndarray, before: np.ndarray, points: np.ndarray, earned: np.ndarray) -> np.ndarray:
    """|R − R of the nearest known task| of tasks ``[N, D]`` with returns ``[N]``; zeros where none is known."""
    if not len(known):
        return np.zeros(len(points))
    squares = ((points[:, None] - known[None]) ** 2).sum(-1)
    return np.abs(earned - before[squares.argmin(1)])


def scaled(values: np.ndarray) -> np.ndarray:
    """From 0 to 1, as the tasks' numbers are."""
    return (values - values.min()) / max(np.ptp(values), 1e-12)


def nearest_each(pool: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For each of the points ``wanted [N, D]`` the nearest of ``pool [P, D]`` that none before it has taken."""
    squares = ((wanted[:, None] - pool[None]) ** 2).sum(-1)
    taken = np.empty(len(wanted), np.int64)
    for i, row in enumerate(squares):
        taken[i] = row.argmin()
        squares[:, taken[i]] = np.inf
    return taken
