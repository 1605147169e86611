"""Policies between two policies: θ = α θ₁ + (1 − α) θ₂ (Izmailov et al. 2018, arXiv 1803.05407; Wortsman et al. 2022,
arXiv 2109.01903, between a policy and what it was fine-tuned to).

Every number of an export is averaged: the policy's memory, which holds the weights of those that adapt by gradient
steps, and its other variables, such as learned inner step sizes.
"""

import os
from pathlib import Path

import numpy as np

from metazoo.artefact import store
from metazoo.artefact.signatures import MEMORY_CHECKPOINT_KEY
from metazoo.pretrained import Pretrained, load

SAME = ("family", "family_args", "algorithm", "config", "network", "memory", "distribution")
"""What must be equal in the metadata of both, so that one graph runs either."""


def average(one: Pretrained, other: Pretrained, alpha: float, directory: str | os.PathLike[str]) -> Pretrained:
    """Publishes α·one + (1 − α)·other as the next version of ``<directory>/<name of one>-average``, and loads it.

    Both may be adapted. A count of inner steps is not averaged: it is that of the policy with the larger share.

    Raises:
        ValueError: α outside [0, 1], or policies that differ in more than their weights.
        OSError: the disk is full or not writable; nothing is left behind.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}; it must lie in [0, 1].")
    for key in SAME:
        mine, theirs = one.metadata.get(key), other.metadata.get(key)
        if mine != theirs:
            raise ValueError(
                f"{one.name} and {other.name} differ in {key} ({mine} and {theirs}); weights would not fit."
            )
    ours, others = _tensors(one), _tensors(other)
    mixed = {name: _mix(ours[name], others[name], alpha) for name in ours}
    memory = mixed.pop(MEMORY_CHECKPOINT_KEY)
    if one.metadata["memory"]["kind"] == "fast_weights":
        memory[-1] = (one if alpha >= 0.5 else other).memory[-1]
    base = Path(directory) / f"{one.name}-average"
    parents = [{"name": policy.name, "version": policy.version, "share": share}
               for policy, share in ((one, alpha), (other, 1.0 - alpha))]  # fmt: skip
    updates = {"name": base.name, "averaged": parents, "evaluation": {}}
    return load(store.publish(one.directory, base, memory, updates, mixed))


def _tensors(policy: Pretrained) -> dict[str, np.ndarray]:
    """The floats of its checkpoint by key, with the memory it has now."""
    tensors = {name: np.asarray(value) for name, value in store.read_checkpoint(policy.directory).items()}
    floats = {name: value for name, value in tensors.items() if value.dtype.kind == "f"}
    return floats | {MEMORY_CHECKPOINT_KEY: np.asarray(policy.memory)}


def _mix(mine: np.ndarray, theirs: np.ndarray, alpha: float) -> np.ndarray:
    mixed = alpha * mine.astype(np.float64) + (1.0 - alpha) * theirs.astype(np.float64)
    return np.asarray(mixed, mine.dtype)
