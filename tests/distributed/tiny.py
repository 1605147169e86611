"""Trainings of seconds, cut into shares; and workers that are no processes, to compare with."""

import keras
import numpy as np
import tensorflow as tf

from metazoo.distributed.replica import Recipe, Replica
from metazoo.distributed.update import SharedUpdate
from metazoo.presets.registry import Preset
from metazoo.training.train import build

NAVIGATION = {
    "name": "tiny",
    "description": "2D navigation in a few steps",
    "family": "navigation",
    "family_args": {"horizon": 5},
    "updates": 10,
    "episodes": 2,
    "steps": 1,
    "learning_rate": 0.01,
    "network": {"hidden": (3,), "initial_scale": 0.1},
}
TASKS = {"tasks": 8, "episodes": 2}
MAML = Preset(**NAVIGATION, algorithm="maml", config={**TASKS, "inner_steps": 1, "clip_norm": 0.05})


class Here:
    """Replicas of this process in place of workers, as many as there are."""

    def __init__(self, recipe: Recipe, workers: int = 1):
        self.replicas = [Replica(recipe) for _ in range(workers)]
        self.asked: list[str] = []

    def put(self, value):
        return value

    def ask(self, method, calls):
        self.asked.append(method)
        owners = [self.replicas[number * len(self.replicas) // len(calls)] for number in range(len(calls))]
        for replica in self.replicas:
            replica.together = [number for number, owner in enumerate(owners) if owner is replica]
        return [getattr(owner, method)(*call) for owner, call in zip(owners, calls, strict=True)]


def compiled(preset: Preset, seed=0):
    """The preset's learner with the optimizer of its trainings, and not yet told how its updates are made."""
    return build(preset, seed), lambda: keras.optimizers.Adam(preset.learning_rate)


def alone(preset: Preset, updates: int):
    """A learner after so many updates of one process, and the metrics of the last."""
    learner, optimizer = compiled(preset)
    learner.compile(optimizer(), jit_compile=True, threads=1)
    learner.optimizer.build(learner.trainable_variables)
    step = tf.function(learner.train_step, jit_compile=True, autograph=False)
    metrics = {}
    for update in range(updates):
        metrics = (learner.train_step if learner.on_host else step)(tf.constant(update, tf.int64))
    return learner, metrics


def shared(preset: Preset, updates: int, shares: int, workers: int = 1):
    """The same with the updates cut into shares."""
    learner, optimizer = compiled(preset)
    here = Here(Recipe(preset, 0, shares, 1, "nowhere"), workers)
    learner.compile(optimizer(), jit_compile=True, elsewhere=SharedUpdate(learner, here, shares))
    learner.optimizer.build(learner.trainable_variables)
    metrics = {}
    for update in range(updates):
        metrics = learner.train_step(tf.constant(update, tf.int64))
    return learner, metrics


def values(learner) -> list[np.ndarray]:
    return [np.asarray(value) for value in learner.variables]
