"""The cross-entropy method as a planner, in the graph: the actions whose outcome a model likes best (Rubinstein 1999;
as a planner on learned models Chua et al. 2018, arXiv 1805.12114).

A plan is a few *knots*, actions that are held for some steps. Candidates are drawn around a mean, the best ones give
the next mean and spread. Nothing is kept from one decision to the next.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from metazoo import random
from metazoo.types import Box, Space

Advance = Callable[[Any, tf.Tensor], tuple[Any, tf.Tensor]]
"""``(state [B, N, ...], actions [B, N, ...]) → (state, rewards [B, N])``: a model of the world."""
FLOOR = 0.02
"""The least spread of a knot, as a share of half its range."""


class Settings(NamedTuple):
    """How far and how hard to plan."""

    ahead: int
    """Steps."""
    held: int
    """Steps that a knot lasts."""
    candidates: int
    best: int
    """Candidates that the next mean is made of."""
    rounds: int

    @property
    def knots(self) -> int:
        return -(-self.ahead // self.held)


class Plan(NamedTuple):
    """The first knot's ``mean`` and ``spread [B, A]``, in numbers from −1 to 1."""

    mean: tf.Tensor
    spread: tf.Tensor


def plan(advance: Advance, state: Any, key: tf.Tensor, space: Space, settings: Settings) -> Plan:
    """The plan of every row: ``state`` has fields ``[B, 1, ...]``, ``key`` is ``[B]``.

    Row b depends on row b alone.
    """
    size = space.size if isinstance(space, Box) else 1
    shape = (settings.candidates, settings.knots, size)
    lead = tf.shape(key)[:1]
    mean = tf.zeros(tf.concat([lead, shape[1:]], 0))
    spread = tf.ones_like(mean)

    def improve(number: tf.Tensor, mean: tf.Tensor, spread: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        noise = random.normal(random.spread(random.fold(key, number), *shape))
        drawn = tf.clip_by_value(mean[:, None] + spread[:, None] * noise, -1.0, 1.0)
        worth = worth_of(advance, state, drawn, space, settings)
        best = tf.gather(drawn, tf.math.top_k(worth, settings.best).indices, batch_dims=1)
        return number + 1, tf.reduce_mean(best, 1), tf.math.reduce_std(best, 1) + FLOOR

    start = (tf.constant(0), mean, spread)
    _, mean, spread = tf.while_loop(lambda number, *_: number < settings.rounds, improve, start, parallel_iterations=1)
    return Plan(mean[:, 0], spread[:, 0])


def worth_of(advance: Advance, state: Any, knots: tf.Tensor, space: Space, settings: Settings) -> tf.Tensor:
    """The sum of the model's rewards ``[B, N]`` under candidates ``[B, N, knots, A]`` from states ``[B, 1, ...]``."""
    lead = tf.shape(knots)[:2]

    def wide(field: tf.Tensor) -> tf.Tensor:
        return tf.broadcast_to(field, tf.concat([lead, tf.shape(field)[2:]], 0))

    def body(t: tf.Tensor, state: Any, total: tf.Tensor) -> tuple[tf.Tensor, Any, tf.Tensor]:
        state, rewards = advance(state, actions_of(tf.gather(knots, t // settings.held, axis=2), space))
        return t + 1, state, total + rewards

    start = (tf.constant(0), tf.nest.map_structure(wide, state), tf.zeros(lead))
    return tf.while_loop(lambda t, *_: t < settings.ahead, body, start, parallel_iterations=1)[2]


def actions_of(numbers: tf.Tensor, space: Space) -> tf.Tensor:
    """Numbers ``[..., A]`` from −1 to 1 as actions: over the space's bounds, or by their sign the first or the second
    of two."""
    if isinstance(space, Box):
        middle, half = middle_and_half(space)
        return middle + half * numbers
    return space.start + tf.cast(numbers[..., 0] > 0.0, tf.int32)


def middle_and_half(space: Box) -> tuple[tf.Tensor, tf.Tensor]:
    """Of the space's bounds, ``[A]`` each."""
    low, high = (tf.broadcast_to(tf.cast(bound, tf.float32), space.shape) for bound in (space.low, space.high))
    return (low + high) / 2.0, (high - low) / 2.0
