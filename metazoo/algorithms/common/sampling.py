"""Where a task sampler and a learner meet: two variables that updates read and write, whoever computes them.

Before an update the sampler's tasks are put into ``tasks``, which ``Learner.sample_tasks`` reads; the update leaves in
``returns`` what its tasks earned, from which the sampler learns after it. Both are plain variables, so the update is
one compiled program as before.
"""

from typing import Any, final

import keras
import numpy as np
import tensorflow as tf

from metazoo.rollouts import returns as of
from metazoo.samplers.sampler import Sampler
from metazoo.types import Episodes


@final
class Sampling:
    """A learner's ``sampler``, for updates of ``count · replicas`` tasks with ``episodes`` of each."""

    def __init__(self, sampler: Sampler, replicas: int, episodes: int):
        self.sampler, self.replicas = sampler, replicas
        like = sampler.drawn(0, sampler.count)
        self._tasks = tf.nest.map_structure(lambda field: tf.Variable(field, trainable=False), like)
        shape = [sampler.count * replicas, episodes]
        self._returns = tf.Variable(tf.zeros(shape), trainable=False)

    @property
    def tasks(self) -> Any:
        """``[count, ...]`` of the update, tensors."""
        return tf.nest.map_structure(tf.convert_to_tensor, self._tasks)

    @property
    def returns(self) -> np.ndarray:
        """What the update's tasks earned, ``[count · replicas, episodes]``."""
        return self._returns.numpy()

    def put(self, tasks: Any) -> None:
        """The next update's tasks."""
        tf.nest.map_structure(lambda variable, field: variable.assign(field), self._tasks, tasks)

    def hear(self, rounds: list[Episodes]) -> None:
        """Keeps the returns of an update's last round, or of its trials; in the graph or eagerly."""
        self._returns.assign(of.episode_returns(rounds[-1]))

    def keep(self, returns: np.ndarray) -> None:
        """Keeps returns ``[count · replicas, episodes]`` that others have told."""
        self._returns.assign(returns)

    def arrays(self) -> list[np.ndarray]:
        """The tasks of the update as plain arrays, for who plays them elsewhere."""
        return [np.asarray(field) for field in tf.nest.flatten(self._tasks)]

    def put_arrays(self, arrays: list[np.ndarray]) -> None:
        """The other way round."""
        self.put(tf.nest.pack_sequence_as(self._tasks, arrays))

    def propose(self, update: int) -> None:
        """Lets the sampler choose an update's tasks."""
        self.put(self.sampler.propose(update))

    def learn(self, update: int) -> None:
        """Lets the sampler hear what they earned: the replicas of a task together."""
        earned = self.returns.reshape(self.sampler.count, -1)
        tasks = tf.nest.map_structure(lambda variable: variable.numpy(), self._tasks)
        self.sampler.learn(update, tasks, earned)


@final
class BetweenUpdates(keras.callbacks.Callback):
    """Calls a learner's sampler before and after every update of Keras' ``fit``."""

    def __init__(self, learner: Any):
        super().__init__()
        self._learner = learner
        self._update = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._update = int(self._learner.optimizer.iterations) // self._learner.epochs
        self._learner.sampling.propose(self._update)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._learner.sampling.learn(self._update)
