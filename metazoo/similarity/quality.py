"""Is a similarity any good? Does it rank tasks as their parameters do, and do policies transfer to near ones?"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy import stats

from metazoo import progress, random
from metazoo.explain.played import Played, mean_returns
from metazoo.pretrained import Pretrained
from metazoo.rollouts.graph import rollout, trial
from metazoo.similarity.space import distances
from metazoo.summaries import bootstrap_interval
from metazoo.tasks.host_family import AnyFamily, HostFamily

RESAMPLES = 200
EPISODES = 4
"""Of each policy on each task, of policies that adapt between episodes; one of the others."""


def rank_correlations(coordinates: np.ndarray, parameters: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Spearman's ρ between distances of tasks ``[M, D]`` and of their hidden parameters ``[M]``, over pairs of tasks.

    ``all``: Euclidean distance of the parameters, each divided by its standard deviation; and each parameter by itself.
    The 95 % interval is over tasks, drawn anew.
    """
    columns = {name: (values / values.std())[:, None] for name, values in parameters.items()}
    found, mine = {}, distances(coordinates)
    for name, column in {"all": np.concatenate(list(columns.values()), 1), **columns}.items():
        found[name] = _correlation(mine, distances(column))
    return found if len(columns) > 1 else {name: one for name, one in found.items() if name != "all"}


def _correlation(mine: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """ρ over pairs, and its interval: in a resample a pair counts as often as both its tasks were drawn."""
    upper, count = np.triu_indices(len(mine), 1), len(mine)

    def ranked(far: np.ndarray) -> np.ndarray:
        ranks = np.zeros((count, count))
        ranks[upper] = stats.rankdata(far[upper]) / len(upper[0])
        return ranks + ranks.T

    one, other = ranked(mine), ranked(theirs)
    rng = np.random.default_rng(0)
    drawn = [_weighted(one, other, rng.multinomial(count, np.full(count, 1 / count))) for _ in range(RESAMPLES)]
    return {"rho": _weighted(one, other, np.ones(count)), "ci95": np.percentile(drawn, [2.5, 97.5]).tolist()}


def _weighted(first: np.ndarray, second: np.ndarray, often: np.ndarray) -> float:
    """Pearson's correlation of two matrices' entries off the diagonal, entry (a, b) counting ``often[a] often[b]``."""
    weights = np.outer(often, often).astype(float)
    np.fill_diagonal(weights, 0.0)
    weights /= weights.sum()
    one, two = (values - (weights * values).sum() for values in (first, second))
    spread = (weights * one**2).sum() * (weights * two**2).sum()
    return float((weights * one * two).sum() / np.sqrt(spread))


def _rho(first: np.ndarray, second: np.ndarray) -> float:
    return float(stats.spearmanr(first, second)[0])


class Transfer(NamedTuple):
    """``returns[a, b]``: the mean return on task a of the policy that was adapted to task b, ``[M, M]``."""

    returns: np.ndarray
    report: dict[str, Any]


def transfer(
    policy: Pretrained, family: AnyFamily, played: Played, coordinates: np.ndarray, parameters: dict[str, np.ndarray]
) -> Transfer:
    """Plays every adapted policy on every task: does its return fall with the distance from the task it was made for?

    The report has Spearman's ρ over the other policies b of each task a, the mean over tasks with its interval: between
    distance and return (below 0 where the nearer is the better), and between the distance of each parameter and return,
    which says what parameters matter. ``own``, ``nearest``, ``other``, ``before``: mean returns of the task's own
    adapted policy, of that of the nearest other task, of those of all others, and of the policy before it adapted.
    """
    returns = _played_by_all(policy, family, played)
    mine, count = distances(coordinates), len(returns)
    others = ~np.eye(count, dtype=bool)
    nearest = np.where(others, mine, np.inf).argmin(1)
    rows = np.arange(count)
    by = {"distance": mine, **{name: np.abs(values[:, None] - values[None]) for name, values in parameters.items()}}
    report = {
        "tasks": count,
        "rho": {name: _within(far, returns, others) for name, far in by.items()},
        "own": _mean(returns[rows, rows]),
        "nearest": _mean(returns[rows, nearest]),
        "other": _mean(np.array([returns[a, others[a]].mean() for a in rows])),
        "before": _mean(mean_returns(played.before)),
    }
    return Transfer(returns, report)


def _played_by_all(policy: Pretrained, family: AnyFamily, played: Played) -> np.ndarray:
    agent, count = policy.agent(), len(played.memories)

    def play(memory: tf.Tensor, key: tf.Tensor) -> Any:
        memory = tf.broadcast_to(memory, [count, 1, memory.shape[-1]])
        if agent.online:
            return trial(family, played.tasks, agent.step, memory, key, 1)[0]
        return rollout(family, played.tasks, agent.step, memory, key, EPISODES, family.supervised)

    run: Callable[..., Any] = play
    if not isinstance(family, HostFamily):
        run = tf.function(play, jit_compile=True, autograph=False)
    columns = []
    with progress.stage("policies on each other's tasks", count) as advance:
        for number, memory in enumerate(played.memories):
            columns.append(mean_returns(run(tf.constant(memory), random.fold(random.key(77), number))))
            advance(1)
    return np.stack(columns, 1)


def _within(far: np.ndarray, returns: np.ndarray, others: np.ndarray) -> dict[str, Any]:
    """The mean over tasks of ρ between distance and return, over the other tasks' policies; 0 where one is constant."""
    of_tasks = np.array(
        [_rho(far[a, others[a]], returns[a, others[a]]) if _varies(returns[a]) else 0.0 for a in range(len(far))]
    )
    return _mean(np.nan_to_num(of_tasks))


def _varies(values: np.ndarray) -> bool:
    return bool(np.ptp(values) > 0)


def _mean(values: np.ndarray) -> dict[str, Any]:
    return {"mean": float(values.mean()), "ci95": bootstrap_interval(lambda x, axis: x.mean(axis), values)}
