"""Pictures of a family's states, drawn by Gymnasium's own classic-control renderers (which need pygame)."""

import importlib.util
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym
import numpy as np

if TYPE_CHECKING:
    from metazoo.tasks.family import Family

MODES: Final = ["rgb_array"] if importlib.util.find_spec("pygame") else []
"""Render modes that work here."""

_TARGET_COLOUR: Final = (220, 40, 40)


def modes_of(family: "Family") -> list[str]:
    """The render modes of a family's environments."""
    return [] if family.drawn is None else list(MODES)


class Renderer:
    """Draws the states of one task, a NamedTuple of arrays ``[1, ...]``, by the family's original."""

    def __init__(self, family: "Family", task: Any):
        self._env: Any = gym.make(family.original, render_mode="rgb_array").unwrapped
        for attribute, parameter in (family.drawn or {}).items():
            setattr(self._env, attribute, float(getattr(task, parameter)[0]))
        self._env.last_u = None  # the pendulum's renderer would draw the last torque
        self._target = float(task.target[0]) if "target" in task._fields else None

    def draw(self, state: list[np.ndarray]) -> np.ndarray:
        """An image ``[height, width, 3]`` uint8 of the state's fields ``[1]``; a red line marks a hidden target."""
        self._env.state = np.array([field[0] for field in state], np.float64)
        image = self._env.render()
        if self._target is not None:
            column = round(image.shape[1] * (0.5 + self._target / (2 * self._env.x_threshold)))
            image[:, max(column - 1, 0) : column + 1] = _TARGET_COLOUR
        return image

    def close(self) -> None:
        self._env.close()
