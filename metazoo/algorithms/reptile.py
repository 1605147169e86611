"""Reptile: move towards the weights that inner steps lead to (Nichol et al. 2018, arXiv 1803.02999, algorithm 2).

θ ← θ + ε mean over tasks of (θᵢ − θ),   θᵢ = k gradient steps of task i from θ, each on fresh data.

No derivative of an inner step is taken; with k ≥ 2 the gradients of a task's different batches come to agree.

Differs from the paper: θ − θᵢ is given to the outer optimizer as a gradient, so that with SGD the rule above is exact
and with Adam it is the variant of the paper's section 3; in reinforcement learning each inner step uses episodes that
the weights before it played; inner Adam starts anew for each task instead of keeping its averages across tasks.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import tensorflow as tf

from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.fast_weights import FastWeightsConfig, FastWeightsLearner
from metazoo.algorithms.common.inner_loop import Samples
from metazoo.algorithms.common.outer_step import clip
from metazoo.policies.distributions import Parameters
from metazoo.policies.weights import Tensors, unflatten
from metazoo.types import Episodes

DECAY, EPSILON = 0.999, 1e-8
"""Of inner Adam's squared gradients, whose momentum is off (β₁ = 0), as in the paper's section 6."""


@dataclass(frozen=True)
class ReptileConfig(FastWeightsConfig):
    """Settings of ``Reptile``; each field's metadata holds its range and meaning."""

    inner_steps: int = setting(3, (1, 100), "inner steps, k")
    inner_rate: float = setting(0.1, (0.0, 100.0), "inner step size", (1e-3, 1.0))
    inner_optimizer: str = setting("sgd", ("sgd", "adam"), "rule of the inner steps; adam has no momentum")
    clip_norm: float = setting(0.0, (0.0, 1e6), "largest norm of the mean of θ − θᵢ; 0 leaves it alone")


class Batch(NamedTuple):
    """What the outer step takes: each inner step's samples ``[M, N, ...]``, and the metrics of the episodes."""

    samples: list[Samples]
    metrics: dict[str, tf.Tensor]


@final
class Reptile(FastWeightsLearner):
    """Learns initial weights near to those of every task.

    With inner Adam the memory is ``[2 P + 1]``: between weights and counter stand the averages of squared gradients.
    """

    name_in_registry: ClassVar[str] = "reptile"
    about: ClassVar[str] = (
        "Reptile ([Nichol et al. 2018](https://arxiv.org/abs/1803.02999)): the weights were trained to lie "
        "near those that a few gradient steps lead to, whatever the task."
    )
    config_class: ClassVar[type[Config]] = ReptileConfig
    config: ReptileConfig

    def __init__(self, policy, family, config: ReptileConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        self.built = True

    @property
    def memory_size(self) -> int:
        return (2 if self.config.inner_optimizer == "adam" else 1) * self.policy.size + 1

    @property
    def steps_between_rounds(self) -> list[int]:
        return [1] * (self.config.inner_steps - 1)

    def step_sizes(self, weights: Tensors, made: tf.Tensor) -> tf.Tensor:
        return tf.constant(self.config.inner_rate, made.dtype, [1])

    def inner_step(
        self, weights: Tensors, memory: tf.Tensor, batch: Samples
    ) -> tuple[tf.Tensor, tf.Tensor, Parameters]:
        if self.config.inner_optimizer == "sgd":
            return super().inner_step(weights, memory, batch)
        fast, squares, made = tf.split(memory, [self.policy.size, self.policy.size, 1])
        gradient, loss, parameters = inner_loop.gradient(self.policy, fast, batch, self.inner_loss)
        squares = DECAY * squares + (1.0 - DECAY) * gradient**2
        scale = tf.sqrt(squares / (1.0 - DECAY ** (made + 1.0))) + EPSILON
        fast -= self.step_sizes(weights, made) * gradient / scale
        return tf.concat([fast, squares, made + 1.0], 0), loss, parameters

    def prepare(self, weights: Tensors, rounds: list[Episodes]) -> Batch:
        return Batch([self.inner_samples(episodes) for episodes in rounds], self.returns_of(rounds))

    def meta_gradient(self, weights: Tensors, batch: Batch) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        start = self.initial_memory(weights)

        def of_task(steps: list[Samples]) -> tuple[tf.Tensor, tf.Tensor]:
            memory = start
            for samples in steps:
                memory, loss, _ = self.inner_step(weights, memory, samples)
            return self.fast(start) - self.fast(memory), loss

        differences, losses = tf.map_fn(of_task, batch.samples, fn_output_signature=(start.dtype,) * 2)
        gradients = unflatten(tf.reduce_mean(differences, 0), self.policy.shapes)
        gradients, norm = clip(gradients, self.config.clip_norm)
        return gradients, {"loss": tf.reduce_mean(losses), "gradient_norm": norm, **batch.metrics}
