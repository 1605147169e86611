"""Differential privacy of clients: how much noise, and what ε it gives.

Flower's wrapper clips every update to a length S and adds Gaussian noise of deviation z·S/n to the mean of n of them
(McMahan et al. 2018, arXiv 1710.06963). Two federations are neighbours where all updates of one client are zero in one
of them (zero-out: Kairouz et al. 2021, arXiv 2103.00039). The means then differ by at most S/n, so a round with that
client is 1/z-GDP, and T such rounds, each depending on those before, are μ-GDP with μ = √T/z (Gaussian differential
privacy: Dong, Roth and Su 2022, arXiv 1905.02383, theorem 2.7 and corollary 3.3), which is (ε, δ) for every ε with

    δ(ε) = Φ(−ε/μ + μ/2) − e^ε Φ(−ε/μ − μ/2)                                           (their corollary 2.13)

T is the number of rounds in which the most asked client is asked. Turns are fixed before anything is learned, so rounds
without a client say nothing about it; no luck of sampling is counted on (no amplification). What the server does with
the noisy mean costs nothing more. With privacy no figures are sent beside the updates, and no checkpoint is chosen by
them. The server itself sees updates without noise: it must be trusted. Who drops out is taken to depend on nobody's
data.
"""

import math
from typing import NamedTuple

from scipy import optimize, stats

from metazoo.federated.federation import Federation


class Privacy(NamedTuple):
    """``noise`` is z, ``clip`` is S, ``turns`` is T."""

    epsilon: float
    delta: float
    noise: float
    clip: float
    turns: int


def delta_of(epsilon: float, mu: float) -> float:
    """δ at which a μ-GDP mechanism is (ε, δ)-private; the second term in logarithms, as e^ε is large."""
    second = math.exp(epsilon + float(stats.norm.logcdf(-epsilon / mu - mu / 2)))
    return float(stats.norm.cdf(-epsilon / mu + mu / 2)) - second


def epsilon_of(noise: float, turns: int, delta: float) -> float:
    """ε of ``turns`` rounds with noise multiplier ``noise``, at ``delta``."""
    mu = math.sqrt(turns) / noise
    if delta_of(0.0, mu) <= delta:
        return 0.0
    high = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1  # above: the bound of concentrated privacy
    return float(optimize.brentq(lambda epsilon: delta_of(epsilon, mu) - delta, 0.0, high, xtol=1e-9))


def noise_for(epsilon: float, turns: int, delta: float) -> float:
    """The noise multiplier that gives ``epsilon``: the inverse of ``epsilon_of``."""
    low, high = -10.0, 20.0  # logarithms of μ and of the noise lie far inside
    found = optimize.brentq(
        lambda log_noise: epsilon_of(math.exp(log_noise), turns, delta) - epsilon, low, high, xtol=1e-12
    )
    return math.exp(float(found))


def privacy_of(federation: Federation, epsilon: float, delta: float, clip: float) -> Privacy:
    """What ``epsilon`` at ``delta`` asks of a federation.

    Raises:
        ValueError: a number that means nothing, or a δ that promises nothing.
    """
    if not 0.01 <= epsilon <= 1e6 or not 0.0 < clip < math.inf:
        raise ValueError(f"epsilon is {epsilon} and clip is {clip}; they must be from 0.01 to 1,000,000 and above 0.")
    if not 0.0 < delta < 1.0 / federation.clients:
        raise ValueError(
            f"delta is {delta}; it must be above 0 and below 1 / clients, which is {1 / federation.clients:.3g}."
        )
    return Privacy(epsilon, delta, noise_for(epsilon, federation.turns, delta), clip, federation.turns)
