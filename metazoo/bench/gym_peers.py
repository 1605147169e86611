"""Gymnasium's own vectorised environments, to measure beside the families that have the same equations."""

import statistics
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np

from metazoo.tasks.host_family import AnyFamily
from metazoo.tasks.registry import FAMILIES

_STEPS: Final = {"vector_entry_point": 200, "classic_control": 20, "mujoco": 50}
"""Steps between two clock readings, by the speed of what makes them."""
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


def make(family: AnyFamily, copies: int) -> Peer | None:
    """The original of a family with ``copies`` environments.

    None if it has none, its package is not installed, or it is measured beside an earlier family.
    """
    first = next((one.name for one in FAMILIES.values() if one.original == family.original), family.name)
    if family.original not in gym.registry or first != family.name:
        return None
    spec = gym.spec(family.original)
    kind = "mujoco" if ".mujoco." in str(spec.entry_point) else "classic_control"
    if kind == "mujoco" and not find_spec("mujoco"):
        return None
    mode = "vector_entry_point" if spec.vector_entry_point else "sync"
    steps = _STEPS.get(mode, _STEPS[kind])
    envs = gym.make_vec(spec.id, num_envs=copies, vectorization_mode=mode)
    space: Any = envs.single_action_space
    rng = np.random.default_rng(0)

    def draw() -> np.ndarray:
        if isinstance(space, gym.spaces.Discrete):
            return rng.integers(int(space.n), size=copies)
        return rng.uniform(space.low, space.high, (copies, *space.shape)).astype(space.dtype)

    def play() -> None:
        for _ in range(steps):
            envs.step(draw())

    envs.reset(seed=0)
    play()
    return Peer(
        spec.id,
        f"{copies} environments, {_WORDS[mode]}, random actions, automatic resets",
        copies * steps,
        play,
        envs.close,
    )
