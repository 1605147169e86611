"""Credit for exploration: episodes are worth what was learned from them (E-MAML, Stadie et al. 2018, arXiv 1803.01118).

A round's advantages are raised by what its episodes were worth to the later rounds, which adapted to them. The worth is
the mean return of the later rounds, less that of the *replicas* of the same task: these differ by exploration alone.
"""

from typing import NamedTuple

import tensorflow as tf

from metazoo.algorithms.common.inner_loop import Samples
from metazoo.rollouts import returns
from metazoo.types import Episodes


class Credit(NamedTuple):
    """Its ``weight``, and how many ``replicas`` of a task stand side by side in a batch."""

    weight: float
    replicas: int


def credited(outer: list[Samples], rounds: list[Episodes], credit: Credit) -> list[Samples]:
    """The samples ``[M, N, ...]`` of the rounds, their advantages with what each round was worth to the later ones.

    The first round's own return does not count: it was played to learn from.
    """
    later = [tf.reduce_mean(returns.episode_returns(episodes), 1) for episodes in rounds]
    made_credited = []
    for made, batch in enumerate(outer):
        if made < len(outer) - 1:
            worth = tf.reshape(tf.add_n(later[made + 1 :]), [-1, credit.replicas])
            worth = tf.reshape(worth - tf.reduce_mean(worth, 1, keepdims=True), [-1])
            worth /= tf.math.reduce_std(worth) + 1e-6
            gain = credit.weight * worth[:, None] * tf.cast(batch.mask, worth.dtype)
            batch = batch._replace(advantages=(batch.advantages if made else 0.0) + gain)
        made_credited.append(batch)
    return made_credited
