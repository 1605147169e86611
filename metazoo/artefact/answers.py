"""What environments that nobody here wrote answer: checked, and made plain numbers and arrays of our own.

An environment may hand out one array again and again, a reward as a list of one, ``terminated`` as ``[False]``, or the
four values of old Gym. Whoever records episodes or tells a policy of them reads the answers here, and nowhere else.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from gymnasium import spaces

from metazoo.artefact.spaces import CollectionError, observation_spec

LARGEST: Final = float(np.finfo(np.float32).max)


class AnswerError(CollectionError):
    """What an environment did, and what it should have done; ``by`` says which environment it was, and when."""

    def __init__(self, did: str, should: str):
        super().__init__(f"the environment {did}: {should}")
        self.did, self.should = did, should

    def by(self, who: str, where: str) -> CollectionError:
        return CollectionError(f"{who} {self.did} {where}: {self.should}")


class Outcome(NamedTuple):
    """Of a step; the observation is as the environment gave it, and may change with its next step."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool


def read_reset(answer: Any) -> Any:
    """The observation that ``env.reset`` answered.

    Raises:
        AnswerError: it is not the pair of observation and info.
    """
    pair = isinstance(answer, tuple | list) and len(answer) == 2
    if not pair or not isinstance(answer[1], Mapping | None):
        raise AnswerError(f"answered reset with {_shown(answer)}", "it must be the pair (observation, info)")
    return answer[0]


def read_step(answer: Any) -> Outcome:
    """What ``env.step`` answered, as numbers and flags. What terminates is not truncated.

    Raises:
        AnswerError: not five values, a reward that is not one finite number, an end that is not one truth value.
    """
    if not isinstance(answer, tuple | list) or len(answer) != 5:
        needed = "it must be (observation, reward, terminated, truncated, info), as Gymnasium's environments answer"
        raise AnswerError(f"answered step with {_shown(answer)}", needed)
    observation, reward, terminated, truncated, _ = answer
    ended = terminated if type(terminated) is bool else _flag("terminated", terminated)
    cut = truncated if type(truncated) is bool else _flag("truncated", truncated)
    return Outcome(observation, _reward(reward), ended, cut and not ended)


def read_observation(space: spaces.Space, observation: Any) -> np.ndarray:
    """One observation as the policy sees it, an array of our own.

    Raises:
        CollectionError: it does not fit the space, or holds NaN or infinity.
    """
    try:
        array = flatten_observation(space, observation)
    except Exception as error:  # the caller's own kinds of arrays may raise anything
        raise CollectionError(f"the observation is wrong: {describe(error)}") from error
    require_finite(array, "the observation")
    return array


def read_observations(space: spaces.Space, given: Any) -> np.ndarray:
    """One observation as ``read_observation`` takes it, or as policies see it, or a batch ``[B, ...]`` of the latter.

    Raises:
        CollectionError: neither shape, or NaN or infinity.
    """
    shape, dtype = observation_spec(space)
    array = _array(given)
    if array is not None and array.shape in (shape, (*array.shape[:1], *shape)):
        copied = _exactly(array, dtype, "observations", space)
        require_finite(copied, "observations")
        return copied
    if isinstance(space, spaces.Box):
        found = f"have shape {list(array.shape)}" if array is not None else f"are {_shown(given)}"
        raise CollectionError(f"observations {found}; need {list(shape)} or [B, ...] of it.")
    return read_observation(space, given)


def require_finite(array: np.ndarray, what: str) -> None:
    """Refuse NaN and infinity. Raises CollectionError."""
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise CollectionError(f"{what} has {array[~np.isfinite(array)][0]} in it: all must be finite")


def flatten_observation(space: spaces.Space, observation: Any) -> np.ndarray:
    """One observation as the policy sees it, copied: Box keeps its shape, all else is laid out as ``spaces.flatten``
    does it.

    Raises:
        CollectionError: another shape or kind than the space's, or an entry that the space does not have.
    """
    _, dtype = observation_spec(space)
    if isinstance(space, spaces.Box):
        return _box(space, observation, dtype)
    parts = [part.ravel() for part in _parts(space, observation)]
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)


def describe(error: Exception) -> str:
    """An exception of somebody else's code in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, CollectionError) else f"{type(error).__name__}: {text}"


def _parts(space: spaces.Space, value: Any) -> Iterator[np.ndarray]:
    """The arrays that stand one behind the other in a flattened observation."""
    if isinstance(space, spaces.Dict):
        missing = list(space.spaces) if not isinstance(value, Mapping) else [k for k in space.spaces if k not in value]
        if missing:
            raise CollectionError(f"an observation is {_shown(value)} without {missing[0]!r} where {space} needs it")
        for name, part in space.spaces.items():
            yield from _parts(part, value[name])
    elif isinstance(space, spaces.Tuple):
        if not isinstance(value, Sequence | np.ndarray) or len(value) != len(space.spaces):
            raise CollectionError(f"an observation is {_shown(value)} where {space} needs {len(space.spaces)} parts")
        for part, entry in zip(space.spaces, value, strict=True):
            yield from _parts(part, entry)
    elif isinstance(space, spaces.Box):
        yield _box(space, value, np.dtype(np.float32))
    elif isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        yield np.asarray(spaces.flatten(space, _whole(space, value)), np.float32)
    else:
        yield np.asarray(spaces.flatten(space, value), np.float32)


def _box(space: spaces.Box, value: Any, dtype: np.dtype) -> np.ndarray:
    given = np.asarray(value)
    if given.shape != space.shape:
        raise CollectionError(
            f"an observation has shape {list(given.shape)} where {space} needs {list(space.shape or ())}"
        )
    return _exactly(given, dtype, "an observation", space)


def _exactly(given: np.ndarray, dtype: np.dtype, what: str, space: spaces.Space) -> np.ndarray:
    """A copy in ``dtype``; nothing is rounded or wrapped to fit whole numbers."""
    if given.dtype.kind not in "biufO":
        raise CollectionError(f"{what} of {given.dtype} where {space} needs numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.array(given, dtype)
    if dtype.kind in "iu" and not np.array_equal(array, given):
        raise CollectionError(f"{what} with {given[array != given].flat[0]} where {space} needs values of {dtype}")
    return array


def _whole(space: spaces.Space, value: Any) -> Any:
    """A discrete observation: beyond the space, Gymnasium would flatten it into other entries without a word."""
    given = np.asarray(value)
    if given.shape != space.shape and not (space.shape == () and given.size == 1):
        needed = list(space.shape or ())
        raise CollectionError(f"an observation has shape {list(given.shape)} where {space} needs {needed}")
    whole = given.dtype.kind in "biuf" and np.array_equal(given, np.trunc(given))
    numbers = given.reshape(space.shape or ()).astype(space.dtype) if whole else given
    if not whole or not space.contains(numbers if space.shape else numbers[()]):
        raise CollectionError(f"an observation is {given.tolist()}, which is not in {space}")
    return numbers if space.shape else numbers[()]


def _reward(value: Any) -> float:
    number = value if isinstance(value, float) else _number(value)
    if number is None:
        raise AnswerError(f"gave the reward {value!r}", "it must be a number")
    if -LARGEST <= number <= LARGEST:
        return float(number)
    should = "it must be within the range of float32" if math.isfinite(number) else "it must be finite"
    raise AnswerError(f"gave the reward {number}", should)


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, np.bool_):
        return bool(value)
    number = _number(value)
    if number not in (0.0, 1.0):
        raise AnswerError(f"gave {name} as {value!r}", "it must be True or False")
    return number == 1.0


def _number(value: Any) -> float | None:
    """A number of any kind, also as an array or a list of one; None for what is none, or more than one."""
    array = _array(value)
    if array is None or array.size != 1:
        return None
    one = array.item()
    try:
        return float(one) if hasattr(one, "__float__") else None
    except OverflowError:  # a whole number beyond all floats
        return math.inf
    except Exception:  # of somebody else's number  # noqa: BLE001
        return None


def _array(value: Any) -> np.ndarray | None:
    try:
        return np.asarray(value)
    except Exception:  # lists that no array can be made of, tensors of another library that refuse  # noqa: BLE001
        if not hasattr(value, "__float__"):
            return None
        whole = np.empty((), object)
        whole[()] = value
        return whole


def _shown(answer: Any) -> str:
    if isinstance(answer, tuple | list):
        return f"a {type(answer).__name__} of {len(answer)} values"
    return repr(answer) if answer is None else f"a {type(answer).__name__}"
