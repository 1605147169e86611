"""Gaussian mixtures by expectation-maximisation, in NumPy: what ``alp_gmm`` fits. No state, no library."""

from typing import NamedTuple

import numpy as np

LEAST, MOST = 2, 10
"""Components that are tried."""
ITERATIONS = 25
FLOOR = 1e-4
"""Added to variances; the samples lie between 0 and 1."""


class Mixture(NamedTuple):
    """``weights [K]``, ``means [K, D]``, ``covariances [K, D, D]``; the last dimension is the learning progress."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Points ``[count, D − 1]`` of components in proportion to their mean progress, between 0 and 1."""
        progress = np.maximum(self.means[:, -1], 0.0)
        chances = progress / progress.sum() if progress.sum() else self.weights / self.weights.sum()
        which = rng.choice(len(chances), count, p=chances)
        noise = rng.normal(size=(count, self.means.shape[1] - 1))
        roots = np.linalg.cholesky(self.covariances[:, :-1, :-1])
        return np.clip(self.means[which, :-1] + np.einsum("nij,nj->ni", roots[which], noise), 0.0, 1.0)


def best_mixture(samples: np.ndarray, rng: np.random.Generator) -> Mixture:
    """The mixture of ``samples [N, D]`` with the lowest Akaike criterion, among 2 to 10 components."""
    fitted = [fit(samples, number, rng) for number in range(LEAST, MOST + 1)]
    return min(fitted, key=lambda found: akaike(found, samples))


def fit(samples: np.ndarray, number: int, rng: np.random.Generator) -> Mixture:
    """A mixture of ``number`` components, from samples as first means."""
    count, size = samples.shape
    eye = FLOOR * np.eye(size)
    found = Mixture(
        np.full(number, 1 / number),
        samples[rng.choice(count, number, replace=False)],
        np.repeat((np.cov(samples.T).reshape(size, size) + eye)[None], number, 0),
    )
    for _ in range(ITERATIONS):
        logs = log_densities(found, samples)
        shares = np.exp(logs - _log_sum(logs))
        mass = shares.sum(0) + 1e-9
        means = shares.T @ samples / mass[:, None]
        apart = samples[None] - means[:, None]
        covariances = np.einsum("nk,kni,knj->kij", shares, apart, apart) / mass[:, None, None] + eye
        found = Mixture(mass / mass.sum(), means, covariances)
    return found


def akaike(found: Mixture, samples: np.ndarray) -> float:
    """2 · (free parameters) − 2 log L (Akaike 1974)."""
    number, size = found.means.shape
    free = number - 1 + number * size + number * size * (size + 1) / 2
    return float(2 * free - 2 * _log_sum(log_densities(found, samples)).sum())


def log_densities(found: Mixture, samples: np.ndarray) -> np.ndarray:
    """log wₖ + log N(x; μₖ, Σₖ), ``[N, K]``."""
    roots = np.linalg.cholesky(found.covariances)
    apart = np.swapaxes(samples[None] - found.means[:, None], 1, 2)
    white = np.linalg.solve(roots, apart)
    spread = 2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1)
    return np.log(found.weights) - 0.5 * ((white**2).sum(1).T + spread + samples.shape[1] * np.log(2 * np.pi))


def _log_sum(logs: np.ndarray) -> np.ndarray:
    highest = logs.max(1, keepdims=True)
    return highest + np.log(np.exp(logs - highest).sum(1, keepdims=True))
