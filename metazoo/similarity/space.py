"""Where embeddings are compared: what repeats itself when a task is met twice counts, what does not is noise.

Every reference task is met twice, by other episodes: embeddings x and x'. Entries are divided by the root of their
second moments and turned to their first principal components. There, with T = E[x xᵀ] and C = E[x x'ᵀ] (symmetrised),

C v = λ T v,   λ the *repeatability* of direction v,

is the share of the direction's variance that belongs to the task and not to the episodes (the canonical correlation of
the two; Hotelling 1936). Directions are whitened by T and scaled by √(λ / (1 − λ)), signal by noise. No hidden
parameter is used.
"""

from typing import NamedTuple

import numpy as np

COMPONENTS = 10
"""Principal components that are looked at."""
LEAST_NOISE = 0.02
"""A direction counts as if at least this share of its variance were noise."""
NOTHING = 1e-6
"""Entries that vary less than this share of the most varying one are constants with rounding."""


class Space(NamedTuple):
    """Linear coordinates ``[M, D]`` of embeddings ``[M, S]``, whose Euclidean distances are those of tasks."""

    middle: np.ndarray
    """``[S]``"""
    turn: np.ndarray
    """``[S, D]``"""
    repeatable: np.ndarray
    """λ of each coordinate, the largest first, ``[D]``."""

    def coordinates(self, embeddings: np.ndarray) -> np.ndarray:
        """``[M, S] → [M, D]``."""
        return (np.asarray(embeddings, np.float64) - self.middle) @ self.turn


def fit(first: np.ndarray, again: np.ndarray) -> Space:
    """The space of reference tasks that were met twice: embeddings ``[N, S]`` of the same tasks, in the same order.

    Raises:
        ValueError: other shapes, fewer than 20 tasks, or embeddings that do not vary.
    """
    if first.shape != again.shape or len(first) < 20:
        raise ValueError(f"embeddings have shapes {first.shape} and {again.shape}; two of each of 20 tasks are needed.")
    both = np.concatenate([first, again]).astype(np.float64)
    middle = both.mean(0)
    scale = np.sqrt(((both - middle) ** 2).mean(0))
    varies = scale > NOTHING * max(scale.max(), 1e-30)
    if not scale.max() or not np.isfinite(scale).all():
        raise ValueError("the embeddings of all tasks are the same: nothing tells them apart.")
    inverse = np.where(varies, 1.0 / np.where(varies, scale, 1.0), 0.0)
    standard = (both - middle) * inverse
    _, values, vectors = np.linalg.svd(standard, full_matrices=False)
    kept = min(COMPONENTS, int((values > NOTHING * values.max()).sum()))
    axes = vectors[:kept].T
    repeatable, whitened = _repeatable(standard[: len(first)] @ axes, standard[len(first) :] @ axes)
    weights = np.sqrt(repeatable / (1.0 + LEAST_NOISE - repeatable))
    return Space(middle, inverse[:, None] * (axes @ whitened) * weights, repeatable)


def _repeatable(first: np.ndarray, again: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """λ ``[D]``, the largest first, and the directions ``[D, D]`` in which T is the identity."""
    from scipy import linalg

    total = (first.T @ first + again.T @ again) / (2 * len(first))
    shared = (first.T @ again + again.T @ first) / (2 * len(first))
    total += NOTHING * np.trace(total) / len(total) * np.eye(len(total))
    values, vectors = linalg.eigh(shared, total)
    return np.clip(values[::-1], 0.0, 1.0), vectors[:, ::-1]


def distances(rows: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
    """Euclidean distances ``[M, N]`` between coordinates ``[M, D]`` and ``[N, D]``, by default the same ones."""
    others = rows if others is None else others
    squares = (rows**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2.0 * rows @ others.T
    return np.sqrt(np.maximum(squares, 0.0))


def nearest(coordinates: np.ndarray, of: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``coordinates [N, D]`` are nearest to ``of [D]``, the nearest first, and how far they are."""
    far = distances(of[None], coordinates)[0]
    which = np.argsort(far, kind="stable")[:count]
    return which, far[which]
