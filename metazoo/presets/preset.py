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
    evaluation_tasks: int = 200
    """Test tasks of its card; many where a task is a matter of milliseconds and the literature's tables are fine."""
    baselines: tuple[str, ...] = ()
    """Presets that ``evaluate`` reports beside it, on the same tasks."""
    teacher: str = ""
    """Whom a distilled student learns from: see ``metazoo.training.teachers``."""
