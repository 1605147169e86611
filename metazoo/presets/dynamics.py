"""The presets of models of dynamics as plain data."""

from typing import Any

from metazoo.presets.preset import Preset

_CENTRE_AND_WIDTH = {
    "pendulum_dynamics": ((0.0, 0.0, 0.0, 0.0), (0.7, 0.7, 4.0, 1.2)),
    "cartpole_dynamics": ((0.0,) * 5, (0.1, 0.9, 0.1, 1.1, 1.0)),
    "half_cheetah_dynamics": (
        (-0.1, 0.2, *(0.0,) * 21),
        (0.1, 0.45, *(0.3,) * 3, *(0.4,) * 2, 0.3, 0.6, 0.7, 1.3, 3.7, *(4.2,) * 5, *(0.6,) * 6),
    ),
}
"""About the mean and the standard deviation of what a model is shown."""
_WORLDS = {
    "pendulum_dynamics": "a pendulum of unknown gravity, mass and length",
    "cartpole_dynamics": "a cart and pole of unknown physics and motor",
    "half_cheetah_dynamics": "a half-cheetah of unknown body",
}
_INNER = {"tasks": 16, "episodes": 1, "inner_steps": 5, "inner_rate": 0.03, "every_step": 0, "clip_norm": 10.0}


def _preset(name: str, algorithm: str, family: str, config: dict[str, Any], **changes: Any) -> Preset:
    """What follows a transition of a world, after 50 transitions of it."""
    return Preset(
        name=name,
        description=f"predicts what follows a transition of {_WORLDS[family]}",
        family=family,
        algorithm=algorithm,
        config=config,
        network=changes.pop("network"),
        updates=changes.pop("updates", 3_000),
        learning_rate=changes.pop("learning_rate", 2e-3),
        episodes=1,
        steps=changes.pop("steps", 5),
        **changes,
    )


def _family(family: str) -> tuple[Preset, ...]:
    centre, width = _CENTRE_AND_WIDTH[family]
    scaled = {"centre": centre, "width": width}
    dense: dict[str, Any] = {"hidden": (64, 64), "heteroscedastic": True, "output_gain": 0.1, **scaled}
    recurrent = {
        "units": 64,
        "head": "observation",
        "hidden": (64,),
        "encoder": (64,),
        "heteroscedastic": True,
    }
    return (
        _preset(f"maml_{family}", "maml", family, _INNER, network=dense),
        _preset(f"anil_{family}", "anil", family, {**_INNER, "step_sizes": "parameter"}, network=dense),
        _preset(f"rebal_{family}", "rebal", family, {"tasks": 16}, network=recurrent, steps=1),
        _preset(f"pooled_{family}", "maml", family, {**_INNER, "inner_steps": 0}, network=dense, steps=0),
    )


_PLANS = {"ahead": 20, "held": 2, "candidates": 64, "best": 8, "rounds": 4}
_PENDULUM = _CENTRE_AND_WIDTH["pendulum_dynamics"]
DYNAMICS_PRESETS = (
    *(preset for family in _WORLDS for preset in _family(family)),
    Preset(
        name="mpc_pendulum",
        description="Pendulum of unknown gravity, mass and length, planned on a model that adapts",
        family="pendulum",
        algorithm="mpc",
        config={**_INNER, "clip_norm": 1.0, "pool": 1_000, **_PLANS},
        network={
            "hidden": (64, 64),
            "heteroscedastic": True,
            "output_gain": 0.1,
            "centre": _PENDULUM[0],
            "width": _PENDULUM[1],
        },
        updates=4_000,
        learning_rate=2e-3,
        episodes=1,
        steps=0,
        evaluation_tasks=200,
    ),
)
