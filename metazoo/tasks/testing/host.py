"""Checks that a family on the host keeps its contract; ``metazoo.tasks.testing.check_family`` runs them."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from metazoo.tasks.host_family import HostFamily
from metazoo.tasks.testing import graph as testing
from metazoo.types import Box, Discrete, MultiDiscrete

_ROWS, _STEPS = 4, 12
FEW = 16
"""A family with fewer tasks than this need not keep the splits apart: they hold the same ones."""


def check_declarations(family: HostFamily) -> None:
    """Spaces, horizon and rows are declared and usable."""
    testing.check_spaces(family)
    for name in ("horizon", "rows"):
        value = getattr(family, name)
        testing.require(
            family, isinstance(value, int) and value >= 1, f"{name} is {value!r}; it must be an integer above 0"
        )


def check_sampling(family: HostFamily) -> None:
    """Tasks are finite float32 ``[count, ...]``, and a pure function of split, seed and their place."""
    for split in testing.splits_of(family):
        first, again, longer = (family.sample(count, split, 3) for count in (6, 6, 9))
        for name, field in first._asdict().items():
            what = f"field {name!r} of {split} tasks"
            testing.require(family, field.dtype == "float32", f"{what} is {field.dtype.name}; it must be float32")
            testing.require(family, bool(np.all(np.isfinite(field))), f"{what} is not finite")
        testing.require(family, _same(first, again), f"{split} tasks differ between two calls with one seed")
        start = [field[:6] for field in longer]
        testing.require(family, _same(first, start), f"{split} tasks depend on how many are sampled")


def check_splits(family: HostFamily) -> None:
    """No task occurs in two splits, unless there are only a few."""
    tasks = np.concatenate([np.reshape(field, (256, -1)) for field in family.sample(256)], 1)
    if len(np.unique(tasks, axis=0)) >= FEW:
        testing.check_splits(family)


def check_rows(family: HostFamily) -> None:
    """Shapes and dtypes; an episode follows from its task, seed and actions, whatever row it is in and whoever is
    beside it; every episode's numbers are finite."""
    tasks, seeds = family.sample(_ROWS), np.arange(_ROWS, dtype=np.uint32)
    actions = _random_actions(family)
    whole = _play(family, tasks, seeds, actions)
    for name, value in whole.items():
        testing.require(family, bool(np.all(np.isfinite(value))), f"random play meets {name} that are not finite")
    testing.require(
        family, _same(whole.values(), _play(family, tasks, seeds, actions).values()), "episodes do not repeat"
    )
    turned = _play(family, _take(tasks, slice(None, None, -1)), seeds[::-1], actions[:, ::-1])
    back = [value[:, ::-1] for value in turned.values()]
    testing.require(family, _same(whole.values(), back), "an episode depends on its row")
    alone = _play(family, _take(tasks, slice(1, 2)), seeds[1:2], actions[:, 1:2])
    testing.require(
        family, _same([value[:, 1:2] for value in whole.values()], alone.values()), "rows depend on other rows"
    )


def check_clipping(family: HostFamily) -> None:
    """Continuous actions outside the action space act as the nearest ones inside."""
    space = family.action_space
    if not isinstance(space, Box):
        return
    tasks, seeds = family.sample(_ROWS), np.arange(_ROWS, dtype=np.uint32)
    wild = 5.0 * np.random.default_rng(1).standard_normal((_STEPS, _ROWS, *space.shape)).astype(np.float32)
    tame = np.clip(wild, space.low, space.high)
    plays = [_play(family, tasks, seeds, actions).values() for actions in (wild, tame)]
    testing.require(family, _same(*plays), "step must clip the actions to the action space")


CHECKS: Final[dict[str, Callable[[HostFamily], None]]] = {
    "declarations": check_declarations,
    "sampling": check_sampling,
    "splits": check_splits,
    "rows": check_rows,
    "clipping": check_clipping,
}


def _play(family: HostFamily, tasks: Any, seeds: np.ndarray, actions: np.ndarray) -> dict[str, np.ndarray]:
    """Observations, rewards and ends ``[steps, rows, ...]`` of episodes with the given actions."""
    seen = family.reset(tasks, seeds)
    space = family.observation_space
    right = seen.shape == (len(seeds), *space.shape) and seen.dtype == space.dtype
    testing.require(family, right, f"reset gives {seen.dtype.name} {list(seen.shape)}, which is not observation_space")
    playing = np.ones(len(seeds), bool)
    record: dict[str, list[np.ndarray]] = {"observations": [seen.copy()], "rewards": [], "ends": []}
    for now in actions:
        after = family.step(now, playing)
        record["observations"].append(after.observations.copy())
        record["rewards"].append(after.rewards.copy())
        record["ends"].append(np.where(after.terminated, 1.0, np.where(after.truncated, 2.0, 0.0)))
        playing = playing & ~(after.terminated | after.truncated)
    return {name: np.stack(values) for name, values in record.items()}


def _random_actions(family: HostFamily) -> np.ndarray:
    """``[steps, rows, ...]``, as ``family.random_actions`` draws them."""
    generator, space, lead = np.random.default_rng(0), family.action_space, (_STEPS, _ROWS)
    if isinstance(space, Discrete):
        return (space.start + generator.integers(space.n, size=lead)).astype(np.int32)
    if isinstance(space, MultiDiscrete):
        return (np.asarray(space.start) + generator.integers(space.nvec, size=(*lead, len(space.nvec)))).astype(
            np.int32
        )
    low, high = (np.broadcast_to(bound, space.shape) for bound in (space.low, space.high))
    bounded = np.isfinite(low) & np.isfinite(high)
    inside = generator.uniform(np.where(bounded, low, 0.0), np.where(bounded, high, 1.0), (*lead, *space.shape))
    free = np.clip(generator.standard_normal(inside.shape), low, high)
    return np.where(bounded, inside, free).astype(np.float32)


def _take(tasks: Any, rows: slice) -> Any:
    return type(tasks)(*(np.asarray(field)[rows] for field in tasks))


def _same(first: Any, second: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
