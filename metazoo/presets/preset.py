"""What a preset says. Imports nothing heavy."""

from dataclasses import dataclass, field
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


def evaluate_command(name: str, tasks: int) -> str:
    """The command that measures a card's figures again."""
    return f"metazoo evaluate {name} --split test --tasks {tasks} --seed 0 --json"
