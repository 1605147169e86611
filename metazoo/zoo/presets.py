"""The zoo's policies as plain data: what is trained, on what, with which settings. Imports nothing heavy."""

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
    baselines: tuple[str, ...] = ()
    """Presets that ``evaluate`` reports beside it, on the same tasks."""


_ALL = (
    Preset(
        name="maml_cartpole",
        description="CartPole with unknown physics and motor sign",
        family="cartpole",
        algorithm="maml",
        config={
            "tasks": 40,
            "episodes": 5,
            "inner_steps": 3,
            "inner_rate": 0.5,
            "step_size_gain": 3.0,
            "clip_norm": 0.05,
        },
        updates=700,
        learning_rate=2e-3,
        episodes=5,
        steps=3,
        baselines=("dr_cartpole",),
    ),
    Preset(
        name="maml_cartpole_goal",
        description="CartPole that must find and hold a hidden target position",
        family="cartpole_goal",
        algorithm="maml",
        config={
            "tasks": 40,
            "episodes": 10,
            "inner_steps": 3,
            "inner_rate": 0.5,
            "step_size_gain": 3.0,
            "clip_norm": 0.05,
            "entropy": 0.05,
        },
        updates=1200,
        learning_rate=2e-3,
        episodes=10,
        steps=3,
        baselines=("dr_cartpole_goal", "oracle_cartpole_goal"),
    ),
    Preset(
        name="maml_navigation",
        description="2D navigation to a hidden goal",
        family="navigation",
        algorithm="maml",
        config={
            "tasks": 40,
            "episodes": 20,
            "inner_steps": 3,
            "step_size_gain": 3.0,
            "step_weight": 0.3,
            "clip_norm": 0.5,
        },
        network={"hidden": (100, 100), "initial_scale": 0.1},
        updates=350,
        episodes=20,
        steps=3,
        baselines=("dr_navigation",),
    ),
    Preset(
        name="dr_cartpole",
        description="CartPole with unknown physics, trained over all tasks without adapting",
        family="cartpole",
        algorithm="domain_randomised",
        config={"tasks": 40, "episodes": 20, "clip_norm": 1.0, "entropy": 0.01},
        # The two directions of the motor cancel in the gradient of a nearly uniform policy: it would stay one for ever.
        network={"output_gain": 1.0},
        updates=700,
        learning_rate=5e-3,
        episodes=5,
        steps=0,
    ),
    Preset(
        name="dr_cartpole_goal",
        description="CartPole with a hidden target, trained over all tasks without adapting",
        family="cartpole_goal",
        algorithm="domain_randomised",
        config={"tasks": 40, "episodes": 40, "clip_norm": 0.05, "entropy": 0.01},
        updates=1200,
        learning_rate=2e-3,
        episodes=10,
        steps=0,
    ),
    Preset(
        name="oracle_cartpole_goal",
        description="CartPole with the target in the observation: what knowing the task is worth",
        family="cartpole_goal",
        family_args={"reveal_target": True},
        algorithm="domain_randomised",
        config={"tasks": 40, "episodes": 40, "clip_norm": 0.05, "entropy": 0.01},
        updates=1200,
        learning_rate=2e-3,
        episodes=10,
        steps=0,
    ),
    Preset(
        name="dr_navigation",
        description="2D navigation to a hidden goal, trained over all tasks without adapting",
        family="navigation",
        algorithm="domain_randomised",
        config={"tasks": 40, "episodes": 80, "clip_norm": 0.5},
        network={"hidden": (100, 100), "initial_scale": 0.1},
        updates=350,
        episodes=20,
        steps=0,
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ALL}
