"""Picture 2: which layers inner steps moved how far, and what a step of the head alone would have gained.

Raghu et al. (2020, arXiv 1909.09157) asked it of MAML: if the head alone gains as much, adapting is reuse of features.
"""

from collections.abc import Mapping
from inspect import signature
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.explain.played import Played
from metazoo.policies.networks import mlp

USUAL: Final = signature(mlp).parameters["hidden"].default
"""The hidden layers of a network whose preset does not say any."""


class Layer(NamedTuple):
    name: str
    where: slice
    """Its entries of the memory."""


def layers(metadata: Mapping[str, Any]) -> list[Layer]:
    """The layers of a policy whose memory is its weights, in order; none where their sizes do not explain it."""
    if metadata["memory"]["kind"] != "fast_weights":
        return []
    inputs = int(np.prod(metadata["observation_space"].get("shape") or [0]))
    space = metadata["action_space"]
    outputs = space["n"] if space["type"] == "Discrete" else int(np.prod(space.get("shape") or [sum(space["nvec"])]))
    widths = [inputs, *(metadata.get("network") or {}).get("hidden", USUAL), outputs]
    sizes = [width * (before + 1) for before, width in zip(widths, widths[1:], strict=False)]
    names = [*(f"layer {i + 1}" for i in range(len(sizes) - 1)), "head"]
    rest = metadata["memory"]["size"] - 1 - sum(sizes)
    if rest == outputs and space["type"] == "Box":
        sizes, names = [*sizes, rest], [*names, "deviation"]
    elif rest:
        return []
    ends = np.cumsum(sizes)
    return [Layer(name, slice(int(end - size), int(end))) for name, size, end in zip(names, sizes, ends, strict=True)]


def movement(found: list[Layer], played: Played) -> dict[str, float]:
    """How far each layer moved: ‖after − before‖ / ‖before‖, the median over tasks. Layers that are 0 before (the
    deviation of a supervised policy, which nothing uses) have no such share and are left out."""
    moved = played.memories - played.start
    lengths = [float(np.linalg.norm(played.start[layer.where])) for layer in found]
    return {
        layer.name: float(np.median(np.linalg.norm(moved[:, layer.where], axis=1)) / length)
        for layer, length in zip(found, lengths, strict=True)
        if length > 0
    }


def head_alone(found: list[Layer], size: int) -> np.ndarray:
    """1 for the entries of the memory ``[size]`` that a step of the head alone changes: the head and the counter."""
    moves = np.zeros(size)
    moves[-1] = 1.0
    for layer in found:
        if layer.name == "head":
            moves[layer.where] = 1.0
    return moves
