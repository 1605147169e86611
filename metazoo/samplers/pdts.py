"""Tasks that a small model expects to go badly, far from one another (after PDTS: Qu et al. 2025, arXiv 2504.19139).

From several times as many candidates an update takes the set S of B tasks with a large

Σ_{i ∈ S} r̂ᵢ + γ / (B − 1) · Σ_{i, j ∈ S} ‖τᵢ − τⱼ‖,

greedily, one task after the other (a ½-approximation of such a dispersion: Borodin et al. 2012). r̂ is the risk, minus
the standardised return after adapting that *one draw from the posterior* of a model expects: so what is little known is
tried, too. The model is Bayesian linear regression on random Fourier features of the tasks' numbers (Rahimi and Recht
2007), fitted to the latest tasks, older ones counting less, because the policy changes.

Differs from the paper: there the model is a neural process; here it is one whose posterior is exact.
"""

from typing import Any, ClassVar, final

import numpy as np

from metazoo.samplers.sampler import Sampler, rows

POOL = 3
"""Candidates for each task of an update: with many more, hardly any others than the riskiest would be trained on."""
DIVERSITY = 1.0
"""γ"""
PAST = 1000
FEATURES = 100
LENGTH = 0.5
"""Of the kernel, in units of a parameter's range, for each √D."""
HALF_LIFE = 400.0
"""Tasks after which one counts half."""
LEARNED = 100
"""Tasks before which all are drawn from the training distribution."""
RIDGE = 1.0
"""Prior precision of the weights."""


@final
class PDTS(Sampler):
    """Chooses risky and different tasks from many, by what a small model expects."""

    name: ClassVar[str] = "pdts"
    about: ClassVar[str] = "risky and different tasks, by a model of returns (after PDTS, Qu et al. 2025)"

    def __init__(self, family: Any, count: int, seed: int = 0):
        super().__init__(family, count, seed)
        self.state = {
            "points": np.zeros((PAST, self.dimensions)),
            "returns": np.zeros(PAST),
            "met": np.zeros((), np.int64),
        }
        rng = np.random.default_rng([seed, 0])
        length = LENGTH * np.sqrt(self.dimensions)
        self._frequencies = rng.normal(size=(self.dimensions, FEATURES)) / length
        self._phases = rng.uniform(0, 2 * np.pi, FEATURES)

    def propose(self, update: int) -> Any:
        if int(self.state["met"]) < LEARNED:
            return self.drawn(update, self.count)
        pool = self.drawn(update, POOL * self.count)
        points = self.points(pool)
        return rows(pool, dispersed(self._risks(points, self.rng(update, 1)), points, self.count, DIVERSITY))

    def learn(self, update: int, tasks: Any, returns: np.ndarray) -> None:
        met = int(self.state["met"])
        where = (met + np.arange(self.count)) % PAST
        self.state["points"][where], self.state["returns"][where] = self.points(tasks), returns.mean(1)
        self.state["met"] = np.asarray(met + self.count)

    def _risks(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """r̂ ``[N]`` of candidates ``[N, D]``."""
        met = int(self.state["met"])
        latest = (met - 1 - np.arange(min(met, PAST))) % PAST
        counts = 0.5 ** (np.arange(len(latest)) / HALF_LIFE)
        earned = self.state["returns"][latest]
        middle = np.average(earned, weights=counts)
        spread = max(np.sqrt(np.average((earned - middle) ** 2, weights=counts)), 1e-9)
        known = self._features(self.state["points"][latest])
        return -self._features(points) @ posterior_draw(known, (earned - middle) / spread, counts, rng)

    def _features(self, points: np.ndarray) -> np.ndarray:
        waves = np.sqrt(2 / FEATURES) * np.cos(points @ self._frequencies + self._phases)
        return np.concatenate([waves, np.ones((len(points), 1))], 1)


def posterior_draw(
    features: np.ndarray, targets: np.ndarray, counts: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Weights ``[F]`` from the posterior of the regression of ``targets [N]`` on ``features [N, F]``, each of which
    counts ``counts`` times; the noise's variance is that of the residuals (Bishop 2006, section 3.3)."""
    precision = features.T @ (features * counts[:, None]) + RIDGE * np.eye(features.shape[1])
    mean = np.linalg.solve(precision, features.T @ (counts * targets))
    noise = np.average((targets - features @ mean) ** 2, weights=counts)
    root = np.linalg.cholesky(precision)
    return mean + np.sqrt(noise) * np.linalg.solve(root.T, rng.normal(size=len(mean)))


def dispersed(risks: np.ndarray, points: np.ndarray, count: int, diversity: float) -> np.ndarray:
    """Which ``count`` candidates with ``risks [N]`` and ``points [N, D]`` are taken, greedily."""
    chosen: list[int] = []
    value = risks.astype(np.float64).copy()
    each = 2.0 * diversity / max(1, count - 1)
    for _ in range(count):
        chosen.append(int(value.argmax()))
        value += each * np.linalg.norm(points - points[chosen[-1]], axis=1)
        value[chosen] = -np.inf
    return np.array(chosen)
