"""The arrays through which rows of environments and their player talk, in one process or between two."""

import math
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from metazoo.artefact.spaces import action_spec, observation_spec


class Layout(NamedTuple):
    """Shapes and dtypes of a board of ``rows`` rows."""

    rows: int
    observation: tuple[tuple[int, ...], str]
    action: tuple[tuple[int, ...], str]

    @classmethod
    def of(cls, env: gym.Env, rows: int) -> "Layout":
        """For the environment's spaces.

        Raises:
            CollectionError: a space that policies cannot have.
        """
        (seen, seen_dtype), (chosen, chosen_dtype) = (
            observation_spec(env.observation_space),
            action_spec(env.action_space),
        )
        return cls(rows, (seen, seen_dtype.str), (chosen, chosen_dtype.str))

    def fields(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        flag, number = ((), np.dtype(bool)), ((), np.dtype(np.float32))
        inner = {
            "observations": (self.observation[0], np.dtype(self.observation[1])),
            "actions": (self.action[0], np.dtype(self.action[1])),
            "rewards": number,
            "terminated": flag,
            "truncated": flag,
            "successes": number,
            "playing": flag,
            "current": ((), np.dtype(np.int32)),  # [0] of a worker's slice: the row it is stepping
        }
        return {name: ((self.rows, *shape), dtype) for name, (shape, dtype) in inner.items()}

    @property
    def size(self) -> int:
        """Bytes, with each array on its own cache lines."""
        return sum(_aligned(math.prod(shape) * dtype.itemsize) for shape, dtype in self.fields().values())


class Board(NamedTuple):
    """What parent and worker share, ``[rows, ...]`` each: actions and ``playing`` go in, the rest comes out."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    successes: np.ndarray
    """1 where the goal is reached, 0 where not, NaN where the environment does not say."""
    playing: np.ndarray
    current: np.ndarray

    @classmethod
    def on(cls, memory: Any, layout: Layout) -> "Board":
        """The arrays as views of a buffer of ``layout.size`` bytes."""
        arrays, offset = {}, 0
        for name, (shape, dtype) in layout.fields().items():
            arrays[name] = np.ndarray(shape, dtype, memory, offset)
            offset += _aligned(arrays[name].nbytes)
        return cls(**arrays)

    def part(self, start: int, stop: int) -> "Board":
        return Board(*(array[start:stop] for array in self))


def _aligned(size: int) -> int:
    return -(-size // 64) * 64
