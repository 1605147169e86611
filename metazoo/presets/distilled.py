"""Policies that learned from teachers, as plain data."""

from typing import Any

from metazoo.presets.preset import Preset


def _remembering(name: str, description: str, family: str, teacher: str, updates: int, **changes: Any) -> Preset:
    """A recurrent student that is not told the task: three episodes of it, one after another."""
    return Preset(
        name=name,
        description=description,
        family=family,
        algorithm="recurrent_distillation",
        config={"tasks": 128, "episodes": 3, **changes.pop("config", {})},
        updates=updates,
        learning_rate=5e-3,
        episodes=3,
        steps=0,
        teacher=teacher,
        **changes,
    )


def _small(name: str, share: int, units: int, **changes: Any) -> Preset:
    """A feed-forward student of ``dr_cartpole`` with ``share`` % of its weights."""
    return Preset(
        name=name,
        description=f"CartPole with unknown physics, with {share} % of its teacher's weights",
        family="cartpole",
        algorithm="distillation",
        config={"tasks": 40, "episodes": 5, "temperature": 0.3},
        network={"hidden": (units, units), "output_gain": 1.0},
        updates=1000,
        learning_rate=2e-2,
        episodes=5,
        steps=0,
        baselines=("dr_cartpole",),
        teacher="dr_cartpole",
        **changes,
    )


DISTILLED_PRESETS = (
    _remembering(
        "distilled_cartpole_goal",
        "CartPole that finds a hidden target position, taught by a policy that sees it",
        "cartpole_goal",
        "oracle_cartpole_goal",
        800,
        config={"temperature": 0.5},
        baselines=("dr_cartpole_goal", "oracle_cartpole_goal"),
    ),
    _remembering(
        "distilled_navigation",
        "2D navigation to a hidden goal, taught by one expert for each of 200 goals",
        "navigation",
        "experts:200",
        600,
        network={"initial_scale": 0.1},
        baselines=("dr_navigation",),
    ),
    _small("distilled_cartpole_quarter", 25, 30),
    _small("distilled_cartpole_small", 7, 14),
    _small("distilled_cartpole_tiny", 4, 10),
)
