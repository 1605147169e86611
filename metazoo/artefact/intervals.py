"""Means of returns with their intervals, as commands and records of adapting say them."""

from typing import Any, Final

import numpy as np

HELD_OUT_SEED: Final = 30_000
"""Added to the seed for episodes that decide what is kept: others than those adapted with, or reported."""


def interval(returns: Any) -> dict[str, Any]:
    """Mean of ``returns [episodes]`` and its 95 % interval (Student's t)."""
    from scipy import stats  # half a second, which loading a policy need not wait for

    mean, played = float(np.mean(returns)), len(returns)
    half = float(stats.t.ppf(0.975, played - 1) * np.std(returns, ddof=1) / played**0.5) if played > 1 else 0.0
    return {"mean": mean, "ci95": [mean - half, mean + half], "episodes": played}


def better(before: Any, after: Any) -> dict[str, Any]:
    """Which mean return of held-out episodes is higher, and the evidence: what a record of adapting calls ``kept``.

    Returns:
        ``which`` ("before", also where they are equal, or "after"), ``before`` and ``after`` as ``interval``, and how
        many ``episodes`` it took in all.
    """
    which = "after" if np.mean(after) > np.mean(before) else "before"
    played = len(before) + len(after)
    return {"which": which, "before": interval(before), "after": interval(after), "episodes": played}
