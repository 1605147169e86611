"""One episode as it was recorded, and several as ``Episodes``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from metazoo.artefact.answers import describe, read_observations
from metazoo.artefact.episodes import validate_episodes
from metazoo.artefact.spaces import CollectionError, action_filler, action_spec, observation_spec, space_from_metadata
from metazoo.types import Episodes


class Record(NamedTuple):
    """One episode of T ≥ 1 steps.

    ``observations``: T + 1, the last of them after the last step; as the environment gave them, or flattened.
    ``actions`` and ``rewards``: T. ``terminated`` and ``truncated``: T truth values, or one that is the last step's; an
    episode that says neither counts as truncated.
    """

    observations: Sequence[Any]
    actions: Sequence[Any]
    rewards: Sequence[Any]
    terminated: Any = False
    truncated: Any = False


def stack(records: Iterable[Record], metadata: Mapping[str, Any]) -> Episodes:
    """The episodes ``[1, K, T, ...]``, padded to the longest.

    Raises:
        CollectionError: there is none, or what one holds does not fit the policy's spaces.
    """
    arrays = [_arrays(number, record, metadata) for number, record in enumerate(records)]
    if not arrays:
        raise CollectionError("there are no episodes in the log: at least 1 is needed")
    steps = max(len(one["rewards"]) for one in arrays)
    filler = action_filler(space_from_metadata(metadata["action_space"]))
    padded = [{name: _padded(name, field, steps, filler) for name, field in one.items()} for one in arrays]
    return validate_episodes({name: np.stack([one[name] for one in padded]) for name in padded[0]}, metadata)


def _arrays(number: int, record: Record, metadata: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """An episode's fields ``[T, ...]``."""
    steps = len(record.rewards)
    counts = {"observations": (len(record.observations), steps + 1), "actions": (len(record.actions), steps)}
    for name, (found, needed) in counts.items():
        if found != needed:
            raise CollectionError(
                f"episode {number} has {steps} rewards and {found} {name}: need {needed}, the observation after the "
                "last step included"
            )
    if not steps:
        raise CollectionError(f"episode {number} has no steps: leave it out")
    seen = _observations(number, record.observations, metadata)
    terminated = _flags(number, "terminated", record.terminated, steps)
    truncated = _flags(number, "truncated", record.truncated, steps) & ~terminated
    truncated[-1] = not terminated[-1]
    return {
        "observations": seen[:-1],
        "final_observations": seen[-1],
        "actions": _actions(number, record.actions, metadata),
        "rewards": _numbers(number, "rewards", record.rewards, ()),
        "terminated": terminated,
        "truncated": truncated,
        "mask": np.ones(steps, np.float32),
    }


def _observations(number: int, given: Sequence[Any], metadata: Mapping[str, Any]) -> np.ndarray:
    """``[T + 1, ...]``, each as the policy sees it."""
    space = space_from_metadata(metadata["observation_space"])
    shape, _ = observation_spec(space)
    seen = []
    for step, observation in enumerate(given):
        try:
            seen.append(read_observations(space, observation))
            if seen[-1].shape != shape:
                raise CollectionError(f"observations have shape {list(seen[-1].shape)}; need {list(shape)}")
        except CollectionError as error:
            raise CollectionError(f"in episode {number} at step {step} {describe(error).rstrip('.')}") from error
    return np.stack(seen)


def _actions(number: int, given: Sequence[Any], metadata: Mapping[str, Any]) -> np.ndarray:
    """``[T, ...]``; a list of one number counts as a number, and a number as an action of one axis."""
    shape, _ = action_spec(space_from_metadata(metadata["action_space"]))
    return _numbers(number, "actions", given, shape)


def _flags(number: int, name: str, given: Any, steps: int) -> np.ndarray:
    """``[T]``; one truth value is the last step's."""
    try:
        flags = np.asarray(given, float).ravel()
    except (TypeError, ValueError) as error:
        raise CollectionError(f"{name} of episode {number} is {given!r}: it must be true or false") from error
    if flags.size not in (1, steps) or not np.isin(flags, (0.0, 1.0)).all():
        raise CollectionError(f"{name} of episode {number} must be true or false, once or at each of {steps} steps")
    full = np.zeros(steps, bool)
    full[-flags.size :] = flags
    return full


def _numbers(number: int, name: str, given: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"they are {array.dtype}")
        return array.reshape(len(given), *shape)
    except ValueError as error:
        needed = list(shape) if shape else "one number"
        raise CollectionError(
            f"{name} of episode {number} are unusable: need {needed} at each step ({error})"
        ) from error


def _padded(name: str, field: np.ndarray, steps: int, filler: Any) -> np.ndarray:
    """The time axis filled up to ``steps``."""
    if name == "final_observations":
        return field
    value = filler if name == "actions" else 0
    added = np.broadcast_to(np.asarray(value, field.dtype), (steps - len(field), *field.shape[1:]))
    return np.concatenate([field, added])
