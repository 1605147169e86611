"""Checks that a family in the graph keeps its contract; ``metazoo.tasks.testing.check_family`` runs them."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.family import SPLITS, TaskFamily, Transition, per_episode, random_actions
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.types import Box, require_usable

TOLERANCE = 1e-5
"""Allowed difference between eager, graph and XLA, relative to the larger of 1 and the value: rounding only."""
FEW, _MANY = 128, 1024
"""Tasks that are few, and among how many they are counted."""
_TASKS, _EPISODES, _WARM_UP = 4, 3, 5


class Case(NamedTuple):
    """Arguments of one step: task ``[M, 1, ...]``, the rest ``[M, E, ...]``, from a few random steps into episodes."""

    task: Any
    state: Any
    actions: tf.Tensor
    key: tf.Tensor


def splits_of(family: AnyFamily) -> tuple[str, ...]:
    """The splits that the family has: all, or all but ``ood``."""
    try:
        family.sample(1, "ood", 0)
    except ValueError:
        return tuple(split for split in SPLITS if split != "ood")
    return SPLITS


def check_declarations(family: AnyFamily) -> None:
    """Spaces, horizon and task type are declared and usable."""
    check_spaces(family)
    require(
        family,
        isinstance(family.horizon, int) and family.horizon >= 1,
        f"horizon is {family.horizon!r}; it must be an integer of at least 1, so that every episode ends",
    )
    unknown = set(family.nominal) - set(family.Task._fields)
    require(family, not unknown, f"nominal names {', '.join(sorted(unknown))}, which the Task does not have")
    require(family, bool(family.Task.__doc__), "the Task needs a docstring that gives the units of its fields")


def check_spaces(family: AnyFamily) -> None:
    """The spaces are such as policies can have."""
    try:
        require_usable(family.observation_space, family.action_space)
    except ValueError as error:
        raise AssertionError(f"{name_of(family)}: {error}") from error


def check_sampling(family: AnyFamily) -> None:
    """Tasks are finite float32 ``[count, ...]``, a pure function of split and seed, alike for int and tensor seeds."""
    for split in splits_of(family):
        first, again, other = (family.sample(_TASKS, split, seed) for seed in (3, tf.constant(3), 4))
        for name, field in first._asdict().items():
            what = f"field {name!r} of {split} tasks"
            require(family, field.dtype == tf.float32, f"{what} is {field.dtype.name}; it must be float32")
            require(family, field.shape[:1] == [_TASKS], f"{what} has shape {field.shape} for {_TASKS} tasks")
            require(family, bool(np.all(np.isfinite(field))), f"{what} is not finite")
        require(family, _same(first, again), f"{split} tasks differ between two calls with one seed")
        require(family, not _same(first, other), f"{split} tasks are the same for two seeds")


def check_splits(family: AnyFamily) -> None:
    """No task occurs in two splits, whatever the seeds; unless the family says that it has few tasks, and has."""
    if family.few_tasks:
        met = [np.reshape(field, (_MANY, -1)) for field in tf.nest.flatten(family.sample(_MANY, "train", 0))]
        found = len(np.unique(np.concatenate(met, 1), axis=0))
        require(family, found <= FEW, f"few_tasks is True, but {found} of {_MANY} tasks differ; few are up to {FEW}")
        return
    origin: dict[bytes, str] = {}
    for split in splits_of(family):
        for seed in range(len(SPLITS)):
            tasks = [np.reshape(field, (64, -1)) for field in tf.nest.flatten(family.sample(64, split, seed))]
            for row in np.concatenate(tasks, 1):
                other = origin.setdefault(row.tobytes(), split)
                require(family, other == split, f"the task {row.tolist()} is in both splits {other} and {split}")


def check_shapes(family: TaskFamily) -> None:
    """Observations, rewards, flags and a supervised family's targets have the declared shapes and dtypes, and a step
    keeps the state's structure."""
    case = _case(family, 0)
    rows = [_TASKS, _EPISODES]
    observations = family.observe(case.task, case.state)
    after = _step(family, case)
    expected = {
        "observe": (
            observations,
            [*rows, *family.observation_space.shape],
            tf.as_dtype(family.observation_space.dtype),
        ),
        "rewards": (after.rewards, rows, tf.float32),
        "terminated": (after.terminated, rows, tf.bool),
    }
    if family.supervised:
        targets, space = family.targets(case.task, case.state), family.action_space
        expected["targets"] = (targets, [*rows, *space.shape], tf.as_dtype(space.dtype))
    for name, (value, shape, dtype) in expected.items():
        found = f"{name} has shape {value.shape.as_list()} and dtype {value.dtype.name}"
        right = value.shape == shape and value.dtype == dtype
        require(family, right, f"{found}; it must have {shape} and {dtype.name}")
    tf.nest.assert_same_structure(case.state, after.state)
    for old, new in zip(tf.nest.flatten(case.state), tf.nest.flatten(after.state), strict=True):
        same = old.shape == new.shape and old.dtype == new.dtype
        require(
            family, same, f"a step turns a state field {old.dtype.name}{old.shape} into {new.dtype.name}{new.shape}"
        )


def check_independence(family: TaskFamily) -> None:
    """Row ``(m, e)`` of a start and of a step does not change when all other tasks and episodes do."""
    mine, other = _case(family, 0), _case(family, 1)
    chosen = (1, 2)

    def mixed(ours: tf.Tensor, theirs: tf.Tensor) -> tf.Tensor:
        result = theirs.numpy().copy()
        place = (chosen[0], chosen[1] if ours.shape[1] > 1 else 0)
        result[place] = ours.numpy()[place]
        return tf.constant(result)

    def outcome(case: Case) -> Any:
        start = family.reset(case.task, case.key)
        after = _step(family, case)
        return start, family.observe(case.task, start), after, family.observe(case.task, after.state)

    alone, together = outcome(mine), outcome(tf.nest.map_structure(mixed, mine, other))
    for ours, theirs in zip(tf.nest.flatten(alone), tf.nest.flatten(together), strict=True):
        same = np.array_equal(ours.numpy()[chosen], theirs.numpy()[chosen], equal_nan=True)
        require(family, same, f"row {chosen} of a step depends on other rows: {ours[chosen]} or {theirs[chosen]}")


def check_clipping(family: TaskFamily) -> None:
    """Continuous actions beyond the bounds act like the nearest bound."""
    space = family.action_space
    if not isinstance(space, Box):
        return
    case = _case(family, 0)
    bounds = space.low, space.high
    wild = case.actions * 7.0
    clipped, raw = (_step(family, case._replace(actions=a)) for a in (tf.clip_by_value(wild, *bounds), wild))
    require(family, _same(clipped, raw), "a step must clip its actions to the action space")


def check_episodes(family: TaskFamily) -> None:
    """Random play to the horizon meets only finite rewards and observations, the latter within their bounds."""
    case = _case(family, 0)

    @tf.function(jit_compile=True, autograph=False)
    def play(case: Case) -> tuple[tf.Tensor, tf.Tensor]:
        def body(t, state, alive, good, inside):
            key = random.fold(case.key, t)
            actions = random_actions(family.action_space, random.fold(key, 0))
            after = family.step(case.task, state, actions, random.fold(key, 1))
            seen = tf.reshape(family.observe(case.task, after.state), (_TASKS, _EPISODES, -1))
            seen, space = tf.cast(seen, tf.float32), family.observation_space
            low, high = (
                np.broadcast_to(np.asarray(bound, np.float32), space.shape).ravel() for bound in (space.low, space.high)
            )
            finite = tf.math.is_finite(after.rewards) & tf.reduce_all(tf.math.is_finite(seen), -1)
            bounded = tf.reduce_all((seen >= low) & (seen <= high), -1)
            return t + 1, after.state, alive & ~after.terminated, good & (finite | ~alive), inside & (bounded | ~alive)

        true = tf.ones((_TASKS, _EPISODES), tf.bool)
        start = (tf.constant(0), family.reset(case.task, case.key), true, true, true)
        *_, good, inside = tf.while_loop(lambda t, *_: t < family.horizon, body, start)
        return tf.reduce_all(good), tf.reduce_all(inside)

    good, inside = play(case)
    require(family, bool(good), "random play meets rewards or observations that are not finite")
    require(family, bool(inside), "random play meets observations outside observation_space")


def check_compilation(family: TaskFamily) -> None:
    """Eager, graph and XLA agree on given draws, and neither new seeds nor new tasks cause a retrace."""

    splits = splits_of(family)

    def outcome(seed: tf.Tensor, case: Case) -> Any:
        tasks = [family.sample(_TASKS, split, seed) for split in splits]
        start = family.reset(per_episode(tasks[0]), case.key)
        after = _step(family, case)
        return tasks, start, after, family.observe(case.task, after.state)

    for name, jit in (("a graph", False), ("XLA", True)):
        compiled = tf.function(outcome, jit_compile=jit, autograph=False)
        for seed in range(3):
            case = _case(family, seed)
            expected = tf.nest.flatten(outcome(tf.constant(seed), case))
            found = tf.nest.flatten(compiled(tf.constant(seed), case))
            close = all(_close(a.numpy(), b.numpy()) for a, b in zip(expected, found, strict=True))
            require(family, close, f"eager execution and {name} disagree on the same draws")
        traces = compiled.experimental_get_tracing_count()
        require(family, traces == 1, f"{name} was traced {traces} times for three seeds and tasks of one shape")


CHECKS: Final[dict[str, Callable[[TaskFamily], None]]] = {
    "declarations": check_declarations,
    "sampling": check_sampling,
    "splits": check_splits,
    "shapes": check_shapes,
    "independence": check_independence,
    "clipping": check_clipping,
    "episodes": check_episodes,
    "compilation": check_compilation,
}


def _case(family: TaskFamily, seed: int) -> Case:
    task = per_episode(family.sample(_TASKS, "train", seed))
    key = random.spread(random.fold(random.key(99), seed), _TASKS, _EPISODES)
    state = family.reset(task, random.fold(key, 0))
    for t in range(1, _WARM_UP + 1):
        now = random.fold(key, t)
        state = family.step(
            task, state, random_actions(family.action_space, random.fold(now, 0)), random.fold(now, 1)
        ).state
    return Case(task, state, random_actions(family.action_space, random.fold(key, -1)), random.fold(key, -2))


def _step(family: TaskFamily, case: Case) -> Transition:
    return family.step(case.task, case.state, case.actions, case.key)


def _same(first: Any, second: Any) -> bool:
    pairs = zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _close(first: np.ndarray, second: np.ndarray) -> bool:
    if first.dtype.kind != "f":
        return bool(np.array_equal(first, second))
    return bool(np.all(np.abs(first - second) <= TOLERANCE * np.maximum(1.0, np.abs(first))))


def name_of(family: AnyFamily) -> str:
    return family.name if isinstance(family, HostFamily) else type(family).__name__


def require(family: AnyFamily, condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(f"{name_of(family)}: {message}.")
