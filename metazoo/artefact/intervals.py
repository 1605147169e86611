"""Means of returns with their intervals, as commands and records of adapting say them."""

from typing import Any

import numpy as np


def interval(returns: Any) -> dict[str, Any]:
    """Mean of ``returns [episodes]`` and its 95 % interval (Student's t)."""
    from scipy import stats  # half a second, which loading a policy need not wait for

    mean, played = float(np.mean(returns)), len(returns)
    half = float(stats.t.ppf(0.975, played - 1) * np.std(returns, ddof=1) / played**0.5) if played > 1 else 0.0
    return {"mean": mean, "ci95": [mean - half, mean + half], "episodes": played}
