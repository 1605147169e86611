"""What a worker does: it plays shares of an update, and answers with gradients. No Ray here, and no state that counts.

Every answer is a function of the arguments alone. A worker keeps the batches that it has played, for the outer steps
that follow on them; one that has none, because another worker died, plays the same episodes once more.
"""

from pathlib import Path
from typing import Any, NamedTuple, final

import keras
import numpy as np
import tensorflow as tf

from metazoo.algorithms.common.host_calls import compiled
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.distillation import Student
from metazoo.distributed.shares import share_of
from metazoo.presets.preset import Preset
from metazoo.tasks import own
from metazoo.tasks.gym.family import GymFamily
from metazoo.training.teacher_sources import teacher_for
from metazoo.training.train import build


class State(NamedTuple):
    """A learner's variables and its optimizer's counter, as arrays; ``version`` tells states of a training apart."""

    version: int
    iterations: int
    values: list[np.ndarray]
    tasks: list[np.ndarray]
    """Those that a sampler chose for the update; empty where all are drawn alike."""


class Recipe(NamedTuple):
    """What a worker is made of: a preset, the training's seed, how many shares, cores for it, and the run directory."""

    preset: Preset
    seed: int
    shares: int
    threads: int
    run: str


class Gradient(NamedTuple):
    """A share's part of an outer step, how much it counts in the mean over all, and what a sampler is to hear."""

    gradients: list[np.ndarray]
    metrics: dict[str, float]
    weight: float
    returns: np.ndarray | None = None


def state_of(learner: Learner, version: int) -> State:
    """The learner's state as it is now."""
    tasks = learner.sampling.arrays() if learner.sampling else []
    return State(version, int(learner.optimizer.iterations), [np.asarray(value) for value in learner.variables], tasks)


@final
class Replica:
    """A learner with one share's tasks."""

    def __init__(self, recipe: Recipe):
        own.give_again(recipe.preset.family, recipe.preset.family_from)
        self._whole = build(recipe.preset, recipe.seed)  # draws the tasks of the whole update
        self._learner = build(share_of(recipe.preset, recipe.shares), recipe.seed)
        self._learner.compile(keras.optimizers.SGD())  # settings may depend on how many steps were made
        for learner in (self._whole, self._learner):
            _prepare(learner, recipe)
        self._tasks = self._learner.config.tasks
        self._version = -1
        self._update, self._batches, self._returns = -1, dict[int, Any](), dict[int, np.ndarray]()
        self._compile()

    def episodes(self, update: int, share: int, start: State) -> Any:
        """A share's episodes of all rounds, played by the weights of ``start``."""
        self._load(start)
        return _arrays(self._play(tf.constant(update), tf.constant(share)))

    def gradient(self, update: int, share: int, start: State, part: Any, now: State, index: int) -> Gradient:
        """A share's gradient for the ``index``-th outer step, of the weights of ``now``.

        ``part`` is its batch where that was prepared elsewhere, else None: then the weights of ``start`` play it.
        """
        batch = self._batch(update, share, start, part)
        self._load(now)
        gradients, metrics, weight = self._gradient(batch, tf.constant(index))
        means = {name: float(value) for name, value in metrics.items()}
        return Gradient(_arrays(gradients), means, float(weight), self._returns.get(share))

    def measure(self, update: int, share: int, start: State, part: Any, now: State) -> dict[str, float]:
        """What the learner measures of the weights of ``now`` after an update's outer steps."""
        batch = self._batch(update, share, start, part)
        self._load(now)
        return {name: float(value) for name, value in self._measure(batch).items()}

    def _batch(self, update: int, share: int, start: State, part: Any) -> Any:
        if update != self._update:
            self._update, self._batches, self._returns = update, {}, {}
        if share not in self._batches:
            self._batches[share] = self._prepared(update, share, start) if part is None else _tensors(part)
        return self._batches[share]

    def _prepared(self, update: int, share: int, start: State) -> Any:
        self._load(start)
        played = self._play(tf.constant(update), tf.constant(share))
        if self._learner.sampling:
            self._returns[share] = self._learner.sampling.returns
        return self._prepare(played) if self._learner.on_host else played

    def _load(self, state: State) -> None:
        if state.version == self._version:
            return
        self._learner.optimizer.iterations.assign(state.iterations)
        for variable, value in zip(self._learner.variables, state.values, strict=True):
            variable.assign(value)
        if self._whole.sampling:
            self._whole.sampling.put_arrays(state.tasks)
        self._version = state.version

    def _compile(self) -> None:
        """The programs: in the graph one plays and prepares; on the host these are two, and playing runs eagerly."""
        learner = self._learner
        here = learner.whole_batch or learner.on_host
        prepare = lambda rounds: learner.prepare(learner.current_weights(), rounds)  # noqa: E731
        play = self._rounds if here else lambda *numbers: prepare(self._rounds(*numbers))
        self._play: Any = play if learner.on_host else compiled(play)
        self._prepare = compiled(prepare)

        def gradient(batch: Any, index: tf.Tensor) -> Any:
            some = learner.minibatch(batch, index)
            return *learner.meta_gradient(learner.current_weights(), some), learner.weight_of(some)

        self._gradient = compiled(gradient)
        self._measure = compiled(lambda batch: learner.measure(learner.current_weights(), batch))

    def _rounds(self, update: tf.Tensor, share: tf.Tensor) -> Any:
        tasks, key = self._whole.drawn(update)
        first = share * self._tasks
        some = tf.nest.map_structure(lambda field: _rows(field, first, self._tasks), tasks)
        rounds = self._learner.collect(self._learner.current_weights(), some, key, first)
        if self._learner.sampling:
            self._learner.sampling.hear(rounds)
        return rounds


def _rows(field: tf.Tensor, first: tf.Tensor, count: int) -> tf.Tensor:
    """``count`` rows of a field ``[M, ...]``, of a shape that is known where ``first`` is not."""
    shape = field.shape[1:]
    return tf.slice(field, [first, *[0] * shape.rank], [count, *shape])


def _prepare(learner: Learner, recipe: Recipe) -> None:
    """Gives a student its teacher, and lets a family's environments have no more cores than the worker."""
    if isinstance(learner, Student):
        preset, directory = recipe.preset, Path(recipe.run) / "teachers"
        learner.teacher = teacher_for(preset.teacher, learner.family, preset.family_args, directory, recipe.seed)
    if isinstance(learner.family, GymFamily):
        learner.family.workers = min(learner.family.workers, recipe.threads)


def _arrays(nest: Any) -> Any:
    return tf.nest.map_structure(np.asarray, nest)


def _tensors(nest: Any) -> Any:
    return tf.nest.map_structure(tf.constant, nest)
