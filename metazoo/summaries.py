"""What is said of figures of many tasks: means and the middle half with intervals, the worst tenth, and who lost."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from scipy import stats

RESAMPLES, BATCH = 2000, 100
"""Of the bootstrap, and how many of them are held in memory at once."""
NORMAL: Final = 1.96
"""95 % of a normal distribution lie within so many standard deviations of its mean."""
WORST: Final = 0.1
"""The share of the tasks that CVaR averages over."""
PARTS: Final = 4
"""Into how many equally full parts the tasks are cut by a parameter."""
SHOWN: Final = 8
"""Task parameters (entries of vectors counted singly) up to which a report cuts by them."""


def summary(*strata: np.ndarray) -> dict[str, Any]:
    """Mean and interquartile mean over tasks ``[N]``, each with its 95 % bootstrap interval; with several strata, over
    the tasks of all, drawn anew within each."""
    return {
        "mean": float(np.mean(np.concatenate(strata))),
        "iqm": float(interquartile_mean(*strata)),
        "ci95": bootstrap_interval(_mean, *strata),
        "iqm_ci95": bootstrap_interval(interquartile_mean, *strata),
    }


def _mean(*strata: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(np.concatenate(strata, axis), axis)


def interquartile_mean(*strata: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean of the middle half of the values of all strata along ``axis`` (Agarwal et al. 2021, section 4.3)."""
    return stats.trim_mean(np.concatenate(strata, axis), 0.25, axis)


def bootstrap_interval(statistic: Callable[..., np.ndarray], *strata: np.ndarray) -> list[float]:
    """95 % percentile interval of ``statistic(*strata, axis=…)``, every stratum ``[n]`` resampled within itself."""
    if all(np.ptp(stratum) == 0 for stratum in strata):
        return [float(statistic(*strata, axis=-1))] * 2
    found = stats.bootstrap(
        strata, statistic, n_resamples=RESAMPLES, batch=BATCH, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return [float(found.low), float(found.high)]


def by_step(rewards: np.ndarray) -> dict[str, list[float]]:
    """Mean reward of each step over tasks, from ``rewards [tasks, steps]``, and its 95 % interval ``low`` to ``high``.

    The interval is the normal one: steps are many, and so are the tasks.
    """
    mean = rewards.mean(0, dtype=np.float64)
    error = NORMAL * rewards.std(0, dtype=np.float64) / np.sqrt(len(rewards))
    ends = {"mean": mean, "low": mean - error, "high": mean + error}
    return {name: [round(float(value), 4) for value in values] for name, values in ends.items()}


def cvar(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Conditional value at risk: the mean of the worst tenth of ``values`` along ``axis``, rounded up to whole tasks
    (Rockafellar and Uryasev 2000)."""
    count = int(np.ceil(WORST * values.shape[axis]))
    return np.mean(np.take(np.sort(values, axis), np.arange(count), axis), axis)


def tail(per_task: np.ndarray, better: int = 1) -> dict[str, Any]:
    """``cvar10`` of ``per_task [N]`` with its 95 % bootstrap interval; the highest are worst if ``better`` is -1."""
    ends = bootstrap_interval(cvar, better * per_task)
    return {"cvar10": better * float(cvar(better * per_task)), "cvar10_ci95": sorted(better * end for end in ends)}


def gain(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """What adapting brought to each task, ``after - before`` ``[N]``, higher is better.

    The mean, ``cvar10`` of the gain, ``worse`` (the share of tasks whose gain is below 0), each with a 95 % interval
    over tasks: bootstrap, and Wilson's for the share.
    """
    gained = after - before
    lost = int(np.sum(gained < 0))
    share = stats.binomtest(lost, len(gained)).proportion_ci(method="wilson")
    return {
        "mean": float(gained.mean()),
        "ci95": bootstrap_interval(_mean, gained),
        "cvar10": float(cvar(gained)),
        "cvar10_ci95": bootstrap_interval(cvar, gained),
        "worse": lost / len(gained),
        "worse_ci95": [float(share.low), float(share.high)],
    }


def by_parameter(tasks: Any, before: np.ndarray, after: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """For each task parameter that varies: the tasks in four equally full parts, from its lowest values to its highest.

    Each part has its ends ``low`` and ``high``, how many ``tasks`` it has, and their means ``before`` and ``after``,
    with the last one's interval. Entries of vectors are named ``field[i]``. Empty where there are more than 8 entries,
    or none that takes at least as many values as there are parts.
    """
    columns = {}
    for name, field in tasks._asdict().items():
        flat = np.asarray(field, np.float64).reshape(len(before), -1)
        columns |= {name if flat.shape[1] == 1 else f"{name}[{i}]": flat[:, i] for i in range(flat.shape[1])}
    if len(columns) > SHOWN:
        return {}
    many = {name: values for name, values in columns.items() if len(np.unique(values)) >= PARTS}
    return {name: [_part(values, part, before, after) for part in _parts(values)] for name, values in many.items()}


def _parts(values: np.ndarray) -> list[np.ndarray]:
    """Where the tasks of each part stand; equal values are never in two parts, so there may be fewer parts."""
    borders = np.unique(np.quantile(values, np.linspace(0, 1, PARTS + 1)[1:-1], method="closest_observation"))
    part = np.searchsorted(borders, values)
    return [np.flatnonzero(part == i) for i in np.unique(part)]


def _part(values: np.ndarray, where: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    return {
        "low": float(values[where].min()),
        "high": float(values[where].max()),
        "tasks": len(where),
        "before": float(before[where].mean()),
        "after": float(after[where].mean()),
        "ci95": bootstrap_interval(_mean, after[where]),
    }
