"""A Meta-World environment whose task is where its goal and objects are (package ``metaworld``, imported with this)."""

import pickle
from collections.abc import Mapping
from functools import cache
from typing import Any, final

import gymnasium as gym
import metaworld
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from metazoo.words import meant


@final
class ML1Env(gym.Env):
    """One environment of Meta-World v3, as its benchmark ML1 uses it: the goal is not in the observation."""

    def __init__(self, env_name: str):
        if env_name not in ALL_V3_ENVIRONMENTS:
            names = list(ALL_V3_ENVIRONMENTS)
            raise ValueError(
                f"env_name is {env_name!r}; {meant(env_name, names, 'Meta-World has ' + ', '.join(names))}"
            )
        self.env_name = env_name
        self._env = ALL_V3_ENVIRONMENTS[env_name]()
        self.set_task({"placement": placements(env_name, 0)[0]})
        self.observation_space, self.action_space = self._env.observation_space, self._env.action_space

    def set_task(self, task: Mapping[str, Any]) -> None:
        """``placement``: the random vector of a Meta-World task, positions of objects and goal (m)."""
        data = {"rand_vec": np.asarray(task["placement"], np.float64), "partially_observable": True}
        encoded = pickle.dumps({**data, "env_cls": type(self._env)})
        self._env.set_task(metaworld.Task(env_name=self.env_name, data=encoded))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Everything that Meta-World draws is in the task, so ``seed`` decides nothing here."""
        super().reset(seed=seed)
        return self._env.reset()

    def step(self, action: np.ndarray):
        return self._env.step(action)

    def close(self) -> None:
        self._env.close()


@cache
def placements(env_name: str, seed: int) -> np.ndarray:
    """The 50 placements ``[50, n]`` that ML1 draws with a seed: its training tasks; the test tasks have the next."""
    tasks = metaworld.ML1(env_name, seed=seed).train_tasks
    return np.array([pickle.loads(one.data)["rand_vec"] for one in tasks])
