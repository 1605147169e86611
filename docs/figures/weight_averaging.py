"""Figures of docs/weight-averaging.md: returns of policies between others, on test tasks of a policy's family.

python docs/figures/weight_averaging.py NAME|DIR       between the unadapted and the adapted policy, and two adapted
python docs/figures/weight_averaging.py NAME|DIR DIR   between two policies, before and after adapting
"""

import sys
import tempfile

import numpy as np
import tensorflow as tf

import metazoo
from metazoo import random
from metazoo.evaluation import CHUNK, evaluate
from metazoo.pretrained import Pretrained, family_of
from metazoo.rollouts import returns
from metazoo.rollouts.graph import rollout
from metazoo.summaries import summary
from metazoo.types import Episodes

TASKS, SEED = 200, 0
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)


def within_one_step(policy: Pretrained) -> dict[str, np.ndarray]:
    """Mean returns ``[tasks]`` with memories made of the unadapted one and of two made by an inner step each."""
    agent, family, episodes = policy.agent(), family_of(policy.metadata), policy.metadata["adapt"]["episodes"]
    start = tf.constant(policy.memory)

    @tf.function(jit_compile=True, autograph=False)
    def play(tasks, keys):
        before = tf.broadcast_to(start, [CHUNK, 1, start.shape[0]])

        def episodes_with(memory, number):
            return rollout(family, tasks, agent.step, memory, random.fold(keys, number), episodes)

        one, two = episodes_with(before, 0), episodes_with(before, 1)
        axes = (1 if name == "final_observations" else 2 for name in Episodes._fields)
        both = Episodes(*(tf.concat(pair, axis) for pair, axis in zip(zip(one, two, strict=True), axes, strict=True)))
        first, second = agent.adapt(before, one), agent.adapt(before, two)
        memories = {f"share {share:.2f} of the adapted policy": before + share * (first - before) for share in SHARES}
        memories["average of two, adapted on other episodes"] = 0.5 * (first + second)
        memories["adapted on the episodes of both"] = agent.adapt(before, both)
        return {name: tf.reduce_mean(returns.episode_returns(episodes_with(memory, 2)), 1)
                for name, memory in memories.items()}  # fmt: skip

    tasks, keys = family.sample(TASKS, "test", SEED), random.fold(random.key(SEED), tf.range(TASKS))
    parts = []
    for begin in range(0, TASKS, CHUNK):
        part = tf.nest.map_structure(lambda field, i=begin: field[i : i + CHUNK], (tasks, keys))
        parts.append(play(*part))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def between(one: Pretrained, other: Pretrained) -> None:
    """The adaptation curves of the policies between two, which are published in a temporary directory."""
    trained = one.metadata["adapt"]
    for share in (1.0, 0.75, 0.5, 0.25, 0.0):
        with tempfile.TemporaryDirectory() as directory:
            mixed = metazoo.average(one, other, share, directory)
            report = evaluate(
                mixed.agent(), family_of(mixed.metadata), name=mixed.name, tasks=TASKS, seed=SEED, **trained
            )
        print(f"| {share:.2f} |", " | ".join(f"{point['mean']:.1f}" for point in report["curve"]), "|")


if __name__ == "__main__":
    policies = [metazoo.load(name) for name in sys.argv[1:]]
    if len(policies) == 2:
        between(*policies)
    else:
        for name, per_task in within_one_step(policies[0]).items():
            found = summary(per_task)
            print(f"| {name} | {found['mean']:.2f} | [{found['ci95'][0]:.2f}, {found['ci95'][1]:.2f}] |")
