"""What a task family is: a distribution over tasks, and pure dynamics on tensors.

A task is data: a NamedTuple of float32 tensors whose first axis counts tasks. ``reset`` and ``step`` are elementwise:
they get task fields of shape ``[M, 1, ...]`` and states, actions and keys of shape ``[M, E, ...]``, and compute
episode ``(m, e)`` from its own entries alone. So a rollout, the policy and the learner compile into one program.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.canvas import Draw
from metazoo.types import Box, Discrete, Episodes, MultiDiscrete, Space
from metazoo.words import meant

SPLITS = ("train", "validation", "test", "ood")
"""Tasks to learn from, to choose checkpoints on, to report, and from outside the training ranges."""


class Reference(NamedTuple):
    """What is known to be possible on given tasks: to compare policies with."""

    returns: Any
    """Mean return of an episode of each task, ``[M]``."""
    what: str
    """What earns it, in a line for model cards."""


class Range(NamedTuple):
    """Training interval of a task parameter and the intervals outside it, used by the ``ood`` split."""

    train: tuple[float, float]
    ood: tuple[tuple[float, float], ...]

    def sample(self, key: tf.Tensor, split: str) -> tf.Tensor:
        """Uniform over the split's intervals: the out-of-range ones in proportion to their lengths."""
        if split != "ood":
            return random.uniform(key, *self.train)
        lengths = [high - low for low, high in self.ood]
        offset = random.uniform(key, 0.0, sum(lengths))
        value = self.ood[-1][0] + (offset - sum(lengths[:-1]))
        for i in reversed(range(len(self.ood) - 1)):
            inside = offset < sum(lengths[: i + 1])
            value = tf.where(inside, self.ood[i][0] + (offset - sum(lengths[:i])), value)
        return value


class Transition(NamedTuple):
    """The outcome of one environment step for ``[M, E]`` episodes."""

    state: Any
    rewards: tf.Tensor
    terminated: tf.Tensor


class Family(ABC):
    """What every family says about itself, whoever steps it. Nobody else keeps facts about a family.

    Only names, spaces and horizon must be said; the rest is for cards, baselines, pictures, teachers and benchmarks.
    """

    observation_space: Box
    action_space: Space
    horizon: int
    """Steps after which an episode is truncated."""
    supervised: ClassVar[bool] = False
    """Whether the right actions are known: ``targets`` gives them, and learners regress on them."""
    example: ClassVar[str] = "point"
    """What one example of a supervised family is."""
    paired: ClassVar[bool] = False
    """Whether a supervised family draws support and query sets together: ``sets`` gives them."""
    probabilistic: ClassVar[bool] = False
    """Whether what is predicted is a distribution, and judged by the likelihood of what happened."""
    metric: ClassVar[str] = ""
    """What the mean reward of a step is called where it is no return, such as ``accuracy``."""

    few_tasks: bool = False
    """Whether there are so few tasks that all splits hold the same: what differs are start states and draws."""
    ranges: ClassVar[Mapping[str, Range]] = {}
    """Where the task parameters come from; of those that are drawn otherwise, cards quote samples."""
    out_of_range: bool = True
    """Whether there are tasks of the split ``ood``, outside the training ranges."""
    hidden: ClassVar[str] = ""
    """What no observation shows, in a few words."""
    page: ClassVar[str] = ""
    """The page in ``docs/families`` that it shares with others; by default that of its own name."""
    units: ClassVar[Mapping[str, str]] = {}
    """Units of the task parameters, empty of those that have none."""
    nominal: ClassVar[Mapping[str, float]] = {}
    """The original environment's values of the task parameters that have one; the others differ from task to task."""
    reward_unit: ClassVar[str] = ""
    """What a step's reward is, in a few words: a policy knows its rewards in this unit and no other."""
    reveals: ClassVar[tuple[str, str] | None] = None
    """Where the family can show the task: the argument that makes it do so, and the field it appends."""
    caveat: ClassVar[str] = ""
    """What a reader of its policies' cards should know before crediting meta-learning."""
    long_horizon: ClassVar[int | None] = None
    """A longer horizon at which cards report the return too, of policies adapted at the usual one."""

    original: str = ""
    """Gymnasium's environment that the family varies: benchmarks measure it beside the first family that does."""
    drawn: ClassVar[Mapping[str, str] | None] = None
    """Attributes of the original that its renderer draws, by task parameter; None where it draws other states."""
    drawing: ClassVar[Draw | None] = None
    """What draws a state for films, as a static method; None where there is nothing to be seen."""

    played_by: ClassVar[tuple[str, ...]] = ()
    """Packages that its numbers depend on: cards state their versions."""

    discount: ClassVar[float | None] = None
    """By which later rewards are credited to an action where learners' usual one is not good: 0 where a reward says
    what that very action was worth."""
    gradient_rates: ClassVar[Mapping[str, float]] = {}
    """Step sizes of the baselines ``fine_tuning`` and ``from_scratch``, the best that ``python -m
    metazoo.cards.baselines`` finds; there are no such baselines where it is empty."""
    expert_recipe: ClassVar[Mapping[str, Any]] = {}
    """How experts of single tasks are trained, where not as usual: entries of ``metazoo.training.experts.Recipe``."""

    def parameter_ranges(self) -> Mapping[str, Range]:
        """``ranges``, and those that only this family, not its class, knows."""
        return self.ranges

    def mean_rewards(self, tasks: Any, observations: Any, actions: Any) -> tf.Tensor | None:
        """What rewards ``[T, M, E]`` of tasks ``[M, ...]`` are on average, given what was seen and done there.

        None where rewards have no noise of their own, or nobody knows it. Learning from the mean is learning the same
        with less variance; policies are still shown the rewards they got.
        """
        return None

    def kinds_of(self, tasks: Any) -> Sequence[str] | None:
        """Of each task the kind it is, where figures are to be reported by kind; None where there is but one."""
        return None

    def successes(self, tasks: Any, episodes: Any) -> tf.Tensor | None:
        """Whether time-major episodes ``[T, M, E, ...]`` of tasks ``[M, ...]`` reached their goal: float ``[M, E]``.

        None where success means nothing. Families on the host need not say it: they tell it at every step.
        """
        return None

    def sets(self, task: Any, key: tf.Tensor) -> tuple[Episodes, Episodes]:
        """Support and query set of tasks ``[M]`` with keys ``[M]``, time-major; families whose sets are ``paired``."""
        raise NotImplementedError(f"{type(self).__name__} draws its examples one by one, not in sets.")

    def set_sizes(self) -> tuple[int, int]:
        """How many examples such a support and such a query set hold."""
        raise NotImplementedError(f"{type(self).__name__} draws its examples one by one, not in sets.")

    def references(self, tasks: Any) -> dict[str, Reference]:
        """Solutions of ``tasks`` that are known without learning, by name; none unless a family says some."""
        return {}


class TaskFamily(Family):
    """A distribution over tasks with shared spaces, horizon and dynamics."""

    name: ClassVar[str]
    Task: ClassVar[Any]
    """NamedTuple of the task parameters, float32 ``[M, ...]``; its docstring gives the units."""

    @abstractmethod
    def sample_task(self, key: tf.Tensor, split: str) -> Any:
        """Tasks ``[M, ...]`` from keys ``[M]``; for ``ood`` from the out-of-range intervals."""

    @abstractmethod
    def reset(self, task: Any, key: tf.Tensor) -> Any:
        """Start states ``[M, E, ...]`` (a NamedTuple) from keys ``[M, E]``."""

    @abstractmethod
    def step(self, task: Any, state: Any, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        """One step with actions ``[M, E, ...]``, clipped to the action space by the family."""

    @abstractmethod
    def observe(self, task: Any, state: Any) -> tf.Tensor:
        """Observations ``[M, E, ...]`` of the states."""

    def targets(self, task: Any, state: Any) -> tf.Tensor:
        """The right actions ``[M, E, ...]`` in the states; supervised families only."""
        raise NotImplementedError(f"{self.name} is not supervised: nobody knows the right actions.")

    def sample(self, count: int, split: str = "train", seed=0) -> Any:
        """``count`` tasks of a split, a pure function of ``(split, seed)``; ``seed`` may be a tensor.

        Raises:
            ValueError: the split is not one of ``SPLITS``.
        """
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}; {meant(split, SPLITS)}")
        stream = random.fold(random.key(SPLITS.index(split)), seed)
        return self.sample_task(random.spread(stream, count), split)


def per_episode(task: Any) -> Any:
    """Task fields ``[M, ...]`` as ``[M, 1, ...]``, which broadcast against ``[M, E, ...]`` episodes."""
    return tf.nest.map_structure(lambda field: tf.expand_dims(field, 1), task)


def random_actions(space: Space, key: tf.Tensor) -> tf.Tensor:
    """One action per key: uniform where the space is bounded, else standard normal within its bounds."""
    if isinstance(space, Discrete):
        return space.start + random.integers(key, space.n)
    if isinstance(space, MultiDiscrete):
        parts = [random.integers(random.fold(key, i), n) for i, n in enumerate(space.nvec)]
        return space.start + tf.stack(parts, -1)
    keys, bounds = random.spread(key, *space.shape), (space.low, space.high)
    low, high = (np.broadcast_to(np.asarray(bound, np.float32), space.shape) for bound in bounds)
    bounded = np.isfinite(low) & np.isfinite(high)
    if bounded.all():
        return random.uniform(keys, low, high)
    inside = random.uniform(keys, np.where(bounded, low, 0.0), np.where(bounded, high, 1.0))
    return tf.where(bounded, inside, tf.clip_by_value(random.normal(keys), low, high))
