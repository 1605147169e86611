"""Distillation: a student learns to act as its teachers do (Rusu et al. 2015, arXiv 1511.06295, equations 1–3).

With π_T(·|o, m) the teacher of task m, sharpened by a temperature τ, and π the student, one of

    kl    mean KL(π_T^(1/τ) ‖ π)
    nll   mean −log π(a*),  a* the teacher's most likely action
    mse   mean ‖z_T/τ − z‖²,  z the centred logits, or means and log standard deviations

over the steps of played episodes. They are the student's own, labelled by the teacher (Ross et al. 2011, DAgger, arXiv
1011.0686), or the teacher's. The teacher is told the task, the student is not: a recurrent one, which is told its last
action and reward, has to find out. The expected loss is least at the mean of the teachers' answers over all tasks that
the history leaves possible, so what it learns is to infer the task, by nothing but supervised learning (Humplik et al.
2019, arXiv 1905.06424).

Differs from the papers: nothing is stored, every update plays new episodes; and one of the two plays them all, where
DAgger begins with a mixture of teacher and student.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, final

import tensorflow as tf

from metazoo import losses, random
from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.common.outer_step import clip
from metazoo.algorithms.common.plain import PlainLearner
from metazoo.algorithms.common.recurrent import RecurrentLearner
from metazoo.algorithms.common.sequences import Sequence, as_sequence
from metazoo.algorithms.common.teachers import Teacher
from metazoo.policies.acting import choose
from metazoo.policies.distributions import Parameters
from metazoo.policies.weights import Tensors, flatten
from metazoo.rollouts import returns
from metazoo.rollouts.graph import Step, rollout, trial
from metazoo.types import Box, Episodes, MultiDiscrete, StepInputs, StepOutputs

LOSSES = ("kl", "nll", "mse")
PLAYERS = ("student", "teacher")


@dataclass(frozen=True)
class DistillationConfig(Config):
    """Settings of both students; each field's metadata holds its range and meaning."""

    tasks: int = setting(40, (1, 100_000), "tasks per update")
    episodes: int = setting(3, (1, 1000), "episodes per task: of one trial if the student remembers, else in parallel")
    loss: str = setting("kl", LOSSES, "how the student's answer is compared with the teacher's")
    temperature: float = setting(
        1.0, (0.001, 1000.0), "τ: below 1 the teacher is sharpened, above 1 softened", (0.1, 10.0)
    )
    collection: str = setting("student", PLAYERS, "who plays the episodes")
    epochs: int = setting(1, (1, 100), "outer steps on the same episodes")
    clip_norm: float = setting(1.0, (0.0, 1e6), "largest norm of the gradient; 0 leaves it alone", (0.1, 10.0))


class Lesson(NamedTuple):
    """What an update is made from."""

    episodes: Episodes
    answers: Parameters
    """The teacher's, sharpened: distribution parameters ``[M, N, ...]`` for the steps that ``Student.asked`` names."""


class Student(Learner, ABC):
    """What both students share: episodes, the teacher's answers on them, and the loss."""

    config_class: ClassVar[type[Config]] = DistillationConfig
    config: DistillationConfig
    teacher: Teacher | None = None
    """Set before training; a student that only acts needs none."""

    @abstractmethod
    def play(self, tasks: Any, step: Step, weights: Tensors, key: tf.Tensor, first: Any) -> Episodes:
        """Time-major episodes of an update, with whatever ``step`` plays them; ``first`` as ``collect`` takes it."""

    @abstractmethod
    def asked(self, episodes: Episodes) -> tuple[tf.Tensor, tf.Tensor]:
        """The observations ``[M, N, ...]`` that the teacher is asked about, and ``[M, N]``: 1.0 where it counts."""

    @property
    def env_steps_per_update(self) -> int:
        return self.config.tasks * self.config.episodes * self.family.horizon

    def sample_tasks(self, key: tf.Tensor) -> Any:
        """Any of the family's training tasks, or of the few that the teacher knows, with replacement."""
        known = self._teacher().tasks
        if known is None:
            return super().sample_tasks(key)
        count = tf.nest.flatten(known)[0].shape[0]
        chosen = random.integers(random.spread(key, self.config.tasks), count)
        return tf.nest.map_structure(lambda field: tf.gather(field, chosen), known)

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor, first: Any = 0) -> list[Any]:
        """The episodes, and the teacher's answers on them."""
        student = self.config.collection == "student"
        step = partial(self.step, weights) if student else partial(self._teachers_step, tasks)
        episodes = self.play(tasks, step, weights, key, first)
        answers = self._teacher().parameters(tasks, self.asked(episodes)[0])
        answers = sharpened(answers, self.config.temperature, weights[0].dtype)
        return tf.nest.map_structure(tf.stop_gradient, [episodes, answers])

    def prepare(self, weights: Tensors, rounds: list[Any]) -> Lesson:
        return Lesson(*rounds)

    def lesson_loss(self, student: Parameters, answers: Parameters, mask: tf.Tensor) -> tf.Tensor:
        """The loss, a scalar, of the student's and the teacher's distribution parameters ``[..., n]``."""
        distribution = self.policy.distribution
        if self.config.loss == "mse":
            space = self.policy.action_space
            return losses.squared_error(_numbers(student, space), _numbers(answers, space), mask)
        if self.config.loss == "nll":
            return -losses.masked_mean(distribution.log_prob(student, distribution.mode(answers)), mask)
        return losses.masked_mean(distribution.of(answers).kl_divergence(distribution.of(student)), mask)

    def _report(self, loss: tf.Tensor, norm: tf.Tensor, episodes: Episodes) -> dict[str, tf.Tensor]:
        by_episode = tf.reduce_mean(returns.episode_returns(episodes), 0)
        ends = {"return_first": by_episode[0], "return_last": by_episode[-1]}
        return {"loss": loss, "gradient_norm": norm, **ends}

    def _teacher(self) -> Teacher:
        if self.teacher is None:
            raise ValueError(f"{self.name_in_registry} has no teacher; set its teacher before training.")
        return self.teacher

    def _teachers_step(
        self, tasks: Any, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        distribution = self.policy.distribution
        parameters = self._teacher().parameters(tasks, inputs.observations)
        actions = choose(distribution, parameters, key, deterministic, len(self.policy.action_space.shape))
        return StepOutputs(actions, parameters, distribution.log_prob(parameters, actions), memory)


@final
class Distillation(PlainLearner, Student):
    """A feed-forward student: what it sees is all it knows of the task."""

    name_in_registry: ClassVar[str] = "distillation"
    about: ClassVar[str] = (
        "Policy distillation ([Rusu et al. 2015](https://arxiv.org/abs/1511.06295)): a small network that "
        "learned to answer as its teacher does, in episodes that it played itself."
    )

    def __init__(self, policy, family, config: DistillationConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        self.built = True

    def play(self, tasks: Any, step: Step, weights: Tensors, key: tf.Tensor, first: Any) -> Episodes:
        memory = tf.zeros([self.config.tasks, 1, 0], weights[0].dtype)
        return rollout(self.family, tasks, step, memory, key, self.config.episodes, first=first)

    def asked(self, episodes: Episodes) -> tuple[tf.Tensor, tf.Tensor]:
        steps = inner_loop.shots(episodes)
        return steps.observations, steps.mask

    def meta_gradient(self, weights: Tensors, batch: Lesson) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        weights = list(weights)

        def task_loss(one: Any) -> tf.Tensor:
            observations, mask, answers = one
            student = self.policy.apply(flatten(weights), tf.cast(observations, weights[0].dtype))
            return self.lesson_loss(student, answers, mask)

        steps = (*self.asked(batch.episodes), batch.answers)
        loss, gradients = inner_loop.gradient_over_tasks(task_loss, weights, steps)
        gradients, norm = clip(gradients, self.config.clip_norm)
        return gradients, self._report(loss, norm, batch.episodes)


@final
class RecurrentDistillation(RecurrentLearner, Student):
    """A recurrent student, which infers the task from what it did and earned: a meta-policy like RL²'s."""

    name_in_registry: ClassVar[str] = "recurrent_distillation"
    about: ClassVar[str] = (
        "Policy distillation ([Rusu et al. 2015](https://arxiv.org/abs/1511.06295)) into a recurrent policy: "
        "its teachers know the task, it does not, and learned to find out from its own actions and rewards. "
        "It adapts by playing."
    )

    def __init__(self, policy, family, config: DistillationConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        self.built = True

    def play(self, tasks: Any, step: Step, weights: Tensors, key: tf.Tensor, first: Any) -> Episodes:
        memory = tf.zeros([self.config.tasks, 1, self.memory_size], weights[0].dtype)
        return trial(self.family, tasks, step, memory, key, self.config.episodes, first=first)[0]

    def weight_of(self, batch: Lesson) -> tf.Tensor:
        """The steps played, over which the loss is a mean."""
        return tf.reduce_sum(batch.episodes.mask)

    def asked(self, episodes: Episodes) -> tuple[tf.Tensor, tf.Tensor]:
        sequence = as_sequence(episodes)
        return _by_trial(sequence.inputs.observations), tf.transpose(sequence.played)

    def meta_gradient(self, weights: Tensors, batch: Lesson) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        weights, sequence = list(weights), as_sequence(batch.episodes)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = self.trial_loss(weights, sequence, batch.answers)
        gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients, norm = clip(gradients, self.config.clip_norm)
        return gradients, self._report(loss, norm, batch.episodes)

    def trial_loss(self, weights: list[tf.Tensor], sequence: Sequence, answers: Parameters) -> tf.Tensor:
        """The loss of whole trials, through which its gradient goes back."""
        memory = tf.zeros([sequence.told.shape[1], self.memory_size], weights[0].dtype)
        states = self.policy.states(weights, sequence.inputs, sequence.told, memory)
        parameters = self.policy.parameters(weights, states, sequence.inputs)
        student = {name: _by_trial(value) for name, value in parameters.items()}
        return self.lesson_loss(student, answers, tf.transpose(sequence.played))


def sharpened(parameters: Parameters, temperature: float, dtype: tf.DType) -> Parameters:
    """The parameters of the distribution whose density is the given one's to the power 1/τ: logits / τ, or σ·√τ."""
    parameters = {name: tf.cast(value, dtype) for name, value in parameters.items()}
    if "logits" in parameters:
        return {"logits": parameters["logits"] / temperature}
    return {**parameters, "scale": parameters["scale"] * temperature**0.5}


def _numbers(parameters: Parameters, space: Any) -> tf.Tensor:
    """What ``mse`` compares, ``[..., n]``: logits centred for each component, or means and log standard deviations."""
    if isinstance(space, Box):
        return tf.concat([parameters["loc"], tf.math.log(parameters["scale"])], -1)
    sizes = space.nvec if isinstance(space, MultiDiscrete) else (space.n,)
    parts = tf.split(parameters["logits"], sizes, -1)
    return tf.concat([part - tf.reduce_mean(part, -1, keepdims=True) for part in parts], -1)


def _by_trial(field: tf.Tensor) -> tf.Tensor:
    """``[L, M, ...] → [M, L, ...]``."""
    return tf.transpose(field, [1, 0, *range(2, field.shape.rank)])
