"""``metazoo evaluate``: a policy of the zoo and its baselines on the same tasks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metazoo import progress
from metazoo.cards.baselines import Protocol
from metazoo.cards.baselines import baselines as compare
from metazoo.cards.by_step import rewards_of_trials
from metazoo.evaluation import evaluate
from metazoo.presets.registry import PRESETS
from metazoo.pretrained import family_of, load
from metazoo.summaries import by_step

DEFAULT_TASKS = 200
"""How many a policy is evaluated on where neither a preset nor its metadata says."""


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

    Where a trial is one episode, ``by_step`` says what each of its steps earns (``metazoo.summaries.by_step``).

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
    horizon = family.long_horizon
    longer = family_of(policy.metadata, horizon=horizon) if horizon else None
    report = evaluate(policy.agent(), family, name=policy.name, long=longer, **protocol._asdict())
    if (rewards := rewards_of_trials(policy, family, protocol)) is not None:
        report["by_step"] = by_step(rewards)
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
