"""The algorithms by name, with their settings for a trial's size.

The settings were chosen on training tasks, for the largest mean total, by

    python benchmarks/classical.py tune

which prints these tables. A trial of another size takes the settings of the nearest one.
"""

from typing import Final, NamedTuple

import numpy as np

from metazoo.classical import bandits, bayes_optimal, mdps


class BanditSettings(NamedTuple):
    """γ of ``Gittins``, c of ``UCB1`` and ε of ``EpsilonGreedy``."""

    gamma: float
    c: float
    epsilon: float


class MDPSettings(NamedTuple):
    """The factor on ``UCRL2``'s bounds, β of ``BEB``, ε of ``EpsilonGreedy``, and β of ``BEB`` without
    pseudo-observations that is ``Replanned``."""

    scale: float
    beta: float
    epsilon: float
    replanned_beta: float = 0.5


GRID = {
    "gamma": (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998),
    "c": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0),
    "bandit_epsilon": (0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
    "scale": (0.03, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
    "beta": (2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0),
    "mdp_epsilon": (0.01, 0.02, 0.05, 0.1, 0.2),
    "replanned_beta": (0.1, 0.25, 0.5, 0.75, 1.0, 1.5),
}
"""What ``tune`` tries."""

BANDIT: dict[tuple[int, int], BanditSettings] = {
    (10, 5): BanditSettings(gamma=0.5, c=0.05, epsilon=0.005),
    (10, 10): BanditSettings(gamma=0.5, c=0.05, epsilon=0.005),
    (10, 50): BanditSettings(gamma=0.5, c=0.05, epsilon=0.005),
    (100, 5): BanditSettings(gamma=0.98, c=0.2, epsilon=0.005),
    (100, 10): BanditSettings(gamma=0.98, c=0.2, epsilon=0.02),
    (100, 50): BanditSettings(gamma=0.98, c=0.2, epsilon=0.05),
    (500, 5): BanditSettings(gamma=0.998, c=0.25, epsilon=0.05),
    (500, 10): BanditSettings(gamma=0.998, c=0.25, epsilon=0.05),
    (500, 50): BanditSettings(gamma=0.998, c=0.2, epsilon=0.05),
}
"""By pulls and arms."""

MDP: dict[int, MDPSettings] = {
    10: MDPSettings(scale=0.3, beta=10.0, epsilon=0.01, replanned_beta=0.5),
    25: MDPSettings(scale=0.3, beta=10.0, epsilon=0.01, replanned_beta=1.0),
    50: MDPSettings(scale=0.3, beta=15.0, epsilon=0.01, replanned_beta=1.0),
}
"""By episodes, with the true prior."""

MDP_AS_PUBLISHED: dict[int, MDPSettings] = {
    10: MDPSettings(scale=0.3, beta=40.0, epsilon=0.01),
    25: MDPSettings(scale=0.3, beta=30.0, epsilon=0.1),
    50: MDPSettings(scale=0.3, beta=30.0, epsilon=0.1),
}
"""By episodes, with the priors that RL²'s columns agree with: ``ZERO_PRIOR`` for BEB, ``FLAT_PRIOR`` for ε-greedy."""

LIKELIEST_SAMPLES = 20
"""Draws of ``LikeliestThompson``: with these RL²'s column agrees. It takes 20 times as long as ``thompson``."""
OPSRL_SAMPLES = 10
"""As in TabulaRL; 40 earn no more."""
FINITE_GITTINS_REACH = 200
"""Pulls up to which the undiscounted index is computed as a matter of course; the table grows with their cube."""


ABOUT: Final = {
    "greedy": "the arm or model that looks best so far",
    "epsilon_greedy": "greedy, with random actions now and then",
    "thompson": "Thompson sampling",
    "optimistic_thompson": "Thompson sampling, never below the posterior mean",
    "ucb1": "UCB1",
    "likeliest_thompson": "Thompson sampling with the likeliest of several draws",
    "bayes_optimal": "exact, by dynamic programming: nothing can beat it on average",
    "gittins": "Gittins indices of a discounted bandit",
    "finite_gittins": "Gittins indices of the finite horizon",
    "psrl": "posterior sampling",
    "opsrl": "optimistic posterior sampling",
    "ucrl2": "UCRL2",
    "beb": "Bayesian exploration bonus",
    "beb_replanned": "Bayesian exploration bonus, planned anew at every step",
}
"""What a model card says of each."""


def bandit_algorithms(arms: int, pulls: int) -> dict[str, bandits.Algorithm]:
    """All algorithms for Bernoulli bandits that reach that far."""
    setup = min(BANDIT, key=lambda one: (abs(np.log(one[0] / pulls)), abs(np.log(one[1] / arms))))
    gamma, c, epsilon = BANDIT[setup]
    algorithms: dict[str, bandits.Algorithm] = {
        "random": bandits.uniformly_random,
        "greedy": bandits.greedy,
        "epsilon_greedy": bandits.EpsilonGreedy(epsilon),
        "thompson": bandits.thompson,
        "optimistic_thompson": bandits.optimistic_thompson,
        "ucb1": bandits.UCB1(c),
        "gittins": bandits.Gittins(gamma),
    }
    if pulls <= FINITE_GITTINS_REACH:
        algorithms["finite_gittins"] = bandits.finite_gittins
    if pulls <= bayes_optimal.REACH:
        algorithms["bayes_optimal"] = bandits.bayes_optimal_play
    return algorithms


def mdp_algorithms(episodes: int, settings: dict[int, MDPSettings] = MDP) -> dict[str, mdps.Algorithm]:
    """All algorithms for tabular MDPs."""
    scale, beta, epsilon, replanned = settings[min(settings, key=lambda one: abs(np.log(one / episodes)))]
    return {
        "random": mdps.uniformly_random,
        "greedy": mdps.greedy,
        "epsilon_greedy": mdps.EpsilonGreedy(epsilon),
        "psrl": mdps.psrl,
        "opsrl": mdps.OPSRL(OPSRL_SAMPLES),
        "ucrl2": mdps.UCRL2(scale),
        "beb": mdps.BEB(beta),
        "beb_replanned": mdps.Replanned(mdps.BEB(replanned, pseudo=False)),
    }
