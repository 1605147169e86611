"""Speed of families on the host: their environments in worker processes, and a policy that acts in them."""

import functools
import itertools
import os
import statistics
from typing import Any, Final

import tensorflow as tf

from metazoo import random
from metazoo.algorithms.domain_randomised import DomainRandomised
from metazoo.bench import gym_peers, metaworld_peers
from metazoo.bench.timing import stay_on, take_turns
from metazoo.policies.networks import network_for
from metazoo.policies.policy import Policy
from metazoo.rollouts.graph import Step, rollout
from metazoo.tasks.host_family import HostFamily

COPIES: Final = 40
HIDDEN: Final = (64, 64)


def measure(name: str, family: HostFamily) -> list[dict[str, Any]]:
    """Rows of the family, on as many cores as it has worker processes, and of its Gymnasium peer, on one."""
    cores = max(1, getattr(family, "workers", 0))
    step, memory, keys, counts = policy_step(family), tf.zeros([COPIES, 1, 0]), itertools.count(), []
    stay_on(cores)

    def play() -> None:
        seed = next(keys)
        episodes = rollout(family, family.sample(COPIES, "train", seed), step, memory, random.key(seed), 1)
        counts.append(float(tf.reduce_sum(episodes.mask)))

    peer = gym_peers.make(family, COPIES) or metaworld_peers.make(family, step)
    try:
        play()
        times = take_turns(play, *([peer.play] if peer else []))
    finally:
        family.close()
        if peer:
            peer.close()
    processes = f"in {cores} processes" if cores > 1 else "in one process"
    config = f"{COPIES} environments {processes}, MLP {'-'.join(map(str, HIDDEN))} acting, recorded episodes"
    rate = statistics.median(count / seconds for count, seconds in zip(counts[1:], times[0], strict=True))
    threads = min(cores, os.cpu_count() or 1)
    rows = [{"what": name, "config": config, "threads": threads, "env_steps_per_s": round(rate)}]
    return rows + ([peer.row(times[1])] if peer else [])


def policy_step(family: HostFamily) -> Step:
    """A policy with its initial weights, compiled, as learners call it in rollouts."""
    spaces = family.observation_space, family.action_space
    learner = DomainRandomised(Policy(network_for(*spaces, hidden=HIDDEN), *spaces), family)
    return functools.partial(learner.step, learner.current_weights())
