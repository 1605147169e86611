"""Fine-tuning, the baseline of few-shot classification: features learned by telling all training classes apart, then a
new head for the classes of a task (the Baseline of Chen et al. 2019, arXiv 1904.04232, section 3.2).

    training:  max over f and W of  mean log softmax(f(x) W)_y    over all training classes y at once
    adapting:  head ← head − α ∇head of the cross-entropy on the support set, from zero; f stays

Nothing in training knows that there will be tasks: what meta-learning has to beat.

Differs from the paper: an update's images are those of N-way tasks, so that all learners see the same number of them;
the head is adapted by plain gradient steps, each on the whole support set.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import keras
import tensorflow as tf

from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.fast_weights import FastWeightsConfig, FastWeightsLearner
from metazoo.algorithms.common.inner_loop import Samples
from metazoo.algorithms.common.outer_step import clip
from metazoo.policies.policy import Policy
from metazoo.policies.weights import Tensors, flatten
from metazoo.types import Episodes

LAST = "vector"
"""The layer of ``conv`` whose output are the features."""


@dataclass(frozen=True)
class PretrainingConfig(FastWeightsConfig):
    """Settings of ``Pretraining``; each field's metadata holds its range and meaning."""

    inner_rate: float = setting(0.1, (0.0, 100.0), "step size of fine-tuning the head", (1e-2, 1.0))
    clip_norm: float = setting(0.0, (0.0, 1e6), "largest norm of the gradient; 0 leaves it alone")


@final
class Pretraining(FastWeightsLearner):
    """Learns to tell all training classes apart; a task's head starts at the network's own, which nothing trains."""

    name_in_registry: ClassVar[str] = "pretraining"
    about: ClassVar[str] = (
        "Fine-tuning ([Chen et al. 2019](https://arxiv.org/abs/1904.04232)): features that tell all training classes"
        " apart, and a new head that gradient steps adapt to a task. It was not meta-trained; it is here to compare"
        " with those that were."
    )
    config_class: ClassVar[type[Config]] = PretrainingConfig
    config: PretrainingConfig

    def __init__(self, policy, family, config: PretrainingConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        if not family.paired:
            raise ValueError(f"pretraining learns classes; {family.name} has none, try glyphs or omniglot.")
        inner = keras.Model(self.network.inputs, {"features": self.network.get_layer(LAST).output})
        self.body = Policy(inner, policy.observation_space, policy.action_space)
        width = math.prod(inner.output["features"].shape[1:])
        self.classes = self.add_weight(
            (width, 4 * family.known), keras.initializers.GlorotUniform(seed), name="all_classes", dtype="float32"
        )
        self.built = True

    @property
    def frozen(self) -> int:
        return self.body.size

    @property
    def steps_between_rounds(self) -> list[int]:
        return [1]

    def step_sizes(self, weights: Tensors, made: tf.Tensor) -> tf.Tensor:
        return tf.constant(self.config.inner_rate, made.dtype, [1])

    def prepare(self, weights: Tensors, rounds: list[Episodes]) -> Samples:
        """Support and query set of each task as one batch ``[M, N, ...]``, their actions the classes' numbers."""
        return inner_loop.shots(Episodes(*map(lambda *sets: tf.concat(sets, 0), *rounds)))

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor, first: Any = 0) -> list[Episodes]:
        number = tf.cast(4.0 * tasks.characters + tasks.turns, tf.int32)

        def named(one: Episodes) -> Episodes:
            labels = tf.transpose(one.actions[:, :, 0])
            return one._replace(actions=tf.transpose(tf.gather(number, labels, batch_dims=1))[..., None])

        return [named(one) for one in super().collect(weights, tasks, key, first)]

    def meta_gradient(self, weights: Tensors, batch: Samples) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        weights = list(weights)
        loss, gradients = inner_loop.gradient_over_tasks(lambda one: self.task_loss(weights, one), weights, batch)
        gradients, norm = clip(gradients, self.config.clip_norm)
        return gradients, {"loss": loss, "gradient_norm": norm}

    def task_loss(self, weights: Tensors, batch: Samples) -> tf.Tensor:
        """Cross-entropy of one task's images ``[N, ...]`` among all classes."""
        body = flatten(list(weights[: len(self.body.shapes)]))
        features = self.body.apply(body, tf.cast(batch.observations, body.dtype))["features"]
        logits = tf.matmul(features, weights[-1])
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(batch.actions, logits))
