"""An update whose shares are computed by others: this process keeps the weights and the optimizer.

Differs from an update of one process in the order of additions alone: the same tasks, episodes and outer steps. What
compares tasks with one another (RL²'s critic, advantages scaled alike for all) is prepared here, from the episodes of
all shares.
"""

from collections.abc import Sequence
from typing import Any, Protocol, final

import numpy as np
import tensorflow as tf

from metazoo.algorithms.common.host_calls import compiled
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.common.outer_step import clip
from metazoo.distributed.replica import Gradient, State, state_of
from metazoo.rollouts.host import joined


class Workers(Protocol):
    """Who computes."""

    def put(self, value: Any) -> Any:
        """A value that many calls take, sent once: what stands for it among a call's arguments."""

    def ask(self, method: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers of ``Replica.method`` to these arguments, in their order; call ``i`` is of share ``i``."""


@final
class SharedUpdate:
    """Makes the updates of ``learner`` with its ``workers``, in so many ``shares``."""

    def __init__(self, learner: Learner, workers: Workers, shares: int):
        self._learner, self._workers, self._shares = learner, workers, shares
        self._version = 0
        self._prepare = compiled(learner.prepare)
        self._apply = compiled(self._outer_step)

    def __call__(self, update: tf.Tensor) -> dict[str, tf.Tensor]:
        """Makes one update; its metrics."""
        number, learner = int(update), self._learner
        start = now = self._state()
        whole = self._whole(number, start) if learner.whole_batch else None
        parts = self._parts(whole)
        metrics: dict[str, Any] = {}
        for index in range(learner.epochs):
            now = self._state() if index else start
            answers = self._ask(
                "gradient", lambda share, now=now, index=index: (number, share, start, parts[share], now, index)
            )
            metrics = self._step(answers)
            if index == 0 and whole is None and learner.sampling:
                learner.sampling.keep(np.concatenate([answer.returns for answer in answers]))
        if whole is not None:
            learner.learn_statistics(whole)
        found = self._measure(number, start, parts) if learner.measured else {}
        return {**metrics, **found, **learner.settle(found)}

    def _state(self) -> Any:
        self._version += 1
        return self._workers.put(state_of(self._learner, self._version))

    def _ask(self, method: str, arguments: Any) -> list[Any]:
        return self._workers.ask(method, [arguments(share) for share in range(self._shares)])

    def _whole(self, number: int, start: State) -> Any:
        """The batch of all tasks, prepared."""
        played = self._ask("episodes", lambda share: (number, share, start))
        rounds = [joined(list(parts), 0) for parts in zip(*played, strict=True)]
        rounds = tf.nest.map_structure(tf.constant, rounds)
        if self._learner.sampling:
            self._learner.sampling.hear(rounds)
        return self._prepare(self._learner.current_weights(), rounds)

    def _parts(self, whole: Any) -> list[Any]:
        """Each share's part of a batch that was prepared here."""
        if whole is None:
            return [None] * self._shares
        cut = self._learner.cut(whole, self._shares)
        return [self._workers.put(tf.nest.map_structure(np.asarray, part)) for part in cut]

    def _step(self, answers: list[Gradient]) -> dict[str, tf.Tensor]:
        """The outer step that the shares' mean makes; its metrics."""
        weights = np.array([answer.weight for answer in answers], np.float32)
        weights = weights / weights.sum()
        gradients = [_mean(weights, parts) for parts in zip(*(answer.gradients for answer in answers), strict=True)]
        metrics = _means(weights, [answer.metrics for answer in answers])
        norm = self._apply([tf.constant(gradient) for gradient in gradients])
        return {**metrics, "gradient_norm": norm}

    def _outer_step(self, gradients: list[tf.Tensor]) -> tf.Tensor:
        learner = self._learner
        gradients, norm = clip(gradients, getattr(learner.config, "clip_norm", 0.0))
        learner.apply_step(learner.optimizer, gradients, learner.meta_variables)
        return norm

    def _measure(self, number: int, start: State, parts: list[Any]) -> dict[str, tf.Tensor]:
        now = self._state()
        found = self._ask("measure", lambda share: (number, share, start, parts[share], now))
        return _means(np.full(self._shares, 1.0 / self._shares, np.float32), found)


def _mean(weights: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Σ weightᵢ · partᵢ, added in this order."""
    total = weights[0] * parts[0]
    for weight, part in zip(weights[1:], parts[1:], strict=True):
        total += weight * part
    return total


def _means(weights: np.ndarray, parts: list[dict[str, float]]) -> dict[str, tf.Tensor]:
    names = parts[0]
    return {name: tf.constant(float(np.dot(weights, [part[name] for part in parts])), tf.float32) for name in names}
