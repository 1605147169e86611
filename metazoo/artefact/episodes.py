"""Recorded episodes: checked against a policy's metadata, saved to ``.npz`` files. Other kinds: ``artefact.logs``.

Everything that comes from outside (files, HTTP bodies, the user's code) passes ``validate_episodes`` once, so that the
``adapt`` signature only ever sees arrays of the right shape and dtype, without NaN.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from metazoo.artefact.signatures import EPISODE_FIELDS
from metazoo.artefact.spaces import CollectionError, action_filler, action_spec, observation_spec, space_from_metadata
from metazoo.types import Episodes


def save_episodes(path: str | Path, episodes: Episodes) -> None:
    """Write batch-first episodes to a compressed ``.npz`` with one array per field."""
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in episodes._asdict().items()}
    with open(path, "wb") as file:  # a file object keeps numpy from appending ".npz"
        np.savez_compressed(file, **arrays)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name.

    Raises:
        CollectionError: not a readable ``.npz``, or pickled contents.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise CollectionError(f"there is no episodes file {path}") from error
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise CollectionError(
            f"{path} is not an .npz file of plain arrays, nor .json, .jsonl or .csv: {error}"
        ) from error


def validate_episodes(fields: Mapping[str, Any], metadata: Mapping[str, Any]) -> Episodes:
    """Episodes as ``adapt`` takes them, ``[1, K, T, ...]``, from arrays or nested lists.

    Accepts a missing leading row axis (``[K, T, ...]``), any numeric dtype that holds the values, and more or fewer
    episodes or steps than the policy was trained with. Padded steps get a valid action.

    Args:
        fields: by the names ``signatures.EPISODE_FIELDS``; ``mask`` may be left out when every step was played.
        metadata: the policy's, for its spaces.

    Raises:
        CollectionError: names the field, what it is and what it should be.
    """
    observation_space = space_from_metadata(metadata["observation_space"])
    action_space = space_from_metadata(metadata["action_space"])
    rows, count, steps = _leading_shape(fields)
    axes = {"observations": (rows, count, steps), "final_observations": (rows, count)}
    observation_shape, observation_dtype = observation_spec(observation_space)
    action_shape, action_dtype = action_spec(action_space)
    arrays = {}
    shape: tuple[int, ...]
    for name in EPISODE_FIELDS:
        shape, dtype = (), np.dtype(bool if name in ("terminated", "truncated") else np.float32)
        if name.endswith("observations"):
            shape, dtype = observation_shape, observation_dtype
        elif name == "actions":
            shape, dtype = action_shape, action_dtype
        value = np.ones((rows, count, steps)) if name == "mask" and name not in fields else fields[name]
        arrays[name] = _convert(name, value, (*axes.get(name, (rows, count, steps)), *shape), dtype)
    episodes = Episodes(**arrays)
    lengths = _check_mask(episodes)
    _check_ends(episodes, lengths)
    return episodes._replace(actions=_check_actions(episodes, action_space))


def pad_episodes(episodes: Episodes, metadata: Mapping[str, Any]) -> Episodes:
    """Checked episodes ``[1, K, T, ...]`` with as many episodes and steps as the policy was trained on, where they are
    fewer; what is added has ``mask`` 0 and changes no result. So all callers of ``adapt`` send equal shapes."""
    _, count, steps = episodes.mask.shape
    missing = max(0, metadata["adapt"]["episodes"] - count), max(0, (metadata["horizon"] or 0) - steps)
    filler = action_filler(space_from_metadata(metadata["action_space"]))

    def pad(name: str, field: np.ndarray) -> np.ndarray:
        added = missing[:1] if name == "final_observations" else missing
        widths = [(0, 0), *((0, more) for more in added)]
        padded = np.pad(field, [*widths, *[(0, 0)] * (field.ndim - len(widths))])
        if name == "actions":
            padded[:, count:] = filler
            padded[:, :, steps:] = filler
        return padded

    return Episodes(**{name: pad(name, field) for name, field in episodes._asdict().items()})


def _leading_shape(fields: Mapping[str, Any]) -> tuple[int, int, int]:
    """(1, K, T), from the rewards."""
    missing = [name for name in EPISODE_FIELDS if name not in fields and name != "mask"]
    if missing:
        raise CollectionError(f"the episodes lack {missing[0]!r}: they need {', '.join(EPISODE_FIELDS)}")
    try:
        shape = np.shape(np.asarray(fields["rewards"], np.float64))
    except (TypeError, ValueError) as error:
        raise CollectionError("rewards are not a full array of numbers: pad all episodes to one length") from error
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or shape[0] != 1:
        raise CollectionError(f"rewards have shape {list(shape)}: need [K, T] for K episodes of T steps")
    if shape[1] == 0 or shape[2] == 0:
        raise CollectionError(f"there are {shape[1]} episodes of {shape[2]} steps: at least 1 of each is needed")
    return shape


def _convert(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise ValueError
    except ValueError as error:
        raise CollectionError(f"{name} is not a full array of numbers") from error
    if name == "actions" and _has_booleans(value):
        raise CollectionError(f"actions hold booleans: need {dtype} values")
    if array.shape == shape[1:]:
        array = array[None]
    if array.shape != shape:
        raise CollectionError(f"{name} has shape {list(array.shape)}: need {list(shape[1:])}")
    if not np.all(np.isfinite(array)):
        index = [int(i) for i in np.argwhere(~np.isfinite(array))[0][1:]]
        raise CollectionError(f"{name} holds {array[0][tuple(index)]} at {index}: all values must be finite")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    if dtype.kind in "biu" and not np.array_equal(converted, array):
        place = tuple(np.argwhere(converted != array)[0])
        raise CollectionError(f"{name} holds {array[place]} at {[int(i) for i in place[1:]]}: need {dtype} values")
    if not np.all(np.isfinite(converted)):
        raise CollectionError(f"{name} holds a value beyond the range of {dtype}")
    return converted


def _has_booleans(value: Any) -> bool:
    """Also among the numbers of nested lists, where an array would have made numbers of them."""
    if isinstance(value, list | tuple):
        return any(map(_has_booleans, value))
    return np.asarray(value).dtype.kind == "b"


def _check_mask(episodes: Episodes) -> np.ndarray:
    """The lengths ``[1, K]`` of the episodes; the mask must be ones, then zeros."""
    lengths = episodes.mask.sum(-1).astype(int)
    expected = np.arange(episodes.mask.shape[-1]) < lengths[..., None]
    if not np.array_equal(episodes.mask, expected):
        number = int(np.argwhere(episodes.mask != expected)[0][1])
        raise CollectionError(f"mask of episode {number} must be 1 on its played steps and then 0 to the end")
    if not np.all(lengths):
        raise CollectionError(f"episode {int(np.argwhere(lengths == 0)[0][1])} has no steps: leave it out")
    return lengths


def _check_ends(episodes: Episodes, lengths: np.ndarray) -> None:
    ended = episodes.terminated | episodes.truncated
    early = ended & (np.arange(ended.shape[-1]) != lengths[..., None] - 1)
    if np.any(early):
        _, number, step = (int(index) for index in np.argwhere(early)[0])
        last = int(lengths[0, number]) - 1
        raise CollectionError(f"episode {number} ends at step {step} although its last played step is {last}")


def _check_actions(episodes: Episodes, space: spaces.Space) -> np.ndarray:
    """The actions, with padded ones replaced by a valid one; discrete actions must lie in the space."""
    if isinstance(space, spaces.Box):
        return episodes.actions
    first = np.asarray(action_filler(space), np.int32)
    choices = space.n if isinstance(space, spaces.Discrete) else cast(spaces.MultiDiscrete, space).nvec
    last = first + np.asarray(choices) - 1
    played = episodes.mask.astype(bool).reshape(episodes.mask.shape + (1,) * first.ndim)
    wrong = played & ((episodes.actions < first) | (episodes.actions > last))
    if np.any(wrong):
        place = tuple(np.argwhere(wrong)[0])
        where = [int(index) for index in place[1:]]
        raise CollectionError(f"actions hold {episodes.actions[place]} at {where}, which is not in {space}")
    return np.where(played, episodes.actions, first).astype(np.int32)
