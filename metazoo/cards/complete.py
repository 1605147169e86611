"""``python -m metazoo.cards.complete savedmodels/NAME``: what evaluations say since a policy was recorded, on its card.

``metazoo evaluate --record`` measures everything anew, most of it baselines, which stay what they are. This plays the
policy alone, as that command does, and adds what an older recording lacks: who lost by adapting, the worst tenth, first
and last point by task parameter, rewards by step of bandits, and how it does as it is served. A card whose figures the
policy does not reproduce is left as it is.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from metazoo import progress
from metazoo.artefact import store
from metazoo.cards.baselines import Protocol
from metazoo.cards.by_step import rewards_of_trials
from metazoo.cards.card import write_card
from metazoo.cards.plots import adaptation_curve
from metazoo.cards.record import brief
from metazoo.cards.report import card_tasks
from metazoo.cards.robustness import robustness
from metazoo.classical.comparison import bandit_rewards
from metazoo.evaluation import evaluate
from metazoo.pretrained import family_of, load
from metazoo.summaries import by_step
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.host_family import AnyFamily

SAME: Final = 0.02
"""How far a mean may be from the recorded one, in widths of its interval. Another processor rounds otherwise, and after
an inner step single episodes then go another way; tasks and draws are the same."""


def complete(version: Path) -> Path:
    """Adds what the recorded evaluation of a version directory lacks, and writes its card and picture again.

    Returns the card.

    Raises:
        ValueError: it was not evaluated, or what it was found to do is not what was recorded.
    """
    metadata = store.read_metadata(version) or {}
    recorded = metadata.get("evaluation")
    if not recorded:
        raise ValueError(f"{version} was not evaluated; metazoo evaluate {version} --record does that.")
    policy, family, adapt = load(version), family_of(metadata), metadata["adapt"]
    protocol = Protocol("test", card_tasks(metadata), adapt["episodes"], adapt["steps"], 0, False)
    with progress.stage(f"completing the card of {version.parent.name}"):
        found = brief(evaluate(policy.agent(), family, name=policy.name, **protocol._asdict()))
        added: dict[str, Any] = {"curve": _merged(version, recorded["curve"], found["curve"])}
        added |= {key: found[key] for key in ("by_parameter",) if key in found}
        added["robustness"] = robustness(policy, family, protocol)
        if (rewards := rewards_of_trials(policy, family, protocol)) is not None:
            added["by_step"] = by_step(rewards)
            added["baselines"] = _with_steps(recorded["baselines"], family, protocol)
    metadata["evaluation"] = {**recorded, **added}
    store.replace_metadata(version, metadata)
    adaptation_curve([metadata["evaluation"]], version.parent / "curve.png")
    return write_card(version.parent, metadata, metadata["evaluation"])


def _merged(version: Path, recorded: list[Mapping[str, Any]], found: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The recorded points, with what only those that were found say. Raises ValueError where means are others."""
    points = list(zip(recorded, found, strict=False))
    apart = [abs(before["mean"] - now["mean"]) / max(np.ptp(before["ci95"]), 1e-6) for before, now in points]
    if len(recorded) != len(found) or max(apart) > SAME:
        means = " and ".join(str([round(point["mean"], 4) for point in curve]) for curve in (recorded, found))
        raise ValueError(
            f"{version} has other means than were recorded: {means};"
            f" metazoo evaluate {version} --record measures everything anew."
        )
    return [{**now, **before} for before, now in points]


def _with_steps(baselines: Mapping[str, Any], family: AnyFamily, protocol: Protocol) -> dict[str, Any]:
    """The baselines of a bandit, the classical ones with their rewards by step."""
    if not isinstance(family, Bandit):
        return dict(baselines)
    tasks = family.sample(protocol.tasks, protocol.split, protocol.seed)
    steps = {name: by_step(one) for name, one in bandit_rewards(family, tasks, 1, protocol.seed).items()}
    return {name: {**one, **({"by_step": steps[name]} if name in steps else {})} for name, one in baselines.items()}


if __name__ == "__main__":
    with progress.shown():
        for argument in sys.argv[1:]:
            print(complete(store.latest(argument)))
