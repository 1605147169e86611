"""``metazoo evaluate``: a policy of the zoo and its baselines on the same tasks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metazoo import progress
from metazoo.artefact import store
from metazoo.cards.baselines import Protocol
from metazoo.cards.baselines import baselines as compare
from metazoo.evaluation import evaluate
from metazoo.presets.preset import evaluate_command
from metazoo.presets.registry import PRESETS
from metazoo.pretrained import family_of, load

DEFAULT_TASKS = 200
"""How many a policy is evaluated on where neither a preset nor its metadata says."""
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
    """The report of ``metazoo.evaluation.evaluate``, with those of ``metazoo.cards.baselines`` on the same tasks.

    Raises:
        ValueError: an unknown policy, family or split, or a number out of range.
    """
    policy = load(name_or_dir)
    family = family_of(policy.metadata)
    trained = policy.metadata["adapt"]
    tasks = card_tasks(policy.metadata) if tasks is None else tasks
    episodes = trained["episodes"] if episodes is None else episodes
    steps = trained["steps"] if steps is None else steps
    protocol = Protocol(split, tasks, episodes, steps, seed, deterministic)
    horizon = LONG_HORIZON.get(family.name)
    longer = family_of(policy.metadata, horizon=horizon) if horizon else None
    report = evaluate(policy.agent(), family, name=policy.name, long=longer, **protocol._asdict())
    if baselines:
        with progress.stage(f"baselines of {policy.name}"):
            report["baselines"] = compare(policy, family, protocol, horizon)
    return report


def card_tasks(metadata: Mapping[str, Any]) -> int:
    """How many test tasks a policy's card has: those of its preset, else what its metadata says."""
    preset, family = PRESETS.get(metadata["name"]), (metadata["family"], metadata.get("family_args", {}))
    if preset and (preset.family, preset.family_args) == family:
        return preset.evaluation_tasks
    return metadata["adapt"].get("tasks", DEFAULT_TASKS)


def record(version: Path, runs: list[Path] | None = None) -> dict[str, Any]:
    """Evaluates an exported policy on test and out-of-range tasks, and writes the figures where people look.

    They go into the version's ``metazoo.json`` (with new checksums), with a picture of the curve into the model card
    beside the versions, and into the zoo's index if it has one. ``runs``, exports of the same preset with other seeds,
    are evaluated too (``metazoo.cards.seeds``); without them those of an earlier recording stay. Returns the report on
    the test tasks.

    Raises:
        ValueError: ``runs`` were not trained as this policy was.
    """
    from metazoo.cards import rewards, seeds
    from metazoo.cards.card import write_card
    from metazoo.cards.plots import adaptation_curve
    from metazoo.hub import index as manifest

    metadata = store.read_metadata(version) or {}
    earlier = (metadata.get("evaluation") or {}).get("seeds")
    tasks = card_tasks(metadata)
    metadata["adapt"]["tasks"] = tasks
    metadata["provenance"]["evaluate_command"] = evaluate_command(metadata["name"], tasks)
    with progress.stage(f"recording the card of {version.parent.name}"):
        others = seeds.compare(version, runs) if runs else earlier
        report = evaluate_preset(version)
        outside = evaluate_preset(version, split="ood", baselines=False)
        seen = rewards.measure(load(version), family_of(metadata))
    if seen is not None:
        metadata["rewards"] = seen
    metadata["evaluation"] = {**brief(report), "ood": brief(outside), **({"seeds": others} if others else {})}
    store.replace_metadata(version, metadata)
    adaptation_curve([report], version.parent / "curve.png")
    write_card(version.parent, metadata, report)
    zoo = version.parent.parent
    if (zoo / manifest.FILE).is_file():
        manifest.write(zoo)
    return report


def brief(report: dict[str, Any]) -> dict[str, Any]:
    """The report without every task's own figure; between which two 80 % of the tasks lie takes their place."""
    curve = []
    for point in report["curve"]:
        kept = {key: value for key, value in point.items() if key != "per_task"}
        if "per_task" in point:
            kept["middle80"] = [float(value) for value in np.percentile(point["per_task"], (10, 90))]
        curve.append(kept)
    return {**report, "curve": curve}
