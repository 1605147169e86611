"""What can be read from vectors of numbers: their principal components, and a linear probe."""

import numpy as np

FOLDS = 5
PENALTIES = 10.0 ** np.arange(-4, 5)
"""Of the ridge regression, relative to the mean square of the features' singular values."""
NOTHING = 1e-6
"""Entries that vary less than this share of the most varying one are constants with rounding."""


def standardised(features: np.ndarray) -> np.ndarray:
    """``features [N, D]`` without the entries that do not vary, the others with mean 0 and standard deviation 1."""
    features = np.asarray(features, np.float64)
    spread = features.std(0)
    varies = spread > NOTHING * max(spread.max(initial=0.0), 1e-30)
    return (features[:, varies] - features[:, varies].mean(0)) / spread[varies]


def components(features: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of ``features [N, D]``, each entry standardised.

    Returns:
        Scores ``[N, count]``, and the share of the variance that each explains ``[count]``.
    """
    scores, variance = _scores(features)
    missing = max(0, count - scores.shape[1])
    shares = variance / max(variance.sum(), 1e-30)
    return np.pad(scores, ((0, 0), (0, missing)))[:, :count], np.pad(shares, (0, missing))[:count]


def _scores(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All components, at most one fewer than there are rows: nothing that is linear in the features is lost."""
    whole = standardised(features)
    vectors, values, _ = np.linalg.svd(whole, full_matrices=False)
    kept = values > NOTHING * max(values.max(initial=0.0), 1e-30)
    return vectors[:, kept] * values[kept], values[kept] ** 2


def r_squared(features: np.ndarray, target: np.ndarray) -> float:
    """How much of ``target [N]`` a linear function of ``features [N, D]`` predicts on rows that it was not fitted to.

    1 − (sum of squared errors) / (that of the mean of the other rows), over five folds; 0 where nothing can be read,
    and then often a little below. Ridge regression; its penalty is chosen within each training part by the exact
    leave-one-out error (PRESS, Allen 1974).

    Raises:
        ValueError: fewer than 20 rows, or a target that does not vary.
    """
    target = np.asarray(target, np.float64)
    if len(target) < 4 * FOLDS:
        raise ValueError(f"there are {len(target)} rows; a probe needs at least {4 * FOLDS}.")
    if not np.ptp(target):
        raise ValueError(f"the target is {target[0]:g} in every row; it must vary.")
    scores, _ = _scores(features)
    folds = np.array_split(np.random.default_rng(0).permutation(len(target)), FOLDS)
    errors, spread = 0.0, 0.0
    for held in folds:
        rest = np.setdiff1d(np.arange(len(target)), held)
        errors += np.sum((target[held] - _predict(scores[rest], target[rest], scores[held])) ** 2)
        spread += np.sum((target[held] - target[rest].mean()) ** 2)
    return float(1.0 - errors / spread)


def _predict(features: np.ndarray, target: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Ridge regression of ``target`` on ``features`` with an intercept, at ``others``."""
    middle, level = features.mean(0), target.mean()
    if not features.shape[1]:
        return np.full(len(others), level)
    vectors, values, turned = np.linalg.svd(features - middle, full_matrices=False)
    along, squares = vectors.T @ (target - level), values**2
    penalties = PENALTIES * squares.mean()
    best = min(penalties, key=lambda penalty: _press(vectors, squares, along, target - level, penalty))
    weights = turned.T @ (values / (squares + best) * along)
    return level + (others - middle) @ weights


def _press(vectors: np.ndarray, squares: np.ndarray, along: np.ndarray, target: np.ndarray, penalty: float) -> float:
    """The sum of squared errors if each row is left out in turn."""
    shrunk = squares / (squares + penalty)
    leverage = 1.0 / len(target) + (vectors**2) @ shrunk
    return float(np.sum(((target - vectors @ (shrunk * along)) / np.maximum(1.0 - leverage, 1e-9)) ** 2))
