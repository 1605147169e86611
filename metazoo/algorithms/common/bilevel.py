"""What learners have in common whose outer gradient goes through the inner steps.

θ ← θ − β ∇_θ mean over tasks of Σₛ wₛ J(θₛ; Dₛ),   θₛ₊₁ = θₛ − αₛ ∘ ∇L(θₛ; Dₛ),   θ₀ = θ,

with rounds s of episodes Dₛ that θₛ played. J, the outer loss, is the policy gradient, or with several outer steps on
the same episodes the clipped likelihood ratio of PPO (Schulman et al. 2017, arXiv 1707.06347). In a supervised family
all inner steps are made on one support set, J is the loss on another, the query set, and nothing is sampled.
"""

from abc import ABC
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from metazoo.algorithms.common import inner_loop, side_by_side
from metazoo.algorithms.common.config import setting
from metazoo.algorithms.common.credit import Credit, credited
from metazoo.algorithms.common.fast_weights import FastWeightsConfig, FastWeightsLearner
from metazoo.algorithms.common.inner_loop import Samples
from metazoo.algorithms.common.outer_step import OuterStep, descent
from metazoo.policies.distributions import Parameters
from metazoo.policies.weights import Tensors
from metazoo.types import Episodes

OUTER_LOSSES = {"policy_gradient": "policy_gradient", "ppo": "clipped_ratio", "trpo": "likelihood_ratio"}
"""The kind of ``inner_loop.surrogate`` behind each choice of ``outer``."""

Pairs = list[tuple[Samples, Samples]]
"""For each number of inner steps made, the samples of the next inner loss and those of the outer loss."""


@dataclass(frozen=True)
class BilevelConfig(FastWeightsConfig):
    """Settings of the inner and the outer loop; each field's metadata holds its range and meaning."""

    inner_rate: float = setting(
        0.1, (0.0, 100.0), "inner step size, or its initial value where it is learned", (1e-3, 1.0)
    )
    step_sizes: str = setting("parameter", ("fixed", "scalar", "parameter"), "what the inner step sizes belong to")
    step_sizes_per_step: int = setting(1, (0, 1), "1: every inner step has its own step sizes")
    step_size_gain: float = setting(1.0, (0.0, 1e3), "how fast learned step sizes move, relative to the weights")
    first_order: int = setting(0, (0, 1), "1: ignore the second derivative")
    gamma: float = setting(0.99, (0.0, 1.0), "discount of the outer advantages")
    lambda_: float = setting(0.97, (0.0, 1.0), "GAE λ of the outer advantages")
    every_step: int = setting(1, (0, 1), "1: the outer loss counts every round after the first; 0: only the last")
    step_weight: float = setting(
        1.0, (0.01, 100.0), "a round's weight in the outer loss, relative to the one before", (0.1, 1.0)
    )
    outer: str = setting("policy_gradient", ("policy_gradient", "ppo"), "outer loss")
    advantages = "task"  # a setting of MAML alone
    epochs: int = setting(1, (1, 100), "outer steps on the same episodes; more than one with ppo only")
    clip: float = setting(0.2, (0.0, 10.0), "ppo: how far the likelihood ratio may move from 1 and still gain")
    entropy: float = setting(0.0, (0.0, 1.0), "weight of the entropy bonus in the outer loss", (1e-4, 0.1))
    clip_norm: float = setting(1.0, (0.0, 1e6), "largest norm of the meta-gradient; 0 leaves it alone", (0.02, 2.0))

    def __post_init__(self):
        super().__post_init__()
        if self.epochs > 1 and self.outer != "ppo":
            raise ValueError(f"epochs is {self.epochs}; with outer={self.outer} it must be 1, only ppo allows more.")


class Batch(NamedTuple):
    """What an update's outer steps take: the samples of all tasks, and the metrics of the episodes."""

    pairs: Pairs
    metrics: dict[str, tf.Tensor]


class Round(NamedTuple):
    """One task's round, replayed: the fast weights ``[P]`` it belongs to and, where an inner step follows, the
    distribution parameters on its samples."""

    fast: tf.Tensor
    inner: Samples
    outer: Samples
    parameters: Parameters


class BilevelLearner(FastWeightsLearner, ABC):
    """Differentiates the outer loss through the inner steps. ``config`` is a ``BilevelConfig``.

    ``outer_step``: how the outer loss is descended, by default along its gradient. ``credit`` for exploration.

    α = ``inner_rate`` · (1 + ``step_size_gain`` · r) with ``rates`` r that start at 0 and are trained like the weights.
    """

    config: Any

    def __init__(
        self,
        policy,
        family,
        config: BilevelConfig | None = None,
        seed: int = 0,
        outer_step: OuterStep | None = None,
        credit: Credit | None = None,
    ):
        super().__init__(policy, family, config, seed)
        self.outer_step = outer_step or descent(self.config.clip_norm)
        self.apply_step, self.credit = self.outer_step.apply, credit
        rows = max(1, self.config.inner_steps) if self.config.step_sizes_per_step else 1
        columns = policy.size - self.frozen if self.config.step_sizes == "parameter" else 1
        self.rates = self.add_weight(
            shape=(rows, columns),
            initializer=self.initial_rates,
            name="step_sizes",
            dtype=policy.model.trainable_variables[0].dtype,
            trainable=self.config.step_sizes != "fixed",
        )
        self.built = True

    @property
    def initial_rates(self) -> Any:
        """Keras initialiser of ``rates``."""
        return "zeros"

    @property
    def exported_variables(self) -> list[keras.Variable]:
        return [self.rates]

    def step_sizes(self, weights: Tensors, made: tf.Tensor) -> tf.Tensor:
        config = self.config
        rates = self.rates.value if config.step_sizes == "fixed" else weights[-1]
        return inner_loop.row_of(config.inner_rate * (1.0 + config.step_size_gain * rates), made)

    @property
    def first_order(self) -> bool:
        return bool(self.config.first_order)

    @property
    def steps_between_rounds(self) -> list[int]:
        steps = self.config.inner_steps
        return [steps] if self.family.supervised else [1] * steps

    @property
    def outer_loss(self) -> str:
        """The kind of ``inner_loop.surrogate`` that outer steps descend."""
        if self.family.supervised:
            return inner_loop.judging_loss(self.policy, self.family.probabilistic)
        return OUTER_LOSSES[self.config.outer]

    def counted(self, rounds: int) -> range:
        """The rounds that are part of the outer loss: with credit for exploration the first one, too."""
        first = min(1, self.config.inner_steps) if self.config.every_step else self.config.inner_steps
        return range(0 if self.credit else first, rounds)

    def batches(self, rounds: list[Episodes]) -> Pairs:
        """Each round's samples ``[M, N, ...]`` as the inner and as the outer loss take them."""
        if self.family.supervised:
            support, query = map(inner_loop.shots, rounds)
            return [(support, query)] * (self.config.inner_steps + 1)
        return list(zip(map(self.inner_samples, rounds), self.outer_samples(rounds), strict=True))

    def outer_samples(self, rounds: list[Episodes]) -> list[Samples]:
        """Each round's samples ``[M, N, ...]`` as the outer loss takes them."""
        config, horizon = self.config, self.family.horizon
        by_task = config.advantages == "task"
        outer = [inner_loop.samples(episodes, config.gamma, config.lambda_, horizon, by_task) for episodes in rounds]
        if not by_task:
            first = self.counted(len(rounds)).start
            outer[first:] = inner_loop.rescale(outer[first:])
        return credited(outer, rounds, self.credit) if self.credit else outer

    def prepare(self, weights: Tensors, rounds: list[Episodes]) -> Batch:
        pairs = self.batches(rounds)
        if self.config.outer != "policy_gradient":
            pairs = self._with_old(list(weights), pairs)
        return Batch(pairs, self.returns_of(rounds))

    @property
    def whole_batch(self) -> bool:
        return self.config.advantages == "update" or self.credit is not None

    def cut(self, batch: Batch, parts: int) -> list[Batch]:
        return [batch._replace(pairs=pairs) for pairs in side_by_side.split(batch.pairs, parts, axis=0)]

    def meta_gradient(self, weights: Tensors, batch: Batch) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Of an outer step that is not a gradient's, the finished step, to be subtracted as it is."""
        step, metrics = self.outer_step.direction(self.meta_loss, self.divergence, list(weights), batch.pairs)
        return step, {**metrics, **batch.metrics}

    def meta_loss(self, weights: Tensors, pairs: Pairs) -> tf.Tensor:
        """One task's part of the meta-objective, a scalar, from its samples ``[N, ...]`` of every round.

        ``meta_gradient`` differentiates it, through the inner steps.
        """
        config, counted = self.config, self.counted(len(pairs))
        shares = [config.step_weight ** (made - counted.start) for made in counted]
        total = tf.zeros([], weights[0].dtype)
        for made, played in enumerate(self.replay(weights, pairs)):
            if made in counted:
                loss = inner_loop.outer_loss(
                    self.policy, played.fast, played.outer, self.outer_loss, config.entropy, config.clip
                )
                total += loss * (shares[made - counted.start] / sum(shares))
            total += self.penalty(played)
        return total

    def penalty(self, played: Round) -> Any:
        """What a round adds to the meta-objective besides its share of the outer loss."""
        return 0.0

    def replay(self, weights: Tensors, pairs: Pairs) -> list[Round]:
        """One task's rounds under ``weights``, each with the fast weights that the inner steps before it make."""
        memory = self.initial_memory(weights)
        rounds = []
        for made, (inner, outer) in enumerate(pairs):
            fast, parameters = self.fast(memory), {}
            if made < self.config.inner_steps:
                memory, _, parameters = self.inner_step(weights, memory, inner)
            rounds.append(Round(fast, inner, outer, parameters))
        return rounds

    def divergence(self, weights: Tensors, pairs: Pairs) -> tf.Tensor:
        """One task's KL between the policies that played the counted rounds and those under ``weights``, their mean."""
        replayed = self.replay(weights, pairs)
        counted = [replayed[made] for made in self.counted(len(pairs))]
        parts = [inner_loop.divergence(self.policy, played.outer.old, played.fast, played.outer) for played in counted]
        return tf.add_n(parts) / len(parts)

    def _with_old(self, weights: Tensors, pairs: Pairs) -> Pairs:
        """The samples with the distribution parameters of the policies that played them: those of ``weights``."""

        def of_task(pairs: Pairs) -> list[tuple[Parameters, Parameters]]:
            old = []
            for played in self.replay(weights, pairs):
                outer = self.policy.apply(played.fast, tf.cast(played.outer.observations, played.fast.dtype))
                old.append((played.parameters or outer, outer))
            return old

        kinds = dict.fromkeys(self.policy.distribution.parameters, weights[0].dtype)
        every = tf.map_fn(of_task, pairs, fn_output_signature=[(kinds, kinds)] * len(pairs))
        every = tf.nest.map_structure(tf.stop_gradient, every)
        return [
            (inner._replace(old=first), outer._replace(old=second))
            for (inner, outer), (first, second) in zip(pairs, every, strict=True)
        ]
