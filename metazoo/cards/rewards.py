"""What rewards a policy saw in training, for its metadata and its card: ``metazoo.artefact.rewards`` compares with it.

``python -m metazoo.cards.rewards NAME… | DIR…`` measures it on training tasks and writes it into metadata, card and
index, without evaluating the policy again.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.artefact import store
from metazoo.cards.card import write_card
from metazoo.hub import index
from metazoo.hub.transfer import find
from metazoo.pretrained import Pretrained, family_of, load
from metazoo.rollouts.agent import Agent, random_agent
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.types import Episodes

TASKS, TASKS_ONLINE, TASKS_ON_THE_HOST = 100, 1000, 20
"""Rare luck shows in many trials only, and a trial is few episodes."""
LOST = 1
"""Per cent of the tasks that a policy may lose without being rewarded much."""
AT_ONCE, AT_ONCE_ONLINE = 20, 250


def measure(policy: Pretrained, family: AnyFamily, tasks: int | None = None, seed: int = 0) -> dict[str, Any] | None:
    """``metadata["rewards"]`` from training tasks; None for a supervised family, whose examples have no rewards.

    ``low`` and ``high`` are those of the policy's steps, before and after adapting, and of random ones. ``largest``
    is the policy's own: of each task's play (a round, or a trial) the largest absolute reward, and of those the
    smallest and the largest. Play that is never rewarded is left out, and so is the worst hundredth; but of costs,
    which are never positive, small ones are good play, and the smallest counts.
    """
    if family.supervised:
        return None
    online = policy.metadata["memory"]["online"]
    usual = TASKS_ON_THE_HOST if isinstance(family, HostFamily) else TASKS_ONLINE if online else TASKS
    count = tasks or usual
    adapt, sampled, key = policy.metadata["adapt"], family.sample(count, "train", seed), random.key(seed)
    own = _summaries(policy.agent(), family, sampled, key, adapt["episodes"], adapt["steps"])
    by_chance = _summaries(random_agent(family), family, sampled, key, adapt["episodes"], 0)
    both = np.concatenate([own, by_chance])
    largest = np.abs(own).max(1)
    seen = largest[largest > 0] if largest.any() else largest
    return {
        "unit": family.reward_unit,
        "low": _rounded(both.min()),
        "high": _rounded(both.max()),
        "largest": [_rounded(np.percentile(seen, 0 if both.max() <= 0 else LOST)), _rounded(seen.max())],
    }


def _rounded(value: Any) -> float:
    return float(f"{value:.6g}")


def _summaries(agent: Agent, family: AnyFamily, tasks: Any, key: tf.Tensor, episodes: int, steps: int) -> np.ndarray:
    """The lowest and the highest reward of every task's rounds, or trial: ``[N, 2]``."""

    def play(tasks: Any, keys: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        played = _play(agent, family, tasks, keys, episodes, steps)
        return [_extremes(one) for one in played]

    compiled = play if isinstance(family, HostFamily) else tf.function(play, autograph=False)
    count = len(tf.nest.flatten(tasks)[0])
    keys, found, chunk = random.fold(key, tf.range(count)), [], AT_ONCE_ONLINE if agent.online else AT_ONCE
    for start in range(0, count, chunk):
        part = tf.nest.map_structure(lambda field, i=start: field[i : i + chunk], (tasks, keys))
        found += [np.stack([low, high], 1) for low, high in compiled(*part)]
    return np.concatenate(found)


def _play(
    agent: Agent, family: AnyFamily, tasks: Any, keys: tf.Tensor, episodes: int, steps: int
) -> Iterator[Episodes]:
    """A trial, or the rounds before and after each inner step."""
    initial = agent.initial_memory()
    memory = tf.broadcast_to(initial, [keys.shape[0], 1, initial.shape[0]])
    if agent.online:
        yield trial(family, tasks, agent.step, memory, keys, episodes)[0]
        return
    for made in range(steps + 1):
        played = rollout(family, tasks, agent.step, memory, random.fold(keys, made), episodes)
        yield played
        if made < steps:
            memory = agent.adapt(memory, played)


def _extremes(played: Episodes) -> tuple[tf.Tensor, tf.Tensor]:
    valid = played.mask > 0
    low = tf.reduce_min(tf.where(valid, played.rewards, np.inf), [0, 2])
    return low, tf.reduce_max(tf.where(valid, played.rewards, -np.inf), [0, 2])


def add(version: Path, tasks: int | None = None) -> dict[str, Any] | None:
    """Measures, and writes the metadata (with new checksums), the card and the zoo's index. Returns what it wrote."""
    policy = load(version)
    found = measure(policy, family_of(policy.metadata), tasks)
    if found is None:
        return None
    metadata = {**policy.metadata, "rewards": found}
    store.replace_metadata(version, metadata)
    if metadata.get("evaluation"):
        write_card(version.parent, metadata, metadata["evaluation"])
    if (version.parent.parent / index.FILE).is_file():
        index.write(version.parent.parent)
    return found


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(argument, add(find(argument)) or "is supervised: it has no rewards", flush=True)
