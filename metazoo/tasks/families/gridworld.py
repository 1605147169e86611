"""A grid with a hidden goal, as in VariBAD (Zintgraf et al. 2020, arXiv 1910.08348, section 5.1).

Reward 1 on the goal and −0.1 elsewhere. Ours adds a hidden probability of slipping: with goals alone there are 21
tasks, and none left that training has not met. ``slips=False`` leaves it out, as published; then what searching is
worth is known exactly.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.families.grid_search import VARIBAD, cells_of, search_steps
from metazoo.tasks.family import Range, Reference, TaskFamily, Transition
from metazoo.types import Box, Discrete

ON_GOAL, ELSEWHERE = 1.0, -0.1
"""Rewards."""
PUBLISHED = (5, 15)
"""Cells along a side and steps of an episode in VariBAD."""
TRIAL = 4
"""Episodes of a trial there."""
NEVER = Range((0.0, 0.0), ((0.0, 0.0),))
"""Where moves do not fail."""
MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
"""Stay, up, right, down, left."""


class GridworldTask(NamedTuple):
    """``goal [M, 2]``: column and row of its cell, from 0; ``slip [M]``: probability that a move is not made."""

    goal: Any
    slip: Any


class GridworldState(NamedTuple):
    """``cell [M, E, 2]``: column and row, float32."""

    cell: Any


@final
class Gridworld(TaskFamily):
    """Episodes of 15 steps from cell (0, 0); goals uniform over the cells that are not next to it."""

    name: ClassVar[str] = "gridworld"
    hidden: ClassVar[str] = "goal cell, probability of slipping"
    reward_unit: ClassVar[str] = "1 on the goal, −0.1 elsewhere"
    Task: ClassVar[type] = GridworldTask
    action_space = Discrete(len(MOVES))
    units: ClassVar[Mapping[str, str]] = {"goal": "cell", "slip": "probability"}
    nominal: ClassVar[Mapping[str, float]] = {"slip": 0.0}
    ranges: ClassVar[Mapping[str, Range]] = {"slip": Range((0.0, 0.1), ((0.1, 0.3),))}

    def __init__(self, size: int = 5, horizon: int = 15, slips: bool = True):
        self.size = size
        self.slips = self.out_of_range = slips
        self.few_tasks = not slips
        self.horizon = horizon
        self.observation_space = Box((2,), 0.0, size - 1.0)

    def sample_task(self, key: tf.Tensor, split: str) -> GridworldTask:
        cells = self._goals()
        chosen = random.integers(random.fold(key, 0), len(cells))
        slip = self.parameter_ranges()["slip"].sample(random.fold(key, 1), split)
        return GridworldTask(tf.gather(tf.constant(cells, tf.float32), chosen), slip)

    def parameter_ranges(self) -> Mapping[str, Range]:
        return self.ranges if self.slips else {"slip": NEVER}

    def _goals(self) -> list[tuple[int, int]]:
        return [(x, y) for x in range(self.size) for y in range(self.size) if max(x, y) > 1]

    def reset(self, task: GridworldTask, key: tf.Tensor) -> GridworldState:
        return GridworldState(tf.zeros(tf.concat([tf.shape(key), [2]], 0)))

    def step(self, task: GridworldTask, state: GridworldState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        move = tf.gather(tf.constant(MOVES, tf.float32), actions)
        move = tf.where(random.bernoulli(key, task.slip)[..., None], 0.0, move)
        cell = tf.clip_by_value(state.cell + move, 0.0, self.size - 1.0)
        there = tf.reduce_all(cell == task.goal, -1)
        return Transition(GridworldState(cell), tf.where(there, ON_GOAL, ELSEWHERE), tf.zeros_like(there))

    def observe(self, task: GridworldTask, state: GridworldState) -> tf.Tensor:
        return state.cell

    def references(self, tasks: GridworldTask) -> dict[str, Reference]:
        """``optimal_returns``: what knowing the goal is worth. Without slips, what searching for it is worth too."""
        what = "closed form: the best policy for the known goal, by backward induction"
        known = {"optimum": Reference(optimal_returns(tasks, self.size, self.horizon), what)}
        if self.slips or (self.size, self.horizon) != PUBLISHED:
            return known
        earned = _paid(search_steps([cells_of(moves, self.size) for moves in VARIBAD], tasks.goal, self.horizon, TRIAL))
        blind = np.full(len(earned), _paid((self.horizon - 1) / len(self._goals())))
        first = "exact: the first episode of the best search; on average over the goals no policy earns more in it"
        trial = f"exact: the mean of a trial's {TRIAL} episodes, searching at best; on average no policy earns more"
        return known | {
            "search_first": Reference(earned[:, 0], first),
            "search_trial": Reference(earned.mean(1), trial),
            "not_reacting": Reference(blind, "closed form: the most, on average, without reacting to rewards"),
        }


def _paid(steps: Any, horizon: int = PUBLISHED[1]) -> Any:
    """Returns of episodes with so many steps on the goal."""
    return ELSEWHERE * horizon + (ON_GOAL - ELSEWHERE) * steps


def optimal_returns(task: GridworldTask, size: int = 5, horizon: int = 15) -> np.ndarray:
    """The oracle: expected return ``[M]`` of an episode from (0, 0) for who knows the goal, by backward induction."""
    goal, slip = np.asarray(task.goal, np.float64), np.asarray(task.slip, np.float64)[:, None]
    cells = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1).reshape(-1, 2)
    rewards = np.where(np.all(cells == goal[:, None], -1), ON_GOAL, ELSEWHERE)
    reached = np.clip(cells[:, None] + np.array(MOVES), 0, size - 1) @ [size, 1]
    values = np.zeros(rewards.shape)
    for _ in range(horizon):
        arrival = rewards + values
        moved = (1.0 - slip[..., None]) * arrival[:, reached] + slip[..., None] * arrival[..., None]
        values = moved.max(-1)
    return values[:, 0]
