"""Policies of Meta-World's tasks as plain data. They need the extra ``metaworld``.

``dr_…`` are trained over the same tasks without a memory: what adapting is compared with. Every one sees as many steps
in an update as its twin.
"""

from typing import Any, Final

from metazoo.presets.preset import Preset

GOALS: Final = 50
"""Test tasks that Meta-World has of a kind."""
_TRIAL: Final = {"tasks": 20, "episodes": 2}
_PPO: Final = {"epochs": 6, "minibatches": 5, "gamma": 0.97, "lambda_": 0.9, "critic_degree": 2, "entropy": 0.01}
_RECURRENT: Final = {"initial_scale": 0.6, "encoder": (64,), "head": "observation", "hidden": (64,), "normalise": True}
_HIDDEN: Final = {
    "reach": "Robot arm that reaches a hidden point",
    "push": "Robot arm that pushes a puck to a hidden place",
}
_SEEN: Final = {
    "door_open": "Robot arm that opens a door",
    "drawer_close": "Robot arm that closes a drawer",
    "button_press": "Robot arm that presses a button",
}
"""Where the object that is seen tells where the goal is."""
_SHORT: Final[dict[str, Any]] = {"rate": 1e-3, "epochs": 8, "entropy": 0.005, "family_args": {"horizon": 200}}
"""Their episodes need no 500 steps, and what is reached in 200 would be reached in 500."""
_MANY: Final[dict[str, Any]] = {**_SHORT, "family_args": {"horizon": 200, "train_placements": 500}}
"""A hidden goal must be searched for, and with 50 of them their places are learned by heart."""
_ML1: Final = {**_HIDDEN, **_SEEN}
_ML10: Final = "Robot arm whose task, of ten kinds in training and five others in tests, is hidden"


def _rl2(
    name: str,
    description: str,
    family: str,
    updates: int,
    tests: int,
    rate: float = 5e-4,
    family_args: dict[str, Any] | None = None,
    **config: Any,
) -> Preset:
    return Preset(
        name=f"rl2_{name}",
        description=description,
        family=family,
        algorithm="rl2",
        config={**_TRIAL, **_PPO, "entropy_updates": updates, **config},
        family_args=family_args or {},
        network=_RECURRENT,
        updates=updates,
        learning_rate=rate,
        episodes=2,
        steps=0,
        evaluation_tasks=tests,
        baselines=(f"dr_{name}",),
    )


def _maml(
    name: str, description: str, family: str, updates: int, tests: int, family_args: dict[str, Any] | None = None
) -> Preset:
    return Preset(
        name=f"maml_{name}",
        description=description,
        family=family,
        algorithm="maml",
        config={
            "tasks": 10,
            "episodes": 10,
            "inner_steps": 1,
            "inner_rate": 0.1,
            "step_sizes": "parameter",
            "step_size_gain": 3.0,
            "epochs": 3,
            "clip_norm": 0.5,
            "outer": "ppo",
        },
        family_args=family_args or {},
        network={"hidden": (64, 64), "initial_scale": 1.0},
        updates=updates,
        learning_rate=1e-3,
        episodes=10,
        steps=1,
        evaluation_tasks=tests,
        baselines=(f"dr_{name}",),
    )


def _dr(
    name: str, description: str, family: str, updates: int, tests: int, family_args: dict[str, Any] | None = None
) -> Preset:
    return Preset(
        name=f"dr_{name}",
        description=f"{description}, trained over all tasks without adapting",
        family=family,
        algorithm="domain_randomised",
        config={"tasks": 20, "episodes": 2, "epochs": 6, "clip_norm": 0.5, "entropy": 0.01},
        family_args=family_args or {},
        network={"hidden": (64, 64), "initial_scale": 1.0},
        updates=updates,
        learning_rate=2e-3,
        episodes=2,
        steps=0,
        evaluation_tasks=tests,
    )


METAWORLD_PRESETS: Final = (
    *(_rl2(f"metaworld_{kind}", text, f"metaworld_{kind}", 400, 2 * GOALS, **_MANY) for kind, text in _HIDDEN.items()),
    *(_rl2(f"metaworld_{kind}", text, f"metaworld_{kind}", 100, 2 * GOALS, **_SHORT) for kind, text in _SEEN.items()),
    _maml("metaworld_reach", _HIDDEN["reach"], "metaworld_reach", 100, 2 * GOALS, _MANY["family_args"]),
    _rl2("ml10", _ML10, "metaworld_ml10", 1000, 5 * GOALS, tasks=40, minibatches=10),
    _maml("ml10", _ML10, "metaworld_ml10", 200, 5 * GOALS),
    *(
        _dr(f"metaworld_{kind}", text, f"metaworld_{kind}", 400, 2 * GOALS, _MANY["family_args"])
        for kind, text in _HIDDEN.items()
    ),
    *(
        _dr(f"metaworld_{kind}", text, f"metaworld_{kind}", 100, 2 * GOALS, _SHORT["family_args"])
        for kind, text in _SEEN.items()
    ),
    _dr("ml10", _ML10, "metaworld_ml10", 1000, 5 * GOALS),
)
