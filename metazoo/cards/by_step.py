"""What a policy earns at every step of a trial of one episode: a curve over such episodes would be a single point.

Cards of bandits draw the reward of each pull, beside those of the classical algorithms.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.cards.baselines import Protocol
from metazoo.evaluation import CHUNK_ONLINE
from metazoo.pretrained import Pretrained
from metazoo.rollouts.graph import trial
from metazoo.tasks.host_family import AnyFamily, HostFamily


def rewards_of_trials(policy: Pretrained, family: AnyFamily, protocol: Protocol) -> np.ndarray | None:
    """Rewards ``[tasks, steps]`` of the trials that ``metazoo.evaluation.evaluate`` plays, with the same draws.

    None where a trial has several episodes, which make a curve themselves, and of families on the host, where playing
    them again would take as long as the evaluation.
    """
    agent = policy.agent()
    if not agent.online or protocol.episodes * (protocol.steps + 1) > 1 or isinstance(family, HostFamily):
        return None
    start, chunk = agent.initial_memory(), min(CHUNK_ONLINE, protocol.tasks)
    tasks = family.sample(protocol.tasks, protocol.split, protocol.seed)
    keys = random.fold(random.fold(random.key(protocol.seed), 1), tf.range(protocol.tasks))

    @tf.function(jit_compile=True, autograph=False)
    def play(part: Any, key: tf.Tensor) -> tf.Tensor:
        memory = tf.broadcast_to(start, [chunk, 1, start.shape[0]])
        played, _ = trial(family, part, agent.step, memory, key, 1, protocol.deterministic)
        return (played.rewards * played.mask)[:, :, 0]

    found = []
    for begin in range(0, protocol.tasks, chunk):
        first = max(0, min(begin, protocol.tasks - chunk))  # the last part overlaps, so that it has the same shape
        part = tf.nest.map_structure(lambda field, i=first: field[i : i + chunk], (tasks, keys))
        found.append(play(*part).numpy()[:, begin - first :].T)
    return np.concatenate(found)
