"""What learners have in common whose policies adapt by gradient steps on their own weights, the *fast weights*."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import keras
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.inner_loop import Samples
from metazoo.algorithms.common.learner import Learner
from metazoo.policies.acting import act
from metazoo.policies.distributions import Parameters
from metazoo.policies.weights import Tensors, unflatten
from metazoo.rollouts import returns, supervised
from metazoo.rollouts.graph import rollout
from metazoo.types import Episodes, StepInputs, StepOutputs


@dataclass(frozen=True)
class FastWeightsConfig(Config):
    """Settings of the inner loop; each field's metadata holds its range and meaning."""

    tasks: int = setting(20, (1, 10_000), "tasks per update")
    episodes: int = setting(20, (1, 10_000), "episodes per task and round")
    inner_steps: int = setting(1, (0, 20), "inner steps to train for; 0 trains without adaptation")
    surrogate: str = setting("likelihood_ratio", inner_loop.SURROGATES, "inner loss")
    inner_gamma: float = setting(0.99, (0.0, 1.0), "discount of the inner advantages")
    inner_lambda: float = setting(1.0, (0.0, 1.0), "GAE λ of the inner advantages")


class FastWeightsLearner(Learner, ABC):
    """A learner whose memory is ``[P + 1]``: a policy's weights, and how many inner steps they have made.

    Each round of a reinforcement-learning family is played with the weights that the inner steps on the earlier rounds
    made. In a supervised family the actions of an episode are its targets, and the inner loss is their squared error,
    or the cross-entropy of labels.
    """

    memory_kind: ClassVar[str] = "fast_weights"
    online: ClassVar[bool] = False

    @property
    def frozen(self) -> int:
        """How many of the weights, from the first on, inner steps leave alone."""
        return 0

    @property
    def first_order(self) -> bool:
        """Whether inner gradients count as constants."""
        return False

    @abstractmethod
    def step_sizes(self, weights: Tensors, made: tf.Tensor) -> tf.Tensor:
        """α of the inner step that follows ``made`` earlier ones; broadcasts against the weights that move."""

    @property
    @abstractmethod
    def steps_between_rounds(self) -> list[int]:
        """How many inner steps follow each round of an update but the last."""

    @property
    def memory_size(self) -> int:
        return self.policy.size + 1

    @property
    def env_steps_per_update(self) -> int:
        rounds = len(self.steps_between_rounds) + 1
        if self.family.paired:
            return self.config.tasks * supervised.examples(self.family, rounds)
        return self.config.tasks * self.config.episodes * self.family.horizon * rounds

    @property
    def exported_variables(self) -> list[keras.Variable]:
        return []

    def exported_weights(self, memory: tf.Tensor, variables: Tensors) -> list[tf.Tensor]:
        return [*unflatten(self.fast(memory), self.policy.shapes), *variables]

    def initial_memory(self, weights: Tensors) -> tf.Tensor:
        flat = self.policy.flat_weights(weights[: len(self.policy.shapes)])
        return tf.concat([flat, tf.zeros([self.memory_size - self.policy.size], flat.dtype)], 0)

    def fast(self, memory: tf.Tensor) -> tf.Tensor:
        """The weights ``[..., P]`` in a memory ``[..., S]``."""
        return memory[..., : self.policy.size]

    def step(
        self, weights: Tensors, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        return act(self.policy, self.fast(memory[:, 0]), inputs.observations, memory, key, deterministic)

    def act(self, weights: Tensors, memory: tf.Tensor, observations: tf.Tensor) -> Parameters:
        return self.policy.apply(self.fast(memory), observations)

    def adapt(self, weights: Tensors, memory: tf.Tensor, episodes: Episodes) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """One inner step; a memory that it would leave without finite numbers stays as it is."""

        def adapt_task(args):
            memory, batch = args
            after, loss, parameters = self.inner_step(weights, memory, batch)
            after = tf.where(tf.reduce_all(tf.math.is_finite(after)), after, memory)
            return after, loss, inner_loop.divergence(self.policy, parameters, self.fast(after), batch)

        args = (memory[:, 0], self.inner_samples(episodes))
        after, loss, kl = tf.map_fn(adapt_task, args, fn_output_signature=(memory.dtype,) * 3)
        return after[:, None], {"loss": loss, "kl": kl}

    def inner_step(
        self, weights: Tensors, memory: tf.Tensor, batch: Samples
    ) -> tuple[tf.Tensor, tf.Tensor, Parameters]:
        """One task's memory ``[S]`` after an inner step, the loss and the distribution parameters before it."""
        fast, made = self.fast(memory), memory[-1]
        after, loss, parameters = inner_loop.adapt(
            self.policy, fast, self.step_sizes(weights, made), batch, self.inner_loss, self.first_order, self.frozen
        )
        return tf.concat([after, made[None] + 1.0], 0), loss, parameters

    @property
    def inner_loss(self) -> str:
        """The kind of ``inner_loop.surrogate`` that inner steps descend."""
        return inner_loop.supervised_loss(self.policy) if self.family.supervised else self.config.surrogate

    def inner_samples(self, episodes: Episodes) -> Samples:
        """A round's samples ``[M, N, ...]`` as an inner step takes them."""
        if self.family.supervised:
            return inner_loop.shots(episodes)
        return inner_loop.samples(episodes, self.config.inner_gamma, self.config.inner_lambda, self.family.horizon)

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor, first: Any = 0) -> list[Episodes]:
        if self.family.paired:
            return supervised.rounds(self.family, tasks, key, len(self.steps_between_rounds) + 1, first)
        memory = tf.broadcast_to(self.initial_memory(weights), [self.config.tasks, 1, self.memory_size])
        play = partial(rollout, self.family, tasks, partial(self.step, weights), first=first)
        rounds: list[Episodes] = []
        for number, steps in enumerate([0, *self.steps_between_rounds]):
            for _ in range(steps):
                memory, _ = self.adapt(weights, memory, rounds[-1])
            # a prediction is not a choice among actions: of a supervised family, its error is of interest without noise
            rounds.append(play(memory, random.fold(key, number), self.config.episodes, self.family.supervised))
        return tf.nest.map_structure(tf.stop_gradient, rounds)

    def returns_of(self, rounds: list[Episodes]) -> dict[str, tf.Tensor]:
        """Metrics: the mean undiscounted return per episode of each round; none where nothing was predicted."""
        if self.family.paired:
            return {}
        return {f"return_{i}": tf.reduce_mean(returns.episode_returns(played)) for i, played in enumerate(rounds)}
