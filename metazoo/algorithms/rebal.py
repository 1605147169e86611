"""ReBAL: a model of dynamics that adapts by remembering (Nagabandi et al. 2019, arXiv 1803.11347, section 4.2).

    training:  max  mean log p(y | x, h) over a task's query set,   h = the recurrent state after its support set
    adapting:  h ← cell(h, (xᵢ, yᵢ₋₁)),   transition after transition

It is the recurrent counterpart of GrBAL, which is MAML on the same families (``maml``): there the memory is weights.

Differs from the paper: both sets' predictions are trained, those of the support set each from what came before it; a
query transition is asked by itself from h, so that a plan's steps need not be told one another.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import tensorflow as tf

from metazoo import axes, losses
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.outer_step import clip
from metazoo.algorithms.common.recurrent import RecurrentLearner
from metazoo.algorithms.common.sequences import as_sequence
from metazoo.policies.weights import Tensors
from metazoo.rollouts import supervised
from metazoo.types import Episodes, StepInputs


@dataclass(frozen=True)
class ReBALConfig(Config):
    """Settings of ``ReBAL``; each field's metadata holds its range and meaning."""

    tasks: int = setting(16, (1, 10_000), "tasks per update")
    along: float = setting(0.3, (0.0, 100.0), "weight of predicting the support set, each example from those before it")
    clip_norm: float = setting(1.0, (0.0, 1e6), "largest norm of the gradient; 0 leaves it alone", (0.02, 5.0))


@final
class ReBAL(RecurrentLearner):
    """Memory ``[S]``: the recurrent state. ``adapt`` reads examples; their actions are what was to be predicted."""

    name_in_registry: ClassVar[str] = "rebal"
    about: ClassVar[str] = (
        "ReBAL ([Nagabandi et al. 2019](https://arxiv.org/abs/1803.11347)): a recurrent model that reads the examples"
        " of a task, and predicts from what it remembers of them."
    )
    config_class: ClassVar[type[Config]] = ReBALConfig
    config: ReBALConfig

    def __init__(self, policy, family, config: ReBALConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        if not family.paired:
            raise ValueError(f"rebal learns from sets of examples; {family.name} has none, try pendulum_dynamics.")
        self.built = True

    @property
    def env_steps_per_update(self) -> int:
        return self.config.tasks * supervised.examples(self.family, 2)

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor, first: Any = 0) -> list[Episodes]:
        return supervised.rounds(self.family, tasks, key, 2, first)

    def meta_gradient(self, weights: Tensors, batch: list[Episodes]) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        weights = list(weights)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            asked, along = self.sets_losses(weights, *batch)
            loss = asked + self.config.along * along
        gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients, norm = clip(gradients, self.config.clip_norm)
        return gradients, {"loss": asked, "along": along, "gradient_norm": norm}

    def sets_losses(self, weights: list[tf.Tensor], support: Episodes, query: Episodes) -> tuple[tf.Tensor, tf.Tensor]:
        """−log p, mean over tasks, of the query sets ``[T, M, 1, ...]`` after reading the support sets, and of the
        support sets along the way."""
        policy, sequence = self.policy, as_sequence(support)
        start = tf.zeros([sequence.told.shape[1], self.memory_size], weights[0].dtype)
        states = policy.states(weights, sequence.inputs, sequence.told, start)
        along = policy.distribution.log_prob(policy.parameters(weights, states, sequence.inputs), sequence.actions)
        log_probs = policy.distribution.log_prob(self._asked(weights, query, states[-1]), axes.merge(query.actions, 0))
        return -tf.reduce_mean(log_probs), losses.cross_entropy(along, sequence.played)

    def _asked(self, weights: list[tf.Tensor], query: Episodes, memory: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predictions ``[T·M, 1, ...]`` of examples ``[T, M, 1, ...]``, each from its task's memory ``[M, S]``."""
        examples, observations = query.mask.shape[0], axes.merge(query.observations, 0)
        nothing = tf.zeros(tf.shape(observations)[:2])
        inputs = StepInputs(
            observations, tf.zeros_like(axes.merge(query.actions, 0)), nothing, tf.cast(nothing, tf.bool)
        )
        rows = StepInputs(*(field[None, :, 0] for field in inputs))
        states = self.policy.states(weights, rows, nothing[None, :, 0] + 1.0, tf.tile(memory, [examples, 1]))
        return {name: value[0][:, None] for name, value in self.policy.parameters(weights, states, rows).items()}
