"""Support and query sets of families that draw them together, and the accuracy of a policy on the latter."""

from typing import Any

import tensorflow as tf

from metazoo import random
from metazoo.rollouts.graph import Step
from metazoo.tasks.host_family import AnyFamily
from metazoo.types import Episodes, StepInputs


def rounds(family: AnyFamily, tasks: Any, key: tf.Tensor, count: int, first: Any = 0) -> list[Episodes]:
    """So many sets of tasks ``[M, ...]``: a support set, the query set drawn with it, then another pair, ...

    ``key`` is one, or one ``[M]`` for each task; with one, ``first`` is the place of the first of these tasks.
    """
    rows = key if key.shape.rank == 1 else random.fold(key, first + tf.range(tf.nest.flatten(tasks)[0].shape[0]))
    pairs = [family.sets(tasks, random.fold(rows, number)) for number in range((count + 1) // 2)]
    return [one for pair in pairs for one in pair][:count]


def examples(family: Any, count: int) -> int:
    """How many images of a task so many sets hold."""
    return family.ways * (family.shots * ((count + 1) // 2) + family.queries * (count // 2))


def score(query: Episodes, step: Step, memory: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """``[M]``: the percentage of the query set's labels that ``answers`` gets right."""
    labels, found = answers(query, step, memory, key)
    return 100.0 * tf.reduce_mean(tf.cast(tf.equal(found, labels), tf.float32), 1)


def answers(query: Episodes, step: Step, memory: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The query set's labels and what the policy with ``memory [M, 1, S]`` predicts, both ``[M, T]``, of query episodes
    ``[T, M, 1]``."""
    shown = tf.transpose(query.observations[:, :, 0], [1, 0, *range(2, query.observations.shape.rank - 1)])
    labels = tf.transpose(query.actions[:, :, 0])
    nothing = tf.zeros(labels.shape)
    rows = key if key.shape.rank == 1 else random.fold(key, tf.range(labels.shape[0]))
    inputs = StepInputs(shown, tf.zeros_like(labels), nothing, tf.cast(nothing, tf.bool))
    return labels, step(inputs, memory, random.spread(rows, labels.shape[1]), True).actions
