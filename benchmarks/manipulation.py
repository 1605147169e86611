"""Speed of Meta-World's kinds of tasks on one core, beside Meta-World's own ``SyncVectorEnv``, as JSON.

    python benchmarks/manipulation.py [FAMILY...]

``acting``: recorded episodes with a policy (MLP 64-64) acting. ``theirs``: the same policy acts in what Meta-World
makes of the kind. Environment steps per second of processor time; medians of rounds taken in turn. Last, the
median ratio.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

ROUNDS, COPIES, HORIZON = 5, 40, 100


def main(names: list[str]) -> None:
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from metazoo.bench.host_families import policy_step
    from metazoo.tasks.metaworld.families import ML1
    from metazoo.tasks.registry import ON_THE_HOST

    ratios, step = [], None
    for cls in ON_THE_HOST:
        if issubclass(cls, ML1) and (not names or cls.name in names):
            family = cls(workers=0, rows=COPIES, horizon=HORIZON)
            step = step or policy_step(family)
            row = measure(family, step)
            ratios.append(row["acting_of_theirs"])
            print(json.dumps({"family": family.name, **row}), flush=True)
            family.close()
    print(json.dumps({"kinds": len(ratios), "median_acting_of_theirs": statistics.median(ratios)}))


def measure(family: Any, step: Any) -> dict[str, Any]:
    import tensorflow as tf

    from metazoo import random
    from metazoo.bench import metaworld_peers
    from metazoo.rollouts.graph import rollout

    tasks, memory = family.sample(COPIES), tf.zeros([COPIES, 1, 0])
    peer = metaworld_peers.make(family, step)
    assert peer is not None

    def acting() -> None:
        rollout(family, tasks, step, memory, random.key(0), 1)

    acting()  # compiles, and makes the starts of the tasks
    runs: dict[str, tuple[Callable[[], None], int]] = {
        "acting": (acting, COPIES * HORIZON),
        "theirs": (peer.play, peer.steps),
    }
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, (run, steps) in runs.items():
            begun = time.process_time()
            run()
            speeds[name].append(steps / (time.process_time() - begun))
    peer.close()
    found = {name: round(statistics.median(values)) for name, values in speeds.items()}
    return {**found, "acting_of_theirs": round(found["acting"] / found["theirs"], 2)}


if __name__ == "__main__":
    main(sys.argv[1:])
