"""MAML: model-agnostic meta-learning for policies (Finn et al. 2017, arXiv 1703.03400, algorithm 3).

θ ← θ − β ∇_θ Σᵢ L(θᵢ'; Dᵢ'),   θᵢ' = θ − α ∇_θ L(θ; Dᵢ),

with the gradient taken through the inner step (second order) or not (first order), over one or several inner steps.

Differs from the paper: the outer step is Adam on the policy gradient instead of TRPO; step sizes may be learned, per
parameter and per inner step (Meta-SGD, Li et al. 2017; MAML++, Antoniou et al. 2019); the outer loss may count the
return after every inner step instead of after the last alone; advantages come from GAE on the linear time-feature
baseline.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import tensorflow as tf

from metazoo import losses, random, returns
from metazoo.algorithms import inner_loop
from metazoo.algorithms.learner import Config, Learner, Tensors, setting
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
    every_step: int = setting(1, (0, 1), "1: the outer loss counts every round after the first; 0: only the last")
    clip_norm: float = setting(1.0, (0.0, 1e6), "largest norm of the meta-gradient; 0 leaves it alone")
    entropy: float = setting(0.0, (0.0, 1.0), "weight of the entropy bonus in the outer loss")


@final
class MAML(Learner):
    """Learns initial weights (and inner step sizes) from which a gradient step adapts.

    Memory ``[P + 1]``: the weights, and how many inner steps they have made.
    """

    name_in_registry: ClassVar[str] = "maml"
    config_class: ClassVar[type[Config]] = MAMLConfig
    memory_kind: ClassVar[str] = "fast_weights"
    online: ClassVar[bool] = False

    def __init__(self, policy, family, config: MAMLConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        config = self.config
        rows = max(1, config.inner_steps) if config.step_sizes_per_step else 1
        columns = policy.size if config.step_sizes == "parameter" else 1
        self.rates = self.add_weight(
            shape=(rows, columns),
            initializer="zeros",
            name="step_sizes",
            dtype=policy.model.dtype,
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

    def initial_memory(self, weights: Tensors) -> tf.Tensor:
        flat = self.policy.flat_weights(weights[: len(self.policy.shapes)])
        return tf.concat([flat, tf.zeros([1], flat.dtype)], 0)

    def step(
        self, weights: Tensors, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        parameters = self.policy.apply(memory[:, 0, :-1], inputs.observations)
        distribution = self.policy.distribution
        if deterministic is True:
            actions = distribution.mode(parameters)
        else:
            actions = distribution.sample(parameters, key)
            if deterministic is not False:
                greedy = tf.reshape(deterministic, tf.concat([tf.shape(key), [1] * (actions.shape.rank - 2)], 0))
                actions = tf.where(greedy, distribution.mode(parameters), actions)
        return StepOutputs(actions, parameters, distribution.log_prob(parameters, actions), memory)

    def adapt(self, weights: Tensors, memory: tf.Tensor, episodes: Episodes) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        config = self.config
        batch = inner_loop.samples(episodes, config.inner_gamma, config.inner_lambda)
        before, made = memory[:, 0, :-1], memory[:, 0, -1]
        rates = self._step_sizes(weights, made)
        after, loss, parameters = inner_loop.adapt(
            self.policy, before, rates, batch, config.surrogate, bool(config.first_order)
        )
        kl = inner_loop.divergence(self.policy, parameters, tf.stop_gradient(after), batch)
        return tf.concat([after, made[:, None] + 1.0], 1)[:, None], {"loss": loss, "kl": kl}

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor) -> list[Episodes]:
        config = self.config
        memory = tf.broadcast_to(self.initial_memory(weights), [config.tasks, 1, self.memory_size])

        def act(inputs, memory, keys, deterministic):
            return self.step(weights, inputs, memory, keys, deterministic)

        rounds = []
        for made in range(config.inner_steps + 1):
            if made:
                memory, _ = self.adapt(weights, memory, rounds[-1])
            episodes = rollout(self.family, tasks, act, memory, random.fold(key, made), config.episodes)
            rounds.append(tf.nest.map_structure(tf.stop_gradient, episodes))
        return rounds

    def meta_gradient(self, weights: Tensors, rounds: list[Episodes]) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        weights = list(weights)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = self.meta_loss(weights, rounds)
        gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        metrics = {"loss": loss, "gradient_norm": tf.linalg.global_norm(gradients)}
        if self.config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.clip_norm, metrics["gradient_norm"])
        for made, episodes in enumerate(rounds):
            metrics[f"return_{made}"] = tf.reduce_mean(returns.episode_returns(episodes))
        return gradients, metrics

    def meta_loss(self, weights: Tensors, rounds: list[Episodes]) -> tf.Tensor:
        """The scalar that ``meta_gradient`` differentiates, twice through the inner steps."""
        config = self.config
        memory = tf.broadcast_to(self.initial_memory(weights), [config.tasks, 1, self.memory_size])
        counted = range(min(1, config.inner_steps) if config.every_step else config.inner_steps, len(rounds))
        total = 0.0
        for made, episodes in enumerate(rounds):
            if made in counted:
                total += self._outer_loss(memory[:, 0, :-1], episodes) / len(counted)
            if made < config.inner_steps:
                memory, _ = self.adapt(weights, memory, episodes)
        return total

    def _outer_loss(self, fast: tf.Tensor, episodes: Episodes) -> tf.Tensor:
        """Policy gradient on one round's episodes, averaged over tasks."""
        config = self.config
        batch = inner_loop.samples(episodes, config.gamma, config.lambda_)
        loss, parameters = inner_loop.surrogate(self.policy, fast, batch, "policy_gradient")
        if config.entropy:
            entropy = self.policy.distribution.of(parameters).entropy()
            loss -= config.entropy * losses.masked_mean(entropy, batch.mask, [1])
        return tf.reduce_mean(loss)

    def _step_sizes(self, weights: Tensors, made: tf.Tensor) -> tf.Tensor:
        """α ``[M, P]`` or ``[M, 1]`` of the inner step that follows ``made [M]`` earlier ones."""
        config = self.config
        rates = self.rates.value if config.step_sizes == "fixed" else weights[-1]
        sizes = config.inner_rate * (1.0 + config.step_size_gain * rates)
        return tf.gather(sizes, tf.minimum(tf.cast(made, tf.int32), sizes.shape[0] - 1))
