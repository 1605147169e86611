"""Who knows a cart's physics balances ``cartpole`` by a linear regulator; who knows its target too plays
``cartpole_goal`` by looking ahead in the family itself.

A rollout algorithm (Bertsekas and Tsitsiklis 1996, section 5.1.2): at every step both actions are tried in the model,
each followed by a linear regulator that goes to one of several set points; the action of the best try is taken. It is a
good controller, not the optimum.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.families.cartpole import TIME_STEP, CartPoleGoal, CartPoleState
from metazoo.tasks.families.controllers import earned
from metazoo.tasks.family import TaskFamily, per_episode

AHEAD = 100
"""Steps that a try looks ahead: long enough to see a lean that ends in a fall."""
SET_POINTS = (-2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0)
"""Where the regulator of a try goes (m, relative to the target): farther ones lean into a faster start, or brake."""
STATE_COSTS, ACTION_COST = (1.0, 0.1, 1.0, 0.1), 0.5
"""The regulator's quadratic costs of position, velocity, angle and angular velocity, and of the action."""
RICCATI_STEPS = 600
CHUNK = 500
"""Tasks played side by side: bounds the memory, changes no result."""


def regulator(tasks: Any) -> np.ndarray:
    """Gains ``[M, 4]`` of the linear quadratic regulator of each upright cart: action 1 where gains · state < 0."""
    transition, effect = _linear(tasks)
    costs, transposed = np.diag(STATE_COSTS), transition.swapaxes(1, 2)
    value = np.broadcast_to(costs, transition.shape)
    for _ in range(RICCATI_STEPS):
        ahead = effect.swapaxes(1, 2) @ value
        gains = (ahead @ transition) / (ACTION_COST + ahead @ effect)
        value = costs + transposed @ value @ (transition - effect @ gains)
    return gains[:, 0].astype(np.float32)


def _linear(tasks: Any) -> tuple[np.ndarray, np.ndarray]:
    """One step of ``physics_step`` around the upright cart: ``[M, 4, 4]`` of the state, ``[M, 4, 1]`` of the action,
    which is −1 or 1."""
    pole, half, force, gravity, cart = (
        np.asarray(getattr(tasks, name), np.float64)
        for name in ("pole_mass", "half_length", "force", "gravity", "cart_mass")
    )
    total = pole + cart
    inertia = half * (4.0 / 3.0 - pole / total)
    push, tilt = force / total, pole * half / total
    transition, effect = np.tile(np.eye(4), (len(pole), 1, 1)), np.zeros((len(pole), 4, 1))
    transition[:, 0, 1] = transition[:, 2, 3] = TIME_STEP
    transition[:, 3, 2], transition[:, 1, 2] = TIME_STEP * gravity / inertia, -TIME_STEP * tilt * gravity / inertia
    effect[:, 3, 0], effect[:, 1, 0] = -TIME_STEP * push / inertia, TIME_STEP * (push + tilt * push / inertia)
    return transition, effect


def balanced_returns(family: TaskFamily, tasks: Any) -> np.ndarray:
    """The return ``[M]`` of one episode of each task, played by the ``regulator`` of its cart around the middle."""
    gains = tf.constant(regulator(tasks))
    return earned(family, tasks, lambda _, state: _regulate(gains, state, tf.zeros([])))[:, 0]


def planned_returns(family: CartPoleGoal, tasks: Any) -> np.ndarray:
    """The return ``[M]`` of one episode of each task."""
    play = tf.function(lambda *given: _play(family, *given), jit_compile=True, autograph=False)
    gains, earned = regulator(tasks), []
    keys = random.spread(random.key(0), len(gains))
    for start in range(0, len(gains), CHUNK):
        part = slice(start, start + CHUNK)
        earned.append(play(type(tasks)(*(field[part] for field in tasks)), gains[part], keys[part]).numpy())
    return np.concatenate(earned)


def _play(family: CartPoleGoal, tasks: Any, gains: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    task = per_episode(tasks)

    def choose(state: CartPoleState) -> tf.Tensor:
        tries = len(SET_POINTS)
        first = tf.constant([[0] * tries + [1] * tries])
        aims = task.target + tf.constant([SET_POINTS * 2])
        wide = CartPoleState(*(tf.tile(field, [1, 2 * tries]) for field in state))
        worth = _earn(family, task, wide, AHEAD, lambda i, at: tf.where(i == 0, first, _regulate(gains, at, aims)))
        return tf.cast(tf.argmax(worth, 1, tf.int32) >= tries, tf.int32)[:, None]

    start = family.reset(task, keys[:, None])
    return _earn(family, task, start, family.horizon, lambda _, at: choose(at))[:, 0]


def _regulate(gains: tf.Tensor, state: CartPoleState, aims: tf.Tensor) -> tf.Tensor:
    errors = tf.stack([state.position - aims, state.velocity, state.angle, state.angular_velocity], -1)
    return tf.cast(tf.reduce_sum(gains[:, None] * errors, -1) < 0.0, tf.int32)


def _earn(family: CartPoleGoal, task: Any, state: CartPoleState, steps: int, act: Any) -> tf.Tensor:
    """Rewards ``[M, E]`` of so many steps, up to the end of each episode; ``act(step, state) → actions``."""

    def body(i, at, going, total):
        after = family.step(task, at, act(i, at), None)
        return i + 1, after.state, going & ~after.terminated, total + tf.where(going, after.rewards, 0.0)

    none = tf.zeros_like(state.position)
    loop = tf.while_loop(lambda i, *_: i < steps, body, (0, state, tf.equal(none, 0.0), none))
    return loop[3]
