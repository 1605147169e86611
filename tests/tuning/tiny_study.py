"""A search that is killed in the middle of a trial: ``tiny_study.py OUT [--trained]``.

Without ``--trained`` a stand-in is in the place of training, and the kill is in its third validation.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

from metazoo.training import callbacks, train
from metazoo.tuning import tune as tuning
from tests.training import tiny_training
from tests.training.tiny_training import TINY

SPACE = {"learning_rate": "0.001:0.5", "step_sizes": "scalar,parameter"}
OPTIONS = tuning.Options(trials=3, updates=6, confirm=0)


class Trainer:
    """In the place of ``fitted``: validations say how far the learning rate is from 0.01."""

    def __init__(self):
        self.made, self.interrupt_at, self.error = [], None, None

    def __call__(self, preset, run, seed, total, threads, resume, watch):
        number = len(self.made)
        self.made.append((preset.learning_rate, seed, resume))
        if self.error:
            raise self.error
        score = -abs(preset.learning_rate - 0.01)
        for update in (4, 6):
            watch(update, score)
        checkpoints = dataclasses.make_dataclass("Made", ["best_score", "best_update"])(score, 4)
        return train.Fitted(None, checkpoints, number != self.interrupt_at)


def kill_at(number: int, owner, name: str) -> None:
    """Kills this process after so many calls of ``owner.name``."""
    made = [0]

    def count() -> None:
        made[0] += 1
        if made[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    tiny_training.after(owner, name, count)


if __name__ == "__main__":
    tiny_training.shrink()
    if "--trained" in sys.argv:
        kill_at(3, callbacks.Checkpoints, "on_epoch_end")
    else:
        tuning.fitted = Trainer()
        kill_at(3, tuning.Study, "report")
    tuning.tune(TINY, Path(sys.argv[1]), SPACE, OPTIONS)
