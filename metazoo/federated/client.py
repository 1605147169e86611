"""What a client does: it plays its own tasks, and answers a mean over them. Episodes do not leave it.

A *meta-gradient* (FedMeta: Chen et al. 2018, arXiv 1802.07876) or the way that local inner steps went (FedAvg:
McMahan et al. 2017, arXiv 1602.05629; over inner loops it is Reptile: Nichol et al. 2018, arXiv 1803.02999) is what
the learner's ``meta_gradient`` gives on the client's tasks. The client answers ``θ − g``, the weights as it would have
them, because Flower's strategies average weights.
"""

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common.learner import Learner, agent_of
from metazoo.evaluation import player
from metazoo.federated.federation import Federation, federation_from
from metazoo.federated.slices import slices_of
from metazoo.training.train import build

VALIDATION_TASKS: Final = 100
"""Of all clients together, at least one each."""

Arrays = Sequence[np.ndarray]


def learner_of(federation: Federation) -> Learner:
    """The learner of clients, whose gradients are left as long as they are: the server clips their mean."""
    preset = federation.preset
    return build(dataclasses.replace(preset, config={**preset.config, "clip_norm": 0.0}), federation.seed)


class Client:
    """All clients of a federation that one process plays, one at a time: its program is compiled once for all."""

    def __init__(self, federation: Federation):
        self.federation = federation
        self.learner = learner_of(federation)
        self.slices = slices_of(self.learner.family, federation.clients)
        self._seed = random.key(federation.seed)
        if self.learner.on_host:  # episodes are played by Python; what follows them is one program
            self._of_episodes = tf.function(self._direction, jit_compile=True, autograph=False)
            self._gradient: Any = self._play_and_learn
        else:
            self._of_episodes = self._direction
            self._gradient = tf.function(self._play_and_learn, jit_compile=True, autograph=False)
        preset = federation.preset
        self._play = player(agent_of(self.learner), self.learner.family, preset.episodes, preset.steps)

    def update(self, weights: Arrays, client: int, number: int) -> tuple[list[np.ndarray], dict[str, float]]:
        """The weights as client ``client`` would have them after round ``number``, and means over its episodes."""
        tensors = [tf.constant(array) for array in weights]
        key = random.fold(random.fold(self._seed, client), number)
        gradients, metrics = self._gradient(tensors, self.slices.of(client), key)
        moved = [array - step.numpy() for array, step in zip(weights, gradients, strict=True)]
        return moved, {name: float(value) for name, value in metrics.items() if name.startswith(("return", "loss"))}

    def evaluate(self, weights: Arrays, client: int) -> list[float]:
        """Mean return ``[points]`` on the client's own validation tasks, before and after each inner step."""
        for variable, array in zip(self.learner.meta_variables, weights, strict=True):
            variable.assign(array)
        tasks = max(1, VALIDATION_TASKS // self.federation.clients)
        key = random.fold(random.key(0), client)
        mine = self.slices.sample(tasks, "validation", self.slices.of(client), key)
        curve, _ = self._play(mine, key)
        return [float(value) for value in curve.numpy().mean((1, 2))]

    def _play_and_learn(self, weights: list[tf.Tensor], bounds: tf.Tensor, key: tf.Tensor) -> Any:
        tasks = self.slices.sample(self.federation.tasks, "train", bounds, random.fold(key, 0))
        return self._of_episodes(weights, self.learner.collect(weights, tasks, random.fold(key, 1)))

    def _direction(self, weights: list[tf.Tensor], rounds: Any) -> Any:
        return self.learner.meta_gradient(weights, self.learner.prepare(weights, rounds))


def client_from(text: str) -> Client:
    """The clients of a federation in this process, made and compiled at the first message.

    Federations that differ in what no episode depends on share them.
    """
    told = federation_from(text)
    plays: dict[str, Any] = {"rounds": 1, "sampled": 1, "step": "adam", "dropout": 0.0, "private": False}
    return _client(dataclasses.replace(told, **plays).as_text())


@cache
def _client(text: str) -> Client:
    return Client(federation_from(text))
