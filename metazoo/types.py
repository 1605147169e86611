"""Containers that cross module borders.

Axis legend: ``M`` tasks, ``E`` parallel episodes of a task (``E'`` is 1 where they share a memory), ``T`` time
steps, ``S`` memory size, ``P`` number of policy weights, ``B`` rows at the export boundary, ``K`` episodes a row.
Inside training tensors are time-major (``[T, M, E, ...]``); at the export boundary batch-first (``[B, K, T, ...]``).
"""

import math
from typing import Any, NamedTuple


class Episodes(NamedTuple):
    """Padded episodes. Time-major ``[T, M, E, ...]`` in training, batch-first ``[B, K, T, ...]`` at the boundary.

    ``observations``: what the policy saw before each action; ``final_observations`` (no time axis): the observation
    after the last valid step, which gives the bootstrap value at truncation. ``actions`` are raw samples, before
    clipping to the action space. ``mask`` is 1.0 on steps that were played, 0.0 on padding.
    """

    observations: Any
    final_observations: Any
    actions: Any
    rewards: Any
    terminated: Any
    truncated: Any
    mask: Any


class Box(NamedTuple):
    """A space of real vectors: ``shape``, bounds per axis (or one for all), and dtype name."""

    shape: tuple[int, ...]
    low: Any = float("-inf")
    high: Any = float("inf")
    dtype: str = "float32"

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Discrete(NamedTuple):
    """A space of ``n`` integers from ``start`` on."""

    n: int
    start: int = 0
    dtype: str = "int32"

    @property
    def shape(self) -> tuple[int, ...]:
        return ()


class MultiDiscrete(NamedTuple):
    """A space of integer vectors: component ``i`` takes ``nvec[i]`` values, from ``start`` (or ``start[i]``) on."""

    nvec: tuple[int, ...]
    start: Any = 0
    dtype: str = "int32"

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.nvec),)


Space = Box | Discrete | MultiDiscrete
INT32 = range(-(2**31), 2**31)


def require_usable(observation_space: Any, action_space: Any) -> None:
    """Refuse spaces that policies cannot have.

    Raises:
        ValueError: names the space, and what it may be.
    """
    seen, actions = observation_space, action_space
    if not (isinstance(seen, Box) and seen.dtype in ("float32", "uint8") and _whole(*seen.shape)):
        raise ValueError(
            f"observation_space is {one_line(seen)}; it must be a Box of float32, or uint8 for images, and not empty."
        )
    if isinstance(actions, Box):
        usable = len(actions.shape) == 1 and actions.dtype == "float32" and _whole(*actions.shape)
    elif isinstance(actions, MultiDiscrete):
        starts = actions.start if isinstance(actions.start, tuple | list) else (actions.start,) * len(actions.nvec)
        usable = bool(actions.nvec) and len(starts) == len(actions.nvec)
        usable = usable and all(_within_int32(*one) for one in zip(actions.nvec, starts, strict=True))
    else:
        usable = isinstance(actions, Discrete) and _within_int32(actions.n, actions.start)
    if not usable:
        raise ValueError(
            f"action_space is {one_line(actions)}; it must be a Discrete, or a MultiDiscrete or a float32 Box of one "
            "axis, of actions that int32 holds."
        )


def one_line(space: Any) -> str:
    """A space in a message, where bounds may be large arrays."""
    if isinstance(space, Box):
        return f"Box(shape={space.shape}, dtype={space.dtype!r})"
    return " ".join(str(space).split())


def _whole(*sizes: Any) -> bool:
    return all(isinstance(size, int) and size >= 1 for size in sizes)


def _within_int32(n: Any, start: Any) -> bool:
    return _whole(n) and isinstance(start, int) and start in INT32 and start + n - 1 in INT32


class StepInputs(NamedTuple):
    """What a policy is told at one step, for ``[M, E]`` episodes; ``previous_*`` are zeros at an episode's start."""

    observations: Any
    previous_actions: Any
    previous_rewards: Any
    previous_done: Any


class StepOutputs(NamedTuple):
    """What a policy answers: raw actions, its distribution's parameters by name, log-probabilities, new memory."""

    actions: Any
    parameters: dict[str, Any]
    log_probs: Any
    memory: Any
