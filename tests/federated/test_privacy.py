"""ε and noise, against other ways to the same numbers; and the noise that Flower adds."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from metazoo.federated.privacy import delta_of, epsilon_of, noise_for, privacy_of
from tests.federated.small import federation


@pytest.mark.parametrize(("noise", "turns"), [(1.0, 1), (5.0, 50), (2.0, 3), (20.0, 125)])
def test_delta_is_what_the_definition_integrates_to(noise, turns):
    """δ(ε) = ∫ max(p − e^ε q, 0) for p, q = N(√T/z, 1), N(0, 1): the hockey stick, without any formula of ours."""
    mu, epsilon = math.sqrt(turns) / noise, 0.8

    def excess(x):
        return max(stats.norm.pdf(x - mu) - math.exp(epsilon) * stats.norm.pdf(x), 0.0)

    edge = epsilon / mu + mu / 2  # to its left there is none
    found, _ = integrate.quad(excess, edge, edge + 15, limit=200)
    assert delta_of(epsilon, mu) == pytest.approx(found, rel=1e-6, abs=1e-12)


def test_turns_compose_as_one_mechanism_with_less_noise():
    assert epsilon_of(4.0, 64, 1e-4) == pytest.approx(epsilon_of(0.5, 1, 1e-4), rel=1e-9)


@pytest.mark.parametrize(("noise", "turns"), [(1.0, 125), (5.0, 50), (0.3, 10)])
def test_it_is_below_the_bound_of_concentrated_privacy_and_near_it(noise, turns):
    """ε ≤ ρ + 2 √(ρ ln 1/δ), ρ = T / 2z² (Bun and Steinke 2016, proposition 1.3)."""
    rho, delta = turns / (2 * noise**2), 1e-3
    bound = rho + 2 * math.sqrt(rho * math.log(1 / delta))
    assert 0.7 * bound < epsilon_of(noise, turns, delta) < bound


def test_noise_is_the_inverse_of_epsilon():
    for epsilon in (0.1, 1.0, 10.0, 1000.0):
        assert epsilon_of(noise_for(epsilon, 125, 1e-3), 125, 1e-3) == pytest.approx(epsilon, rel=1e-6)


def test_less_epsilon_is_more_noise():
    noises = [noise_for(epsilon, 125, 1e-3) for epsilon in (100, 10, 1, 0.1)]
    assert noises == sorted(noises)


def test_what_promises_nothing_is_refused():
    one = federation(private=True)
    with pytest.raises(ValueError, match=r"delta is 0.5; it must be above 0 and below 1 / clients, which is 0.25."):
        privacy_of(one, 1.0, 0.5, 1.0)
    with pytest.raises(ValueError, match="epsilon is 0.0 and clip is 1.0"):
        privacy_of(one, 0.0, 0.1, 1.0)


def test_flower_adds_the_noise_that_the_formula_counts_with():
    """Deviation z·S/n: what the sensitivity S/n of a mean of n clipped updates needs."""
    from flwr.supercore.differential_privacy import add_gaussian_noise_inplace, compute_stdv

    arrays = [np.zeros(40_000)]
    add_gaussian_noise_inplace(arrays, compute_stdv(3.0, 0.5, 20))
    assert arrays[0].std() == pytest.approx(3.0 * 0.5 / 20, rel=0.02)
