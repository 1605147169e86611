"""The Bayes-optimal play of Bernoulli bandits with means ~ U[0, 1], exactly, by dynamic programming.

What matters of the past is how often each arm succeeded and failed, and not which arm is which. So a state is a sorted
tuple of ``(successes, failures)`` of the arms that were pulled, and

    V(state, left) = max over arms of p (1 + V(after success, left − 1)) + (1 − p) V(after failure, left − 1)

with p = (s + 1) / (s + f + 2); arms with equal counts, and arms never pulled, are tried once. The number of states is
that of the ways to share out the pulls: 4,400 for 10 pulls of ten arms or more, 85,000 for 16.
"""

from functools import cache

import numpy as np

REACH = 16
"""Pulls up to which the value is computed: a few seconds."""

State = tuple[tuple[int, int], ...]
FRESH = (0, 0)


def value(arms: int, pulls: int) -> float:
    """The largest expected total of ``pulls`` pulls.

    Raises:
        ValueError: more pulls than ``REACH``, or no arms.
    """
    _check(arms, pulls)
    return _value((), min(arms, pulls), pulls)


def scores(successes: np.ndarray, failures: np.ndarray, left: int) -> np.ndarray:
    """Expected totals ``[N, arms]`` of the ``left`` remaining pulls if an arm is pulled next and play is optimal then.

    ``successes`` and ``failures``: ``[N, arms]`` whole numbers.

    Raises:
        ValueError: more pulls than ``REACH``, or no arms.
    """
    pulls = left + int((successes + failures)[:1].sum())
    _check(successes.shape[1], pulls)
    arms = min(successes.shape[1], pulls)
    # equal rows are looked up once
    rows, inverse = np.unique(np.stack([successes, failures], -1).astype(int), axis=0, return_inverse=True)
    table = np.empty(rows.shape[:2])
    for row, counts in enumerate(rows.tolist()):
        pairs = [tuple(pair) for pair in counts]
        pulled = tuple(sorted(pair for pair in pairs if pair != FRESH))
        gains = {pair: _gain(pulled, arms, left, pair) for pair in set(pairs)}
        table[row] = [gains[pair] for pair in pairs]
    return table[inverse.ravel()]


@cache
def _value(state: State, arms: int, left: int) -> float:
    if left == 0:
        return 0.0
    choices = set(state) | ({FRESH} if len(state) < arms else set())
    return max(_gain(state, arms, left, arm) for arm in choices)


def _gain(state: State, arms: int, left: int, arm: tuple[int, int]) -> float:
    """The expected total if ``arm`` is pulled first."""
    s, f = arm
    mean = (s + 1) / (s + f + 2)
    others = list(state)
    if arm != FRESH:
        others.remove(arm)
    success = _value(tuple(sorted([*others, (s + 1, f)])), arms, left - 1)
    failure = _value(tuple(sorted([*others, (s, f + 1)])), arms, left - 1)
    return mean * (1.0 + success) + (1.0 - mean) * failure


def _check(arms: int, pulls: int) -> None:
    if arms < 1:
        raise ValueError(f"arms is {arms}; it must be at least 1.")
    if not 0 <= pulls <= REACH:
        raise ValueError(f"pulls is {pulls}; dynamic programming reaches from 0 to {REACH}.")
