"""Prototypical networks: a class is the mean of its examples' features (Snell et al. 2017, arXiv 1703.05175).

p(y = k | x) = softmax over k of −‖f(x) − cₖ‖²,   cₖ = mean of f(xᵢ) over the support examples of class k,

with the network f trained on −log p of the query examples. Nothing moves but the prototypes: adapting takes no
gradient, and more examples can be added at any time.

Differs from the paper: trained with as many classes as it is used with, because their number is part of an export.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import tensorflow as tf

from metazoo import axes, losses
from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.inner_loop import Samples
from metazoo.algorithms.common.outer_step import clip
from metazoo.algorithms.common.plain import FixedWeights
from metazoo.policies.acting import choose
from metazoo.policies.distributions import Parameters
from metazoo.policies.weights import Tensors, flatten
from metazoo.rollouts import supervised
from metazoo.types import Discrete, Episodes, StepInputs, StepOutputs

UNSEEN = -1e4
"""The logit of a class without examples, where others have some."""


@dataclass(frozen=True)
class PrototypicalConfig(Config):
    """Settings of ``Prototypical``; each field's metadata holds its range and meaning."""

    tasks: int = setting(16, (1, 10_000), "tasks per update")
    clip_norm: float = setting(0.0, (0.0, 1e6), "largest norm of the gradient; 0 leaves it alone")


@final
class Prototypical(FixedWeights):
    """Learns features in which a class is near the mean of its examples.

    The memory ``[N·D + N]`` holds for each class the sum of its examples' features, then how many there were.
    """

    name_in_registry: ClassVar[str] = "prototypical"
    about: ClassVar[str] = (
        "Prototypical networks ([Snell et al. 2017](https://arxiv.org/abs/1703.05175)): a class is the mean of its"
        " examples' features; adapting computes these means and nothing else."
    )
    config_class: ClassVar[type[Config]] = PrototypicalConfig
    config: PrototypicalConfig
    memory_kind: ClassVar[str] = "prototypes"
    online: ClassVar[bool] = False

    def __init__(self, policy, family, config: PrototypicalConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        _require_classes(policy, family)
        self.first, self.classes = family.action_space.start, family.action_space.n
        self.features = math.prod(self.network.output["features"].shape[1:])
        self.built = True

    @property
    def memory_size(self) -> int:
        return self.classes * (self.features + 1)

    @property
    def env_steps_per_update(self) -> int:
        return self.config.tasks * supervised.examples(self.family, 2)

    def act(self, weights: Tensors, memory: tf.Tensor, observations: tf.Tensor) -> Parameters:
        return self._parameters(self._features(weights, observations), memory)

    def step(
        self, weights: Tensors, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        parameters = self._parameters(self._features(weights, inputs.observations), memory)
        distribution = self.policy.distribution
        actions = choose(distribution, parameters, key, deterministic, 0)
        return StepOutputs(actions, parameters, distribution.log_prob(parameters, actions), memory)

    def adapt(self, weights: Tensors, memory: tf.Tensor, episodes: Episodes) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The examples' features are added to the prototypes; ``loss`` and ``kl`` are those of the examples, before
        and against after."""
        batch = inner_loop.shots(episodes)
        features = self._features(weights, batch.observations)
        after = memory + self._sums(features, batch)[:, None]
        before, now = (self._parameters(features, one) for one in (memory, after))
        kl = self.policy.distribution.of(before).kl_divergence(self.policy.distribution.of(now))
        log_probs = self.policy.distribution.log_prob(before, batch.actions)
        shares = batch.mask / tf.maximum(tf.reduce_sum(batch.mask, 1, keepdims=True), 1.0)
        return after, {"loss": -tf.reduce_sum(shares * log_probs, 1), "kl": tf.reduce_sum(shares * kl, 1)}

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor, first: Any = 0) -> list[Episodes]:
        return supervised.rounds(self.family, tasks, key, 2, first)

    def prepare(self, weights: Tensors, rounds: list[Episodes]) -> tuple[Samples, Samples]:
        support, query = map(inner_loop.shots, rounds)
        return support, query

    def meta_gradient(self, weights: Tensors, batch: Any) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        weights = list(weights)
        loss, gradients = inner_loop.gradient_over_tasks(lambda one: self.task_loss(weights, *one), weights, batch)
        gradients, norm = clip(gradients, self.config.clip_norm)
        return gradients, {"loss": loss, "gradient_norm": norm}

    def task_loss(self, weights: Tensors, support: Samples, query: Samples) -> tf.Tensor:
        """−log p of one task's query examples ``[N, ...]``, given its support examples."""
        both = tf.concat([support.observations, query.observations], 0)
        features = self._features(weights, both)
        shots = support.mask.shape[0]
        memory = self._sums(features[None, :shots], tf.nest.map_structure(lambda field: field[None], support))
        parameters = self._parameters(features[None, shots:], memory[:, None])
        log_probs = self.policy.distribution.log_prob(parameters, query.actions[None])
        return losses.cross_entropy(log_probs, query.mask[None])

    def _features(self, weights: Tensors, images: tf.Tensor) -> tf.Tensor:
        """``[..., D]`` of images ``[..., *shape]``."""
        return self.policy.apply(flatten(list(weights)), tf.cast(images, weights[0].dtype))["features"]

    def _sums(self, features: tf.Tensor, batch: Samples) -> tf.Tensor:
        """What examples ``[M, N]`` add to a memory, ``[M, S]``."""
        label = tf.cast(batch.actions, tf.int32) - self.first
        mine = tf.one_hot(label, self.classes, dtype=features.dtype) * tf.cast(batch.mask, features.dtype)[..., None]
        sums = axes.merge(tf.matmul(mine, features, transpose_a=True), 1)
        return tf.concat([sums, tf.reduce_sum(mine, 1)], -1)

    def _parameters(self, features: tf.Tensor, memory: tf.Tensor) -> Parameters:
        """Logits ``[M, N, classes]`` of features ``[M, N, D]`` under memories ``[M, 1 or N, S]``; or ``[N, classes]``
        of ``[N, D]`` under one ``[S]``."""
        sums, counts = tf.split(memory, [self.classes * self.features, self.classes], -1)
        shape = tf.concat([tf.shape(memory)[:-1], [self.classes, self.features]], 0)
        prototypes = tf.reshape(sums, shape) / tf.maximum(counts, 1.0)[..., None]
        distances = tf.reduce_sum(tf.square(features[..., None, :] - prototypes), -1)
        seen = counts > 0.0
        known = tf.where(seen, -distances, UNSEEN)
        return {"logits": tf.where(tf.reduce_any(seen, -1, keepdims=True), known, 0.0)}


def _require_classes(policy: Any, family: Any) -> None:
    if not (family.paired and isinstance(family.action_space, Discrete)):
        raise ValueError(f"prototypical learns classes; {family.name} has none, try glyphs or omniglot.")
    if "features" not in getattr(policy.model, "output", ()):
        raise ValueError(
            "prototypical needs a network of features; head=False in the network's settings would be right."
        )
