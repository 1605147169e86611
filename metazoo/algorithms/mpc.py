"""Planning on a model that adapts: GrBAL (Nagabandi et al. 2019, arXiv 1803.11347, algorithms 1 and 2).

    training:  θ ← θ − β ∇_θ mean over tasks of −log p(changes, rewards | θ′),   θ′ = θ − α ∘ ∇L(θ; transitions)
    acting:    θ′ from the last N transitions, then the actions that the cross-entropy method finds best under θ′

The model predicts how the observation changes and the reward, so a reward that differs from task to task is learned as
physics are. It adapts at every step of the first episode on.

Differs from the paper: the last transitions are all used at every step, not a window in front of a prediction; the
reward is predicted, too; transitions for training come from actions that explore at random, so no policy is in the
loop, and ``pool`` updates' worth of them may be used again and again.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import keras
import tensorflow as tf

from metazoo import axes, random
from metazoo.algorithms.common import planning
from metazoo.algorithms.common.bilevel import BilevelConfig, BilevelLearner
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.inner_loop import Samples
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.common.plain import FixedWeights
from metazoo.algorithms.common.sequences import as_sequence
from metazoo.policies.acting import choose
from metazoo.policies.distributions import Parameters, distribution_for
from metazoo.policies.weights import Tensors
from metazoo.tasks.dynamics import exploring
from metazoo.tasks.dynamics.families import shown_of
from metazoo.tasks.dynamics.modelled import ModelledWorld, outcome
from metazoo.tasks.family import TaskFamily
from metazoo.types import Box, Discrete, Episodes, Space, StepInputs, StepOutputs

CERTAINTY = 4.0
"""Of a choice between two actions: the logit of a plan's first number 1."""


@dataclass(frozen=True)
class MPCConfig(BilevelConfig):
    """Settings of ``MPC``; each field's metadata holds its range and meaning."""

    remembered: int = setting(50, (1, 1000), "transitions that the model adapts to, the last ones")
    asked: int = setting(50, (10, 1000), "transitions of a task that the adapted model is trained on")
    pool: int = setting(0, (0, 1_000_000), "updates after which the same transitions come again; 0: never")
    ahead: int = setting(25, (1, 1000), "steps that a plan looks ahead")
    held: int = setting(1, (1, 100), "steps that a planned action is held")
    candidates: int = setting(64, (2, 10_000), "plans drawn in a round")
    best: int = setting(8, (1, 10_000), "plans that the next round is drawn around")
    rounds: int = setting(3, (1, 100), "rounds of planning")


class Memory(NamedTuple):
    """What a planner remembers, of each row."""

    last: tf.Tensor
    """``[..., O]``: the observation of the last step."""
    going: tf.Tensor
    """``[..., 1]``: 1 where that step's outcome is still to come, 0 between episodes."""
    count: tf.Tensor
    """``[..., 1]``: transitions remembered."""
    rows: tf.Tensor
    """``[..., N·D]``: the newest at the end; of each the model's input, and what was to be predicted."""


@final
class WorldModel(BilevelLearner):
    """The model of a planner, and how it is trained: MAML on a ``ModelledWorld``."""

    name_in_registry: ClassVar[str] = "mpc"
    config_class: ClassVar[type[Config]] = MPCConfig
    config: MPCConfig


@dataclass(frozen=True)
class Acting:
    """What acts, for whoever asks: the world's spaces, and the network behind it."""

    model: keras.Model
    observation_space: Box
    action_space: Space
    distribution: Any


@final
class MPC(FixedWeights):
    """Learns a model that a few transitions adapt, and plans on it. The memory holds the last transitions."""

    name_in_registry: ClassVar[str] = "mpc"
    about: ClassVar[str] = (
        "A model that adapts, and planning on it (GrBAL, [Nagabandi et al. 2019](https://arxiv.org/abs/1803.11347)):"
        " gradient steps adapt a model of physics and rewards to the last transitions, and the cross-entropy method"
        " chooses the actions that it likes best."
    )
    config_class: ClassVar[type[Config]] = MPCConfig
    config: MPCConfig
    memory_kind: ClassVar[str] = "transitions"
    online: ClassVar[bool] = True
    family: TaskFamily

    def __init__(self, policy, family, config: MPCConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        config = self.config
        if config.best > config.candidates:
            raise ValueError(f"best is {config.best}; it must be at most candidates ({config.candidates}).")
        self.modelled = ModelledWorld(family, config.remembered, config.asked)
        self.world_model = WorldModel(policy, self.modelled, config, seed)
        spaces = family.observation_space, family.action_space
        self.policy = Acting(policy.model, *spaces, distribution_for(family.action_space))
        self.settings = planning.Settings(config.ahead, config.held, config.candidates, config.best, config.rounds)
        self.sizes = self.modelled.observation_space.size, len(self.modelled.change)
        self.built = True

    @classmethod
    def network_spaces(cls, family: Any) -> tuple[Box, Box]:
        """The model's: observation and action → changes and reward."""
        if not isinstance(family, TaskFamily) or not _plannable(family):
            raise ValueError(
                f"mpc plans in families in the graph whose actions are a Box or one of two; {family.name} is not."
            )
        return shown_of(family), Box((family.observation_space.size + 1,))

    @property
    def judge(self) -> Learner:
        return self.world_model

    @property
    def memory_size(self) -> int:
        return self.family.observation_space.size + 2 + self.config.remembered * sum(self.sizes)

    @property
    def env_steps_per_update(self) -> int:
        return self.world_model.env_steps_per_update

    def act(self, weights: Tensors, memory: tf.Tensor, observations: tf.Tensor) -> Parameters:
        fast = self.adapted(weights, memory[None])[0]
        key = random.fold(random.key(0), tf.zeros(tf.shape(observations)[:1], tf.int32))
        return self._planned(fast, observations, key)

    def step(
        self, weights: Tensors, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        rows = StepInputs(*(axes.merge(field, 0) for field in inputs))
        after = self.remember(axes.merge(memory, 0), rows, tf.ones_like(rows.previous_rewards))
        planned = self._planned(self.adapted(weights, after), rows.observations, axes.merge(random.fold(key, 0), 0))
        lead = tf.shape(key)
        shaped = {name: tf.reshape(one, tf.concat([lead, tf.shape(one)[1:]], 0)) for name, one in planned.items()}
        distribution, rank = self.policy.distribution, len(self.family.action_space.shape)
        actions = choose(distribution, shaped, random.fold(key, 1), deterministic, rank)
        return StepOutputs(actions, shaped, distribution.log_prob(shaped, actions), tf.reshape(after, tf.shape(memory)))

    def adapt(self, weights: Tensors, memory: tf.Tensor, episodes: Episodes) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """What playing the episodes did to the memory. ``loss``: −log p of what is remembered then, ``kl``: how far
        that moved the model's predictions, KL(before ‖ after)."""
        before, sequence = memory[:, 0], as_sequence(episodes)

        def body(t: tf.Tensor, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            inputs = StepInputs(*(tf.gather(field, t) for field in sequence.inputs))
            return t + 1, self.remember(memory, inputs, tf.gather(sequence.told, t))

        start, steps = (tf.constant(0), before), tf.shape(sequence.told)[0]
        _, after = tf.while_loop(lambda t, _: t < steps, body, start, parallel_iterations=1)
        batch, model = self._remembered(after), self.world_model.policy
        old, new = (model.apply(self.adapted(weights, one), batch.observations) for one in (before, after))
        share = batch.mask / tf.maximum(tf.reduce_sum(batch.mask, 1, keepdims=True), 1.0)
        kl = model.distribution.of(old).kl_divergence(model.distribution.of(new))
        loss = -tf.reduce_sum(share * model.distribution.log_prob(new, batch.actions), 1)
        return after[:, None], {"loss": loss, "kl": tf.reduce_sum(share * kl, 1)}

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor, first: Any = 0) -> list[Episodes]:
        return self.world_model.collect(weights, tasks, key, first)

    def prepare(self, weights: Tensors, rounds: list[Episodes]) -> Any:
        return self.world_model.prepare(weights, rounds)

    def meta_gradient(self, weights: Tensors, batch: Any) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        return self.world_model.meta_gradient(weights, batch)

    def remember(self, memory: tf.Tensor, inputs: StepInputs, told: tf.Tensor) -> tf.Tensor:
        """Memories ``[B, S]`` after a step with ``inputs [B, ...]``, where ``told [B]`` is 1."""
        was, seen = self._split(memory), tf.cast(inputs.observations, memory.dtype)
        shown = exploring.shown(self.family, was.last, inputs.previous_actions)
        rewards = tf.cast(inputs.previous_rewards, memory.dtype)
        happened = outcome(exploring.Transitions(was.last, None, rewards, seen)) / self.modelled.change
        row = tf.concat([shown, happened], -1)
        longer = tf.concat([was.rows[:, row.shape[-1] :], row], -1)
        known = was.going > 0.0
        count = tf.where(known, tf.minimum(was.count + 1.0, float(self.config.remembered)), was.count)
        going = 1.0 - tf.cast(inputs.previous_done, memory.dtype)[:, None]
        after = tf.concat([seen, going, count, tf.where(known, longer, was.rows)], -1)
        return tf.where(told[:, None] > 0.0, after, memory)

    def adapted(self, weights: Tensors, memory: tf.Tensor) -> tf.Tensor:
        """The model's weights ``[B, P]``, adapted to what memories ``[B, S]`` hold."""
        model = self.world_model
        start = model.initial_memory(weights)

        def of_row(batch: Samples) -> tf.Tensor:
            fast = start
            for _ in range(self.config.inner_steps):
                fast, _, _ = model.inner_step(weights, fast, batch)
            return model.fast(fast)

        return tf.map_fn(of_row, self._remembered(memory), fn_output_signature=memory.dtype)

    def _remembered(self, memory: tf.Tensor) -> Samples:
        """The transitions ``[B, N, ...]`` that memories hold."""
        was, count = self._split(memory), self.config.remembered
        rows = tf.reshape(was.rows, [-1, count, sum(self.sizes)])
        shown, happened = tf.split(rows, self.sizes, -1)
        mask = tf.cast(tf.range(count, 0, -1), memory.dtype) <= was.count
        return Samples(shown, happened, tf.zeros_like(rows[..., 0]), tf.cast(mask, memory.dtype))

    def _split(self, memory: tf.Tensor) -> Memory:
        observed = self.family.observation_space.size
        return Memory(*tf.split(memory, [observed, 1, 1, memory.shape[-1] - observed - 2], -1))

    def _planned(self, fast: tf.Tensor, observations: tf.Tensor, key: tf.Tensor) -> Parameters:
        """The action distribution of rows ``[B, ...]`` by the model with weights ``[B, P]``, or ``[P]`` for all."""
        observations = tf.cast(observations, fast.dtype)
        found = planning.plan(self._advance(fast), observations[:, None], key, self.family.action_space, self.settings)
        if isinstance(space := self.family.action_space, Box):
            middle, half = planning.middle_and_half(space)
            return {"loc": middle + half * found.mean, "scale": half * found.spread}
        logit = CERTAINTY * found.mean
        return {"logits": tf.concat([-logit, logit], -1)}

    def _advance(self, fast: tf.Tensor) -> planning.Advance:
        space, change = self.family.observation_space, tf.constant(self.modelled.change)

        def advance(state: tf.Tensor, actions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            shown = exploring.shown(self.family, state, actions)
            predicted = self.world_model.policy.apply(fast, shown)["loc"] * change
            moved = tf.clip_by_value(state + predicted[..., :-1], space.low, space.high)
            return moved, predicted[..., -1]

        return advance


def _plannable(family: TaskFamily) -> bool:
    space = family.action_space
    return isinstance(space, Box) or (isinstance(space, Discrete) and space.n == 2)
