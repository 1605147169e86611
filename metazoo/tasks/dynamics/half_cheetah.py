"""``half_cheetah_dynamics``: what follows a transition of a half-cheetah whose body is unknown, in the graph.

The worlds are those of ``half_cheetah_body``; their transitions were recorded (``recorded``).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.dynamics import recorded
from metazoo.tasks.dynamics.families import LIMIT, Dynamics, episode_of, require_counts, reward_of
from metazoo.tasks.dynamics.recorded import BODIES, EPISODES, STEPS
from metazoo.tasks.family import Transition
from metazoo.types import Box, Episodes

CHANGE = (0.036, 0.065, 0.18, 0.2, 0.19, 0.2, 0.2, 0.19, 0.5, 0.6, 1.25, 4.6, 5.7, 5.8, 5.1, 5.6, 5.1)
"""The root mean square of a change of each observation, over training bodies."""
SEEN, DONE = len(CHANGE), 6


class HalfCheetahDynamicsTask(NamedTuple):
    """Which recorded ``body`` it is, a whole number, and its factors of the original's ``mass``, ``damping`` and
    ``head``. Each ``[M]``."""

    body: Any
    mass: Any
    damping: Any
    head: Any


class HalfCheetahDynamicsState(NamedTuple):
    """The number of the body's transition that is shown, ``[M, E]`` int32."""

    transition: Any


@final
class HalfCheetahDynamics(Dynamics):
    """The support set is the first ``seen`` transitions of one of a body's episodes, the query set the first ``asked``
    of another. Played step by step, it shows transitions in any order.

    Raises:
        ValueError: no transitions to see or to ask, or more than an episode has.
        MissingDataError: nothing is recorded, and MuJoCo is not installed.
    """

    name: ClassVar[str] = "half_cheetah_dynamics"
    hidden: ClassVar[str] = "mass, damping, size of the head"
    Task: ClassVar[type] = HalfCheetahDynamicsTask
    units: ClassVar[Mapping[str, str]] = {
        "body": "",
        **dict.fromkeys(recorded.FACTORS, "times the original"),
    }
    out_of_range = False
    observation_space = Box((SEEN + DONE,))
    action_space = Box((SEEN,), -LIMIT, LIMIT)

    def __init__(self, seen: int = 50, asked: int = 50):
        require_counts(seen, asked)
        if max(seen, asked) > STEPS:
            raise ValueError(
                f"seen and asked are {seen} and {asked}; they must be at most {STEPS}, a recorded episode."
            )
        self.seen, self.asked, self.horizon = seen, asked, seen
        self._tensors: dict[str, tf.Tensor] = {}

    def sample_task(self, key: tf.Tensor, split: str) -> HalfCheetahDynamicsTask:
        if split not in BODIES:
            raise ValueError(
                f"split is {split!r}; {self.name} has none, its bodies were recorded for the other splits."
            )
        first = sum(BODIES[other] for other in list(BODIES)[: list(BODIES).index(split)])
        body = first + random.integers(key, BODIES[split])
        factors = tf.unstack(tf.gather(self._held("bodies"), body), axis=-1)
        return HalfCheetahDynamicsTask(tf.cast(body, tf.float32), *factors)

    def sets(self, task: HalfCheetahDynamicsTask, key: tf.Tensor) -> tuple[Episodes, Episodes]:
        order = tf.argsort(random.uniform(random.spread(key, EPISODES)), -1) * STEPS
        return self._set(task, order[:, 0], self.seen), self._set(task, order[:, 1], self.asked)

    def reset(self, task: HalfCheetahDynamicsTask, key: tf.Tensor) -> HalfCheetahDynamicsState:
        return HalfCheetahDynamicsState(random.integers(key, EPISODES * STEPS))

    def step(
        self, task: HalfCheetahDynamicsTask, state: HalfCheetahDynamicsState, actions: tf.Tensor, key: tf.Tensor
    ) -> Transition:
        reward = reward_of(actions, self.targets(task, state))
        return Transition(self.reset(task, key), reward, tf.zeros_like(reward, tf.bool))

    def observe(self, task: HalfCheetahDynamicsTask, state: HalfCheetahDynamicsState) -> tf.Tensor:
        return tf.gather(self._held("shown"), self._place(task, state.transition))

    def targets(self, task: HalfCheetahDynamicsTask, state: HalfCheetahDynamicsState) -> tf.Tensor:
        """The right predictions ``[M, E, 17]``."""
        return tf.gather(self._held("changes"), self._place(task, state.transition))

    def _set(self, task: HalfCheetahDynamicsTask, first: tf.Tensor, steps: int) -> Episodes:
        place = (self._place(task, first) + tf.range(steps)[:, None])[..., None]
        return episode_of(tf.gather(self._held("shown"), place), tf.gather(self._held("changes"), place))

    def _place(self, task: HalfCheetahDynamicsTask, transition: tf.Tensor) -> tf.Tensor:
        return tf.cast(task.body, tf.int32) * EPISODES * STEPS + transition

    def _held(self, name: str) -> tf.Tensor:
        """``bodies [B, 3]``, ``shown [B·K·T, 23]`` or ``changes [B·K·T, 17]``: made once, outside of whatever graph is
        being built, so that programs take it as an argument."""
        if name not in self._tensors:
            made = recorded.recorded()
            rows = [field.reshape(-1, field.shape[-1]) for field in made[1:]]
            with tf.init_scope():
                self._tensors = {
                    "bodies": tf.constant(made.bodies),
                    "shown": tf.constant(np.concatenate(rows[:2], -1)),
                    "changes": tf.constant(((rows[2] - rows[0]) / CHANGE).astype(np.float32)),
                }
        return self._tensors[name]
