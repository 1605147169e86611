"""Support and query sets of families that draw them together, and how good a policy's answers on the latter are."""

from typing import Any

import tensorflow as tf

from metazoo import axes, random
from metazoo.policies.distributions import distribution_for
from metazoo.rollouts.graph import Step
from metazoo.tasks.host_family import AnyFamily
from metazoo.types import Episodes, StepInputs, StepOutputs


def rounds(family: AnyFamily, tasks: Any, key: tf.Tensor, count: int, first: Any = 0) -> list[Episodes]:
    """So many sets of tasks ``[M, ...]``: a support set, the query set drawn with it, then another pair, ...

    ``key`` is one, or one ``[M]`` for each task; with one, ``first`` is the place of the first of these tasks.
    """
    rows = key if key.shape.rank == 1 else random.fold(key, first + tf.range(tf.nest.flatten(tasks)[0].shape[0]))
    pairs = [family.sets(tasks, random.fold(rows, number)) for number in range((count + 1) // 2)]
    return [one for pair in pairs for one in pair][:count]


def examples(family: Any, count: int) -> int:
    """How many examples of a task so many sets hold."""
    support, query = family.set_sizes()
    return support * ((count + 1) // 2) + query * (count // 2)


def score(family: AnyFamily, query: Episodes, step: Step, memory: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """``[M]``: the percentage of the query set's labels that ``answers`` gets right; of a ``probabilistic`` family the
    mean log-likelihood of what happened, in nats."""
    labels, found = answered(query, step, memory, key)
    if family.probabilistic:
        log_probs = distribution_for(family.action_space).log_prob(found.parameters, labels)
        return tf.reduce_mean(log_probs, 1)
    return 100.0 * tf.reduce_mean(tf.cast(tf.equal(found.actions, labels), tf.float32), 1)


def answers(query: Episodes, step: Step, memory: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The query set's labels and what the policy with ``memory [M, 1, S]`` predicts, both ``[M, T]``, of query episodes
    ``[T, M, 1]``."""
    labels, found = answered(query, step, memory, key)
    return labels, found.actions


def answered(query: Episodes, step: Step, memory: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, StepOutputs]:
    """The query set's labels ``[M, T, ...]`` and the policy's outputs, each example asked by itself; ``memory`` is
    ``[M, 1, S]``, or ``[M, T, S]`` of a policy that remembers what it is asked."""
    shown, labels = (axes.turn(field[:, :, 0], 1, 0) for field in (query.observations, query.actions))
    nothing = tf.zeros(labels.shape[:2])
    rows = key if key.shape.rank == 1 else random.fold(key, tf.range(labels.shape[0]))
    inputs = StepInputs(shown, tf.zeros_like(labels), nothing, tf.cast(nothing, tf.bool))
    return labels, step(inputs, memory, random.spread(rows, labels.shape[1]), True)
