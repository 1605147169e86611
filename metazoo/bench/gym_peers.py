"""Gymnasium's own vectorised environments, to measure beside the families that have the same equations."""

import statistics
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np

# family → Gymnasium id, Gymnasium's vectorisation (its native vector code where it has one), steps between two clock
# readings, package it needs
PEERS: Final = {
    "cartpole": ("CartPole-v1", "vector_entry_point", 200, "gymnasium"),
    "pendulum": ("Pendulum-v1", "sync", 20, "gymnasium"),
    "acrobot": ("Acrobot-v1", "sync", 20, "gymnasium"),
    "mountain_car_continuous": ("MountainCarContinuous-v0", "sync", 20, "gymnasium"),
    "half_cheetah_dir": ("HalfCheetah-v5", "sync", 50, "mujoco"),
    "ant_dir": ("Ant-v5", "sync", 50, "mujoco"),
    "hopper_params": ("Hopper-v5", "sync", 50, "mujoco"),
    "walker2d_params": ("Walker2d-v5", "sync", 50, "mujoco"),
}
_WORDS: Final = {"vector_entry_point": "Gymnasium's native vector environment", "sync": "SyncVectorEnv"}


class Peer(NamedTuple):
    """``play()`` makes ``steps`` environment steps (all copies together) with random actions."""

    env_id: str
    config: str
    steps: int
    play: Callable[[], None]
    close: Callable[[], Any]

    def row(self, times: list[float]) -> dict[str, Any]:
        """The measurement, from the times of ``play``."""
        rate = round(self.steps / statistics.median(times))
        return {"what": f"gymnasium/{self.env_id}", "config": self.config, "threads": 1, "env_steps_per_s": rate}


def make(family_name: str, copies: int) -> Peer | None:
    """The peer of a family with ``copies`` environments; None if it has none, or its package is not installed."""
    if family_name not in PEERS or not find_spec(PEERS[family_name][3]):
        return None
    env_id, mode, steps, _ = PEERS[family_name]
    envs = gym.make_vec(env_id, num_envs=copies, vectorization_mode=mode)
    space, rng = envs.single_action_space, np.random.default_rng(0)

    def draw() -> np.ndarray:
        if isinstance(space, gym.spaces.Discrete):
            return rng.integers(space.n, size=copies)
        return rng.uniform(space.low, space.high, (copies, *space.shape)).astype(space.dtype)

    def play() -> None:
        for _ in range(steps):
            envs.step(draw())

    envs.reset(seed=0)
    play()
    return Peer(
        env_id,
        f"{copies} environments, {_WORDS[mode]}, random actions, automatic resets",
        copies * steps,
        play,
        envs.close,
    )
