"""Families whose environments are stepped by Python on the host, instead of by TensorFlow in the graph.

Such a family declares what a ``TaskFamily`` does, and tasks are data in the same form. In place of pure functions it
has rows of environments that play one episode each, side by side: ``reset`` begins them, ``step`` moves them.
``metazoo.rollouts.graph`` plays both kinds of families alike.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np

from metazoo.tasks.family import Family, TaskFamily


class HostTransition(NamedTuple):
    """The outcome of one step of ``N`` rows; the arrays are valid until the next call."""

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    """Ended by the environment's own time limit; the family's horizon is the rollout's business."""
    successes: np.ndarray | None = None
    """Float: 1 where the goal is reached now, 0 where not, NaN where nobody says; None where nobody ever does."""


class HostFamily(Family):
    """A distribution over tasks with shared spaces and horizon, played by environments on the host."""

    name: str
    Task: Any
    """NamedTuple of the task parameters, float32 ``[M, ...]``."""
    rows: int
    """How many episodes are played side by side at most: bounds memory, changes no result."""

    @abstractmethod
    def sample(self, count: int, split: str = "train", seed: Any = 0) -> Any:
        """``count`` tasks of a split, a pure function of ``(split, seed)``.

        Raises:
            ValueError: the split is not one of ``SPLITS``.
        """

    @abstractmethod
    def reset(self, tasks: Any, seeds: np.ndarray) -> np.ndarray:
        """Begin an episode in every row, of ``tasks [N, ...]`` from ``seeds [N]`` (uint32); observations ``[N, ...]``.

        Episodes that were not played to their end are given up.
        """

    @abstractmethod
    def step(self, actions: np.ndarray, playing: np.ndarray) -> HostTransition:
        """Move the rows in ``playing [N]`` (bool) by ``actions [N, ...]``, clipped to the action space by the family.

        The other rows keep their observations; their rewards are 0 and they have not ended.
        """

    def close(self) -> None:
        """Give back processes and environments; the next ``reset`` makes new ones."""


AnyFamily = TaskFamily | HostFamily
