"""How long `make zoo` takes: every preset trained for a few seconds, and reckoned up to its whole training, as JSON.

    python benchmarks/zoo.py [PRESET...]

One core, one thread, by the wall clock: compilation, updates, and a validation for every epoch; not the evaluation that
ends a training. Without names: all presets but those of MuJoCo. The experts that teach a student are trained.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from metazoo.cli import support as cli_support  # noqa: E402

cli_support.load_tensorflow()

import keras  # noqa: E402

from metazoo import random  # noqa: E402
from metazoo.algorithms.common.learner import agent_of, updates  # noqa: E402
from metazoo.algorithms.distillation import Student  # noqa: E402
from metazoo.evaluation import player  # noqa: E402
from metazoo.presets.mujoco import MUJOCO_PRESETS  # noqa: E402
from metazoo.presets.registry import PRESETS, Preset  # noqa: E402
from metazoo.training import callbacks  # noqa: E402
from metazoo.training.teacher_sources import teacher_for  # noqa: E402
from metazoo.training.train import EPOCH, build  # noqa: E402

SECONDS = 5.0


def measure(preset: Preset) -> dict[str, float | str]:
    """Seconds of what comes before, of an update and of a validation, and the minutes of the whole training."""
    learner, start = build(preset), time.perf_counter()
    if isinstance(learner, Student):
        with tempfile.TemporaryDirectory() as directory:
            where = Path(directory) / "teachers"
            learner.teacher = teacher_for(preset.teacher, learner.family, preset.family_args, where, 0)
    teaching = time.perf_counter() - start
    learner.compile(keras.optimizers.Adam(preset.learning_rate), jit_compile=True, threads=1)
    start = time.perf_counter()
    learner.fit(updates(0, 1), verbose=0, shuffle=False)
    compiling, made, begun = time.perf_counter() - start, 1, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        learner.fit(updates(made, made + 2), verbose=0, shuffle=False)
        made += 2
    update = (time.perf_counter() - begun) / (made - 1)
    count = callbacks.VALIDATION_TRIALS if learner.online else callbacks.VALIDATION_TASKS
    play = player(agent_of(learner), learner.family, preset.episodes, preset.steps)
    tasks = learner.family.sample(count, "validation")
    start = time.perf_counter()
    play(tasks, random.key(0))
    first, start = time.perf_counter() - start, time.perf_counter()
    play(tasks, random.key(1))
    validation = time.perf_counter() - start
    total = teaching + compiling + first + preset.updates * update + preset.updates / EPOCH * validation
    return {
        "preset": preset.name,
        "teacher_s": round(teaching, 1),
        "compile_s": round(compiling + first, 1),
        "update_s": round(update, 4),
        "validation_s": round(validation, 2),
        "updates": preset.updates,
        "minutes": round(total / 60, 1),
    }


def main(names: list[str]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    mujoco = {preset.name for preset in MUJOCO_PRESETS}
    rows = []
    for name in names or [name for name in PRESETS if name not in mujoco]:
        rows.append(measure(PRESETS[name]))
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps({"presets": len(rows), "minutes": round(sum(row["minutes"] for row in rows), 1)}))


if __name__ == "__main__":
    main(sys.argv[1:])
