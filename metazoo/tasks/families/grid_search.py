"""What a hidden goal on a grid is worth to who must search for it: exact figures, without learning.

Until the goal is met every reward is the same, so all that can be decided is a path, an episode after another; once it
is met, one stays there, and goes there by a shortest way in later episodes. A *search* is such a path.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Cell = tuple[int, int]
VARIBAD: tuple[str, ...] = ("UUUURRRDDDLUULD", "RRRRUUUU")
"""The best search of VariBAD's grid of 5 × 5 cells in its 4 episodes of 15 steps: moves, an episode each.

Nothing earns more over the trial (a test goes through all searches), and nothing more in its first episode alone: its
first move can find nothing, and each other one looks at a new cell.
"""


def known_goal_steps(goals: Any, horizon: int) -> np.ndarray:
    """Steps ``[M]`` of an episode that end on the goal, at best, for who starts in (0, 0) and knows it."""
    distance = np.asarray(goals, np.int64).sum(-1)
    return horizon + 1 - np.maximum(distance, 1)


def search_steps(paths: Sequence[Sequence[Cell]], goals: Any, horizon: int, episodes: int) -> np.ndarray:
    """Steps ``[M, episodes]`` that end on the goals ``[M, 2]``: of a search whose steps end in ``paths``' cells, an
    episode each, until the goal is met; afterwards of who knows it."""
    goals = np.asarray(goals, np.int64)
    known, met = known_goal_steps(goals, horizon), np.zeros(len(goals), bool)
    earned = np.zeros((len(goals), episodes))
    for episode in range(episodes):
        earned[met, episode] = known[met]
        for step, cell in enumerate(paths[episode] if episode < len(paths) else (), start=1):
            here = ~met & (goals == cell).all(-1)
            earned[here, episode], met = horizon + 1 - step, met | here
    return earned


def cells_of(moves: str, size: int) -> list[Cell]:
    """Where each of the moves ends, from (0, 0): U, D, L, R, and S to stay. Walls stop."""
    ways, (x, y), cells = {"U": (0, 1), "D": (0, -1), "L": (-1, 0), "R": (1, 0), "S": (0, 0)}, (0, 0), []
    for move in moves:
        x, y = (min(max(place + way, 0), size - 1) for place, way in zip((x, y), ways[move], strict=True))
        cells.append((x, y))
    return cells


def snake(size: int) -> list[Cell]:
    """Every cell of a grid in turn, from (0, 0), each next to the one before."""
    return [(x, y if x % 2 == 0 else size - 1 - y) for x in range(size) for y in range(size)]
