"""Gymnasium spaces as plain data, and how they map to the tensors of an exported policy.

A policy's metadata (``assets.extra/metazoo.json``) holds its spaces as JSON; infinite bounds are written as ``null``
because JSON has no infinity. ``metazoo.collect`` re-exports what users and exporters need.
"""

from collections.abc import Mapping
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from metazoo.types import one_line

SPACE_TYPES: Final = ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict", "Tuple")


class CollectionError(ValueError):
    """Episodes, or the environment they come from, are unusable; the message is one sentence for the user."""


def space_to_metadata(space: spaces.Space) -> dict[str, Any]:
    """The JSON form of a space.

    Bounds are one number where all entries agree, else nested lists in the space's shape. Integers stay integers: a
    float does not hold those of 64 bits.

    Raises:
        CollectionError: the type of space has no tensor form (``Text``, ``Graph``, ``Sequence`` ...).
    """
    if isinstance(space, spaces.Box):
        bounds = {
            "low": _bound_to_json(space.low, space.bounded_below),
            "high": _bound_to_json(space.high, space.bounded_above),
        }
        return {"type": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start), **_unusual_dtype(space)}
    if isinstance(space, spaces.MultiDiscrete):
        numbers = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return {"type": "MultiDiscrete", **numbers, **_unusual_dtype(space)}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "n": int(space.n) if np.ndim(space.n) == 0 else list(space.shape)}
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {name: space_to_metadata(part) for name, part in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [space_to_metadata(part) for part in space.spaces]}
    raise CollectionError(f"space {one_line(space)} is not supported: use one of {', '.join(SPACE_TYPES)}")


def space_from_metadata(metadata: Mapping[str, Any]) -> spaces.Space:
    """The Gymnasium space described by ``metadata`` (the inverse of ``space_to_metadata``).

    Raises:
        CollectionError: an unknown ``type``, a missing key, or numbers that make no such space.
    """
    kind = metadata.get("type")
    try:
        if kind == "Box":
            return _box_from_metadata(metadata)
        if kind == "Discrete":
            start = int(metadata.get("start", 0))
            return spaces.Discrete(int(metadata["n"]), start=start, dtype=_integer_type(metadata))
        if kind == "MultiDiscrete":
            nvec = np.asarray(metadata["nvec"], np.int64)
            starts = np.broadcast_to(metadata.get("start", 0), nvec.shape).tolist()
            return spaces.MultiDiscrete(nvec, dtype=_integer_type(metadata), start=starts)
        if kind == "MultiBinary":
            return spaces.MultiBinary(metadata["n"])
        if kind == "Dict":
            pairs = [(name, space_from_metadata(part)) for name, part in metadata["spaces"].items()]
            return spaces.Dict(pairs)  # a dict would be sorted, and the order decides the flattened layout
        if kind == "Tuple":
            return spaces.Tuple([space_from_metadata(part) for part in metadata["spaces"]])
    except CollectionError:  # of a part
        raise
    except KeyError as error:
        raise CollectionError(f"the metadata of a {kind} space lacks the key {error}") from error
    except (TypeError, ValueError, OverflowError, AssertionError) as error:
        raise CollectionError(f"the metadata of a {kind} space is unusable: {error}") from error
    raise CollectionError(f"space type {kind!r} is unknown: use one of {', '.join(SPACE_TYPES)}")


def observation_spec(space: spaces.Space) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of one observation as the policy sees it: uint8 images and float32 for all else."""
    if isinstance(space, spaces.Box):
        return space.shape, np.dtype(np.uint8 if space.dtype == np.uint8 else np.float32)
    return (spaces.flatdim(space),), np.dtype(np.float32)


def unflatten_observation(space: spaces.Space, seen: np.ndarray) -> Any:
    """One observation as the environment gave it, from what the policy saw."""
    return seen if isinstance(space, spaces.Box) else spaces.unflatten(space, seen)


def action_spec(space: spaces.Space) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of one action: float32 for Box, int32 (``start`` included) for Discrete and MultiDiscrete.

    Raises:
        CollectionError: the space is none of the three.
    """
    if isinstance(space, spaces.Box):
        return space.shape, np.dtype(np.float32)
    if isinstance(space, spaces.Discrete):
        return (), np.dtype(np.int32)
    if isinstance(space, spaces.MultiDiscrete):
        return space.nvec.shape, np.dtype(np.int32)
    raise CollectionError(f"action space {one_line(space)} is not supported: use Box, Discrete or MultiDiscrete")


def to_env_action(space: spaces.Space, action: np.ndarray) -> Any:
    """A raw action as ``env.step`` takes it: Box actions are clipped to the bounds, the stored ones are not."""
    if isinstance(space, spaces.Box):
        return clip_to_box(space, action).reshape(space.shape)
    if isinstance(space, spaces.Discrete):
        return int(action)
    return np.array(action, space.dtype)  # a copy: what the environment does to it stays out of the record


def clip_to_box(space: spaces.Box, actions: np.ndarray) -> np.ndarray:
    """Actions ``[..., *shape]`` within the bounds, in the space's dtype: whole numbers are the nearest ones."""
    if np.dtype(space.dtype).kind == "f":
        return np.clip(actions, space.low, space.high).astype(space.dtype)
    with np.errstate(invalid="ignore"):  # of what lies outside, which the bounds replace: floats hardly hold the last
        whole = np.rint(actions).astype(space.dtype)
    return np.where(actions >= space.high, space.high, np.where(actions <= space.low, space.low, whole))


def action_filler(space: spaces.Space) -> Any:
    """A harmless valid action for padded steps: the first action of discrete spaces, zero for Box."""
    return getattr(space, "start", 0)


def env_name(env: gym.Env) -> str:
    """How messages call an environment: its registered id, or its class."""
    spec = getattr(env, "spec", None)
    return spec.id if spec is not None else type(env.unwrapped).__name__


def require_env(env: Any) -> None:
    """Refuse what is not a single ``gymnasium.Env`` (or wraps one) with Gymnasium's spaces.

    Raises:
        CollectionError: says what was given instead.
    """
    if not isinstance(getattr(env, "unwrapped", None), gym.Env):
        raise CollectionError(f"{_given(env)} is not an environment: a gymnasium.Env is needed, {_instead(env)}")
    for role in ("observation_space", "action_space"):
        try:
            space = getattr(env, role, None)
        except Exception:  # a property that raises  # noqa: BLE001
            space = None
        if not isinstance(space, spaces.Space):
            found = f"no {role}" if space is None else f"the {role} {space!r}"
            raise CollectionError(f"{env_name(env)} has {found}: a gymnasium.Env needs one of gymnasium.spaces")


def _given(thing: Any) -> str:
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    return repr(thing) if isinstance(thing, str | None) else f"a {type(thing).__name__}"


def _instead(thing: Any) -> str:
    if isinstance(thing, type):
        return "an instance of it"
    if hasattr(thing, "num_envs"):
        return "one alone, not a vector of them"
    return "such as gymnasium.make(ID) returns"


def check_spaces(env: gym.Env, metadata: Mapping[str, Any]) -> None:
    """Refuse an environment whose spaces do not fit the policy described by ``metadata``.

    Observation bounds may differ (a policy is often moved to other physics); observation structure and shapes,
    and the whole action space, may not.

    Raises:
        CollectionError: it is no environment; or names it and prints both spaces.
    """
    require_env(env)
    pairs = (("observation", env.observation_space, False), ("action", env.action_space, True))
    for role, actual, with_bounds in pairs:
        needed = space_from_metadata(metadata[f"{role}_space"])
        if not _fits(needed, actual, with_bounds):
            policy = metadata.get("name", "the policy")
            raise CollectionError(
                f"the {role} space of {env_name(env)}, {one_line(actual)}, does not fit {policy}, which needs "
                f"{one_line(needed)}"
            )


def _fits(needed: spaces.Space, actual: spaces.Space, with_bounds: bool) -> bool:
    if isinstance(needed, spaces.Box) and isinstance(actual, spaces.Box):
        same = observation_spec(needed) == observation_spec(actual)
        if not (same and with_bounds):
            return same
        return np.allclose(needed.low, actual.low) and np.allclose(needed.high, actual.high)
    if isinstance(needed, spaces.Discrete) and isinstance(actual, spaces.Discrete):
        return (needed.n, needed.start) == (actual.n, actual.start)  # actions are given in the environment's dtype
    if isinstance(needed, spaces.MultiDiscrete) and isinstance(actual, spaces.MultiDiscrete):
        return np.array_equal(needed.nvec, actual.nvec) and np.array_equal(needed.start, actual.start)
    if isinstance(needed, spaces.Dict) and isinstance(actual, spaces.Dict):
        same_names = list(needed.spaces) == list(actual.spaces)  # the order decides the flattened layout
        return same_names and all(_fits(part, actual[name], with_bounds) for name, part in needed.spaces.items())
    if isinstance(needed, spaces.Tuple) and isinstance(actual, spaces.Tuple):
        parts = zip(needed.spaces, actual.spaces, strict=False)
        return len(needed) == len(actual) and all(_fits(a, b, with_bounds) for a, b in parts)
    return needed == actual


def _box_from_metadata(metadata: Mapping[str, Any]) -> spaces.Box:
    shape, dtype = tuple(metadata["shape"]), np.dtype(metadata.get("dtype", "float32"))
    low, below = _bound_from_json(metadata.get("low"), -np.inf, shape, dtype)
    high, above = _bound_from_json(metadata.get("high"), np.inf, shape, dtype)
    box = spaces.Box(low, high, shape, dtype.type)
    # of integers, nothing else tells a missing bound from the dtype's last number
    box.bounded_below, box.bounded_above = below, above
    return box


def _bound_to_json(bound: np.ndarray, bounded: np.ndarray) -> Any:
    """One number or nested lists; None for what is not bounded."""
    values = bound.astype(object) if bound.dtype.kind in "iu" else bound.astype(np.float64).astype(object)
    values = np.where(bounded & np.isfinite(bound), values, np.array(None, object))
    entries = set(values.ravel().tolist())
    return values.tolist() if len(entries) > 1 else entries.pop() if entries else None


def _bound_from_json(
    value: Any, infinity: float, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """A bound of every entry, and which of them are bounds indeed."""
    values = np.broadcast_to(np.asarray(value, object), shape)
    bounded = np.not_equal(values, np.array(None, object))
    if dtype.kind not in "iu":
        return np.where(bounded, values, infinity).astype(np.float64).astype(dtype), bounded
    limits = np.iinfo(dtype)
    last = limits.min if infinity < 0 else limits.max
    whole = [last if entry is None else min(max(int(entry), limits.min), limits.max) for entry in values.ravel()]
    return np.array(whole, dtype).reshape(shape), bounded


def _unusual_dtype(space: spaces.Discrete | spaces.MultiDiscrete) -> dict[str, str]:
    """The metadata's entry on a dtype that is not Gymnasium's own choice."""
    return {} if space.dtype == np.int64 else {"dtype": str(space.dtype)}


def _integer_type(metadata: Mapping[str, Any]) -> Any:
    return np.dtype(metadata.get("dtype", "int64")).type
