"""``metazoo evaluate``: a policy of the zoo and its baselines on the same tasks."""

from pathlib import Path
from typing import Any

import numpy as np

from metazoo import savedmodels_directory, store
from metazoo.evaluation import evaluate, random_agent
from metazoo.pretrained import Pretrained, family_of, load
from metazoo.tasks.cartpole import CartPoleGoal, best_fixed_position
from metazoo.zoo.presets import PRESETS

LONG_HORIZON = {"cartpole": 500}
"""Families whose return is also reported at a longer horizon than they adapt with."""


def evaluate_preset(
    name_or_dir: str | Path,
    *,
    split: str = "test",
    tasks: int = 200,
    episodes: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    deterministic: bool = False,
    baselines: bool = True,
) -> dict[str, Any]:
    """The report of ``metazoo.evaluation.evaluate`` with baselines.

    Baselines: uniformly random actions; the presets named beside this one, where they are installed; and for
    ``cartpole_goal`` the best fixed position in closed form. All on the same tasks, and all play as many episodes as
    the policy's whole trial, without adapting, so that totals compare.

    Raises:
        ValueError: an unknown policy, family or split, or a number out of range.
    """
    policy = load(name_or_dir)
    family = family_of(policy.metadata)
    trained = policy.metadata["adapt"]
    protocol = {
        "split": split,
        "tasks": tasks,
        "episodes": trained["episodes"] if episodes is None else episodes,
        "seed": seed,
    }
    steps = trained["steps"] if steps is None else steps
    report = evaluate(
        policy.agent(),
        family,
        name=policy.name,
        steps=steps,
        deterministic=deterministic,
        long=_longer(policy),
        **protocol,
    )
    protocol["episodes"] *= steps + 1
    if not baselines:
        return report
    random = evaluate(random_agent(family), family, name="random", steps=0, **protocol)
    report["baselines"]["random"] = _as_baseline(random)
    for name in PRESETS[policy.name].baselines if policy.name in PRESETS else ():
        beside = Path(policy.directory).parent.parent / name
        if beside.is_dir() or (savedmodels_directory() / name).is_dir():
            other = load(beside if beside.is_dir() else name)
            result = evaluate(
                other.agent(),
                family_of(other.metadata),
                name=name,
                steps=0,
                deterministic=deterministic,
                long=_longer(other),
                **protocol,
            )
            report["baselines"][name] = _as_baseline(result)
    if isinstance(family, CartPoleGoal):
        targets = np.asarray(family.sample(tasks, split, seed).target)
        position, mean = best_fixed_position(targets, family.horizon)
        report["baselines"]["best_fixed_position"] = {"mean": mean, "position": position, "closed_form": True}
    return report


def record(version: Path) -> dict[str, Any]:
    """Evaluates an exported policy on test and out-of-range tasks, and writes the figures where people look.

    They go into the version's ``metazoo.json`` (with new checksums), and with a picture of the curve into the model
    card beside the versions. Returns the report on the test tasks.
    """
    from metazoo.zoo.cards import write_card
    from metazoo.zoo.plots import adaptation_curve

    report = evaluate_preset(version)
    outside = evaluate_preset(version, split="ood", baselines=False)
    metadata = store.read_metadata(version) or {}
    metadata["evaluation"] = {**_without_tasks(report), "ood": _without_tasks(outside)}
    store.write_metadata(version, metadata)
    store.write_checksums(version)
    adaptation_curve([report], version.parent / "curve.png")
    write_card(version.parent, metadata, report)
    return report


def _without_tasks(report: dict[str, Any]) -> dict[str, Any]:
    curve = [{key: value for key, value in point.items() if key != "per_task"} for point in report["curve"]]
    return {**report, "curve": curve}


def _longer(policy: Pretrained) -> Any:
    horizon = LONG_HORIZON.get(policy.metadata["family"])
    return family_of(policy.metadata, horizon=horizon) if horizon else None


def _as_baseline(report: dict[str, Any]) -> dict[str, Any]:
    point = {key: value for key, value in report["curve"][0].items() if key in ("mean", "iqm", "ci95")}
    extra = {"at_horizon": report["at_horizon"]} if "at_horizon" in report else {}
    return {**point, "total": report["total"], **extra}
