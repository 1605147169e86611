"""Meta-World's environments whose task is where their goal and objects are (package ``metaworld``, imported with this).

The goal is in no observation, as Meta-World's benchmarks ML1, ML10 and ML45 have it.
"""

import copy
import pickle
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, final

import gymnasium as gym
import metaworld
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS, ML10_V3, ML45_V3

from metazoo.tasks.metaworld.families import GOALS
from metazoo.words import meant

BENCHMARKS: Final = {"ML10": ML10_V3, "ML45": ML45_V3}
MOVED: Final = ("body_pos", "site_pos")
"""What environments change of their model when they are reset."""
CAMERA: Final = "corner2"


def kinds_of(benchmark: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kinds of a benchmark's training tasks, and those of its test tasks."""
    return tuple(BENCHMARKS[benchmark]["train"]), tuple(BENCHMARKS[benchmark]["test"])


@final
class SawyerEnv(gym.Env):
    """The environments of some kinds of tasks, of which it is one at a time.

    What a reset leaves is a function of the task alone: Meta-World's environments write where things are into their
    model, and some read it there at the next reset, so the model is put right before.
    """

    def __init__(self, env_names: Sequence[str], render_mode: str | None = None):
        self.env_names, self.render_mode = tuple(env_names), render_mode
        self._made: dict[str, Any] = {}
        self.kind = self.env_names[0]
        self.observation_space, self.action_space = self.env.observation_space, self.env.action_space
        self.metadata = self.env.metadata

    @property
    def env(self) -> Any:
        """Meta-World's environment of the present kind."""
        if self.kind not in self._made:
            self._made[self.kind] = _made(self.kind, self.render_mode)
        return self._made[self.kind]

    def set_task(self, task: Mapping[str, Any]) -> None:
        """``placement``: the random vector of a Meta-World task, positions of objects and goal (m), zeros beyond its
        length; ``kind``: of several kinds, which it is."""
        self.kind = self.env_names[int(task.get("kind", 0))]
        env = self.env
        vector = np.asarray(task["placement"], np.float64)[: env._random_reset_space.shape[0]]
        data = {"rand_vec": vector, "partially_observable": True, "env_cls": ALL_V3_ENVIRONMENTS[self.kind]}
        env.set_task(metaworld.Task(env_name=self.kind, data=pickle.dumps(data)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Everything that Meta-World draws is in the task, so ``seed`` decides nothing here."""
        super().reset(seed=seed)
        original = _read(self.env.fullpath)
        for name in MOVED:
            getattr(self.env.model, name)[:] = getattr(original, name)
        return self.env.reset()

    def step(self, action: np.ndarray):
        return self.env.step(action)

    def render(self) -> Any:
        """Upright: Meta-World's cameras stand on their heads."""
        image = self.env.render()
        return image[::-1] if isinstance(image, np.ndarray) else image

    def close(self) -> None:
        for env in self._made.values():
            env.close()


@cache
def _read(path: str) -> Any:
    import mujoco

    return mujoco.MjModel.from_xml_path(path)


class _Copied:
    """Copies a model that this process has read before: to read one takes long."""

    fullpath: str
    width: int
    height: int

    def _initialize_simulation(self) -> tuple[Any, Any]:
        import mujoco

        model = copy.copy(_read(self.fullpath))
        model.vis.global_.offwidth, model.vis.global_.offheight = self.width, self.height
        return model, mujoco.MjData(model)


@cache
def _class(env_name: str) -> type:
    if env_name not in ALL_V3_ENVIRONMENTS:
        names = list(ALL_V3_ENVIRONMENTS)
        raise ValueError(f"env_name is {env_name!r}; {meant(env_name, names, 'Meta-World has ' + ', '.join(names))}")
    original = ALL_V3_ENVIRONMENTS[env_name]
    return type(original.__name__, (_Copied, original), {})


def _made(env_name: str, render_mode: str | None) -> Any:
    """Meta-World's environment, which also takes tasks of its own class."""
    shown = {} if render_mode is None else {"render_mode": render_mode, "camera_name": CAMERA}
    return _class(env_name)(**shown)


@cache
def placements(env_name: str, seed: int, count: int = GOALS) -> np.ndarray:
    """Placements ``[count, n]``, of which the first 50 are what ML1 draws with a seed: its training tasks; the test
    tasks have the next.

    Like ``metaworld._make_tasks``, without the physics of the resets, on which no draw depends.
    """
    before, env = np.random.get_state(), _without_physics(env_name)
    np.random.seed(seed)  # Meta-World draws from NumPy's global generator
    try:
        return np.array([_draw(env) for _ in range(count)])
    finally:
        np.random.set_state(before)
        env.close()


def _without_physics(env_name: str) -> Any:
    import mujoco

    env = _made(env_name, None)
    env._freeze_rand_vec, env._set_task_called = False, True
    env.do_simulation = lambda *_: mujoco.mj_kinematics(env.model, env.data)
    return env


def _draw(env: Any) -> np.ndarray:
    env.reset()
    return env._last_rand_vec
