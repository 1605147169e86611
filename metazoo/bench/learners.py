"""Speed of training: env steps per second of whole updates, after compilation."""

import dataclasses
import itertools
import statistics
from typing import Any, Final, NamedTuple

from metazoo.bench.timing import cores, stay_on, take_turns

WARM_UPDATES: Final = 2
UPDATES_PER_FIT: Final = 10


class LearnerBench(NamedTuple):
    """A learner's update at the sizes of published comparisons.

    ``config`` and ``network`` replace entries of the preset's; ``text`` describes the run by format fields of the
    resulting configuration and the family's ``horizon``. With several ``cores`` as many threads compute.
    """

    preset: str
    config: dict[str, Any]
    network: dict[str, Any]
    text: str
    cores: int = 1


def _rl2_bandit(units: int, cores: int = 1) -> LearnerBench:
    sizes = {"tasks": 512, "episodes": 1, "epochs": 4}
    text = "{tasks} trials x {horizon} pulls, 5 arms, {epochs} epochs over all of them, GRU {units}"
    return LearnerBench("rl2_bandit_k5_n100", sizes, {"cell": "gru", "units": units}, text, cores)


_MAML = "{tasks} tasks x {episodes} episodes x {horizon} steps, {inner_steps} inner step, second order, MLP {hidden}"
LEARNERS: Final = {
    "maml/cartpole": LearnerBench(
        "maml_cartpole", {"tasks": 20, "episodes": 20, "inner_steps": 1}, {"hidden": (64, 64)}, _MAML
    ),
    "maml/navigation": LearnerBench(
        "maml_navigation", {"tasks": 40, "episodes": 20, "inner_steps": 1}, {"hidden": (100, 100)}, _MAML
    ),
    "rl2/bandit-gru64": _rl2_bandit(64),
    "rl2/bandit-gru64-2cores": _rl2_bandit(64, cores=2),
    "rl2/bandit-gru128": _rl2_bandit(128),
    "rl2/bandit-gru128-2cores": _rl2_bandit(128, cores=2),
}


def measure(name: str) -> list[dict[str, Any]]:
    """The median over updates, rollouts and gradient included; nominal env steps of all rollouts are counted.

    On a machine with fewer cores than a measurement is of, there are no rows.
    """
    import keras
    import tensorflow as tf

    from metazoo.algorithms.common.learner import updates
    from metazoo.presets.registry import PRESETS
    from metazoo.training.train import build

    bench = LEARNERS[name]
    if bench.cores > 1:
        if cores() < bench.cores:
            return []
        stay_on(bench.cores)
        tf.config.threading.set_intra_op_parallelism_threads(bench.cores)
        tf.config.threading.set_inter_op_parallelism_threads(bench.cores)
    preset = PRESETS[bench.preset]
    config, network = {**preset.config, **bench.config}, {**preset.network, **bench.network}
    learner = build(dataclasses.replace(preset, config=config, network=network))
    learner.compile(keras.optimizers.Adam(preset.learning_rate), jit_compile=True)
    learner.fit(updates(0, WARM_UPDATES), verbose=0, shuffle=False)
    starts = itertools.count(WARM_UPDATES, UPDATES_PER_FIT)

    def fit() -> None:
        start = next(starts)
        learner.fit(updates(start, start + UPDATES_PER_FIT), verbose=0, shuffle=False)

    (times,) = take_turns(fit)
    sizes = {**config, **network, "horizon": learner.family.horizon}
    if "hidden" in sizes:
        sizes["hidden"] = "-".join(map(str, sizes["hidden"]))
    rate = learner.env_steps_per_update * UPDATES_PER_FIT / statistics.median(times)
    return [
        {"what": name, "config": bench.text.format(**sizes), "threads": bench.cores, "env_steps_per_s": round(rate)}
    ]
