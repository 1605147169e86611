"""The presets of few-shot image classification as plain data."""

from typing import Any

from metazoo.presets.preset import Preset
from metazoo.words import count

_NETWORK = {"blocks": 4, "filters": 32}
_INNER = {"tasks": 8, "episodes": 1, "inner_steps": 2, "inner_rate": 0.2, "every_step": 0, "clip_norm": 10.0}


def _preset(name: str, algorithm: str, family: str, config: dict[str, Any], **changes: Any) -> Preset:
    """Classification of ``ways`` characters from ``shots`` drawings of each."""
    arguments = {"ways": 5, "shots": 1, **changes.pop("family_args", {})}
    return Preset(
        name=name,
        description=f"{arguments['ways']} characters told apart from {count(arguments['shots'], 'drawing')} of each",
        family=family,
        family_args=arguments,
        algorithm=algorithm,
        config=config,
        network=changes.pop("network", _NETWORK),
        updates=changes.pop("updates", 6_000),
        learning_rate=changes.pop("learning_rate", 2e-3),
        episodes=1,
        steps=changes.pop("steps", 2),
        **changes,
    )


_REPTILE = {"tasks": 8, "episodes": 1, "inner_steps": 5, "inner_rate": 0.1}
_NEW_HEAD = {**_NETWORK, "output_gain": 0.0}
_FEATURES = {**_NETWORK, "head": False}
_PROTOTYPES: dict[str, Any] = {"network": _FEATURES, "steps": 1, "updates": 2_000}

IMAGE_PRESETS = (
    _preset("maml_glyphs", "maml", "glyphs", _INNER),
    _preset("maml_glyphs_k5", "maml", "glyphs", _INNER, family_args={"shots": 5}, updates=3_000),
    _preset("fomaml_glyphs", "maml", "glyphs", {**_INNER, "first_order": 1}),
    _preset("anil_glyphs", "anil", "glyphs", {**_INNER, "step_sizes": "parameter"}),
    _preset("metasgd_glyphs", "meta_sgd", "glyphs", {**_INNER, "inner_rate": 0.05, "inner_rate_high": 0.3}),
    _preset("reptile_glyphs", "reptile", "glyphs", _REPTILE, steps=5),
    _preset("finetuned_glyphs", "pretraining", "glyphs", {"tasks": 8, "episodes": 1}, network=_NEW_HEAD, steps=20),
    _preset("proto_glyphs", "prototypical", "glyphs", {"tasks": 8}, **_PROTOTYPES),
    _preset("maml_omniglot", "maml", "omniglot", _INNER, updates=2_500),
    _preset("proto_omniglot", "prototypical", "omniglot", {"tasks": 8}, **_PROTOTYPES),
    _preset(
        "proto_omniglot_w20",
        "prototypical",
        "omniglot",
        {"tasks": 4},
        family_args={"ways": 20, "queries": 2},
        **_PROTOTYPES,
    ),
)

OMNIGLOT_PRESETS = tuple(preset for preset in IMAGE_PRESETS if preset.family == "omniglot")
"""Those that need its archives."""
