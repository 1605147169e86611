"""The presets of sinusoid regression as plain data: the published network, family and inner step size."""

from typing import Any

from metazoo.presets.preset import Preset


def _preset(name: str, algorithm: str, shots: int, updates: int, config: dict[str, Any], steps: int = 10) -> Preset:
    """Regression on ``shots`` points, tested after up to so many inner steps on them."""
    return Preset(
        name=name,
        description=f"a sinusoid from {shots} points",
        family="sinusoid",
        family_args={"horizon": shots},
        algorithm=algorithm,
        config={"tasks": 25, "episodes": 1, **config},
        network={"hidden": (40, 40), "activation": "relu", "output_gain": 1.0},
        updates=updates,
        learning_rate=2e-3,
        episodes=1,
        steps=steps,
    )


# Trained for one step alone, as in the paper, the first step is better and the tenth of some tasks diverges.
_MAML = {"inner_rate": 0.01, "step_sizes": "fixed", "inner_steps": 5, "step_weight": 0.6, "clip_norm": 10.0}
_META_SGD = {"inner_steps": 3, "clip_norm": 10.0}

SINUSOID_PRESETS = (
    _preset("maml_sinusoid", "maml", 5, 20_000, _MAML),
    _preset("maml_sinusoid_k10", "maml", 10, 20_000, _MAML),
    _preset("metasgd_sinusoid", "meta_sgd", 5, 15_000, _META_SGD, steps=3),
    _preset("metasgd_sinusoid_k10", "meta_sgd", 10, 15_000, _META_SGD, steps=3),
    _preset("reptile_sinusoid", "reptile", 5, 15_000, {"inner_rate": 0.02, "inner_steps": 10}),
)
