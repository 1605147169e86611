"""What a worker does: it plays shares of an update, and answers with gradients. No Ray here, and no state that counts.

Every answer is a function of the arguments alone. A worker keeps the batches that it has played, for the outer steps
that follow on them; one that has none, because another worker died, plays the same episodes once more.

A time step of environments on the host costs about as much for few rows as for many. So a worker plays the shares that
it is asked for at once side by side, where every task acts by weights of its own: then no bit of a task's episodes
depends on how many tasks there are.
"""

from collections.abc import Sequence
from dataclasses import replace
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
from metazoo.tasks.host_family import HostFamily
from metazoo.training.teacher_sources import teacher_for
from metazoo.training.train import build
from metazoo.types import Episodes


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
    """A learner with one share's tasks.

    ``together`` are the shares that it is asked for at once; they change how long an answer takes, and nothing in it.
    """

    together: Sequence[int] = ()

    def __init__(self, recipe: Recipe):
        own.give_again(recipe.preset.family, recipe.preset.family_from)
        self._whole = build(recipe.preset, recipe.seed)  # draws the tasks of the whole update
        self._learner = build(share_of(recipe.preset, recipe.shares), recipe.seed)
        self._learner.compile(keras.optimizers.SGD())  # settings may depend on how many steps were made
        for learner in (self._whole, self._learner):
            _prepare(learner, recipe)
        self._recipe, self._tasks = recipe, self._learner.config.tasks
        self._players = {1: self._learner}
        """By how many shares they play at once."""
        self._version = -1
        self._update, self._batches, self._returns = -1, dict[int, Any](), dict[int, np.ndarray]()
        self._played: dict[int, Any] = {}
        self._compile()

    def episodes(self, update: int, share: int, start: State) -> Any:
        """A share's episodes of all rounds, played by the weights of ``start``."""
        self._begin(update)
        self._load(start)
        return _arrays(self._rounds_of(update, share))

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
        self._begin(update)
        if share not in self._batches:
            self._batches[share] = self._prepared(update, share, start) if part is None else _tensors(part)
        return self._batches[share]

    def _prepared(self, update: int, share: int, start: State) -> Any:
        self._load(start)
        played = self._rounds_of(update, share)
        if self._learner.sampling:
            self._returns[share] = self._learner.sampling.returns
        return self._prepare(played) if self._learner.on_host else played

    def _begin(self, update: int) -> None:
        if update != self._update:
            self._update, self._batches, self._returns, self._played = update, {}, {}, {}

    def _rounds_of(self, update: int, share: int) -> Any:
        """A share's episodes, or in the graph what is prepared of them."""
        if not self._learner.on_host:
            return self._play(tf.constant(update), tf.constant(share))
        if share not in self._played:
            self._play_together(update, share)
        rounds = self._played.pop(share)
        if self._learner.sampling:
            self._learner.sampling.hear(rounds)
        return rounds

    def _play_together(self, update: int, share: int) -> None:
        """Plays the shares that are asked for with this one, if they may be played side by side; else this alone."""
        shares = list(self.together)
        neighbours = share in shares and shares == list(range(shares[0], shares[0] + len(shares)))
        if not (neighbours and self._fit(len(shares))):
            shares = [share]
        rounds = self._play(tf.constant(update), tf.constant(shares[0]), self._player(len(shares)))
        for i, number in enumerate(shares):
            self._played[number] = [_tasks_of(played, i * self._tasks, self._tasks) for played in rounds]

    def _fit(self, shares: int) -> bool:
        """Whether so many are played in one turn, each task by weights of its own."""
        family, config = self._learner.family, self._learner.config
        assert isinstance(family, HostFamily)
        mine = self._learner.memory_kind == "fast_weights"
        return mine and shares * config.tasks * config.episodes <= family.rows

    def _player(self, shares: int) -> Learner:
        """A learner with the tasks of so many shares; it plays with the weights that it is given."""
        if shares not in self._players:
            preset, config = self._recipe.preset, self._recipe.preset.config
            learner = build(replace(preset, config={**config, "tasks": shares * self._tasks}), self._recipe.seed)
            _prepare(learner, self._recipe)
            self._players[shares] = learner
        return self._players[shares]

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
        play = self._rounds if here else lambda *which: prepare(self._rounds(*which))
        self._play: Any = play if learner.on_host else compiled(play)
        self._prepare = compiled(prepare)

        def gradient(batch: Any, index: tf.Tensor) -> Any:
            some = learner.minibatch(batch, index)
            return *learner.meta_gradient(learner.current_weights(), some), learner.weight_of(some)

        self._gradient = compiled(gradient)
        self._measure = compiled(lambda batch: learner.measure(learner.current_weights(), batch))

    def _rounds(self, update: tf.Tensor, share: tf.Tensor, player: Learner | None = None) -> Any:
        """The episodes of a share's tasks, and of as many after them as the ``player`` plays."""
        player = player or self._learner
        tasks, key = self._whole.drawn(update)
        first = share * self._tasks
        some = tf.nest.map_structure(lambda field: _rows(field, first, player.config.tasks), tasks)
        rounds = player.collect(self._learner.current_weights(), some, key, first)
        if self._learner.sampling and not self._learner.on_host:
            self._learner.sampling.hear(rounds)
        return rounds


def _rows(field: tf.Tensor, first: tf.Tensor, count: int) -> tf.Tensor:
    """``count`` rows of a field ``[M, ...]``, of a shape that is known where ``first`` is not."""
    shape = field.shape[1:]
    return tf.slice(field, [first, *[0] * shape.rank], [count, *shape])


def _tasks_of(played: Episodes, first: int, count: int) -> Episodes:
    """The episodes of ``count`` tasks."""
    fields = played._asdict()
    final = fields.pop("final_observations")[first : first + count]
    return Episodes(
        final_observations=final, **{name: field[:, first : first + count] for name, field in fields.items()}
    )


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
