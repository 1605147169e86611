"""Policies of TF-Agents as teachers: anything with a ``distribution``, or a directory of ``PolicySaver``.

A teacher is asked what it would do for single observations, which are shown to it as steps in the middle of an episode
that earned nothing so far.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from tf_agents.policies import policy_saver, tf_policy
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from metazoo.algorithms.common.teachers import Teacher
from metazoo.policies.distributions import Parameters
from metazoo.tasks.host_family import AnyFamily
from metazoo.tasks.views.gym_view import to_gym_space
from metazoo.tf_agents import specs
from metazoo.types import Box, Discrete, Space

SPREAD: Final = 0.1
"""Standard deviation given to the actions of a teacher that has none, in halves of the action's range."""
DOUBT: Final = 0.01
"""Probability, in all, of the actions that a teacher without doubts would not choose."""

Ask = Callable[[ts.TimeStep], Any]
"""``time steps [B] → a distribution of actions [B, ...]``."""


def load_teacher(directory: Path, family: AnyFamily) -> tuple[Teacher, AnyFamily]:
    """The policy that ``PolicySaver`` wrote to ``directory`` as a teacher, and the family as it sees it.

    Raises:
        ValueError: it remembers its steps, has other spaces than the family, or takes batches of one size only.
    """
    directory = Path(directory)
    collected = tensor_spec.from_pbtxt_file(str(directory / policy_saver.POLICY_SPECS_PBTXT))
    known = policy_saver.specs_from_collect_data_spec(collected)
    model = tf.saved_model.load(str(directory))
    theirs = _check(directory.name, known["time_step_spec"], known["action_spec"], known["policy_state_spec"], family)
    ask = _ask_saved(directory.name, model, theirs)
    return _teacher(directory.name, ask, model.model_variables, known["time_step_spec"], theirs), theirs


def teacher_of(policy: tf_policy.TFPolicy, family: AnyFamily, name: str = "") -> Teacher:
    """A policy such as ``agent.policy`` as a teacher on ``family``, for a student's ``teacher``.

    Raises:
        ValueError: it remembers its steps, or has other spaces than the family.
    """
    name = name or type(policy).__name__
    theirs = _check(name, policy.time_step_spec, policy.action_spec, policy.policy_state_spec, family)
    if theirs.observation_space != family.observation_space:
        raise ValueError(f"{name} sees more than the student; save it with PolicySaver and train with its directory.")
    return _teacher(name, lambda steps: policy.distribution(steps).action, policy.variables(), policy.time_step_spec,
                    theirs)  # fmt: skip


def parameters_of(distribution: Any, space: Space) -> Parameters:
    """The parameters ``[B, ...]`` by which we describe a distribution of TensorFlow Probability over ``space``.

    What is neither categorical nor has a mean and a standard deviation is described by its mode, with ``SPREAD`` or
    ``DOUBT`` around it.
    """
    if isinstance(space, Box):
        return _gaussian(distribution, space)
    inner = getattr(distribution, "distribution", distribution)  # what Independent holds
    for one in (distribution, inner):
        if hasattr(one, "logits_parameter"):
            logits = one.logits_parameter()
            return {"logits": tf.reshape(logits, [tf.shape(logits)[0], -1])}
    sizes = (space.n,) if isinstance(space, Discrete) else space.nvec
    chosen = tf.reshape(tf.cast(distribution.mode(), tf.int32), [-1, len(sizes)]) - space.start
    parts = [_doubting(one, size) for one, size in zip(tf.unstack(chosen, axis=-1), sizes, strict=True)]
    return {"logits": tf.concat(parts, -1)}


def _doubting(chosen: tf.Tensor, size: int) -> tf.Tensor:
    """Logits ``[B, size]`` of the actions ``chosen [B]``, the others having ``DOUBT`` together."""
    others = DOUBT / max(1, size - 1)
    return tf.math.log(tf.one_hot(chosen, size, 1.0 - DOUBT, others))


def _gaussian(distribution: Any, space: Box) -> Parameters:
    low, high = np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
    half = np.where(np.isfinite(high - low), (high - low) / 2, 1.0).astype(np.float32)
    try:
        loc, scale = distribution.mean(), distribution.stddev()
    except NotImplementedError:
        loc = distribution.mode()
        scale = tf.zeros_like(loc)
    loc, scale = tf.cast(loc, tf.float32), tf.cast(scale, tf.float32)
    return {"loc": loc, "scale": tf.where(scale > 0, scale, SPREAD * half)}


def _teacher(name: str, ask: Ask, variables: Any, time_step_spec: ts.TimeStep, family: AnyFamily) -> Teacher:
    dtype = tf.as_dtype(time_step_spec.observation.dtype)

    def parameters(tasks: Any, observations: tf.Tensor) -> Parameters:
        lead, shape = tf.shape(observations)[:2], observations.shape[2:]
        steps = _steps(tf.cast(tf.reshape(observations, [-1, *shape]), dtype))
        answer = parameters_of(ask(steps), family.action_space)
        return {key: tf.reshape(value, tf.concat([lead, value.shape[1:]], 0)) for key, value in answer.items()}

    size = sum(variable.shape.num_elements() for variable in variables if variable.dtype.is_floating)
    return Teacher(name, size, parameters)


def _steps(observations: tf.Tensor) -> ts.TimeStep:
    """Time steps in the middle of an episode that show ``observations [B, ...]``."""
    rows = tf.shape(observations)[:1]
    return ts.TimeStep(tf.fill(rows, ts.StepType.MID), tf.zeros(rows), tf.ones(rows), observations)


def _ask_saved(name: str, model: Any, family: AnyFamily) -> Ask:
    """The saved policy's distribution; of one that could not save its own, the actions that it chooses.

    Raises:
        ValueError: it does not take a batch of two.
    """
    space = family.observation_space
    steps = _steps(tf.zeros([2, *space.shape], space.dtype))
    try:
        model.action(steps)
    except ValueError as error:
        raise ValueError(f"{name} does not take batches of any size; save it with batch_size=None.") from error
    try:
        model.distribution(steps)
    except tf.errors.InvalidArgumentError:  # PolicySaver's way of saying that the distribution could not be saved
        return lambda steps: _Certain(model.action(steps).action)
    return lambda steps: model.distribution(steps).action


class _Certain:
    """Chosen actions, as the distribution that has no others."""

    def __init__(self, actions: tf.Tensor):
        self.actions = actions

    def mode(self) -> tf.Tensor:
        return self.actions

    def mean(self) -> tf.Tensor:
        return self.actions

    def stddev(self) -> tf.Tensor:
        return tf.zeros_like(self.actions)


def _check(name: str, time_step_spec: ts.TimeStep, action_spec: Any, state_spec: Any, family: AnyFamily) -> AnyFamily:
    """The family as a policy with these specs sees it, which may be shown the task that is hidden from the student.

    Raises:
        ValueError: the policy remembers its steps, or does not fit the family.
    """
    if tf.nest.flatten(state_spec):
        raise ValueError(
            f"{name} remembers its steps; a teacher is asked about single observations, so choose one that does not."
        )
    needed, seen = specs.action_spec(to_gym_space(family.action_space)), time_step_spec.observation
    if not _same_actions(action_spec, needed):
        raise ValueError(f"the actions of {name} are {action_spec}; those of {family.name} are {needed}.")
    for theirs in (family, *_revealing(family)):
        if not isinstance(seen, list | tuple | dict) and tuple(seen.shape) == theirs.observation_space.shape:
            return theirs
    raise ValueError(
        f"{name} observes {seen}; the observations of {family.name} have shape {list(family.observation_space.shape)}."
    )


def _same_actions(spec: Any, needed: Any) -> bool:
    """Same shape and bounds; whether integers have 32 or 64 bits does not matter."""
    if not hasattr(spec, "minimum") or tuple(spec.shape) != tuple(needed.shape):
        return False
    return np.allclose(spec.minimum, needed.minimum) and np.allclose(spec.maximum, needed.maximum)


def _revealing(family: AnyFamily) -> list[AnyFamily]:
    """The family with its task shown in the observations, if it can be made so: by an argument ``reveal_…``."""
    names = [name for name in inspect.signature(type(family)).parameters if name.startswith("reveal_")]
    make: Any = type(family)
    return [make(horizon=family.horizon, **{name: True}) for name in names]
