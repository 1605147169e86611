"""Every task family as Gymnasium environments: ``gym.make("metazoo/CartPole-v0", task={"force": -9.0})``.

Gymnasium loads no plugins since 1.0, so the ids exist once ``register_envs`` has run; importing this module runs it,
also by ``gym.make("metazoo.tasks.views.gym_view:metazoo/CartPole-v0")``. TensorFlow is loaded by the first environment.
"""

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from metazoo.tasks import catalogue
from metazoo.tasks.views import gym_render
from metazoo.types import Box, Discrete, MultiDiscrete, Space, require_usable
from metazoo.words import meant

if TYPE_CHECKING:
    from metazoo.tasks.family import TaskFamily
    from metazoo.tasks.host_family import AnyFamily


def register_envs() -> None:
    """Register all ids with Gymnasium; ids that exist already stay as they are."""
    for family, line in catalogue.IN_THE_GRAPH.items():
        if line.gym_id not in gym.registry:
            gym.register(
                line.gym_id,
                entry_point="metazoo.tasks.views.gym_view:FamilyEnv",
                vector_entry_point="metazoo.tasks.views.gym_view:FamilyVectorEnv",
                max_episode_steps=line.horizon,
                kwargs={"family": family},
            )


def to_gym_space(space: Space) -> spaces.Space:
    """A ``metazoo.types`` space as Gymnasium's."""
    if isinstance(space, Discrete):
        return spaces.Discrete(space.n, start=space.start)
    if isinstance(space, MultiDiscrete):
        return spaces.MultiDiscrete(list(space.nvec), start=np.broadcast_to(space.start, space.shape).tolist())
    dtype = np.dtype(space.dtype)
    bounds = space.low, space.high
    if dtype.kind == "u":  # bytes have bounds, whatever was declared
        bounds = tuple(np.clip(bound, 0, np.iinfo(dtype).max) for bound in bounds)
    low, high = (np.broadcast_to(np.asarray(bound, dtype), space.shape) for bound in bounds)
    return spaces.Box(low, high, space.shape, dtype.type)


def gym_spaces_of(family: "AnyFamily") -> tuple[spaces.Space, spaces.Space]:
    """The observation and action space of the family's environments; where those are Gymnasium's own, as they are."""
    observations = getattr(family, "gym_observation_space", None)
    actions = getattr(family, "gym_action_space", None)
    return (
        to_gym_space(family.observation_space) if observations is None else observations,
        to_gym_space(family.action_space) if actions is None else actions,
    )


class FamilyEnv(gym.Env):
    """One task of a family as an environment. ``info["task"]`` holds the task's parameters.

    Args:
        family: a ``TaskFamily`` or the name of a registered one.
        task: parameters by name, or the family's Task for one task (fields with or without a leading axis of 1).
            Parameters left out have their nominal value (CartPole-v1's), or without one (hidden goals) are sampled
            from ``train``; with ``split`` all of them are sampled from that split.
        split: ``train``, ``validation``, ``test`` or ``ood``: the same task as ``family.sample(1, split, seed)``.
        seed: chooses the sampled parameters. Start states and noise follow ``reset(seed=…)``.
        max_episode_steps: truncate after so many steps; None: never. ``gym.make`` has a wrapper for that; make
            environments of your own families with ``max_episode_steps=family.horizon``.
        render_mode: ``rgb_array`` for the classic-control families if pygame is installed.

    Raises:
        ValueError: an unknown family or one that is not in the graph, an unknown task parameter, split or render mode,
            or an unusable value.
    """

    metadata: dict[str, Any] = {"render_modes": gym_render.MODES, "render_fps": 50}

    def __init__(
        self,
        family: "TaskFamily | str",
        task: Any = None,
        *,
        split: str | None = None,
        seed: int = 0,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        self.family, self._batch = _prepare(family, task, split, seed, 1)
        modes = gym_render.modes_of(self.family)
        if render_mode not in (None, *modes):
            raise ValueError(
                f"render_mode is {render_mode!r}, which {self.family.name} has not; {meant(render_mode, modes)}"
            )
        self.metadata = {**self.metadata, "render_modes": modes}
        self.render_mode = render_mode
        self.observation_space = to_gym_space(self.family.observation_space)
        self.action_space = to_gym_space(self.family.action_space)
        self._limit = max_episode_steps
        self._never = np.zeros(1, bool)
        self._renderer: Any = None

    @property
    def task(self) -> dict[str, Any]:
        """The task's parameters by name: floats and arrays, copied."""
        fields = self._batch.task._asdict().items()
        return {name: value[0].item() if value.ndim == 1 else value[0].copy() for name, value in fields}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """A new episode of the same task; ``options`` are not used."""
        super().reset(seed=seed)
        seeds = self.np_random.integers(2**32, size=1, dtype=np.uint32)
        return self._batch.reset(seeds)[0], {"task": self.task}

    def step(self, action: Any):
        """One step; continuous actions are clipped to the action space.

        Raises:
            ValueError: the action has the wrong shape or type, or ``reset`` was not called.
        """
        if not self._batch.started:
            raise ValueError("call reset before the first step.")
        actions = _check_action(self.family.action_space, self.action_space, action)[None]
        observations, rewards, terminated, steps = self._batch.step(actions, self._never)
        ended = bool(terminated[0])
        truncated = self._limit is not None and not ended and bool(steps[0] >= self._limit)
        return observations[0], float(rewards[0]), ended, truncated, {"task": self.task}

    def render(self) -> np.ndarray | None:
        """An image ``[height, width, 3]`` uint8 by Gymnasium's own renderer; without a mode None and a warning."""
        if self.render_mode is None:
            gym.logger.warn('there is nothing to render: make the environment with render_mode="rgb_array".')
            return None
        if not self._batch.started:
            raise ValueError("call reset before render.")
        if self._renderer is None:
            self._renderer = gym_render.Renderer(self.family, self._batch.task)
        return self._renderer.draw(self._batch.state)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class FamilyVectorEnv(VectorEnv):
    """``num_envs`` tasks stepped by one compiled call; finished episodes restart at the next step (``NEXT_STEP``).

    Arguments as ``FamilyEnv``; a parameter in ``task`` may also have one value per environment, and with ``split`` each
    environment gets a task of its own: those of ``family.sample(num_envs, split, seed)``. ``info["task"]`` holds arrays
    ``[num_envs, …]``.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        family: "TaskFamily | str",
        task: Any = None,
        *,
        num_envs: int = 1,
        split: str | None = None,
        seed: int = 0,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        if render_mode is not None:
            raise ValueError(f"render_mode is {render_mode!r}; the vectorised view draws nothing, use gym.make.")
        self.family, self._batch = _prepare(family, task, split, seed, num_envs)
        self.num_envs, self.render_mode, self._limit = num_envs, None, max_episode_steps
        self.single_observation_space = to_gym_space(self.family.observation_space)
        self.single_action_space = to_gym_space(self.family.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._done = np.zeros(num_envs, bool)

    @property
    def task(self) -> dict[str, np.ndarray]:
        """The tasks' parameters by name ``[num_envs, …]``, copied."""
        return {name: value.copy() for name, value in self._batch.task._asdict().items()}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """New episodes of all tasks; ``options`` are not used."""
        super().reset(seed=seed)
        seeds = self.np_random.integers(2**32, size=self.num_envs, dtype=np.uint32)
        self._done = np.zeros(self.num_envs, bool)
        return self._batch.reset(seeds), {"task": self.task}

    def step(self, actions: Any):
        """One step of every environment; those that ended in the step before begin anew, with reward 0.

        Raises:
            ValueError: the actions have the wrong shape or type, or ``reset`` was not called.
        """
        if not self._batch.started:
            raise ValueError("call reset before the first step.")
        actions = _check_action(self.family.action_space, self.action_space, actions)
        observations, rewards, terminated, steps = self._batch.step(actions, self._done)
        truncated = (steps >= (np.inf if self._limit is None else self._limit)) & ~terminated
        self._done = terminated | truncated
        return observations, rewards, terminated, truncated, {"task": self.task}


def _prepare(family: "TaskFamily | str", task: Any, split: str | None, seed: int, count: int) -> tuple[Any, Any]:
    """The family, and a ``programs.Batch`` of ``count`` of its tasks."""
    from metazoo.tasks.views import programs

    family = programs.family_named(family) if isinstance(family, str) else family
    programs.require_in_graph(family)
    require_usable(family.observation_space, family.action_space)
    return family, programs.Batch(family, programs.make_tasks(family, task, split, seed, count))


def _check_action(space: Space, gym_space: spaces.Space, action: Any) -> np.ndarray:
    """The action (or the batch of them) as the compiled step takes it, or a ValueError."""
    if isinstance(space, Box):
        array = np.asarray(action, np.float32)
        if array.shape != gym_space.shape or not np.all(np.isfinite(array)):
            raise ValueError(f"action is {action!r}; it must be finite numbers of shape {list(gym_space.shape or ())}.")
        return array
    array = np.asarray(action)
    if array.shape != gym_space.shape or array.dtype.kind not in "iu" or not gym_space.contains(array):
        raise ValueError(f"action is {action!r}; it must be in {gym_space}.")
    return array.astype(np.int32)


register_envs()
