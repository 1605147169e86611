"""A client's private slice of a family: the tasks whose *coordinate* lies between two bounds.

The coordinate is the task parameter that stands first, among the family's ranges or in its tasks. Of a place in the
plane it is the direction, so that clients of ``navigation`` have a sector of goals each. Bounds are quantiles: slices
have equal probability, and all clients together have the family's own tasks.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.host_family import AnyFamily
from metazoo.words import count

DRAWN: Final = 16_384
"""Training tasks that the quantiles are of."""
CANDIDATES: Final = 8
"""So many times the tasks that are wanted are drawn, times the number of clients, for enough to be in the slice."""


class Slices(NamedTuple):
    """The family cut along ``parameter``: slice ``i`` is ``[bounds[i], bounds[i + 1])``."""

    family: AnyFamily
    parameter: str
    bounds: np.ndarray

    @property
    def clients(self) -> int:
        return len(self.bounds) - 1

    def of(self, client: int) -> tf.Tensor:
        """The two bounds ``[2]`` of a client's slice, as ``sample`` takes them."""
        return tf.constant(self.bounds[client : client + 2], tf.float32)

    def sample(self, tasks: int, split: str, bounds: tf.Tensor, key: tf.Tensor) -> Any:
        """``tasks`` tasks of a split within ``bounds``, a pure function of its arguments that any graph may hold.

        Many are drawn, and the first that lie within are kept; too few of them are repeated.
        """
        drawn = self.family.sample(tasks * CANDIDATES * self.clients, split, key)
        along = coordinate(drawn, self.parameter)
        inside = (bounds[0] <= along) & (along < bounds[1])
        found = tf.maximum(tf.reduce_sum(tf.cast(inside, tf.int32)), 1)
        order = tf.argsort(tf.cast(~inside, tf.int32), stable=True)
        kept = tf.gather(order, tf.range(tasks) % found)
        return tf.nest.map_structure(lambda field: tf.gather(field, kept), drawn)


def slices_of(family: AnyFamily, clients: int) -> Slices:
    """``family`` cut into a slice for each client.

    Raises:
        ValueError: it has not so many different tasks.
    """
    drawn = family.sample(DRAWN, "train", random.key(0))
    parameter = next(iter(family.parameter_ranges()), type(drawn)._fields[0])
    along = coordinate(drawn, parameter).numpy().astype(np.float64)
    values = np.unique(along)
    if len(values) == clients:
        inner = (values[1:] + values[:-1]) / 2
    else:
        inner = np.quantile(along, np.arange(1, clients) / clients)
    bounds = np.array([-math.inf, *inner, math.inf], np.float32)
    shares = np.histogram(along, bounds)[0] if np.all(np.diff(bounds) > 0) else np.zeros(clients)
    if len(values) < clients or shares.min() * 4 * clients < DRAWN:
        raise ValueError(
            f"clients is {clients}; {family.name} is cut along {parameter}, which has"
            f" {count(len(values), 'value')}, and every client needs a share of its own."
        )
    return Slices(family, parameter, bounds)


def coordinate(tasks: Any, parameter: str) -> tf.Tensor:
    """``[M]`` of tasks ``[M, ...]``: the parameter, the direction of a place in the plane, or the first of several."""
    value = tf.cast(getattr(tasks, parameter), tf.float32)
    if value.shape.rank == 1:
        return value
    flat = tf.reshape(value, [tf.shape(value)[0], -1])
    if value.shape[1:] == [2]:
        return tf.math.floormod(tf.atan2(flat[:, 1], flat[:, 0]) / (2.0 * math.pi), 1.0)
    return flat[:, 0]
