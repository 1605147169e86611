"""What sharing the work of a training is worth: ``python benchmarks/distributed.py PRESET...``.

Seconds an update of a plain training on one core, of ``--ray --workers 1`` and of ``--workers 2``, in turn within one
run, so that what else the machine does meets all of them alike. Each figure is the median over updates. From the last
two follow the parts of a model,

    seconds(N) = alone + shared · ⌈S / N⌉ / S,

with S shares on N workers: *alone* is what the driver does while the workers wait, *shared* what they share. With it
goes a table for more workers than this machine has, which says so.
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from metazoo.distributed import connect
from metazoo.distributed.replica import Recipe
from metazoo.distributed.shares import possible, shares_for
from metazoo.distributed.update import SharedUpdate
from metazoo.distributed.workers import RayWorkers
from metazoo.presets.preset import Preset
from metazoo.presets.registry import PRESETS
from metazoo.training.train import build, override

Update = Callable[[int], Any]
MANY = (1, 2, 4, 16, 64)


def plain(preset: Preset) -> Update:
    """An update of one process on one core."""
    learner = build(preset)
    if learner.on_host:
        learner.family.workers = min(1, learner.family.workers)
    learner.compile(keras.optimizers.Adam(preset.learning_rate), jit_compile=True, threads=1)
    learner.optimizer.build(learner.trainable_variables)
    step = learner.train_step if learner.on_host else tf.function(learner.train_step, jit_compile=True, autograph=False)
    return lambda number: step(tf.constant(number, tf.int64))


@contextlib.contextmanager
def on_ray(preset: Preset, shares: int, workers: int) -> Iterator[Update]:
    """An update of so many workers."""
    learner = build(preset)
    with RayWorkers(Recipe(preset, preset.seed, shares, 1, "."), workers, 1, 3600.0) as pool:
        update = SharedUpdate(learner, pool, shares)
        learner.compile(keras.optimizers.Adam(preset.learning_rate), jit_compile=True, elsewhere=update)
        learner.optimizer.build(learner.trainable_variables)
        yield lambda number: learner.train_step(tf.constant(number, tf.int64))


def seconds(ways: dict[str, Update], updates: int) -> dict[str, float]:
    """The median seconds of an update, each way in turn; without the first two of each, in which it is compiled."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(updates + 2):
        for way, update in ways.items():
            begun = time.perf_counter()
            tf.nest.map_structure(lambda value: value.numpy(), update(number))
            taken[way].append(time.perf_counter() - begun)
    return {way: statistics.median(times[2:]) for way, times in taken.items()}


def measured(preset: Preset, updates: int, shares: int | None = None) -> dict[str, Any]:
    """The figures of one preset."""
    shares = shares_for(preset, shares, 2)
    with connect.connected(connect.LOCAL, 3), on_ray(preset, shares, 1) as one, on_ray(preset, shares, 2) as two:
        found = seconds({"plain": plain(preset), "ray_1": one, "ray_2": two}, updates)
    return {
        "preset": preset.name,
        "shares": shares,
        "seconds_per_update": {way: round(value, 4) for way, value in found.items()},
        "overhead_of_one_worker": round(found["ray_1"] / found["plain"] - 1.0, 3),
        "two_workers_against_one": round(found["ray_1"] / found["ray_2"], 2),
        "model": fitted(found["ray_1"], found["ray_2"], shares),
    }


def fitted(one: float, two: float, shares: int) -> dict[str, float]:
    """The model's parts, from the seconds of one and of two workers."""
    part = -(-shares // 2) / shares
    shared = max(0.0, one - two) / (1.0 - part)
    return {"alone": round(max(0.0, one - shared), 4), "shared": round(min(shared, one), 4)}


def table(preset: Preset, row: dict[str, Any], price: float, tasks: int | None = None) -> list[dict[str, Any]]:
    """Steps a second and the price of the whole training, by workers, as the model has them.

    ``tasks``: of an update with so many; what is shared then grows with them.
    """
    learner = build(preset)
    config, model, lines = learner.config, row["model"], []
    times = 1.0 if tasks is None else tasks / config.tasks
    counts = possible(config if tasks is None else dataclasses.replace(config, tasks=tasks))
    for workers in MANY:
        shares = row["shares"] if workers <= 2 else best(workers, counts)
        at_work = min(workers, shares)
        if lines and at_work <= lines[-1]["workers"]:
            break  # there are no more tasks
        update = model["alone"] + times * model["shared"] * -(-shares // at_work) / shares
        hours = update * preset.updates / 3600
        lines.append(
            {
                "workers": at_work,
                "shares": shares,
                "env_steps_per_s": round(times * learner.env_steps_per_update / update),
                "hours": round(hours, 3),
                "price": round(hours * (at_work + 1) * price, 3),  # the driver has a core too
                "measured": at_work <= 2 and tasks is None,
            }
        )
    return lines


def best(workers: int, counts: list[int]) -> int:
    """Of the possible numbers of shares the one with which the busiest worker has the least to do."""
    enough = [n for n in counts if n >= workers] or counts[-1:]
    return min(enough, key=lambda n: (-(-n // workers) / n, n))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+", choices=sorted(PRESETS), metavar="PRESET")
    parser.add_argument("--shares", type=int, help="of an update; as metazoo train has them by default")
    parser.add_argument("--updates", type=int, default=20, help="updates that count, of each way")
    parser.add_argument("--table-tasks", type=int, help="calculate the table for so many tasks of an update")
    parser.add_argument("--price", type=float, default=0.05, help="of a core for an hour")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the preset")
    given = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)  # a plain training has one core, as a worker has
    tf.config.threading.set_inter_op_parallelism_threads(1)
    changes = dict(item.split("=", 1) for item in given.set)
    for name in given.presets:
        preset = override(PRESETS[name], changes)
        row = measured(preset, given.updates, given.shares)
        print(json.dumps({**row, "table": table(preset, row, given.price, given.table_tasks)}, indent=1), flush=True)


if __name__ == "__main__":
    main()
