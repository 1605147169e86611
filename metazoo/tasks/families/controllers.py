"""What controllers that know the task earn: played in the family itself, several side by side from the same start."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.family import TaskFamily, per_episode

Act = Callable[[Any, Any], tf.Tensor]
"""(task ``[M, 1, ...]``, state ``[M, tries, ...]``) → actions ``[M, tries, ...]``."""


def earned(family: TaskFamily, tasks: Any, act: Act, tries: int = 1, seed: int = 0) -> np.ndarray:
    """Returns ``[M, tries]`` of an episode of each task ``[M, ...]``; all tries of a task begin in the same state."""
    play = tf.function(lambda *given: _play(family, act, tries, *given), jit_compile=True, autograph=False)
    fields = [tf.convert_to_tensor(field) for field in tasks]
    return play(type(tasks)(*fields), random.spread(random.key(seed), fields[0].shape[0])).numpy()


def _play(family: TaskFamily, act: Act, tries: int, tasks: Any, keys: tf.Tensor) -> tf.Tensor:
    task, keys = per_episode(tasks), tf.repeat(keys[:, None], tries, 1)

    def body(step: tf.Tensor, state: Any, going: tf.Tensor, total: tf.Tensor) -> tuple:
        after = family.step(task, state, act(task, state), random.fold(keys, step))
        return step + 1, after.state, going & ~after.terminated, total + tf.where(going, after.rewards, 0.0)

    none = tf.zeros(tf.shape(keys))
    start = (0, family.reset(task, keys), tf.equal(none, 0.0), none)
    return tf.while_loop(lambda step, *_: step < family.horizon, body, start)[3]
