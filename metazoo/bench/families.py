"""Speed of stepping: every registered family with random actions, beside the Gymnasium environment it equals.

Rows of ``what``: the family's name, ``<name>-16384`` for more environments, ``gymnasium/<id>`` for its peer.
"""

import itertools
import json
import statistics
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any, Final

import tensorflow as tf

from metazoo import axes, random
from metazoo.bench import gym_peers, host_families
from metazoo.bench.timing import take_turns
from metazoo.tasks import own
from metazoo.tasks.family import TaskFamily, per_episode, random_actions
from metazoo.tasks.host_family import HostFamily
from metazoo.tasks.metaworld.families import MetaWorldFamily
from metazoo.tasks.mujoco.families import MujocoFamily
from metazoo.tasks.registry import FAMILIES

COPIES: Final = 1024
MANY_COPIES: Final = 16_384
SCALED: Final = ("cartpole",)
"""Families whose cost per step is measured with ``MANY_COPIES`` environments too."""
STEPS: Final = 1000
"""Steps of each environment in one compiled call."""


def names() -> Iterable[str]:
    """Every registered family that can be made here."""
    needs = {"mujoco": MujocoFamily, "metaworld": MetaWorldFamily}
    without = tuple(family for package, family in needs.items() if not find_spec(package))
    return [name for name, family in FAMILIES.items() if not issubclass(family, without)]


def measure(name: str, arguments: str = "{}") -> list[dict[str, Any]]:
    """Rows of the family and of its peer, which take turns. ``name`` may be a reference (``metazoo.tasks.own``) to one
    of the user's own, and ``arguments`` are its arguments in JSON."""
    family = own.made_from(name, json.loads(arguments)) if ":" in name else FAMILIES[name]()
    name = family.name
    if isinstance(family, HostFamily):
        return host_families.measure(name, family)
    sizes = {name: COPIES} | ({f"{name}-{MANY_COPIES}": MANY_COPIES} if name in SCALED else {})
    peer = gym_peers.make(family, COPIES)
    actions = [in_graph(family, copies, STEPS) for copies in sizes.values()] + ([peer.play] if peer else [])
    times = take_turns(*actions)
    rows = []
    for (what, copies), taken in zip(sizes.items(), times, strict=False):
        config = f"{copies} environments, random actions, automatic resets, {STEPS} steps in one XLA program"
        rate = round(copies * STEPS / statistics.median(taken))
        rows.append({"what": what, "config": config, "threads": 1, "env_steps_per_s": rate})
    if peer:
        peer.close()
        rows.append(peer.row(times[-1]))
    return rows


def in_graph(family: TaskFamily, copies: int, steps: int) -> Callable[[], tuple[float, float]]:
    """Plays ``copies`` environments, one of each task, for ``steps`` steps; compiled by a first call made here.

    An environment begins anew with the step after its episode's end, by termination or by the horizon. Returns the
    sums of all rewards and of all observations, so that no step can be left out of the compiled program.
    """

    @tf.function(jit_compile=True, autograph=False)
    def play(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        task = per_episode(family.sample(copies, "train", seed))
        rows = random.fold(random.key(seed), tf.range(copies))[:, None]

        def body(t, state, age, rewards, seen):
            key = random.fold(rows, t + 1)
            after = family.step(
                task, state, random_actions(family.action_space, random.fold(key, 0)), random.fold(key, 1)
            )
            ended = after.terminated | (age + 1 >= family.horizon)
            fresh = family.reset(task, random.fold(key, 2))
            state = axes.where(ended, fresh, after.state)
            age = tf.where(ended, 0, age + 1)
            return t + 1, state, age, rewards + after.rewards, seen + family.observe(task, state)

        state, nothing = family.reset(task, random.fold(rows, 0)), tf.zeros((copies, 1))
        start = (tf.constant(0), state, tf.zeros((copies, 1), tf.int32), nothing, family.observe(task, state))
        *_, rewards, seen = tf.while_loop(lambda t, *_: t < steps, body, start, parallel_iterations=1)
        return tf.reduce_sum(rewards), tf.reduce_sum(seen)

    seeds = itertools.count()

    def action() -> tuple[float, float]:
        rewards, seen = play(tf.constant(next(seeds)))
        return float(rewards), float(seen)

    action()
    return action
