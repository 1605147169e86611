"""Small learning problems: tiny networks whose output is far from uniform, and made-up episodes of unequal lengths."""

import numpy as np
import tensorflow as tf

from metazoo.algorithms.maml import MAML, MAMLConfig
from metazoo.policies.networks import mlp
from metazoo.policies.policy import Policy
from metazoo.tasks.cartpole import CartPole
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.navigation import Navigation
from metazoo.types import Discrete, Episodes

FAMILIES = {"categorical": CartPole, "gaussian": Navigation}


def small_policy(family: TaskFamily, hidden=(4,), dtype="float64", seed=0) -> Policy:
    model = mlp(family.observation_space, family.action_space, hidden, dtype=dtype)
    noise = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.5 * noise.standard_normal(variable.shape))
    return Policy(model, family.observation_space, family.action_space)


def made_up_episodes(family: TaskFamily, tasks: int, episodes: int, seed: int) -> Episodes:
    """Time-major episodes ``[T, M, E]`` of random numbers; each stops somewhere, terminated or truncated."""
    rng = np.random.default_rng(seed)
    shape = (family.horizon, tasks, episodes)
    if isinstance(family.action_space, Discrete):
        actions = rng.integers(family.action_space.n, size=shape).astype(np.int32)
    else:
        actions = rng.standard_normal((*shape, *family.action_space.shape)).astype(np.float32)
    lengths = rng.integers(1, family.horizon + 1, size=shape[1:])
    steps = np.arange(family.horizon)[:, None, None]
    last, falls = steps == lengths - 1, rng.random(shape[1:]) < 0.5
    fields = Episodes(
        rng.standard_normal((*shape, *family.observation_space.shape)).astype(np.float32),
        rng.standard_normal((*shape[1:], *family.observation_space.shape)).astype(np.float32),
        actions,
        rng.standard_normal(shape).astype(np.float32) * (steps < lengths),
        last & falls,
        last & ~falls,
        (steps < lengths).astype(np.float32),
    )
    return Episodes(*map(tf.constant, fields))


def small_maml(kind: str, dtype="float64", horizon=5, hidden=(4,), **settings) -> tuple[MAML, list[Episodes]]:
    """A MAML learner with random step sizes, and made-up episodes for each of its rounds."""
    family = FAMILIES[kind](horizon)
    config = MAMLConfig(**({"tasks": 3, "episodes": 4, "inner_rate": 0.3, "clip_norm": 0.0} | settings))
    learner = MAML(small_policy(family, hidden, dtype), family, config)
    learner.rates.assign(0.5 * np.random.default_rng(9).standard_normal(learner.rates.shape))
    rounds = [made_up_episodes(family, config.tasks, config.episodes, made) for made in range(config.inner_steps + 1)]
    return learner, rounds
