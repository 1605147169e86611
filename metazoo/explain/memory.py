"""Picture 5: what a memory knows of its task, step by step; of bandits, how far the play is from the best there is."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo.classical import bandits, bayes_optimal
from metazoo.explain.actions import softmax
from metazoo.explain.played import Played, Replayed
from metazoo.explain.probe import r_squared
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.host_family import AnyFamily

POINTS = 10
"""Steps of a trial at which memories are decoded."""
SAME = 1e-9
"""Two arms whose scores differ by less are equally good."""


class Decoded(NamedTuple):
    steps: list[int]
    """How many steps of the trial had been made, closing steps included."""
    r2: dict[str, list[float]]
    """Of each parameter at these steps."""


def decoded(replayed: Replayed, parameters: dict[str, np.ndarray]) -> Decoded:
    """R² of a linear probe from the memory to each hidden parameter ``[M]``, at steps that are spread evenly in the
    logarithm."""
    last = len(replayed.memories)
    steps = np.unique(np.geomspace(1, last, POINTS).round().astype(int))
    of = {
        name: [r_squared(replayed.memories[step - 1], values) for step in steps] for name, values in parameters.items()
    }
    return Decoded(steps.tolist(), of)


def from_the_best_play(family: AnyFamily, played: Played, replayed: Replayed) -> dict[str, list[float]]:
    """Of Bernoulli bandits: how much probability each pull leaves to arms that the best play would not choose, as
    −log π(best arms), the mean over tasks; that is the least KL divergence from a play that chooses among them.

    ``bayes_optimal`` is there for trials of up to 16 pulls, ``finite_gittins`` (the index policy for the pulls that are
    left) for all. Empty for other families.
    """
    if not isinstance(family, Bandit) or played.trials is None:
        return {}
    pulls = family.horizon
    chosen, rewards = played.trials.actions[:, :, 0], played.trials.rewards[:, :, 0]
    pulled = np.eye(family.arms, dtype=np.float32)[chosen]
    wins = np.cumsum(pulled * rewards[..., None], 0) - pulled * rewards[..., None]
    losses = np.cumsum(pulled * (1 - rewards[..., None]), 0) - pulled * (1 - rewards[..., None])
    probabilities = softmax(replayed.answers["logits"][:pulls])
    plays: dict[str, bandits.Algorithm] = {"finite_gittins": bandits.finite_gittins}
    if pulls <= bayes_optimal.REACH:
        plays = {"bayes_optimal": bandits.bayes_optimal_play, **plays}
    return {
        name: [
            _missed(play(bandits.Seen(wins[t], losses[t], t, pulls, tf.constant(0))), probabilities[t])
            for t in range(pulls)
        ]
        for name, play in plays.items()
    }


def _missed(scores: np.ndarray, probabilities: np.ndarray) -> float:
    best = scores >= scores.max(1, keepdims=True) - SAME
    return float(-np.log(np.maximum((probabilities * best).sum(1), 1e-12)).mean())


def hidden_parameters(tasks: Any, most: int = 8) -> dict[str, np.ndarray]:
    """The task parameters ``[M]`` that vary, entries of vectors by themselves (``field[i]``), at most ``most``."""
    found: dict[str, np.ndarray] = {}
    for name, field in tasks._asdict().items():
        flat = np.asarray(field, np.float64).reshape(len(field), -1)
        found |= {name if flat.shape[1] == 1 else f"{name}[{i}]": flat[:, i] for i in range(flat.shape[1])}
    return dict([(name, values) for name, values in found.items() if np.ptp(values)][:most])
