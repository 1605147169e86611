"""Transitions of half-cheetahs of many bodies, recorded once: MuJoCo does not run inside a graph.

They are kept in the cache (``METAZOO_CACHE``), checked by their SHA-256 when they are read.
"""

import functools
import hashlib
import io
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo import progress
from metazoo.artefact.places import cache_directory
from metazoo.artefact.whole import aside
from metazoo.tasks.dynamics.exploring import HOLD
from metazoo.tasks.images.archives import MissingDataError

BODIES: Final = {"train": 200, "validation": 30, "test": 70}
EPISODES, STEPS = 3, 50
"""Of each body."""
FACTORS: Final = ("mass", "damping", "head")
"""What differs from body to body, by 2 ** U[−1, 1], as in ``half_cheetah_body``."""


class Recorded(NamedTuple):
    """``bodies [B, 3]``, the ``FACTORS``; of their episodes ``observations [B, K, T, 17]``, ``actions [..., 6]`` and
    ``following [..., 17]``, what was observed next; all float32."""

    bodies: Any
    observations: Any
    actions: Any
    following: Any

    def checksum(self) -> str:
        """SHA-256 of all numbers, in hexadecimal."""
        return hashlib.sha256(b"".join(np.ascontiguousarray(field).tobytes() for field in self)).hexdigest()


def path() -> Path:
    """Where the recording is kept."""
    return cache_directory() / "half_cheetah_dynamics.npz"


@functools.cache
def recorded() -> Recorded:
    """The recording: from the cache, or made and put there.

    Raises:
        MissingDataError: MuJoCo is not installed, and nothing is in the cache.
        ValueError: the file was changed.
    """
    if path().exists():
        return read(path())
    made = record()
    write(made, path())
    return made


def write(made: Recorded, file: Path) -> None:
    """Writes a recording whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, checksum=made.checksum(), **made._asdict())
    with aside(file) as part:
        part.write_bytes(buffer.getvalue())


def read(file: Path) -> Recorded:
    """Reads a recording.

    Raises:
        ValueError: the file is none, or was changed.
    """
    try:
        with np.load(file, allow_pickle=False) as held:
            made, checksum = Recorded(*(held[name] for name in Recorded._fields)), str(held["checksum"])
    except Exception as error:  # whatever a damaged archive raises  # noqa: BLE001
        raise ValueError(f"{file} holds no transitions ({type(error).__name__}); delete it: it is made anew.") from None
    if made.checksum() != checksum:
        raise ValueError(f"{file} was changed: its checksum does not fit; delete it, and it is made anew.")
    return made


def record(bodies: int = sum(BODIES.values()), seed: int = 0) -> Recorded:
    """Plays ``EPISODES`` of each body under actions that are held for a while.

    Raises:
        MissingDataError: MuJoCo is not installed.
    """
    try:
        from metazoo.tasks.mujoco.cheetah_envs import HalfCheetahBody
    except ImportError:
        raise MissingDataError(
            "half_cheetah_dynamics is recorded in MuJoCo; pip install 'metazoo[mujoco]' brings it."
        ) from None
    rng, env = np.random.default_rng(seed), HalfCheetahBody()
    factors = 2.0 ** rng.uniform(-1.0, 1.0, (bodies, len(FACTORS)))
    parts = []
    with progress.stage("half_cheetah_dynamics, bodies", bodies) as advance:
        for row in factors:
            env.set_task(dict(zip(FACTORS, map(float, row), strict=True)))
            parts.append([_episode(env, rng) for _ in range(EPISODES)])
            advance(1)
    fields = [np.array([[one[i] for one in body] for body in parts], np.float32) for i in range(3)]
    return Recorded(factors.astype(np.float32), *fields)


def _episode(env: Any, rng: np.random.Generator) -> tuple[list[Any], list[Any], list[Any]]:
    observation, _ = env.reset(seed=int(rng.integers(2**31)))
    action = rng.uniform(-1.0, 1.0, 6)
    seen, done, following = [], [], []
    for _ in range(STEPS):
        seen.append(observation)
        done.append(action)
        observation, *_ = env.step(action)
        following.append(observation)
        action = action if rng.random() < HOLD else rng.uniform(-1.0, 1.0, 6)
    return seen, done, following
