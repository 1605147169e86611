"""A training on Ray that kills itself right after its first checkpoint, if told: ``killed_training.py OUT yes|no``."""

import os
import sys
from pathlib import Path

import ray

from metazoo.distributed.training import OnRay
from metazoo.presets.registry import Preset
from metazoo.training import callbacks, train
from tests.distributed.tiny import NAVIGATION, TASKS
from tests.training.tiny_training import after, kill_when, shrink

PLAIN = Preset(**NAVIGATION, algorithm="domain_randomised", config={**TASKS, "epochs": 2})


def descendants(of: int) -> list[int]:
    """The processes below one: Ray's own, and below these the workers."""
    parents = {int(stat.parent.name): int(stat.read_text().rpartition(")")[2].split()[1]) for stat in stats()}
    children = [process for process, parent in parents.items() if parent == of]
    return [*children, *(one for child in children for one in descendants(child))]


def stats() -> list[Path]:
    return [path / "stat" for path in Path("/proc").iterdir() if path.name.isdigit() and (path / "stat").exists()]


def note_workers(out: Path) -> None:
    """Writes down the processes that must end with this one."""
    (out / "workers").write_text(" ".join(map(str, descendants(os.getpid()))))


def main() -> None:
    out = Path(sys.argv[1])
    shrink()
    if sys.argv[2] == "yes":
        after(callbacks.Checkpoints, "on_epoch_end", lambda: (note_workers(out), kill_when(True)))
    train.train(PLAIN, out, resume=(out / PLAIN.name / "run.json").exists(), elsewhere=OnRay(workers=2))
    assert not ray.is_initialized()


if __name__ == "__main__":
    main()
