"""A preset that trains in seconds, and a program that kills itself while it trains: ``tiny_training.py OUT POINT``."""

import os
import signal
import sys
from pathlib import Path

from metazoo.presets.registry import Preset
from metazoo.training import callbacks, train

TINY = Preset(
    name="tiny",
    description="2D navigation in a few steps",
    family="navigation",
    family_args={"horizon": 5},
    algorithm="maml",
    config={"tasks": 2, "episodes": 2, "inner_steps": 1},
    network={"hidden": (3,), "initial_scale": 0.1},
    updates=10,
    episodes=2,
    steps=1,
    learning_rate=0.1,
)


def shrink() -> None:
    """Epochs of 4 updates and 3 validation tasks: checkpoints after updates 4, 8 and 10."""
    train.EPOCH, callbacks.VALIDATION_TASKS = 4, 3


def before(owner, name: str, action) -> None:
    """Calls ``action(*arguments)`` before each call of ``owner.name``."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **options: (action(*args), original(*args, **options))[1])


def after(owner, name: str, action) -> None:
    """Calls ``action()`` after each call of ``owner.name``."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **options: (original(*args, **options), action())[0])


def updates_made(callback) -> int:
    return int(callback.model.optimizer.iterations)


def kill_when(condition) -> None:
    if condition:
        os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    """Makes this process kill itself at a point of its training."""
    if point == "right after the first checkpoint":
        after(callbacks.Checkpoints, "on_epoch_end", lambda: kill_when(True))
    elif point == "after the logs, before the checkpoint":
        before(callbacks.Checkpoints, "on_epoch_end", lambda me, *_: kill_when(updates_made(me) == 8))
    elif point == "before the export is in its place":
        before(train, "export", lambda *_: before(os, "rename", lambda *_: kill_when(True)))
    else:
        raise ValueError(point)


if __name__ == "__main__":
    shrink()
    arm(sys.argv[2])
    out = Path(sys.argv[1])
    train.train(TINY, out, resume=(out / TINY.name / "run.json").exists())
