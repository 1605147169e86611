"""Keras callbacks of ``metazoo train``: checkpoints that resume exactly, validation, and a polite Ctrl-C."""

import csv
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf

from metazoo import progress, random
from metazoo.algorithms.common.learner import Learner, agent_of
from metazoo.artefact.whole import aside
from metazoo.evaluation import player, plays_trials

VALIDATION_TASKS, VALIDATION_TRIALS = 100, 1000
"""Held-out tasks for checkpoints to be chosen on; more where a task is one trial instead of rounds of episodes."""
ON_HOST = 20, 100
"""The same over a family on the host, where steps are dear."""

Watch = Callable[[int, float], None]
"""Hears after which update validation gave which score."""


def updates_made(learner: Learner) -> int:
    """An update takes ``epochs`` steps of the optimizer."""
    return int(learner.optimizer.iterations) // learner.epochs


def validation_tasks(learner: Learner) -> int:
    """On how many validation tasks the learner's weights are compared."""
    rounds, trials = ON_HOST if learner.on_host else (VALIDATION_TASKS, VALIDATION_TRIALS)
    return trials if plays_trials(learner.online, learner.family) else rounds


def validation_score(scores: np.ndarray, online: bool, last: bool = False) -> float:
    """What is to be largest, from mean returns ``[points]``: the whole trial's, or those after the inner steps, or
    after the ``last`` of them alone: a likelihood on the way, under a spread made for the end, may be anything."""
    if last:
        return float(scores[-1])
    return float(scores.mean() if online or len(scores) == 1 else scores[1:].mean())


@final
class Checkpoints(keras.callbacks.Callback):
    """Saves weights, optimizer, progress and the best weights so far after every epoch, and when training stops.

    ``tf.train.CheckpointManager`` writes aside and renames, so a kill at any moment leaves the last checkpoint whole.
    """

    def __init__(self, learner: Learner, directory: Path, epoch: int):
        super().__init__()
        self.learner, self.directory, self.epoch = learner, directory, epoch
        variables = [*learner.variables, *learner.optimizer.variables]
        unique = list({id(variable): variable.value for variable in variables}.values())
        self._best = [tf.Variable(value) for value in learner.current_weights()]
        self._score = tf.Variable(-np.inf, dtype=tf.float64)
        self._update = tf.Variable(0, dtype=tf.int64)
        self._best_update = tf.Variable(0, dtype=tf.int64)
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        progress = [self._score, self._update, self._seconds, self._best_update]
        self._sampler = {name: tf.Variable(value) for name, value in self._sampler_state.items()}
        chosen = {"sampler": self._sampler} if self._sampler else {}
        saved = tf.train.Checkpoint(state=unique, best=self._best, progress=progress, **chosen)
        self._manager = tf.train.CheckpointManager(saved, str(directory), max_to_keep=2)
        self._saved = saved
        self._clock = time.monotonic()

    @property
    def update(self) -> int:
        """Updates made so far."""
        return int(self._update)

    @property
    def best_update(self) -> int:
        """After how many updates the best weights so far were there; 0 without a validation."""
        return int(self._best_update)

    @property
    def best_score(self) -> float:
        """The best validation score so far; -inf without a validation."""
        return float(self._score)

    @property
    def _sampler_state(self) -> dict[str, np.ndarray]:
        """What the learner's task sampler knows; empty without one."""
        return self.learner.sampling.sampler.state if self.learner.sampling else {}

    @property
    def seconds(self) -> float:
        """Wall-clock of the training, over all its parts."""
        return float(self._seconds)

    def restore(self) -> int:
        """Loads the newest checkpoint; the number of updates it had made, 0 without one."""
        if self._manager.latest_checkpoint:
            self._saved.restore(self._manager.latest_checkpoint).assert_consumed()
            self._sampler_state.update({name: variable.numpy() for name, variable in self._sampler.items()})
        self._clock = time.monotonic()
        return self.update

    def offer(self, score: float) -> None:
        """Keeps the current weights if ``score``, on validation tasks, beats the best so far."""
        if score > float(self._score):
            self._score.assign(score)
            self._best_update.assign(updates_made(self.learner))
            for best, value in zip(self._best, self.learner.current_weights(), strict=True):
                best.assign(value)

    def load_best(self) -> None:
        """Puts the weights with the best validation score into the learner, if there was any validation."""
        if np.isfinite(float(self._score)):
            for variable, best in zip(self.learner.meta_variables, self._best, strict=True):
                variable.assign(best)

    def on_train_begin(self, logs: Any = None) -> None:
        self._clock = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._update.assign(updates_made(self.learner))
        now = time.monotonic()
        self._seconds.assign_add(now - self._clock)
        self._clock = now
        for name, value in self._sampler_state.items():
            self._sampler[name].assign(value)
        self._manager.save(checkpoint_number=self.update)


@final
class Validation(keras.callbacks.Callback):
    """Return before and after adaptation on validation tasks, the speed, and the time left, once an epoch."""

    def __init__(
        self,
        episodes: int,
        steps: int,
        epoch: int,
        checkpoints: Checkpoints,
        total: int,
        watch: Watch | None = None,
    ):
        super().__init__()
        self.checkpoints, self.epoch, self.total, self._watch = checkpoints, epoch, total, watch
        learner = checkpoints.learner
        self._learner = learner
        judge = self._judge = learner.judge
        self._tasks = judge.family.sample(validation_tasks(judge), "validation")
        made = steps if judge is learner else judge.config.inner_steps
        self._play = player(agent_of(judge), judge.family, episodes, made)
        self._begun = (0, 0.0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begun = (updates_made(self._learner), time.monotonic())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {} if logs is None else logs
        update = updates_made(self._learner)
        made, seconds = update - self._begun[0], time.monotonic() - self._begun[1]
        if update % self.epoch and update != self.total:
            return  # interrupted in the middle: an uninterrupted run would not have validated here
        with progress.stage("validation"):
            curve, _ = self._play(self._tasks, random.key(0))
        scores = curve.numpy().mean((1, 2))
        trials = plays_trials(self._judge.online, self._judge.family)
        shown = {0, len(scores) - 1} if trials else set(range(len(scores)))
        for step in sorted(shown):
            logs[f"val_return_{step}"] = float(scores[step])
        score = validation_score(scores, trials, self._judge.family.probabilistic)
        self.checkpoints.offer(score)
        logs["env_steps_per_s"] = made * self._learner.env_steps_per_update / seconds
        left = (self.total - update) * seconds / made
        curve_text = " → ".join(f"{scores[step]:.1f}" for step in sorted(shown))
        progress.say(
            f"update {update}/{self.total}: validation return {curve_text}, "
            f"{logs['env_steps_per_s'] / 1e3:.0f} k env steps/s, {left / 60:.1f} min left"
        )
        if self._watch:
            self._watch(update, score)


@final
class Advance(keras.callbacks.Callback):
    """Tells a stage of ``metazoo.progress`` of every update."""

    def __init__(self, advance: Callable[[int], None]):
        super().__init__()
        self._advance = advance

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._advance(1)


class DivergedError(RuntimeError):
    """A training's weights are no longer finite."""


@final
class Divergence(keras.callbacks.Callback):
    """Ends a training whose weights are no longer finite, before anything of them is logged or saved.

    It comes first: the last checkpoint then is that of the epoch before, and holds the best weights so far.
    """

    def __init__(self, checkpoints: Checkpoints):
        super().__init__()
        self._checkpoints = checkpoints

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        checkpoints = self._checkpoints
        if all(bool(tf.reduce_all(tf.math.is_finite(value))) for value in checkpoints.learner.current_weights()):
            return
        kept = (
            f"; {checkpoints.directory} holds the best, of update {best}" if (best := checkpoints.best_update) else ""
        )
        raise DivergedError(
            f"Training diverged: between updates {checkpoints.update} and {updates_made(checkpoints.learner)} weights"
            f" became nan or infinite; a lower learning_rate or clip_norm would be right{kept}."
        )


@final
class Interrupt(keras.callbacks.Callback):
    """As a context: a first Ctrl-C ends training after the current update, with a checkpoint; a second one at once."""

    def __init__(self):
        super().__init__()
        self.asked = False
        self._previous: Any = None

    def __enter__(self) -> "Interrupt":
        self._previous = signal.getsignal(signal.SIGINT)
        try:
            signal.signal(signal.SIGINT, self._ask)
        except ValueError:  # not in the main thread: Ctrl-C is not ours to handle
            self._previous = None
        return self

    def __exit__(self, *_: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.asked:
            self.model.stop_training = True

    def _ask(self, *_: Any) -> None:
        self.asked = True
        progress.say("\nStopping after this update; press Ctrl-C again to stop at once.")
        signal.signal(signal.SIGINT, signal.default_int_handler)


def keep_epochs(path: Path, epochs: int) -> None:
    """Cuts a CSV log to its first ``epochs`` epochs: what a resumed run will write again must not stand there twice."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if int(row["epoch"]) < epochs]
    with aside(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys() if rows else [])
        if kept:
            writer.writeheader()
            writer.writerows(kept)
