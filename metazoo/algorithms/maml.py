"""MAML: model-agnostic meta-learning for policies (Finn et al. 2017, arXiv 1703.03400, algorithm 3).

θ ← θ − β ∇_θ Σᵢ L(θᵢ'; Dᵢ'),   θᵢ' = θ − α ∇_θ L(θ; Dᵢ),

with the gradient taken through the inner step (second order) or not (first order), over one or several inner steps.

Differs from the paper: the outer step is Adam on the policy gradient, or on PPO's clipped ratio, where ``outer`` does
not say TRPO; step sizes may be learned, per parameter and per inner step (Meta-SGD, Li et al. 2017; MAML++, Antoniou et
al. 2019); the outer loss may count the return after every inner step instead of after the last alone, and credit
episodes for what was learned from them (E-MAML, Stadie et al. 2018, arXiv 1803.01118, with replicas of the task as
baseline); advantages come from GAE on the linear time-feature baseline.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import tensorflow as tf

from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.bilevel import Batch, BilevelConfig, BilevelLearner
from metazoo.algorithms.common.inner_loop import Samples
from metazoo.algorithms.common.learner import Config, Tensors, setting
from metazoo.algorithms.common.trust_region import TrustRegion, step
from metazoo.rollouts import returns
from metazoo.types import Episodes


@dataclass(frozen=True)
class MAMLConfig(BilevelConfig):
    """Settings of ``MAML``; each field's metadata holds its range and meaning."""

    outer: str = setting("policy_gradient", ("policy_gradient", "ppo", "trpo"), "outer loss, or the paper's trpo")
    max_kl: float = setting(0.01, (1e-9, 100.0), "trpo: how far an outer step may take the adapted policies")
    cg_iterations: int = setting(10, (1, 1000), "trpo: conjugate gradient iterations")
    cg_damping: float = setting(1e-5, (0.0, 1e3), "trpo: what is added to the diagonal of the KL's Hessian")
    advantages: str = setting(
        "task", ("task", "update"), "outer advantages are scaled per task and round, or alike for all"
    )
    replicas: int = setting(1, (1, 1000), "how often each of an update's tasks is repeated; divides tasks")
    exploration: float = setting(0.0, (0.0, 100.0), "credit for episodes that later rounds did well on (E-MAML)")

    def __post_init__(self):
        super().__post_init__()
        if self.tasks % self.replicas or (self.exploration and self.replicas == 1):
            raise ValueError(
                f"replicas is {self.replicas}; it must divide tasks ({self.tasks}), and be at least 2 with exploration."
            )


@final
class MAML(BilevelLearner):
    """Learns initial weights (and inner step sizes) from which a gradient step adapts."""

    name_in_registry: ClassVar[str] = "maml"
    config_class: ClassVar[type[Config]] = MAMLConfig
    config: MAMLConfig

    def __init__(self, policy, family, config: MAMLConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)

    def sample_tasks(self, key: tf.Tensor) -> Any:
        tasks = self.family.sample(self.config.tasks // self.config.replicas, "train", key)
        return tf.nest.map_structure(lambda field: tf.repeat(field, self.config.replicas, 0), tasks)

    def counted(self, rounds: int) -> range:
        """With credit for exploration the first round counts, too."""
        return range(rounds) if self.config.exploration else super().counted(rounds)

    def outer_samples(self, rounds: list[Episodes]) -> list[Samples]:
        config = self.config
        by_task = config.advantages == "task"
        horizon = self.family.horizon
        outer = [inner_loop.samples(episodes, config.gamma, config.lambda_, horizon, by_task) for episodes in rounds]
        if not by_task:
            first = self.counted(len(rounds)).start
            outer[first:] = inner_loop.rescale(outer[first:])
        return self._with_credit(outer, rounds) if config.exploration else outer

    def meta_gradient(self, weights: Tensors, batch: Batch) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Of ``trpo`` it is the finished step, to be subtracted as it is."""
        if self.config.outer != "trpo":
            return super().meta_gradient(weights, batch)
        region = TrustRegion(self.config.max_kl, self.config.cg_damping, self.config.cg_iterations)
        change, metrics = step(self.meta_loss, self.divergence, list(weights), batch.pairs, region)
        return change, {**metrics, **batch.metrics}

    def _outer_steps(self, batch: Batch) -> dict[str, tf.Tensor]:
        """``trpo`` knows how far to go: its optimizer only counts the updates."""
        if self.config.outer != "trpo":
            return super()._outer_steps(batch)
        change, metrics = self.meta_gradient(self.current_weights(), batch)
        for variable, part in zip(self.meta_variables, change, strict=True):
            variable.assign_sub(part)
        self.optimizer.iterations.assign_add(1)
        return metrics

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
