"""What a memory holds: the probability of each action as it is played, and the hidden task, read by a linear probe.

The probe is ridge regression from the memory to the task's parameters, fitted on trials of other tasks and judged on
yet others (Alain & Bengio 2016, arXiv 1610.01644). Its R² is told with every belief: what it cannot read may still be
there, in another form.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import axes, random
from metazoo.gallery import parameters
from metazoo.gallery.pictures import rounded
from metazoo.pretrained import Pretrained
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.host_family import AnyFamily
from metazoo.types import Episodes, StepInputs

FITTED, JUDGED = 400, 120
"""Tasks of the probe: training tasks that it is fitted on, validation tasks that its R² is measured on; both are
multiples of the rows that are played side by side."""
MOMENTS: Final = 24
"""Of a trial, evenly spread, at which memories are read to fit it."""
PENALTY: Final = 1e-2
"""Of the regression, per sample, on standardised memories."""
MOST: Final = 400
"""Steps of a trial at which a belief is told."""
WIDEST: Final = 256
"""Numbers of a memory that are probed; larger ones would be fitted by heart."""


Trials = Callable[[Any, tf.Tensor], tuple[Episodes, tf.Tensor]]


class Probe(NamedTuple):
    """``weights [S + 1, P]`` on standardised memories, and ``r2 [P]``."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    r2: np.ndarray

    def read(self, memories: np.ndarray) -> np.ndarray:
        """Parameters ``[..., P]`` of memories ``[..., S]``."""
        return _with_one((memories - self.mean) / self.scale) @ self.weights


def fit(memories: np.ndarray, targets: np.ndarray, judged: np.ndarray, truth: np.ndarray) -> Probe:
    """Ridge regression on ``memories [N, S]`` of ``targets [N, P]``; R² on ``judged`` and ``truth``, at least 0."""
    mean, scale = memories.mean(0), memories.std(0) + 1e-6
    features = _with_one((memories - mean) / scale).astype(np.float64)
    gram = features.T @ features + PENALTY * len(features) * np.eye(features.shape[1])
    probe = Probe(mean, scale, np.linalg.solve(gram, features.T @ targets), np.zeros(targets.shape[1]))
    missed = np.square(probe.read(judged) - truth).mean(0)
    return probe._replace(r2=np.maximum(0.0, 1.0 - missed / np.maximum(truth.var(0), 1e-12)))


def _with_one(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.ones((*rows.shape[:-1], 1))], -1)


@final
class Reader:
    """Reads the memories of one policy's trials; the probe is fitted when it is first needed.

    ``trials`` plays a trial of each of ``rows`` tasks: ``(tasks, key) → (Episodes, memories)``.
    """

    def __init__(self, policy: Pretrained, family: AnyFamily, trials: Trials, rows: int):
        self._policy, self._agent, self._family = policy, policy.agent(), family
        self._trials, self._rows = trials, rows
        self._names = parameters.names(family)
        self._probe: Probe | None = None
        self._memories = tf.function(self._replayed, jit_compile=True, autograph=False)

    def read(self, explored: list[Episodes], memories: list[tf.Tensor]) -> dict[str, Any]:
        """``probabilities``, of each action at each step of the trial, and ``belief``: names, the steps of the trial
        (closing ones included) that it is told at, values there, R². Each only where there is one."""
        if not self._agent.online or not isinstance(self._family, TaskFamily):
            return {}
        inputs, alive = replay_of(explored[0])
        held = self._held(inputs, alive)[:, 0]
        return {**self._choices(inputs, alive, memories[0], held), **self._belief(held, alive[:, 0, 0])}

    def _held(self, inputs: StepInputs, alive: np.ndarray) -> np.ndarray:
        """The memories ``[L, M, S]`` after each step; M is at most ``rows``, and one shape is compiled for all."""
        count = alive.shape[1]
        padded = StepInputs(*(_repeated(field, self._rows) for field in inputs))
        initial = self._agent.initial_memory()
        start = tf.broadcast_to(initial, [self._rows, 1, initial.shape[0]])
        return self._memories(padded, _repeated(alive, self._rows), start).numpy()[:, :count]

    def _choices(self, inputs: StepInputs, alive: np.ndarray, memory: tf.Tensor, held: np.ndarray) -> dict[str, Any]:
        if self._policy.metadata["distribution"] != "categorical":
            return {}
        told = StepInputs(*(field[:, 0, 0] for field in inputs))
        answer = self._policy.step(
            **told._asdict(),
            memory=np.concatenate([memory[0].numpy(), held[:-1]]),
            seed=np.zeros(len(held), np.int32),
            deterministic=np.ones(len(held), bool),
        )
        played = alive[:, 0, 0] & ~told.previous_done
        return {"probabilities": rounded(_softmax(answer["logits"][played]))}

    def _belief(self, held: np.ndarray, alive: np.ndarray) -> dict[str, Any]:
        if not self._names or self._policy.metadata["memory"]["size"] > WIDEST:
            return {}
        probe = self._probe = self._probe or self._fitted()
        played = held[alive]
        steps = np.unique(np.linspace(0, len(played) - 1, min(MOST, len(played))).astype(int))
        told = {"steps": steps.tolist(), "values": rounded(probe.read(played[steps])), "r2": rounded(probe.r2)}
        return {"belief": {"names": self._names, **told}}

    def _fitted(self) -> Probe:
        (held, targets), (judged, truth) = self._played("train", FITTED), self._played("validation", JUDGED)
        moments = np.linspace(0, len(held) - 1, MOMENTS).astype(int)
        rows, wanted = held[moments].reshape(-1, held.shape[-1]), np.tile(targets, (MOMENTS, 1))
        return fit(rows, wanted, judged[-1], truth)

    def _played(self, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Memories ``[L, count, S]`` of trials of a split's tasks, and the tasks' parameters ``[count, P]``."""
        tasks, parts = self._family.sample(count, split, 0), []
        for start in range(0, count, self._rows):
            some = tf.nest.map_structure(lambda field, i=start: field[i : i + self._rows], tasks)
            played, _ = self._trials(some, random.fold(random.key(1), start))
            parts.append(self._held(*replay_of(played)))
        return np.concatenate(parts, 1), parameters.values(tasks)

    def _replayed(self, inputs: StepInputs, alive: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
        """The memory ``[L, M, S]`` after each of ``L`` steps; where nobody played it stays."""
        keys = random.key(tf.zeros(alive.shape[1:], tf.uint32))

        def body(memory: tf.Tensor, given: tuple[StepInputs, tf.Tensor]) -> tf.Tensor:
            told, going = given
            return axes.where(going, self._agent.step(told, memory, keys, True).memory, memory)

        return tf.scan(body, (inputs, alive), memory)[:, :, 0]


def _repeated(field: np.ndarray, rows: int) -> np.ndarray:
    """``[L, M, ...] → [L, rows, ...]``: the first row stands for those that are missing."""
    missing = rows - field.shape[1]
    return np.concatenate([field, np.repeat(field[:, :1], missing, 1)], 1) if missing else field


def replay_of(played: Episodes) -> tuple[StepInputs, np.ndarray]:
    """What a policy was told in a trial ``[T, M, K, ...]``: ``StepInputs [K · (T + 1), M, 1, ...]``, each episode's
    closing step at its place, and where there was a step at all, ``[K · (T + 1), M, 1]``."""
    fields = Episodes(*(np.asarray(field) for field in played))
    steps, tasks, count = fields.mask.shape
    lengths = fields.mask.sum(0).astype(int)
    m, k = np.meshgrid(np.arange(tasks), np.arange(count), indexing="ij")
    observations = np.concatenate([fields.observations, np.zeros_like(fields.observations[:1])])
    observations[lengths, m, k] = fields.final_observations
    before = [np.concatenate([np.zeros_like(field[:1]), field]) for field in (fields.actions, fields.rewards)]
    done = np.zeros((steps + 1, tasks, count), bool)
    done[lengths, m, k] = True
    alive = np.arange(steps + 1)[:, None, None] <= lengths[None]

    def in_order(field: np.ndarray) -> np.ndarray:
        """``[T + 1, M, K, ...] → [K · (T + 1), M, 1, ...]``."""
        turned = np.moveaxis(field, 2, 0)
        return turned.reshape(count * (steps + 1), tasks, 1, *field.shape[3:])

    return StepInputs(*map(in_order, (observations, *before, done))), in_order(alive)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
