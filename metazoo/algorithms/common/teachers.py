"""Teachers: whatever tells, for observations of a known task, how to act there.

``Teacher`` is all that distillation asks of one. ``Experts`` makes some: a policy of its own for each of many tasks,
all trained at once by PPO (Schulman et al. 2017, arXiv 1707.06347, equation 7),

    max_θₘ  mean min(r Âₘ, clip(r, 1−ε, 1+ε) Âₘ) + c H(π_θₘ),   r = π_θₘ(a|o) / π_old(a|o),   for every task m.

The weights of all experts are one tensor ``[M, P]``: one batched rollout plays them, each on its own task, and what
mixes experts nowhere (the baseline, the norm that gradients are clipped to, Adam) trains them as if each were alone.

Differs from the paper: no value network (the linear time-feature baseline is fitted to each task's episodes), and
every outer step takes the whole batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import keras
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.inner_loop import Samples
from metazoo.policies.acting import act
from metazoo.policies.distributions import Parameters
from metazoo.policies.policy import Policy
from metazoo.rollouts import returns
from metazoo.rollouts.graph import rollout
from metazoo.tasks.family import TaskFamily
from metazoo.types import StepInputs, StepOutputs


class Teacher(NamedTuple):
    """One policy for each task, or one for all that is told which task it is."""

    name: str
    size: int
    """Weights of one policy."""
    parameters: Callable[[Any, tf.Tensor], Parameters]
    """``(tasks [M, ...], the student's observations [M, N, ...]) → distribution parameters [M, N, ...]``, in graph."""
    tasks: Any = None
    """The only tasks ``[K, ...]`` that it teaches, or None: all of the family."""
    cost: Mapping[str, float] = {}
    """What training it took, where that is known: ``env_steps`` and ``seconds``."""


@dataclass(frozen=True)
class ExpertsConfig(Config):
    """Settings of ``Experts``; each field's metadata holds its range and meaning."""

    tasks: int = setting(40, (1, 10_000), "tasks, each with an expert of its own")
    episodes: int = setting(10, (1, 10_000), "episodes per task and update")
    together: int = setting(0, (0, 1_000_000), "first updates, in which all experts take the mean of their steps")
    epochs: int = setting(4, (1, 100), "outer steps on the same episodes")
    gamma: float = setting(0.99, (0.0, 1.0), "discount of the advantages")
    lambda_: float = setting(0.97, (0.0, 1.0), "GAE λ of the advantages")
    entropy: float = setting(0.0, (0.0, 1.0), "weight of the entropy bonus")
    clip: float = setting(0.2, (0.001, 1.0), "ε: how far a step may move the ratio of likelihoods from 1")
    clip_norm: float = setting(0.5, (0.001, 1e6), "largest norm of one expert's gradient")


@final
class Experts(keras.Model):
    """Policies ``[M, P]`` of the networks of one ``policy``, one for each of ``tasks [M, ...]``.

    Train with ``compile(optimizer, jit_compile=True)`` and ``fit(updates(...))``; the optimizer must be elementwise.
    """

    def __init__(
        self, policy: Policy, family: TaskFamily, tasks: Any, config: ExpertsConfig | None = None, seed: int = 0
    ):
        super().__init__(name="experts")
        self.policy, self.family, self.seed = policy, family, seed
        self.config = config or ExpertsConfig()
        self.tasks = tf.nest.map_structure(tf.convert_to_tensor, tasks)
        first = policy.flat_weights()
        self.experts = self.add_weight((self.config.tasks, policy.size), "zeros", first.dtype.name, name="experts")
        self.experts.assign(tf.repeat(first[None], self.config.tasks, 0))
        self.built = True

    @property
    def env_steps_per_update(self) -> int:
        return self.config.tasks * self.config.episodes * self.family.horizon

    def step(self, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any) -> StepOutputs:
        """Every expert on its own task; for rollouts, which carry an empty memory."""
        weights = tf.convert_to_tensor(self.experts.value)
        return act(self.policy, weights, inputs.observations, memory, key, deterministic)

    def train_step(self, update: tf.Tensor) -> dict[str, tf.Tensor]:
        """One update of all experts; everything random in it derives from (seed, ``update``)."""
        config, key = self.config, random.fold(random.key(self.seed), tf.cast(update, tf.int32))
        memory = tf.zeros([config.tasks, 1, 0])
        episodes = rollout(self.family, self.tasks, self.step, memory, key, config.episodes)
        batch = inner_loop.samples(episodes, config.gamma, config.lambda_, self.family.horizon)
        batch = batch._replace(old=self._answers(batch.observations))
        together = tf.cast(update, tf.int32) < config.together
        body = lambda epoch, _: (epoch + 1, self._outer_step(batch, together))  # noqa: E731
        start = (tf.constant(1), self._outer_step(batch, together))
        _, loss = tf.while_loop(lambda epoch, _: epoch < config.epochs, body, start, parallel_iterations=1)
        return {"loss": loss, "return_0": tf.reduce_mean(returns.episode_returns(episodes))}

    def _answers(self, observations: tf.Tensor) -> Parameters:
        """Distribution parameters of observations ``[M, N, ...]``, task after task, whose activations fit the cache."""
        weights = tf.convert_to_tensor(self.experts.value)
        like = dict.fromkeys(self.policy.distribution.parameters, weights.dtype)
        return tf.map_fn(
            lambda one: self.policy.apply(one[0], tf.cast(one[1], weights.dtype)),
            (weights, observations),
            fn_output_signature=like,
        )

    def _outer_step(self, batch: Samples, together: tf.Tensor) -> tf.Tensor:
        """One step of the optimizer on every expert's own samples; the mean of their losses before it."""
        weights = tf.convert_to_tensor(self.experts.value)
        losses, gradients = tf.map_fn(
            lambda one: self._gradient(*one), (weights, batch), fn_output_signature=(weights.dtype,) * 2
        )
        gradients = tf.where(together, tf.reduce_mean(gradients, 0), gradients)
        self.optimizer.apply([gradients], [self.experts])
        return tf.reduce_mean(losses)

    def _gradient(self, weights: tf.Tensor, batch: Samples) -> tuple[tf.Tensor, tf.Tensor]:
        """One expert's loss and gradient ``[P]``, clipped."""
        config = self.config
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = inner_loop.outer_loss(self.policy, weights, batch, "clipped_ratio", config.entropy, config.clip)
        return loss, tf.clip_by_norm(tape.gradient(loss, weights), config.clip_norm)

    def teacher(self) -> Teacher:
        """The experts as they are now."""
        return teacher_of(self.policy, tf.constant(self.experts.value), self.tasks)


def teacher_of(policy: Policy, weights: tf.Tensor, tasks: Any, name: str = "experts") -> Teacher:
    """The teacher of experts' weights ``[K, P]``, one row for each of ``tasks [K, ...]``.

    A task is recognised by its parameters, of which it has exactly those of one of the tasks.
    """

    def parameters(asked: Any, observations: tf.Tensor) -> Parameters:
        fields = zip(tf.nest.flatten(asked), tf.nest.flatten(tasks), strict=True)
        differ = [tf.abs(flat(field)[:, None] - flat(known)[None]) for field, known in fields]
        expert = tf.argmin(tf.reduce_sum(tf.concat(differ, -1), -1), -1)
        mine = tf.gather(weights, expert)
        fed = tf.cast(observations, weights.dtype)
        return policy.apply(mine, fed)

    def flat(field: tf.Tensor) -> tf.Tensor:
        return tf.reshape(field, [field.shape[0], -1])

    return Teacher(name, policy.size, parameters, tasks)
