"""Task samplers on the tail: families × samplers × seeds at equal environment steps, 1,000 test tasks each.

    python benchmarks/samplers.py RESULTS [PRESET ...] [--minutes N]     trains what RESULTS lacks, then stops
    python benchmarks/samplers.py RESULTS --report [--picture FILE]      the table, and CVaR curves

Trainings are shorter than the presets', with fewer tasks and episodes an update (``PLAN``). The samplers of one seed
begin with the same weights; all runs of a family share one compiled program. No sampler plays a candidate that it does
not train on, so equal updates are equal environment steps. A killed run is begun again, finished ones are kept.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

PLAN = {
    "maml_navigation": (300, {"tasks": 20, "episodes": 10, "inner_steps": 1}, (10, 1)),
    "maml_cartpole_goal": (400, {"tasks": 20, "episodes": 10, "inner_steps": 1}, (10, 1)),
    "rl2_cartpole_goal": (250, {"tasks": 64, "entropy_updates": 250}, (3, 0)),
    "rl2_half_cheetah_vel": (40, {"tasks": 40}, (2, 0)),
}
"""Updates, changed settings, and the episodes and inner steps of a test."""
SEEDS, TASKS, CHUNK = (0, 1, 2), 1000, 250
LEVELS = (0.05, 0.1)
RESAMPLES = 2000


def samplers() -> list[str]:
    from metazoo.samplers.registry import NAMES

    return list(NAMES)


def sampler_for(name, learner, seed):
    from metazoo.samplers.registry import UNIFORM, sampler_of
    from metazoo.samplers.sampler import Sampler

    class Uniform(Sampler):
        """The training distribution, drawn between updates as the others are."""

        name = UNIFORM
        about = "all alike"

        def propose(self, update):
            return self.drawn(update, self.count)

        def learn(self, update, tasks, returns):
            pass

    count = learner.config.tasks // getattr(learner.config, "replicas", 1)
    return Uniform(learner.family, count, seed) if name == UNIFORM else sampler_of(name, learner.family, count, seed)


def train(name: str, results: Path, deadline: float) -> None:
    """All runs of one preset that are not there yet."""
    import dataclasses

    import keras

    from metazoo import random
    from metazoo.algorithms.common.learner import agent_of, updates
    from metazoo.algorithms.common.sampling import Sampling
    from metazoo.evaluation import player
    from metazoo.presets.registry import PRESETS
    from metazoo.tasks.host_family import HostFamily
    from metazoo.training.train import build

    total, changes, (episodes, steps) = PLAN[name]
    preset = PRESETS[name]
    preset = dataclasses.replace(preset, config={**preset.config, **changes})
    left = [(s, one) for s in SEEDS for one in samplers() if not file_of(results, name, one, s).exists()]
    if not left:
        return
    learner = build(preset, 0)
    replicas = getattr(learner.config, "replicas", 1)
    learner.sampling = Sampling(sampler_for("uniform", learner, 0), replicas, learner.config.episodes)
    schedule = keras.optimizers.schedules.CosineDecay(preset.learning_rate, total * learner.epochs, alpha=0.05)
    learner.compile(keras.optimizers.Adam(schedule), jit_compile=True, threads=1)
    learner.optimizer.build(learner.trainable_variables)
    fresh_optimizer = [np.array(variable) for variable in learner.optimizer.variables]
    tests = learner.family.sample(TASKS, "test", 0)
    play = player(agent_of(learner), learner.family, episodes, steps)
    if isinstance(learner.family, HostFamily):
        learner.family.workers = 1

    def earned() -> np.ndarray:
        """Of each test task ``[points, TASKS]``; a trial's last episode is noisy, so trials are played four times."""
        import tensorflow as tf

        again = 4 if learner.online and not isinstance(learner.family, HostFamily) else 1
        found = []
        for first in range(0, TASKS, CHUNK):
            part = tf.nest.map_structure(lambda field, i=first: field[i : i + CHUNK], tests)
            curves = []
            for number in range(again):
                keys = random.fold(random.fold(random.key(number), 1), tf.range(first, first + CHUNK))
                curves.append(play(part, keys)[0].numpy().mean(2))
            found.append(np.mean(curves, 0))
        return np.concatenate(found, 1)

    for seed, one in left:
        if time.monotonic() > deadline:
            return
        begun = time.monotonic()
        for variable, value in zip(learner.variables, build(preset, seed).variables, strict=True):
            variable.assign(value)
        for variable, value in zip(learner.optimizer.variables, fresh_optimizer, strict=True):
            variable.assign(value)
        learner.sampling.sampler = sampler_for(one, learner, seed)
        start = seed * 1_000_000
        learner.fit(updates(start, start + total), steps_per_epoch=total, shuffle=False, verbose=0)
        trained = time.monotonic()
        curve = earned()
        record = {
            "preset": name, "sampler": one, "seed": seed, "updates": total, "settings": changes,
            "env_steps": total * learner.env_steps_per_update, "seconds": round(trained - begun, 1),
            "test_seconds": round(time.monotonic() - trained, 1),
            "before": curve[0].round(3).tolist(), "after": curve[-1].round(3).tolist(),
        }  # fmt: skip
        write(file_of(results, name, one, seed), record)
        print(name, one, seed, f"{record['seconds']} s", f"{curve[0].mean():.2f} -> {curve[-1].mean():.2f}",
              f"cvar10 {cvar(curve[-1], 0.1):.2f}", flush=True)  # fmt: skip


def file_of(results: Path, name: str, sampler: str, seed: int) -> Path:
    return results / f"{name}-{sampler}-{seed}.json"


def write(file: Path, record: dict) -> None:
    from metazoo.artefact.whole import write_whole

    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(record) + "\n")


def cvar(values: np.ndarray, level: float) -> np.ndarray:
    """The mean of the worst ``level`` of the values, along the last axis."""
    count = int(np.ceil(level * values.shape[-1]))
    return np.sort(values, -1)[..., :count].mean(-1)


STATISTICS = {"mean": lambda x: x.mean(-1), **{f"CVaR {lv:.2f}": (lambda x, lv=lv: cvar(x, lv)) for lv in LEVELS}}


def report(results: Path, picture: Path | None) -> None:
    """Differences from uniform, paired by seed and task: intervals over seeds and tasks, both drawn anew."""
    for name, (total, _, _) in PLAN.items():
        runs = {}
        for file in sorted(results.glob(f"{name}-*.json")):
            record = json.loads(file.read_text())
            runs[record["sampler"], record["seed"]] = record
        if not runs:
            continue
        seeds = [s for s in SEEDS if all((one, s) in runs for one in samplers())]
        steps = next(iter(runs.values()))["env_steps"]
        print(f"\n{name}: {total} updates, {steps / 1e6:.1f} M environment steps, seeds {seeds}")
        if not seeds:
            continue
        usual = np.array([runs["uniform", s]["after"] for s in seeds])
        rng = np.random.default_rng(0)
        draws = [(rng.integers(len(seeds), size=len(seeds)), rng.integers(TASKS, size=TASKS)) for _ in range(RESAMPLES)]
        for one in samplers():
            mine = np.array([runs[one, s]["after"] for s in seeds])
            cells = []
            for what, of in STATISTICS.items():
                value, change = of(mine).mean(), (of(mine) - of(usual)).mean()
                drawn = [(of(mine[s][:, t]) - of(usual[s][:, t])).mean() for s, t in draws] if one != "uniform" else [0]
                low, high = np.percentile(drawn, [2.5, 97.5])
                cells.append(f"{what} {value:8.2f} ({change:+.2f} [{low:+.2f}, {high:+.2f}])")
            seconds = np.mean([runs[one, s]["seconds"] for s in seeds])
            print(f"  {one:8} {'  '.join(cells)}  {seconds:.0f} s")
    if picture:
        draw(results, picture)


def draw(results: Path, picture: Path) -> None:
    """CVaR as a function of its level, by family."""
    from matplotlib.figure import Figure

    from metazoo.cards.plots import COLORS

    there = [name for name in PLAN if all(file_of(results, name, one, SEEDS[0]).exists() for one in samplers())]
    figure = Figure(figsize=(3.6 * len(there), 3.4), layout="constrained")
    levels = np.linspace(0.02, 1.0, 50)
    for axes, name in zip(figure.subplots(1, len(there), squeeze=False)[0], there, strict=True):
        for color, one in zip(["#777777", *COLORS], samplers(), strict=False):
            files = [file for s in SEEDS if (file := file_of(results, name, one, s)).exists()]
            after = np.array([json.loads(file.read_text())["after"] for file in files])
            axes.plot(levels, [cvar(after, level).mean() for level in levels], color=color, label=one, linewidth=1.4)
        axes.set(title=name, xlabel="worst share of the tasks", ylabel="mean return of these")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(picture, dpi=120, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("presets", nargs="*", metavar="PRESET")
    parser.add_argument("--minutes", type=float, default=600.0, help="no training is begun after so long")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    if asked.report:
        report(asked.results, asked.picture)
        return
    deadline = time.monotonic() + 60 * asked.minutes
    for name in asked.presets or PLAN:
        if time.monotonic() < deadline:
            train(name, asked.results, deadline)


if __name__ == "__main__":
    main()
