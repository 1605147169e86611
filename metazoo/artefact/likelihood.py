"""How likely recorded actions are under a policy's distributions, and bounds on how likely *that* is by chance."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

_POWERS: Final = (
    -0.95,
    -0.9,
    -0.8,
    -0.7,
    -0.6,
    -0.5,
    -0.4,
    -0.3,
    -0.2,
    -0.1,
    -0.05,
    0.1,
    0.25,
    0.5,
    1,
    2,
    4,
    8,
    16,
    32,
)
_STAKES: Final = (0.5, 1, 2, 4, 8, 16, 32)
_MOST_FEATURES: Final = 100


class Likelihood(NamedTuple):
    """Of recorded actions, clipped to their space, per step.

    ``log_prob``: their mean log-probability. ``expected``: the policy's own samples would have it (minus the entropy).
    ``below``, ``above``: bounds on the logarithm of the chance that own samples are so far below, or above, that;
    ``foretold``: that they agree so well with a guess.
    """

    log_prob: float
    expected: float
    below: float
    above: float
    foretold: float

    def diagnostics(self) -> dict[str, float]:
        return {"log_prob": self.log_prob, "expected_log_prob": self.expected}


def categorical(parameters: Mapping[str, np.ndarray], actions: np.ndarray, space: Any, seen: np.ndarray) -> Likelihood:
    sizes = np.ravel(space.nvec if hasattr(space, "nvec") else space.n).tolist()
    ends = np.cumsum(sizes)[:-1]
    chosen = (actions - space.start).reshape(len(actions), -1)
    logs = [part - _log_sum_exp(part)[:, None] for part in np.split(parameters["logits"], ends, axis=-1)]
    log_probs = sum(np.take_along_axis(part, chosen[:, [i]], -1)[:, 0] for i, part in enumerate(logs))
    expected = sum((np.exp(part) * part).sum(-1) for part in logs)
    taken = np.concatenate([np.eye(size)[chosen[:, i]] for i, size in enumerate(sizes)], -1)
    probabilities = np.exp(np.concatenate(logs, -1))

    def log_moment(guess: np.ndarray, stake: float) -> np.ndarray:
        parts = zip(logs, np.split(guess, ends, axis=-1), strict=True)
        return sum(_log_sum_exp(part + stake * one) for part, one in parts) - stake * (probabilities * guess).sum(-1)

    foretold = _foretold(taken - probabilities, seen, log_moment)
    powers = {power: sum(_log_sum_exp((1 + power) * part) for part in logs) for power in _POWERS}
    return _likelihood(log_probs, expected, powers, foretold)


def _log_sum_exp(values: np.ndarray) -> np.ndarray:
    largest = values.max(-1)
    return largest + np.log(np.exp(values - largest[:, None]).sum(-1))


def gaussian(parameters: Mapping[str, np.ndarray], actions: np.ndarray, space: Any, seen: np.ndarray) -> Likelihood:
    """Of actions as the environment got them: whether raw or clipped ones were recorded makes no difference then. On a
    bound, a clipped normal variable has a probability; within, a density."""
    from scipy.special import log_ndtr, ndtr  # SciPy takes long to import

    low, high = (np.asarray(bound, np.float64).ravel() for bound in (space.low, space.high))
    if space.dtype.kind in "iu":  # a missing bound is the dtype's last number
        low, high = (
            np.where(space.bounded_below.ravel(), low, -np.inf),
            np.where(space.bounded_above.ravel(), high, np.inf),
        )
    loc, scale = parameters["loc"], np.maximum(parameters["scale"], 1e-12)
    taken = np.asarray(actions, np.float64).reshape(loc.shape)
    below, above, margin = (
        (low - loc) / scale,
        (high - loc) / scale,
        1e-6 * np.where(np.isfinite(high - low), high - low, 0),
    )
    at_low, at_high, unit = log_ndtr(below), log_ndtr(-above), np.log(scale) + 0.5 * np.log(2 * np.pi)
    within = -0.5 * np.square((taken - loc) / scale) - unit
    is_low, is_high = taken <= low + margin, taken >= high - margin
    log_probs = np.where(is_low, at_low, np.where(is_high, at_high, within)).sum(-1)
    inside = np.clip(ndtr(above) - ndtr(below), 0, 1)
    squares = inside - _times_density(above) + _times_density(below)  # of standard deviations, where it is inside
    expected = -0.5 * squares - unit * inside + sum(np.exp(part) * np.maximum(part, -700) for part in (at_low, at_high))

    def log_moment(power: float) -> np.ndarray:
        root = np.sqrt(1 + power)
        dense = np.exp(-power * unit) / root * np.clip(ndtr(root * above) - ndtr(root * below), 0, 1)
        return np.log(dense + np.exp((1 + power) * at_low) + np.exp((1 + power) * at_high)).sum(-1)

    # The share of own samples that are smaller (on a bound, the middle of its share) is uniform, or narrower.
    share = np.where(is_low, 0.5 * ndtr(below), np.where(is_high, 0.5 + 0.5 * ndtr(above), ndtr((taken - loc) / scale)))
    foretold = _foretold(share - 0.5, seen, lambda guess, stake: np.square(stake * guess).sum(-1) / 24)
    return _likelihood(log_probs, expected.sum(-1), {power: log_moment(power) for power in _POWERS}, foretold)


def _times_density(bound: np.ndarray) -> np.ndarray:
    finite = np.where(np.isfinite(bound), bound, 0)
    return finite * np.exp(-0.5 * np.square(finite)) / np.sqrt(2 * np.pi)


def _foretold(noise: np.ndarray, seen: np.ndarray, log_moment: Callable[[np.ndarray, float], np.ndarray]) -> float:
    """A bound on the logarithm of the chance that noise of mean 0 agrees so well with what is guessed before it comes.

    ``log_moment``: (guess, stake) → ln E[exp(stake · guess · noise)] of each step, or more.
    """
    guesses = [np.concatenate([np.zeros_like(noise[:1]), noise[:-1]])]  # that it goes on as in the step before
    if seen.shape[-1] <= _MOST_FEATURES and len(seen) > 1:
        guesses.append(_regression(noise, seen))
    return min(
        float(np.sum(log_moment(guess, stake)) - stake * np.sum(guess * noise))
        for guess in guesses
        for stake in _STAKES
    )


def _regression(noise: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The second half's noise as a linear function of the observations, as the first half has it; 0 in the first."""
    half = len(seen) // 2
    centre, spread = seen[:half].mean(0), seen[:half].std(0) + 1e-6
    features = np.concatenate([np.clip((seen - centre) / spread, -10, 10), np.ones((len(seen), 1))], -1)
    first = features[:half]
    weights = np.linalg.solve(first.T @ first + np.eye(first.shape[1]), first.T @ noise[:half])
    return np.concatenate([np.zeros_like(noise[:half]), np.clip(features[half:] @ weights, -1, 1)])


def _likelihood(log_probs: Any, expected: Any, log_moments: Mapping[float, Any], foretold: float) -> Likelihood:
    """``log_moments``: power → ln E[exp(power · log-probability)] of each step."""
    total = np.sum(log_probs)
    chances = {power: float(np.sum(log_moment) - power * total) for power, log_moment in log_moments.items()}
    below, above = (min(chance for power, chance in chances.items() if power * side > 0) for side in (-1, 1))
    mean = float(np.maximum(np.mean(log_probs), -1e300))  # JSON has no infinity
    return Likelihood(mean, float(np.mean(expected)), min(below, 0.0), min(above, 0.0), min(foretold, 0.0))
