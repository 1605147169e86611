"""Pictures of a family's states, drawn by Gymnasium's own classic-control renderers (which need pygame)."""

import importlib
import importlib.util
from typing import Any, Final

import numpy as np

MODES: Final = ["rgb_array"] if importlib.util.find_spec("pygame") else []
"""Render modes that work here."""

# family → module and class of Gymnasium's environment, and its drawn attributes by task parameter
_ORIGINALS: Final = {
    "cartpole": ("cartpole", "CartPoleEnv", {"length": "half_length"}),
    "cartpole_goal": ("cartpole", "CartPoleEnv", {"length": "half_length"}),
    "pendulum": ("pendulum", "PendulumEnv", {}),
    "acrobot": ("acrobot", "AcrobotEnv", {"LINK_LENGTH_1": "length_1", "LINK_LENGTH_2": "length_2"}),
    "mountain_car_continuous": (
        "continuous_mountain_car",
        "Continuous_MountainCarEnv",
        {"goal_position": "goal"},
    ),
}
_TARGET_COLOUR: Final = (220, 40, 40)


def modes_of(family_name: str) -> list[str]:
    """The render modes of a family's environments."""
    return list(MODES) if family_name in _ORIGINALS else []


class Renderer:
    """Draws the states of one task, a NamedTuple of arrays ``[1, ...]``."""

    def __init__(self, family_name: str, task: Any):
        module, name, attributes = _ORIGINALS[family_name]
        original = getattr(importlib.import_module(f"gymnasium.envs.classic_control.{module}"), name)
        self._env = original(render_mode="rgb_array")
        for attribute, parameter in attributes.items():
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
