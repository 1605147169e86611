"""The tables of the classical algorithms, on the tasks that policies are tested on.

    python benchmarks/classical.py bandits [--pulls 10,100,500] [--arms 5,10,50] [--instances 10000] [--json]
    python benchmarks/classical.py mdps [--episodes 10,25] [--instances 5000] [--json]
    python benchmarks/classical.py tune [--pulls …] [--arms …] [--episodes …] [--instances …]

Where RL² (Duan et al. 2016, arXiv 1611.02779, tables 1 and 2) has a figure, ``published`` is it and ``z`` how far ours
is from it, in standard errors of the difference: theirs are means over 1,000 instances, and rounded to 0.1. ``mdps``
plays every algorithm with the true prior, and those that use one also with the prior that the published columns agree
with. ``tune`` prints the tables of ``metazoo/classical/settings.py``, from training tasks. ``--only NAMES`` leaves out
other algorithms.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from metazoo.classical import bandits, bayes_optimal, mdps, settings
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.tabular_mdp import TabularMDP, TabularMDPTask

TUNE_BANDITS, TUNE_MDPS = 5_000, 1_000
PUBLISHED_PRIORS = {
    "greedy": mdps.FLAT_PRIOR,
    "epsilon_greedy": mdps.FLAT_PRIOR,
    "psrl": mdps.ZERO_PRIOR,
    "opsrl": mdps.ZERO_PRIOR,
    "beb": mdps.ZERO_PRIOR,
}
PUBLISHED_INSTANCES = 1_000
_COLUMNS = ["random", "gittins", "thompson", "likeliest_thompson", "ucb1", "epsilon_greedy", "greedy"]
PUBLISHED_BANDITS = {
    (10, 5): (5.0, 6.6, 5.7, 6.5, 6.7, 6.6, 6.6),
    (10, 10): (5.0, 6.6, 5.5, 6.2, 6.7, 6.6, 6.6),
    (10, 50): (5.1, 6.5, 5.2, 5.5, 6.6, 6.5, 6.5),
    (100, 5): (49.9, 78.3, 74.7, 77.9, 78.0, 75.4, 74.8),
    (100, 10): (49.9, 82.8, 76.7, 81.4, 82.4, 77.4, 77.1),
    (100, 50): (49.8, 85.2, 64.5, 67.7, 84.3, 78.3, 78.0),
    (500, 5): (249.8, 405.8, 402.0, 406.7, 405.8, 388.2, 380.6),
    (500, 10): (249.0, 437.8, 429.5, 438.9, 437.1, 408.0, 395.0),
    (500, 50): (249.6, 463.7, 427.2, 437.6, 457.6, 413.6, 402.8),
}
"""By pulls and arms, in the order of ``_COLUMNS``."""
_MDP_COLUMNS = ["random", "psrl", "opsrl", "ucrl2", "beb", "epsilon_greedy", "greedy"]
PUBLISHED_MDPS = {
    10: (100.1, 138.1, 144.1, 146.6, 150.2, 132.8, 134.8),
    25: (250.2, 408.8, 425.2, 424.1, 427.8, 377.3, 368.8),
    50: (499.7, 904.4, 930.7, 918.9, 917.8, 823.3, 769.3),
    75: (749.9, 1417.1, 1449.2, 1427.6, 1422.6, 1293.9, 1172.9),
    100: (999.4, 1939.5, 1973.9, 1942.1, 1935.1, 1778.2, 1578.5),
}
"""By episodes, in the order of ``_MDP_COLUMNS``."""


def bandit_rows(pulls: list[int], arms: list[int], instances: int, only: list[str]) -> Iterator[dict[str, Any]]:
    """One row for each algorithm and size: means over the instances of totals, on test tasks."""
    for horizon in pulls:
        for count in arms:
            means = Bandit(count, horizon).sample(instances, "test", 0).means.numpy()
            algorithms = settings.bandit_algorithms(count, horizon)
            algorithms.setdefault("finite_gittins", bandits.finite_gittins)
            algorithms["likeliest_thompson"] = bandits.LikeliestThompson(settings.LIKELIEST_SAMPLES)
            published = dict(zip(_COLUMNS, PUBLISHED_BANDITS.get((horizon, count), ()), strict=False))
            if horizon <= bayes_optimal.REACH:
                yield {"pulls": horizon, "arms": count, "exact": round(bayes_optimal.value(count, horizon), 4)}
            for name, algorithm in _chosen(algorithms, only):
                start = time.process_time()
                totals = bandits.play_bandit(algorithm, means, horizon)[0].sum(1)
                yield {"pulls": horizon, "arms": count, **_row(name, algorithm, totals, start, published.get(name))}


def mdp_rows(episodes: list[int], instances: int, only: list[str]) -> Iterator[dict[str, Any]]:
    """One row for each algorithm, prior and number of episodes: means of totals, on test tasks."""
    tasks = TabularMDP().sample(instances, "test", 0)
    for count in episodes:
        plays = [("true", name, one, mdps.TRUE_PRIOR) for name, one in _chosen(settings.mdp_algorithms(count), only)]
        as_published = settings.mdp_algorithms(count, settings.MDP_AS_PUBLISHED)
        plays += [("published", name, as_published[name], prior) for name, prior in _chosen(PUBLISHED_PRIORS, only)]
        published = dict(zip(_MDP_COLUMNS, PUBLISHED_MDPS.get(count, ()), strict=False))
        for prior_name, name, algorithm, prior in plays:
            start = time.process_time()
            totals = mdps.play_mdp(algorithm, tasks, count, prior=prior).sum(1)
            yield {"episodes": count, "prior": prior_name, **_row(name, algorithm, totals, start, published.get(name))}


def _chosen(named: dict[str, Any], only: list[str]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in named.items() if not only or name in only]


def _row(name: str, algorithm: Any, totals: np.ndarray, start: float, published: float | None) -> dict[str, Any]:
    totals = totals.astype(np.float64)
    mean, deviation = totals.mean(), totals.std(ddof=1)
    half = 1.96 * deviation / np.sqrt(len(totals))
    row = {
        "algorithm": name,
        "setting": repr(algorithm) if hasattr(algorithm, "__dataclass_fields__") else "",
        "mean": round(float(mean), 3),
        "ci95": [round(float(mean - half), 3), round(float(mean + half), 3)],
        "instances": len(totals),
        "seconds": round(time.process_time() - start, 1),
    }
    if published is not None:
        rounding = 0.1**2 / 12.0
        error = np.sqrt(deviation**2 * (1.0 / len(totals) + 1.0 / PUBLISHED_INSTANCES) + rounding)
        row |= {"published": published, "z": round(float((mean - published) / error), 1)}
    return row


def tune(pulls: list[int], arms: list[int], episodes: list[int], instances: int | None) -> Iterator[dict[str, Any]]:
    """The best setting of each grid, on training tasks with common random numbers."""
    for horizon in pulls:
        for count in arms:
            means = Bandit(count, horizon).sample(instances or TUNE_BANDITS, "train", 0).means.numpy()
            play = partial(_expected_total, means, horizon)
            chosen = settings.BanditSettings(
                _best("gamma", bandits.Gittins, play),
                _best("c", bandits.UCB1, play),
                _best("bandit_epsilon", bandits.EpsilonGreedy, play),
            )
            yield {"pulls": horizon, "arms": count, "chosen": repr(chosen)}
    tasks = TabularMDP().sample(instances or TUNE_MDPS, "train", 0)
    for count in episodes:
        scale = _best("scale", mdps.UCRL2, partial(_mean_total, tasks, count, mdps.TRUE_PRIOR))
        for table, priors in (("MDP", {}), ("MDP_AS_PUBLISHED", PUBLISHED_PRIORS)):
            beb = partial(_mean_total, tasks, count, priors.get("beb", mdps.TRUE_PRIOR))
            egreedy = partial(_mean_total, tasks, count, priors.get("epsilon_greedy", mdps.TRUE_PRIOR))
            chosen = settings.MDPSettings(
                scale,
                _best("beta", mdps.BEB, beb),
                _best("mdp_epsilon", mdps.EpsilonGreedy, egreedy),
                _best("replanned_beta", lambda beta: mdps.Replanned(mdps.BEB(beta, pseudo=False)), beb),
            )
            yield {"episodes": count, "table": table, "chosen": repr(chosen)}


def _best(grid: str, algorithm: Callable[[float], Any], total: Callable[[Any], float]) -> float:
    return max(settings.GRID[grid], key=lambda value: total(algorithm(value)))


def _expected_total(means: np.ndarray, pulls: int, algorithm: bandits.Algorithm) -> float:
    """Mean over the instances of what the arms that were pulled pay on average: less noisy than what they paid."""
    arms = bandits.play_bandit(algorithm, means, pulls)[1]
    return float(np.take_along_axis(means, arms, 1).sum(1).mean(dtype=np.float64))


def _mean_total(tasks: TabularMDPTask, episodes: int, prior: mdps.Prior, algorithm: mdps.Algorithm) -> float:
    return float(mdps.play_mdp(algorithm, tasks, episodes, prior=prior).sum(1).mean(dtype=np.float64))


def main() -> None:
    """Parse the command line, print rows as they are made; with ``--json`` one list at the end."""
    numbers = lambda text: [int(part) for part in text.split(",") if part]  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("bandits", "mdps", "tune"))
    parser.add_argument("--pulls", type=numbers, default=[10, 100, 500])
    parser.add_argument("--arms", type=numbers, default=[5, 10, 50])
    parser.add_argument("--episodes", type=numbers, default=[10, 25])
    parser.add_argument("--instances", type=int)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="names of algorithms")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.what == "bandits":
        rows = bandit_rows(asked.pulls, asked.arms, asked.instances or 10_000, asked.only)
    elif asked.what == "mdps":
        rows = mdp_rows(asked.episodes, asked.instances or 5_000, asked.only)
    else:
        rows = tune(asked.pulls, asked.arms, asked.episodes, asked.instances)
    made = []
    for row in rows:
        made.append(row)
        print(
            "  ".join(f"{value}" for value in row.values()), file=sys.stderr if asked.json else sys.stdout, flush=True
        )
    if asked.json:
        print(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
