"""A dark room: a grid with a hidden goal, to be found in a first episode and remembered in later ones.

As for the Decision-Pretrained Transformer (Lee et al. 2023, arXiv 2306.14892), by its code (``envs/darkroom_env.py``):
10 × 10 cells, 100 steps, start in a corner, reward 1 for every step that ends on the goal. The first such room, that of
Algorithm Distillation (Laskin et al. 2022, arXiv 2210.14215), has 9 × 9 cells, 20 steps, and the start in the middle.
"""

from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.families.grid_search import known_goal_steps, search_steps, snake
from metazoo.tasks.family import Reference, TaskFamily, Transition
from metazoo.types import Box, Discrete

MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1), (0, 0))
"""Right, left, up, down, stay: the order of the authors' code."""
SHUFFLE = 0
"""Seed of the order in which goals are kept from training."""


class DarkRoomTask(NamedTuple):
    """``goal [M, 2]``: column and row of its cell, from 0."""

    goal: Any


class DarkRoomState(NamedTuple):
    """``cell [M, E, 2]``: column and row, float32."""

    cell: Any


@final
class DarkRoom(TaskFamily):
    """Reward 1 for every step that ends on the goal, else 0; the goal may be any cell, the start (0, 0) too.

    All splits hold the same ``size``² tasks. With ``unseen``, so many goals are kept from all splits but ``ood``, which
    has only them: the published comparison has 20.
    """

    name: ClassVar[str] = "darkroom"
    hidden: ClassVar[str] = "goal cell"
    reward_unit: ClassVar[str] = "1 a step that ends on the goal"
    Task: ClassVar[type] = DarkRoomTask
    action_space = Discrete(len(MOVES))
    few_tasks: bool = True
    units: ClassVar[dict[str, str]] = {"goal": "cell"}

    def __init__(self, size: int = 10, horizon: int = 100, unseen: int = 0):
        """
        Raises:
            ValueError: no goal would be left, or the number of unseen ones is negative.
        """
        most = size**2 - 1
        if not 0 <= unseen <= most:
            raise ValueError(f"unseen is {unseen!r}; a room of {size} × {size} cells keeps 0 to {most} goals back.")
        self.size, self.horizon, self.unseen = size, horizon, unseen
        self.out_of_range = unseen > 0  # else that split holds the same tasks as all others
        self.observation_space = Box((2,), 0.0, size - 1.0)

    def sample_task(self, key: tf.Tensor, split: str) -> DarkRoomTask:
        cells = self.goals(split)
        return DarkRoomTask(tf.gather(tf.constant(cells, tf.float32), random.integers(key, len(cells))))

    def goals(self, split: str) -> np.ndarray:
        """The split's goals ``[n, 2]``, which are equally likely."""
        cells = np.stack(np.divmod(np.arange(self.size**2), self.size), 1)
        if not self.unseen:
            return cells
        order = np.random.default_rng(SHUFFLE).permutation(len(cells))
        return cells[order[: self.unseen] if split == "ood" else order[self.unseen :]]

    def reset(self, task: DarkRoomTask, key: tf.Tensor) -> DarkRoomState:
        return DarkRoomState(tf.zeros(tf.concat([tf.shape(key), [2]], 0)))

    def step(self, task: DarkRoomTask, state: DarkRoomState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        move = tf.gather(tf.constant(MOVES, tf.float32), actions)
        cell = tf.clip_by_value(state.cell + move, 0.0, self.size - 1.0)
        there = tf.reduce_all(cell == task.goal, -1)
        return Transition(DarkRoomState(cell), tf.where(there, 1.0, 0.0), tf.zeros_like(there))

    def observe(self, task: DarkRoomTask, state: DarkRoomState) -> tf.Tensor:
        return state.cell

    def references(self, tasks: DarkRoomTask) -> dict[str, Reference]:
        """What knowing the goal is worth, searching for it, and neither.

        A step looks at one cell, so after t steps at most t of the n cells are looked at: no search has found the goal
        by then with a larger probability than t / n. Who stays first, which looks at the start, and then walks through
        all other cells in a line has it at every t: no first episode is worth more on average over all goals. Without
        reacting to rewards, each step is on the goal with probability 1 / n.
        """
        known = "closed form: the shortest way to the known goal; no episode earns more"
        (first,) = search_steps([snake(self.size)], tasks.goal, self.horizon, 1).T
        best = "exact: the first episode of the best search; on average over all cells no policy earns more in it"
        found = {
            "optimum": Reference(known_goal_steps(tasks.goal, self.horizon), known),
            "search_first": Reference(first, best),
        }
        if self.unseen:  # then not all cells are equally likely
            return found
        blind = np.full(len(first), self.horizon / self.size**2)
        what = "closed form: the most, on average, without reacting to rewards"
        return found | {"not_reacting": Reference(blind, what)}
