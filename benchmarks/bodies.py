"""Speed of MuJoCo's bodies on one core, beside bare ``mj_step`` on the same models with the same actions, as JSON.

    python benchmarks/bodies.py [COPIES]

``stepped``: rows of a family without a policy. ``acting``: recorded episodes with a policy (MLP 64-64) acting.
``bare``: nothing but ``mj_step``. Environment steps per second of processor time; medians of rounds taken in turn.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 7


def main(copies: int) -> None:
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from metazoo.tasks.mujoco.families import AntDir, HalfCheetahDir, HopperParams, Walker2dParams

    for cls in (HalfCheetahDir, AntDir, HopperParams, Walker2dParams):
        family = cls(workers=0, rows=copies)
        print(json.dumps({"family": family.name, "copies": copies, **measure(family, copies)}), flush=True)
        family.close()


def measure(family: Any, copies: int) -> dict[str, Any]:
    import mujoco
    import numpy as np
    import tensorflow as tf

    from metazoo import random
    from metazoo.bench.host_families import policy_step
    from metazoo.rollouts.graph import rollout

    tasks, step, memory = family.sample(copies), policy_step(family), tf.zeros([copies, 1, 0])
    seeds = np.arange(copies, dtype=np.uint32)
    episodes = rollout(family, tasks, step, memory, random.key(0), 1)
    actions, played = episodes.actions.numpy()[:, :, 0], episodes.mask.numpy()[:, :, 0] > 0
    count = int(played.sum())

    def acting() -> None:
        rollout(family, tasks, step, memory, random.key(0), 1)

    def stepped() -> None:
        family.reset(tasks, seeds)
        for action, playing in zip(actions, played, strict=True):
            if playing.any():
                family.step(action.copy(), playing.copy())

    def bare() -> None:
        for row in range(copies):
            env = envs[row]
            data = env.data
            for action in np.clip(actions[played[:, row], row], -1, 1):
                data.ctrl[:] = action
                mujoco.mj_step(env.model, data, nstep=env.frame_skip)

    envs = [
        family.environment({name: field[row] for name, field in tasks._asdict().items()}).unwrapped
        for row in range(copies)
    ]
    for env in envs:
        env.reset(seed=0)
    runs: dict[str, Callable[[], None]] = {"acting": acting, "stepped": stepped, "bare": bare}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            begun = time.process_time()
            run()
            times[name].append(time.process_time() - begun)
    speeds = {name: count / statistics.median(seconds) for name, seconds in times.items()}
    ratios = {f"{name}_of_bare": round(speeds[name] / speeds["bare"], 2) for name in ("acting", "stepped")}
    return {**{name: round(speed) for name, speed in speeds.items()}, **ratios}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
