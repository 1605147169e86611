"""Policies that do not adapt: what meta-learning has to beat.

``DomainRandomised`` is one policy for all tasks, trained on their mixture (Tobin et al. 2017, arXiv 1703.06907): the
policy gradient with GAE on the linear time-feature baseline, which is exactly what MAML's outer loss becomes with no
inner step. On a family that shows the task in the observation (``reveal_target``) it is the oracle.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, final

import keras
import tensorflow as tf

from metazoo import returns
from metazoo.algorithms import inner_loop
from metazoo.algorithms.learner import Config, Learner, Tensors, clip, setting
from metazoo.policies.acting import act
from metazoo.policies.distributions import Parameters
from metazoo.policies.weights import flatten
from metazoo.rollouts import rollout
from metazoo.types import Episodes, StepInputs, StepOutputs


@dataclass(frozen=True)
class DomainRandomisedConfig(Config):
    """Settings of ``DomainRandomised``; each field's metadata holds its range and meaning."""

    tasks: int = setting(20, (1, 10_000), "tasks per update")
    episodes: int = setting(20, (1, 10_000), "episodes per task")
    gamma: float = setting(0.99, (0.0, 1.0), "discount of the advantages")
    lambda_: float = setting(0.97, (0.0, 1.0), "GAE λ of the advantages")
    clip_norm: float = setting(1.0, (0.0, 1e6), "largest norm of the gradient; 0 leaves it alone")
    entropy: float = setting(0.0, (0.0, 1.0), "weight of the entropy bonus")


@final
class DomainRandomised(Learner):
    """One feed-forward policy for every task; its memory is empty and ``adapt`` changes nothing."""

    name_in_registry: ClassVar[str] = "domain_randomised"
    config_class: ClassVar[type[Config]] = DomainRandomisedConfig
    memory_kind: ClassVar[str] = "none"
    online: ClassVar[bool] = False
    config: DomainRandomisedConfig

    def __init__(self, policy, family, config: DomainRandomisedConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        self.built = True

    @property
    def memory_size(self) -> int:
        return 0

    @property
    def env_steps_per_update(self) -> int:
        return self.config.tasks * self.config.episodes * self.family.horizon

    @property
    def exported_variables(self) -> list[keras.Variable]:
        return self.meta_variables

    def exported_weights(self, memory: tf.Tensor, variables: Tensors) -> list[tf.Tensor]:
        return list(variables)

    def initial_memory(self, weights: Tensors) -> tf.Tensor:
        return tf.zeros([0], weights[0].dtype)

    def act(self, weights: Tensors, memory: tf.Tensor, observations: tf.Tensor) -> Parameters:
        return self.policy.apply(flatten(list(weights)), observations)

    def step(
        self, weights: Tensors, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        return act(self.policy, flatten(list(weights)), inputs.observations, memory, key, deterministic)

    def adapt(self, weights: Tensors, memory: tf.Tensor, episodes: Episodes) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        zero = tf.zeros(tf.shape(episodes.mask)[1:2], memory.dtype)
        return memory, {"loss": zero, "kl": zero}

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor) -> list[Episodes]:
        memory = tf.zeros([self.config.tasks, 1, 0], weights[0].dtype)
        episodes = rollout(self.family, tasks, partial(self.step, weights), memory, key, self.config.episodes)
        return [tf.nest.map_structure(tf.stop_gradient, episodes)]

    def meta_gradient(self, weights: Tensors, batch: list[Episodes]) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        config, weights = self.config, list(weights)
        loss, gradients = inner_loop.gradient_over_tasks(
            lambda one: inner_loop.policy_gradient(self.policy, flatten(weights), one, config.entropy),
            weights,
            inner_loop.samples(batch[0], config.gamma, config.lambda_, self.family.horizon),
        )
        metrics = {"loss": loss, "return_0": tf.reduce_mean(returns.episode_returns(batch[0]))}
        gradients, metrics["gradient_norm"] = clip(gradients, config.clip_norm)
        return gradients, metrics
