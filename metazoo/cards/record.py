"""``metazoo evaluate --record``: what a policy's evaluation says is written where people look."""

from pathlib import Path
from typing import Any

import numpy as np

from metazoo import progress
from metazoo.artefact import store
from metazoo.cards import images, rewards, seeds
from metazoo.cards.baselines import Protocol
from metazoo.cards.card import write_card
from metazoo.cards.plots import adaptation_curve
from metazoo.cards.report import card_tasks, evaluate_preset
from metazoo.cards.robustness import robustness
from metazoo.hub import index
from metazoo.presets.preset import evaluate_command
from metazoo.pretrained import family_of, load
from metazoo.tasks.images.classes import ImageClasses


def record(version: Path, runs: list[Path] | None = None) -> dict[str, Any]:
    """Evaluates an exported policy on test and out-of-range tasks (if it has any), and writes where people look.

    They go into the version's ``metazoo.json`` (with new checksums), with a picture of the curve into the model card
    beside the versions, and into the zoo's index if it has one. ``runs``, exports of the same preset with other seeds,
    are evaluated too (``metazoo.cards.seeds``); without them those of an earlier recording stay. Returns the report on
    the test tasks.

    Raises:
        ValueError: ``runs`` were not trained as this policy was.
    """
    metadata = store.read_metadata(version) or {}
    earlier = (metadata.get("evaluation") or {}).get("seeds")
    tasks = card_tasks(metadata)
    metadata["adapt"]["tasks"] = tasks
    metadata["provenance"]["evaluate_command"] = evaluate_command(metadata["name"], tasks)
    with progress.stage(f"recording the card of {version.parent.name}"):
        others = seeds.compare(version, runs) if runs else earlier
        report = evaluate_preset(version)
        family = family_of(metadata)
        outside = evaluate_preset(version, split="ood", baselines=False) if family.out_of_range else None
        policy, adapt = load(version), metadata["adapt"]
        seen = rewards.measure(policy, family)
        served = robustness(policy, family, Protocol("test", tasks, adapt["episodes"], adapt["steps"], 0, False))
    if seen is not None:
        metadata["rewards"] = seen
    beyond = {} if outside is None else {"ood": brief(outside)}
    if isinstance(family, ImageClasses):
        beyond["images"] = images.measure(policy, family)
        images.picture(policy, family, version.parent / images.PICTURE)
    metadata["evaluation"] = {**brief(report), "robustness": served, **beyond, **({"seeds": others} if others else {})}
    store.replace_metadata(version, metadata)
    adaptation_curve([report], version.parent / "curve.png")
    write_card(version.parent, metadata, report)
    zoo = version.parent.parent
    if (zoo / index.FILE).is_file():
        index.write(zoo)
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
