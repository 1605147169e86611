"""Small learning problems: tiny networks whose output is far from uniform, and made-up episodes of unequal lengths."""

from dataclasses import fields

import numpy as np
import tensorflow as tf

from metazoo.algorithms.common.bilevel import BilevelLearner
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.common.teachers import Teacher
from metazoo.algorithms.distillation import Student
from metazoo.algorithms.registry import LEARNERS
from metazoo.policies.networks import mlp
from metazoo.policies.policy import Policy
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.families.sinusoid import Sinusoid
from metazoo.tasks.family import TaskFamily
from metazoo.types import Discrete, Episodes

FAMILIES = {"categorical": CartPole, "gaussian": Navigation}
"""By the distribution of their actions."""
ON_SETS = ("prototypical", "pretraining", "rebal", "mpc")
ON_EPISODES = [name for name in LEARNERS if name not in ON_SETS]
"""Learners that take any family; others have their tests: ``test_image_learners.py``, ``test_dynamics_learners.py``."""
KINDS = {**FAMILIES, "supervised": Sinusoid}


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


def learner_for(algorithm: str, kind: str, horizon=5, hidden=(4,), dtype="float32", **settings) -> Learner:
    """Any learner with a tiny network; recurrent ones have a network of their own."""
    family, learner_class = KINDS[kind](horizon), LEARNERS[algorithm]
    config = learner_class.config_class(**settings)
    if learner_class.memory_kind == "recurrent":
        policy = RecurrentPolicy(family.observation_space, family.action_space, units=4)
    else:
        policy = small_policy(family, hidden, dtype)
    learner = learner_class(policy, family, config)
    if isinstance(learner, Student):
        learner.teacher = small_teacher(family)
    return learner


def small_teacher(family: TaskFamily) -> Teacher:
    """Answers that differ from observation to observation and from task to task."""
    policy = small_policy(family, dtype="float32", seed=1)
    weights = policy.flat_weights()

    def parameters(tasks, observations):
        field = tf.nest.flatten(tasks)[-1]
        told = tf.reduce_mean(tf.reshape(field, [tf.shape(field)[0], 1, -1]), -1)
        return policy.apply(weights[None] * (1.0 + told), observations)

    return Teacher("small", policy.size, parameters)


def small_problem(
    algorithm: str, kind: str, dtype="float64", horizon=5, hidden=(4,), **settings
) -> tuple[Learner, list[Episodes]]:
    """A learner of fast weights with random step sizes, and made-up episodes for each of its rounds."""
    settings = {"tasks": 3, "episodes": 4, **settings}
    known = {field.name for field in fields(LEARNERS[algorithm].config_class)}
    for name, value in {"inner_rate": 0.3, "inner_rate_high": 0.3, "clip_norm": 0.0}.items():
        if name in known:
            settings.setdefault(name, value)
    learner = learner_for(algorithm, kind, horizon, hidden, dtype, **settings)
    if isinstance(learner, BilevelLearner):
        learner.rates.assign(learner.rates + 0.5 * np.random.default_rng(9).standard_normal(learner.rates.shape))
    config, rounds = learner.config, len(learner.steps_between_rounds) + 1
    return learner, [
        made_up_episodes(learner.family, config.tasks, config.episodes, number) for number in range(rounds)
    ]


def small_maml(kind: str, **settings) -> tuple[Learner, list[Episodes]]:
    return small_problem("maml", kind, **settings)


def meta_gradient(learner, rounds):
    """Gradients and metrics of a learner on the episodes of all rounds."""
    weights = learner.current_weights()
    return learner.meta_gradient(weights, learner.prepare(weights, rounds))
