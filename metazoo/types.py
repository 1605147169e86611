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
