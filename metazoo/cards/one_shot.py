"""The official one-shot test of Omniglot (Lake et al. 2015): 20 runs of 20 characters of one alphabet.

    python -m metazoo.cards.one_shot proto_omniglot_w20

A policy adapts to one drawing of each character and labels 20 drawings by another person, each by itself. Published
errors: modified Hausdorff distance 38.8 %, people 4.5 %, Bayesian program learning 3.3 %.
"""

import sys
from typing import Any

import numpy as np

from metazoo.pretrained import Pretrained, load
from metazoo.summaries import summary
from metazoo.tasks.images.omniglot import Run, runs
from metazoo.tasks.images.pictures import Folder

WAYS = 20


def errors(policy: Pretrained) -> np.ndarray:
    """Errors in % of every run, ``[20]``.

    Raises:
        ValueError: the policy tells fewer classes apart.
    """
    ways = policy.metadata["action_space"].get("n")
    if ways != WAYS:
        raise ValueError(f"{policy.name} tells {ways} classes apart; the one-shot test has {WAYS}.")
    return np.array([_error(policy, run) for run in runs()])


def report(policy: Pretrained) -> dict[str, Any]:
    """``mean`` error in % with its 95 % interval over runs, and ``per_run``."""
    found = errors(policy)
    return {**summary(found), "per_run": found.tolist()}


def _error(policy: Pretrained, run: Run) -> float:
    names = tuple(map(str, range(WAYS)))
    examples = Folder(run.support, np.arange(WAYS, dtype=np.int32), names, names)
    answers = policy.adapt(examples.episodes()).act(run.query)
    return float(100.0 * np.mean(answers != run.labels))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        one = report(load(argument))
        low, high = one["ci95"]
        print(f"{argument}: error {one['mean']:.1f} % [{low:.1f}, {high:.1f}] in {len(one['per_run'])} runs")
