"""Table and pictures of docs/algorithms/distillation.md: python docs/figures/distillation.py [RESULTS.json]

distillation_sizes.png     return of feed-forward students, by size and loss, as a share of their teacher's
distillation_student.png   where the cart is in trials of the recurrent student

The students of the first picture are trained for it (some minutes each), or read from RESULTS.json where that exists.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from metazoo.cli import support as cli_support

cli_support.load_tensorflow()

import matplotlib  # noqa: E402

matplotlib.use("Agg")

import keras  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import metazoo  # noqa: E402
from metazoo import random  # noqa: E402
from metazoo.algorithms.common.learner import agent_of, updates  # noqa: E402
from metazoo.evaluation import evaluate  # noqa: E402
from metazoo.presets.preset import Preset  # noqa: E402
from metazoo.pretrained import family_of  # noqa: E402
from metazoo.rollouts.graph import trial  # noqa: E402
from metazoo.training.teacher_sources import load_teacher  # noqa: E402
from metazoo.training.train import build  # noqa: E402

IMAGES = Path(__file__).parents[1] / "images"
LOSSES = ("kl", "nll", "mse")
UPDATES, EPISODES, RESAMPLES = 600, 10, 2000


class Problem(NamedTuple):
    """A teacher, and the hidden layers of students with at most 25, 7 and 4 % of its weights."""

    teacher: str
    family: str
    family_args: dict[str, Any]
    sizes: tuple[tuple[int, int], ...]


PROBLEMS = (
    Problem("dr_cartpole", "cartpole", {}, ((30, 30), (14, 14), (10, 10))),
    Problem("oracle_cartpole_goal", "cartpole_goal", {"reveal_target": True}, ((29, 29), (14, 14), (10, 9))),
)


def per_task(agent: Any, family: Any) -> np.ndarray:
    """Mean return of each of 200 test tasks."""
    report = evaluate(agent, family, name="", tasks=200, episodes=EPISODES, steps=0)
    return np.array(report["curve"][0]["per_task"])


@functools.cache
def of_teacher(name: str) -> np.ndarray:
    teacher = metazoo.load(name)
    return per_task(teacher.agent(), family_of(teacher.metadata))


def student(problem: Problem, hidden: tuple[int, int], loss: str, collection: str) -> dict[str, Any]:
    """Trains one, and compares it with its teacher on the same tasks."""
    settings = {"tasks": 40, "episodes": 5, "loss": loss, "temperature": 1.0 if loss == "mse" else 0.3}
    settings["collection"] = collection
    network = {"hidden": hidden, "output_gain": 1.0}
    preset = Preset(
        "", "", problem.family, "distillation", settings, UPDATES, EPISODES, 0, problem.family_args, network
    )
    learner = build(preset)
    learner.teacher = load_teacher(problem.teacher, learner.family)
    schedule = keras.optimizers.schedules.CosineDecay(2e-2, UPDATES, alpha=0.05)
    learner.compile(keras.optimizers.Adam(schedule), jit_compile=True)
    learner.fit(updates(0, UPDATES), verbose=0, shuffle=False)
    mine = per_task(agent_of(learner), learner.family)
    theirs = of_teacher(problem.teacher)
    draws = np.random.default_rng(0).integers(len(mine), size=(RESAMPLES, len(mine)))  # the same tasks for both
    low, high = np.percentile(mine[draws].mean(1) / theirs[draws].mean(1), [2.5, 97.5])
    found = {
        "teacher": problem.teacher,
        "hidden": hidden,
        "loss": loss,
        "collection": collection,
        "share": learner.policy.size / learner.teacher.size,
        "return": mine.mean(),
        "teachers_return": theirs.mean(),
        "ratio": mine.mean() / theirs.mean(),
        "ci95": [low, high],
    }
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def results(file: Path | None) -> list[dict[str, Any]]:
    """Of all students; those that the file already holds are not trained again."""
    found = json.loads(file.read_text(encoding="utf-8")) if file is not None and file.exists() else []
    known = {(one["teacher"], tuple(one["hidden"]), one["loss"], one["collection"]) for one in found}
    wanted = [(one, hidden, loss, "student") for loss in LOSSES for one in PROBLEMS for hidden in one.sizes]
    wanted += [(one, one.sizes[-1], "kl", "teacher") for one in PROBLEMS]
    for problem, *rest in wanted:
        if (problem.teacher, *rest) in known:
            continue
        found.append(student(problem, *rest))
        if file is not None:
            file.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def print_table(found: list[dict[str, Any]]) -> None:
    """One row for each teacher, collection and size; a column for each loss."""
    print("| teacher | episodes | weights | " + " | ".join(LOSSES) + " |\n|---|---|---|" + "---|" * len(LOSSES))
    rows: dict[tuple[str, str, float], dict[str, str]] = {}
    for one in found:
        low, high = (100 * value for value in one["ci95"])
        cell = f"{one['return']:.1f}: **{100 * one['ratio']:.1f} %** [{low:.1f}, {high:.1f}]"
        rows.setdefault((one["teacher"], one["collection"], one["share"]), {})[one["loss"]] = cell
    for (teacher, collection, share), cells in rows.items():
        print(
            f"| `{teacher}` | {collection}'s | {100 * share:.1f} % | "
            + " | ".join(cells.get(x, "") for x in LOSSES)
            + " |"
        )


def draw_sizes(found: list[dict[str, Any]]) -> None:
    figure, panels = plt.subplots(1, len(PROBLEMS), figsize=(9, 3.8), layout="constrained", sharey=True)
    for axes, problem in zip(panels, PROBLEMS, strict=True):
        for number, loss in enumerate(LOSSES):
            mine = [one for one in found if (one["teacher"], one["loss"]) == (problem.teacher, loss)]
            mine = [one for one in mine if one["collection"] == "student"]
            places = np.arange(len(mine)) + 0.12 * (number - 1)  # apart, so that intervals do not cover one another
            ratios = 100 * np.array([one["ratio"] for one in mine])
            errors = np.abs(100 * np.array([one["ci95"] for one in mine]).T - ratios)
            axes.errorbar(places, ratios, errors, marker="o", capsize=3, label=loss)
        axes.axhline(100, color="#555555", linewidth=1, linestyle=":")
        axes.set_xticks(range(len(mine)), [f"{100 * one['share']:.1f} %" for one in mine])
        axes.set(xlabel="weights of the student, as a share of the teacher's")
        axes.set_title(f"{problem.teacher}: {mine[0]['teachers_return']:.1f}", fontsize=10)
    panels[0].set_ylabel("return, % of the teacher's")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, title="loss")
    figure.savefig(IMAGES / "distillation_sizes.png", dpi=150)


def draw_student(name: str, count: int = 6) -> None:
    """The cart's position over the three episodes of a trial, for targets from left to right."""
    policy = metazoo.load(name)
    family, agent = family_of(policy.metadata), policy.agent()
    tasks = family.sample(200, "test", 0)
    chosen = np.argsort(tasks.target.numpy())[np.linspace(0, 199, count).astype(int)]
    tasks = tf.nest.map_structure(lambda field: tf.gather(field, chosen), tasks)
    memory = tf.repeat(agent.initial_memory()[None, None], count, 0)
    play = tf.function(lambda: trial(family, tasks, agent.step, memory, random.key(3), 3)[0], jit_compile=True)
    played = play()
    position = np.where(played.mask.numpy() > 0, played.observations.numpy()[..., 0], np.nan)
    figure, panels = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained", sharey=True)
    for episode, axes in enumerate(panels):
        for row in range(count):
            color = plt.get_cmap("viridis")(row / (count - 1))
            axes.plot(position[:, row, episode], color=color, linewidth=1.6)
            axes.axhline(float(tasks.target[row]), color=color, linewidth=1, linestyle=":")
        axes.set(xlabel="step", xlim=(0, family.horizon - 1))
        axes.set_title(f"episode {episode + 1}", fontsize=10)
    panels[0].set_ylabel("position of the cart (m)")
    figure.suptitle("Dotted: the hidden target", fontsize=9)
    figure.savefig(IMAGES / "distillation_student.png", dpi=150)


def main() -> None:
    found = results(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    print_table(found)
    draw_sizes(found)
    draw_student("distilled_cartpole_goal")


if __name__ == "__main__":
    main()
