"""What a preset says. Imports nothing heavy."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """One policy of the zoo. ``episodes`` and ``steps`` are how it is evaluated and adapted by default."""

    name: str
    description: str
    family: str
    algorithm: str
    config: dict[str, Any]
    updates: int
    episodes: int
    steps: int
    family_args: dict[str, Any] = field(default_factory=dict)
    family_from: str = ""
    """Where a family that is the user's own is found again: see ``metazoo.tasks.own``."""
    network: dict[str, Any] = field(default_factory=dict)
    learning_rate: float = 3e-3
    seed: int = 0
    evaluation_tasks: int = 2_000
    """Test tasks of its card: enough to meet what happens in one task of 200. Fewer where MuJoCo plays them, more where
    the literature's tables are finer."""
    baselines: tuple[str, ...] = ()
    """Presets that ``evaluate`` reports beside it, on the same tasks."""
    teacher: str = ""
    """Whom a distilled student learns from: see ``metazoo.training.teacher_sources``."""
    sampler: str = "uniform"
    """Who chooses the tasks that are trained on: see ``metazoo.samplers.registry``."""


def settings_of(preset: Preset) -> dict[str, Any]:
    """All that a preset says, without what few presets have where it is as in the others."""
    usual = {"family_from": "", "sampler": "uniform"}
    return {key: value for key, value in asdict(preset).items() if key not in usual or value != usual[key]}


def train_arguments(preset: Preset, seed: int | None, updates: int | None, changed: Mapping[str, Any]) -> list[str]:
    """The arguments of ``metazoo train`` that train it, with the ``changed`` settings."""
    arguments = [preset.name]
    if preset.family_from:
        arguments = ["--family", preset.family_from, "--algorithm", preset.algorithm, "--name", preset.name]
        for key, value in preset.family_args.items():
            arguments += ["--family-arg", f"{key}={json.dumps(value)}"]
        arguments += ["--no-baseline"]
    for option, number in (("--seed", seed), ("--updates", updates)):
        arguments += [] if number is None else [option, str(number)]
    for key, value in changed.items():
        arguments += ["--set", f"{key}={value}"]
    return arguments


def evaluate_command(name: str, tasks: int) -> str:
    """The command that measures a card's figures again."""
    return f"metazoo evaluate {name} --split test --tasks {tasks} --seed 0 --json"
