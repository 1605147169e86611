"""Actions drawn on the client from the distribution a feed-forward policy answers with."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def sample(metadata: Mapping[str, Any], parameters: Mapping[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Raw (unclipped) actions for a batch, as the signature ``step`` would draw them.

    Args:
        metadata: the policy's, for ``distribution`` and ``action_space``.
        parameters: ``logits [B, n]`` (concatenated for MultiDiscrete), or ``loc`` and ``scale`` ``[B, ...]``.
        rng: the source of randomness.

    Returns:
        ``[B]`` or ``[B, n]`` int32 with ``start`` added, or ``[B, ...]`` float32.
    """
    if metadata["distribution"] == "gaussian":
        loc, scale = parameters["loc"], parameters["scale"]
        return (loc + scale * rng.standard_normal(loc.shape)).astype(np.float32)
    logits, space = parameters["logits"], metadata["action_space"]
    noisy = logits + rng.gumbel(size=logits.shape)
    if space["type"] == "Discrete":
        return (noisy.argmax(-1) + space.get("start", 0)).astype(np.int32)
    edges = np.cumsum(np.ravel(space["nvec"]))[:-1]
    parts = [part.argmax(-1) for part in np.split(noisy, edges, axis=-1)]
    return (np.stack(parts, -1) + np.ravel(space.get("start", 0))).astype(np.int32)
