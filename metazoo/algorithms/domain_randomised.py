"""Policies that do not adapt: what meta-learning has to beat.

``DomainRandomised`` is one policy for all tasks, trained on their mixture (Tobin et al. 2017, arXiv 1703.06907) by PPO
(Schulman et al. 2017, arXiv 1707.06347, equation 7),

    max_θ  mean min(r Â, clip(r, 1−ε, 1+ε) Â) + c H(π),   r = π(a|o) / π_old(a|o),

with Â from GAE on the linear time-feature baseline, normalised for each task. On a family that shows the task in the
observation (``reveal_target``) it is told the task.

Differs from the paper: no value network (the baseline is fitted to each task's episodes), and every outer step takes
the whole batch. With ``epochs = 1`` nothing is ever clipped, and it is the policy gradient: what MAML's outer loss
becomes with no inner step.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, final

import tensorflow as tf

from metazoo import losses
from metazoo.algorithms.common import inner_loop, side_by_side
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.inner_loop import Samples
from metazoo.algorithms.common.outer_step import clip
from metazoo.algorithms.common.plain import PlainLearner
from metazoo.policies.distributions import Parameters
from metazoo.policies.weights import Tensors, flatten
from metazoo.rollouts import returns
from metazoo.rollouts.graph import rollout
from metazoo.types import Episodes


@dataclass(frozen=True)
class DomainRandomisedConfig(Config):
    """Settings of ``DomainRandomised``; each field's metadata holds its range and meaning."""

    tasks: int = setting(20, (1, 10_000), "tasks per update")
    episodes: int = setting(20, (1, 10_000), "episodes per task")
    gamma: float = setting(0.99, (0.0, 1.0), "discount of the advantages")
    lambda_: float = setting(0.97, (0.0, 1.0), "GAE λ of the advantages")
    clip_norm: float = setting(1.0, (0.0, 1e6), "largest norm of the gradient; 0 leaves it alone", (0.02, 2.0))
    entropy: float = setting(0.0, (0.0, 1.0), "weight of the entropy bonus", (1e-4, 0.1))
    epochs: int = setting(1, (1, 100), "outer steps on the same episodes")
    clip: float = setting(0.2, (0.001, 1.0), "ε: how far a step may move the ratio of likelihoods from 1")
    advantages: str = setting("task", ("task", "update"), "advantages are scaled per task, or alike for all")


@final
class DomainRandomised(PlainLearner):
    """One feed-forward policy for every task; its memory is empty and ``adapt`` changes nothing."""

    name_in_registry: ClassVar[str] = "domain_randomised"
    about: ClassVar[str] = (
        "Domain randomisation ([Tobin et al. 2017](https://arxiv.org/abs/1703.06907)): one policy trained on "
        "the mixture of all tasks. It does not adapt; it is here to compare with those that do."
    )
    config_class: ClassVar[type[Config]] = DomainRandomisedConfig
    config: DomainRandomisedConfig

    def __init__(self, policy, family, config: DomainRandomisedConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        self.built = True

    @property
    def env_steps_per_update(self) -> int:
        return self.config.tasks * self.config.episodes * self.family.horizon

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor, first: Any = 0) -> list[Episodes]:
        memory = tf.zeros([self.config.tasks, 1, 0], weights[0].dtype)
        step = partial(self.step, weights)
        episodes = rollout(self.family, tasks, step, memory, key, self.config.episodes, first=first)
        return [tf.nest.map_structure(tf.stop_gradient, episodes)]

    def prepare(self, weights: Tensors, rounds: list[Episodes]) -> tuple[Samples, tf.Tensor, tf.Tensor]:
        """Each task's samples ``[M, N, ...]``, log π_old ``[M, N]``, and the mean return."""
        config = self.config
        by_task = config.advantages == "task"
        batch = inner_loop.samples(rounds[0], config.gamma, config.lambda_, self.family.horizon, by_task)
        (batch,) = [batch] if by_task else inner_loop.rescale([batch])
        old = tf.map_fn(lambda one: self._log_probs(weights, one)[0], batch, fn_output_signature=weights[0].dtype)
        return batch, old, tf.reduce_mean(returns.episode_returns(rounds[0]))

    @property
    def whole_batch(self) -> bool:
        return self.config.advantages == "update"

    def cut(self, batch: tuple[Samples, tf.Tensor, tf.Tensor], parts: int) -> list[Any]:
        return [(*part, batch[2]) for part in side_by_side.split(batch[:2], parts, axis=0)]

    def meta_gradient(
        self, weights: Tensors, batch: tuple[Samples, tf.Tensor, tf.Tensor]
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        weights = list(weights)
        samples, old, earned = batch
        loss, gradients = inner_loop.gradient_over_tasks(
            lambda one: self.task_loss(weights, *one), weights, (samples, old)
        )
        gradients, norm = clip(gradients, self.config.clip_norm)
        return gradients, {"loss": loss, "return_0": earned, "gradient_norm": norm}

    def task_loss(self, weights: Tensors, batch: Samples, old_log_probs: tf.Tensor) -> tf.Tensor:
        """One task's part of the loss, a scalar, from its samples ``[N, ...]`` and log π_old ``[N]``."""
        config = self.config
        log_probs, parameters = self._log_probs(weights, batch)
        advantages = tf.cast(batch.advantages, log_probs.dtype)
        loss = losses.clipped_ratio(log_probs, old_log_probs, advantages, batch.mask, config.clip)
        if config.entropy:
            loss -= config.entropy * losses.masked_mean(self.policy.distribution.of(parameters).entropy(), batch.mask)
        return loss

    def _log_probs(self, weights: Tensors, batch: Samples) -> tuple[tf.Tensor, Parameters]:
        """log π of one task's actions, ``[N]``, and the distribution parameters it came from."""
        parameters = self.policy.apply(flatten(list(weights)), tf.cast(batch.observations, weights[0].dtype))
        return self.policy.distribution.log_prob(parameters, batch.actions), parameters
