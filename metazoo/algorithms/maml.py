"""MAML: model-agnostic meta-learning for policies (Finn et al. 2017, arXiv 1703.03400, algorithm 3).

θ ← θ − β ∇_θ Σᵢ L(θᵢ'; Dᵢ'),   θᵢ' = θ − α ∇_θ L(θ; Dᵢ),

with the gradient taken through the inner step (second order) or not (first order), over one or several inner steps.

Differs from the paper: the outer step is Adam on the policy gradient instead of TRPO; step sizes may be learned, per
parameter and per inner step (Meta-SGD, Li et al. 2017; MAML++, Antoniou et al. 2019); the outer loss may count the
return after every inner step instead of after the last alone, and credit episodes for what was learned from them
(E-MAML, Stadie et al. 2018, arXiv 1803.01118, with replicas of the task as baseline); advantages come from GAE on the
linear time-feature baseline.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, final

import keras
import tensorflow as tf

from metazoo import random, returns
from metazoo.algorithms import inner_loop
from metazoo.algorithms.inner_loop import Samples
from metazoo.algorithms.learner import Config, Learner, Tensors, clip, setting
from metazoo.policies.acting import act
from metazoo.policies.distributions import Parameters
from metazoo.policies.weights import unflatten
from metazoo.rollouts import rollout
from metazoo.types import Episodes, StepInputs, StepOutputs


@dataclass(frozen=True)
class MAMLConfig(Config):
    """Settings of ``MAML``; each field's metadata holds its range and meaning."""

    tasks: int = setting(20, (1, 10_000), "tasks per update")
    episodes: int = setting(20, (1, 10_000), "episodes per task and round")
    inner_steps: int = setting(1, (0, 20), "inner steps to train for; 0 trains without adaptation")
    inner_rate: float = setting(0.1, (0.0, 100.0), "inner step size, or its initial value where it is learned")
    step_sizes: str = setting("parameter", ("fixed", "scalar", "parameter"), "what the inner step sizes belong to")
    step_sizes_per_step: int = setting(1, (0, 1), "1: every inner step has its own step sizes")
    step_size_gain: float = setting(1.0, (0.0, 1e3), "how fast learned step sizes move, relative to the weights")
    first_order: int = setting(0, (0, 1), "1: ignore the second derivative")
    surrogate: str = setting("likelihood_ratio", tuple(inner_loop.SURROGATES), "inner loss")
    inner_gamma: float = setting(0.99, (0.0, 1.0), "discount of the inner advantages")
    inner_lambda: float = setting(1.0, (0.0, 1.0), "GAE λ of the inner advantages")
    gamma: float = setting(0.99, (0.0, 1.0), "discount of the outer advantages")
    lambda_: float = setting(0.97, (0.0, 1.0), "GAE λ of the outer advantages")
    advantages: str = setting(
        "task", ("task", "update"), "outer advantages are scaled per task and round, or alike for all"
    )
    every_step: int = setting(1, (0, 1), "1: the outer loss counts every round after the first; 0: only the last")
    step_weight: float = setting(1.0, (0.01, 100.0), "a round's weight in the outer loss, relative to the one before")
    replicas: int = setting(1, (1, 1000), "how often each of an update's tasks is repeated; divides tasks")
    exploration: float = setting(0.0, (0.0, 100.0), "credit for episodes that later rounds did well on (E-MAML)")
    clip_norm: float = setting(1.0, (0.0, 1e6), "largest norm of the meta-gradient; 0 leaves it alone")
    entropy: float = setting(0.0, (0.0, 1.0), "weight of the entropy bonus in the outer loss")

    def __post_init__(self):
        super().__post_init__()
        if self.tasks % self.replicas or (self.exploration and self.replicas == 1):
            raise ValueError(
                f"replicas is {self.replicas}; it must divide tasks ({self.tasks}), and be at least 2 with exploration."
            )


@final
class MAML(Learner):
    """Learns initial weights (and inner step sizes) from which a gradient step adapts.

    Memory ``[P + 1]``: the weights, and how many inner steps they have made.
    """

    name_in_registry: ClassVar[str] = "maml"
    config_class: ClassVar[type[Config]] = MAMLConfig
    memory_kind: ClassVar[str] = "fast_weights"
    online: ClassVar[bool] = False
    config: MAMLConfig

    def __init__(self, policy, family, config: MAMLConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        config = self.config
        rows = max(1, config.inner_steps) if config.step_sizes_per_step else 1
        columns = policy.size if config.step_sizes == "parameter" else 1
        self.rates = self.add_weight(
            shape=(rows, columns),
            initializer="zeros",
            name="step_sizes",
            dtype=policy.model.trainable_variables[0].dtype,
            trainable=config.step_sizes != "fixed",
        )
        self.built = True

    @property
    def memory_size(self) -> int:
        return self.policy.size + 1

    @property
    def env_steps_per_update(self) -> int:
        config = self.config
        return config.tasks * config.episodes * self.family.horizon * (config.inner_steps + 1)

    @property
    def exported_variables(self) -> list[keras.Variable]:
        return [self.rates]

    def exported_weights(self, memory: tf.Tensor, variables: Tensors) -> list[tf.Tensor]:
        return [*unflatten(memory[:-1], self.policy.shapes), *variables]

    def initial_memory(self, weights: Tensors) -> tf.Tensor:
        flat = self.policy.flat_weights(weights[: len(self.policy.shapes)])
        return tf.concat([flat, tf.zeros([1], flat.dtype)], 0)

    def step(
        self, weights: Tensors, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        return act(self.policy, memory[:, 0, :-1], inputs.observations, memory, key, deterministic)

    def act(self, weights: Tensors, memory: tf.Tensor, observations: tf.Tensor) -> Parameters:
        return self.policy.apply(memory[:-1], observations)

    def adapt(self, weights: Tensors, memory: tf.Tensor, episodes: Episodes) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        def adapt_task(args):
            memory, batch = args
            after, loss, parameters = self._inner_step(weights, memory, batch)
            return after, loss, inner_loop.divergence(self.policy, parameters, after[:-1], batch)

        args = (memory[:, 0], self._inner_samples(episodes))
        after, loss, kl = tf.map_fn(adapt_task, args, fn_output_signature=(memory.dtype,) * 3)
        return after[:, None], {"loss": loss, "kl": kl}

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor) -> list[Episodes]:
        config = self.config
        memory = tf.broadcast_to(self.initial_memory(weights), [config.tasks, 1, self.memory_size])

        rounds = []
        for made in range(config.inner_steps + 1):
            if made:
                memory, _ = self.adapt(weights, memory, rounds[-1])
            rounds.append(
                rollout(
                    self.family, tasks, partial(self.step, weights), memory, random.fold(key, made), config.episodes
                )
            )
        return tf.nest.map_structure(tf.stop_gradient, rounds)

    def meta_gradient(self, weights: Tensors, batch: list[Episodes]) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        weights = list(weights)
        loss, gradients = inner_loop.gradient_over_tasks(
            lambda batches: self.meta_loss(weights, batches), weights, self.batches(batch)
        )
        metrics = {"loss": loss}
        gradients, metrics["gradient_norm"] = clip(gradients, self.config.clip_norm)
        for made, episodes in enumerate(batch):
            metrics[f"return_{made}"] = tf.reduce_mean(returns.episode_returns(episodes))
        return gradients, metrics

    def batches(self, rounds: list[Episodes]) -> list[tuple[Samples, Samples]]:
        """Each round's samples ``[M, N, ...]`` as the inner and as the outer loss take them."""
        config = self.config
        by_task = config.advantages == "task"
        horizon = self.family.horizon
        outer = [inner_loop.samples(episodes, config.gamma, config.lambda_, horizon, by_task) for episodes in rounds]
        if not by_task:
            first = self._counted(len(rounds)).start
            outer[first:] = inner_loop.rescale(outer[first:])
        if config.exploration:
            outer = self._with_credit(outer, rounds)
        return [(self._inner_samples(episodes), batch) for episodes, batch in zip(rounds, outer, strict=True)]

    def sample_tasks(self, key: tf.Tensor) -> Any:
        tasks = self.family.sample(self.config.tasks // self.config.replicas, "train", key)
        return tf.nest.map_structure(lambda field: tf.repeat(field, self.config.replicas, 0), tasks)

    def _with_credit(self, outer: list[Samples], rounds: list[Episodes]) -> list[Samples]:
        """Adds to each round's advantages what its episodes were worth to the rounds that adapted to them.

        The worth is the mean return of the later rounds against that of the replicas of the same task, which differ
        from it by exploration alone.
        """
        later = [tf.reduce_mean(returns.episode_returns(episodes), 1) for episodes in rounds]
        credited = []
        for made, batch in enumerate(outer):
            if made < len(outer) - 1:
                worth = tf.reshape(tf.add_n(later[made + 1 :]), [-1, self.config.replicas])
                worth = tf.reshape(worth - tf.reduce_mean(worth, 1, keepdims=True), [-1])
                worth /= tf.math.reduce_std(worth) + 1e-6
                credit = self.config.exploration * worth[:, None] * tf.cast(batch.mask, worth.dtype)
                batch = batch._replace(advantages=(batch.advantages if made else 0.0) + credit)
            credited.append(batch)
        return credited

    def meta_loss(self, weights: Tensors, batches: list[tuple[Samples, Samples]]) -> tf.Tensor:
        """One task's part of the meta-objective, a scalar, from its samples ``[N, ...]`` of every round.

        ``meta_gradient`` differentiates it, through the inner steps.
        """
        config = self.config
        memory = self.initial_memory(weights)
        counted = self._counted(len(batches))
        shares = {made: config.step_weight ** (made - counted.start) for made in counted}
        total = tf.zeros([], memory.dtype)
        for made, (inner, outer) in enumerate(batches):
            if made in counted:
                loss = inner_loop.policy_gradient(self.policy, memory[:-1], outer, config.entropy)
                total += loss * (shares[made] / sum(shares.values()))
            if made < config.inner_steps:
                memory, _, _ = self._inner_step(weights, memory, inner)
        return total

    def _counted(self, rounds: int) -> range:
        """The rounds that are part of the outer loss; with credit for exploration the first one is, too."""
        if self.config.exploration:
            return range(rounds)
        return range(min(1, self.config.inner_steps) if self.config.every_step else self.config.inner_steps, rounds)

    def _inner_samples(self, episodes: Episodes) -> Samples:
        return inner_loop.samples(episodes, self.config.inner_gamma, self.config.inner_lambda, self.family.horizon)

    def _inner_step(self, weights: Tensors, memory: tf.Tensor, batch: Samples) -> tuple[tf.Tensor, tf.Tensor, Any]:
        """One task's memory ``[S]`` after an inner step, the loss and the distribution parameters before it."""
        config = self.config
        fast, made = memory[:-1], memory[-1]
        after, loss, parameters = inner_loop.adapt(
            self.policy, fast, self._step_sizes(weights, made), batch, config.surrogate, bool(config.first_order)
        )
        return tf.concat([after, made[None] + 1.0], 0), loss, parameters

    def _step_sizes(self, weights: Tensors, made: tf.Tensor) -> tf.Tensor:
        """α ``[P]`` or ``[1]`` of the inner step that follows ``made`` earlier ones."""
        config = self.config
        rates = self.rates.value if config.step_sizes == "fixed" else weights[-1]
        sizes = config.inner_rate * (1.0 + config.step_size_gain * rates)
        row = tf.minimum(tf.cast(made, tf.int32), sizes.shape[0] - 1)
        # Not sizes[row]: the gradient of a slice needs its position at compile time, so XLA would compile every update.
        return tf.linalg.matvec(sizes, tf.one_hot(row, sizes.shape[0], dtype=sizes.dtype), transpose_a=True)
