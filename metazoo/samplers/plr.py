"""Prioritised replay of tasks (PLR: Jiang, Grefenstette and Rocktäschel 2021, arXiv 2010.03934, equations 1 to 3).

P_replay = (1 − ρ) P_S + ρ P_C,   P_S ∝ (1 / rank(Sᵢ))^(1/β),   P_C ∝ c − Cᵢ,

over the tasks met so far: S is a task's score, C the update at which it was last played, c now. The score is the regret
against the best episode that was ever seen of the task, max R − mean R now (MaxMC: Jiang et al. 2021, arXiv 2110.02439,
section 5.1), because most learners here have no value network.

Differs from the papers: an update's tasks are drawn together and without replacement, so the parts of P_S and of P_C
are drawn one after the other, and how many tasks are new is fixed, not drawn.
"""

from typing import Any, ClassVar, final

import numpy as np
import tensorflow as tf

from metazoo.samplers.sampler import Sampler, joined, rows

CAPACITY = 512
REPLAYED = 0.5
"""The share of an update's tasks that was met before, once there are enough of them."""
STALENESS, TEMPERATURE = 0.3, 0.3
"""ρ and β."""


@final
class PLR(Sampler):
    """Replays tasks on which much is left to be gained."""

    name: ClassVar[str] = "plr"
    about: ClassVar[str] = "tasks with much regret are met again (PLR, Jiang et al. 2021)"

    def __init__(self, family: Any, count: int, seed: int = 0):
        super().__init__(family, count, seed)
        fields = tf.nest.flatten(self.drawn(0, 1))
        self.state = {f"task_{i}": np.repeat(np.zeros_like(field), CAPACITY, 0) for i, field in enumerate(fields)}
        self.state |= {name: np.zeros(CAPACITY, np.float64) for name in ("score", "best")}
        self.state |= {"last": np.zeros(CAPACITY, np.int64), "held": np.zeros((), np.int64)}
        self._from = np.zeros(0, np.int64)

    def propose(self, update: int) -> Any:
        replayed = int(REPLAYED * self.count) if self._held >= self.count else 0
        new = self.drawn(update, self.count - replayed)
        self._from = np.zeros(0, np.int64)
        if not replayed:
            return new
        ages = update - self.state["last"][: self._held]
        self._from = replayed_rows(self.state["score"][: self._held], ages, replayed, self.rng(update, 1))
        return joined(rows(self._kept(new), self._from), new)

    def learn(self, update: int, tasks: Any, returns: np.ndarray) -> None:
        best, mean = returns.max(1), returns.mean(1)
        again = len(self._from)
        where = np.concatenate([self._from, self._room(update, self.count - again)])
        known = np.where(np.arange(self.count) < again, self.state["best"][where], -np.inf)
        best = np.maximum(best, known)
        self.state["score"][where], self.state["best"][where], self.state["last"][where] = best - mean, best, update
        for i, field in enumerate(tf.nest.flatten(tasks)):
            self.state[f"task_{i}"][where] = field

    @property
    def _held(self) -> int:
        return int(self.state["held"])

    def _kept(self, like: Any) -> Any:
        fields = [self.state[f"task_{i}"] for i in range(len(tf.nest.flatten(like)))]
        return tf.nest.pack_sequence_as(like, fields)

    def _room(self, update: int, count: int) -> np.ndarray:
        """Where ``count`` new tasks are kept: free places first, then those of the tasks least likely to return."""
        held = self._held
        free = np.arange(held, min(CAPACITY, held + count))
        self.state["held"] = np.asarray(held + len(free))
        if len(free) == count:
            return free
        ages = update - self.state["last"][:held]
        chances = replay_probabilities(self.state["score"][:held], ages, TEMPERATURE, STALENESS)
        chances[self._from] = np.inf  # they are being met now
        return np.concatenate([free, np.argsort(chances, kind="stable")[: count - len(free)]])


def replayed_rows(scores: np.ndarray, ages: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which ``count`` of the tasks are met again: 1 − ρ of them drawn by score, then ρ of the others by age."""
    old = round(STALENESS * count)
    chances = replay_probabilities(scores, ages, TEMPERATURE, 0.0)
    by_score = rng.choice(len(scores), count - old, replace=False, p=chances)
    others = np.setdiff1d(np.arange(len(scores)), by_score)
    stale = replay_probabilities(scores[others], ages[others], TEMPERATURE, 1.0) + 1e-12
    return np.concatenate([by_score, rng.choice(others, old, replace=False, p=stale / stale.sum())])


def replay_probabilities(scores: np.ndarray, ages: np.ndarray, temperature: float, staleness: float) -> np.ndarray:
    """P_replay ``[N]`` of tasks with ``scores`` that were last met ``ages`` updates ago."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    by_score = ranks ** (-1.0 / temperature)
    stale = ages / ages.sum() if ages.sum() else np.full(len(ages), 1 / len(ages))
    return (1 - staleness) * by_score / by_score.sum() + staleness * stale
