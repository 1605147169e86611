"""Meta-World's own vector environments, to measure beside the families that do the same: the same policy acts."""

import itertools
from typing import Any, Final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.bench.gym_peers import Peer
from metazoo.rollouts.graph import Step
from metazoo.tasks.host_family import HostFamily
from metazoo.tasks.metaworld.families import MetaWorldFamily
from metazoo.types import StepInputs

STEPS: Final = 50
"""Steps between two clock readings."""
COPIES: Final = 10
"""Environments of one kind; of many kinds, there is one for each that is trained on."""


def make(family: HostFamily, step: Step) -> Peer | None:
    """The ``SyncVectorEnv`` that Meta-World makes of a benchmark's training tasks; None for other families."""
    if not isinstance(family, MetaWorldFamily) or not family.original:
        return None
    import metaworld

    kinds = len(family.kinds["train"])
    copies = kinds if kinds > 1 else COPIES
    envs: Any = metaworld.make_ml_envs_train(family.original, seed=0, meta_batch_size=copies)
    memory, never, seeds = tf.zeros([copies, 1, 0]), tf.zeros([copies, 1], tf.bool), itertools.count()
    envs.call("toggle_sample_tasks_on_reset", True)
    first, _ = envs.reset()
    told = [first, np.zeros((copies, 4)), np.zeros(copies)]

    def play() -> None:
        for _ in range(STEPS):
            keys = random.spread(random.key(next(seeds)), copies, 1)
            seen, actions, rewards = (tf.constant(np.asarray(field, np.float32)[:, None]) for field in told)
            out = step(StepInputs(seen, actions, rewards, never), memory, keys, False)
            told[1] = out.actions.numpy()[:, 0]
            told[0], told[2], *_ = envs.step(np.clip(told[1], -1, 1))

    play()
    config = f"{copies} environments, Meta-World's SyncVectorEnv, the same policy acting, automatic resets"
    return Peer(f"Meta-World/{family.original}", config, copies * STEPS, play, envs.close)
