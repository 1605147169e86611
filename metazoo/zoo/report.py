"""``metazoo evaluate``: a policy of the zoo and its baselines on the same tasks."""

from pathlib import Path
from typing import Any

from metazoo import store
from metazoo.evaluation import evaluate
from metazoo.pretrained import family_of, load
from metazoo.zoo.baselines import Protocol
from metazoo.zoo.baselines import baselines as compare

LONG_HORIZON = {"cartpole": 500}
"""Families whose return is also reported at a longer horizon than they adapt with."""


def evaluate_preset(
    name_or_dir: str | Path,
    *,
    split: str = "test",
    tasks: int | None = None,
    episodes: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    deterministic: bool = False,
    baselines: bool = True,
) -> dict[str, Any]:
    """The report of ``metazoo.evaluation.evaluate``, with those of ``metazoo.zoo.baselines`` on the same tasks.

    Raises:
        ValueError: an unknown policy, family or split, or a number out of range.
    """
    policy = load(name_or_dir)
    family = family_of(policy.metadata)
    trained = policy.metadata["adapt"]
    tasks = trained.get("tasks", 200) if tasks is None else tasks
    episodes = trained["episodes"] if episodes is None else episodes
    steps = trained["steps"] if steps is None else steps
    protocol = Protocol(split, tasks, episodes, steps, seed, deterministic)
    horizon = LONG_HORIZON.get(family.name)
    longer = family_of(policy.metadata, horizon=horizon) if horizon else None
    report = evaluate(policy.agent(), family, name=policy.name, long=longer, **protocol._asdict())
    if baselines:
        report["baselines"] = compare(policy, family, protocol, horizon)
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
    store.replace_metadata(version, metadata)
    adaptation_curve([report], version.parent / "curve.png")
    write_card(version.parent, metadata, report)
    return report


def _without_tasks(report: dict[str, Any]) -> dict[str, Any]:
    curve = [{key: value for key, value in point.items() if key != "per_task"} for point in report["curve"]]
    return {**report, "curve": curve}
