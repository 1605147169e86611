"""Whether recorded actions are a policy's own: their log-probability beside what its own samples would have.

A gradient step reweights actions by how they turned out *for this policy*. Another controller's actions, however good,
push its weights anywhere: the result looks adapted and plays badly. So the mean log-probability of the recorded actions
is compared with its expectation under the policy, on the same observations. How far a policy's own samples stray from
that is bounded exactly (Chernoff, over a martingale: it holds for few steps, rare actions and recurrent policies too).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from gymnasium import spaces

from metazoo.artefact.signatures import ACT, DISTRIBUTION_PARAMETERS, STEP
from metazoo.artefact.spaces import CollectionError, action_spec, space_from_metadata
from metazoo.types import Episodes

Predict = Callable[[str, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""(signature, inputs) → outputs, of one policy."""

ROWS: Final = 512
"""So many steps are looked at, spread over the episodes: enough to see a third of a standard deviation."""
STEPS: Final = 256
"""And so many of a recurrent policy, from the start: they are replayed one after the other."""
LOG_CHANCE: Final = -18.0
"""Own samples get here in less than one of a million cases (the bound, times the number of ``_POWERS`` tried)."""
_POWERS: Final = (
    -0.95,
    -0.9,
    -0.8,
    -0.7,
    -0.6,
    -0.5,
    -0.4,
    -0.3,
    -0.2,
    -0.1,
    -0.05,
    0.1,
    0.25,
    0.5,
    1,
    2,
    4,
    8,
    16,
    32,
)


_Inputs = tuple[np.ndarray, np.ndarray, np.ndarray, bool]
"""Observations, previous actions and rewards ``[1, ...]``, and whether the episode is over."""


class Likelihood(NamedTuple):
    """Of recorded actions, clipped to their space, per step.

    ``log_prob``: their mean log-probability. ``expected``: the policy's own samples would have it (minus the entropy).
    ``below``, ``above``: bounds on the logarithm of the chance that own samples are so far below, or above, that.
    """

    log_prob: float
    expected: float
    below: float
    above: float

    def diagnostics(self) -> dict[str, float]:
        return {"log_prob": self.log_prob, "expected_log_prob": self.expected}


def check_on_policy(
    episodes: Episodes, metadata: Mapping[str, Any], predict: Predict, memory: np.ndarray, own: bool, insist: bool,
    at_once: int = ROWS,
) -> dict[str, float]:  # fmt: skip
    """Refuse episodes that another controller played, or this policy greedily.

    Greedy play has a *higher* log-probability than samples. It teaches a gradient nothing (there is no deviation to
    reward) and is refused; a policy that learns while it plays only replays it, and takes it.

    Args:
        episodes: checked ones, ``[1, K, T, ...]``.
        metadata: the policy's.
        predict: runs its signatures.
        memory: ``[S]``, which is about to be adapted.
        own: it is the policy's own, so that ``act`` acts with it.
        insist: refuse nothing.
        at_once: so many rows are given to ``predict`` at most.

    Returns:
        The two numbers, ``log_prob`` and ``expected_log_prob``; nothing for supervised policies, which do not sample.

    Raises:
        CollectionError: they are not the policy's own.
    """
    likelihood = compare(episodes, metadata, predict, memory, own, at_once)
    if likelihood is None:
        return {}
    online, learns = metadata["memory"]["online"], metadata["memory"]["size"] > 0
    foreign = likelihood.below < LOG_CHANCE or (likelihood.above < LOG_CHANCE and not online)
    if foreign and learns and not insist:
        raise CollectionError(
            f"the actions of the episodes were not sampled from {metadata.get('name', 'this policy')}: their mean "
            f"log-probability is {likelihood.log_prob:.4g}, its own samples would have {likelihood.expected:.4g}; "
            "record episodes that it plays itself (sampled, with the memory that is adapted), or insist with off_policy"
        )
    return likelihood.diagnostics()


def compare(
    episodes: Episodes,
    metadata: Mapping[str, Any],
    predict: Predict,
    memory: np.ndarray,
    own: bool,
    at_once: int = ROWS,
) -> Likelihood | None:
    """See ``check_on_policy``; None if the policy does not sample, or does not say from what."""
    kind = metadata.get("distribution")
    if metadata.get("supervised", False) or kind not in DISTRIBUTION_PARAMETERS:
        return None
    if metadata["memory"]["online"]:
        found, actions = _replayed(episodes, metadata, predict, memory)
    else:
        found, actions = _side_by_side(episodes, predict, None if own else memory, at_once)
    names = DISTRIBUTION_PARAMETERS[kind]
    if not all(name in answer for name in names for answer in found):
        return None
    parameters = {name: np.concatenate([_rows(answer[name]) for answer in found]) for name in names}
    space = space_from_metadata(metadata["action_space"])
    return (_gaussian if kind == "gaussian" else _categorical)(parameters, actions, space)


def _side_by_side(
    episodes: Episodes, predict: Predict, memory: np.ndarray | None, at_once: int
) -> tuple[list[Mapping[str, np.ndarray]], np.ndarray]:
    """What the policy answers at some steps, and what was done there. ``memory``: None for the policy's own."""
    played = np.flatnonzero(episodes.mask)
    chosen = played[np.linspace(0, len(played) - 1, min(ROWS, len(played))).astype(int)]
    observations, actions = (
        field.reshape(-1, *field.shape[3:])[chosen] for field in (episodes.observations, episodes.actions)
    )
    answers = []
    for start in range(0, len(chosen), at_once):
        rows = observations[start : start + at_once]
        if memory is None:
            answers.append(predict(ACT, {"observations": rows}))
        else:
            before, memories = np.zeros_like(actions[: len(rows)]), np.broadcast_to(memory, (len(rows), memory.size))
            answers.append(predict(STEP, _step_inputs(rows, before, np.zeros(len(rows)), False, memories)))
    return answers, actions


def _replayed(
    episodes: Episodes, metadata: Mapping[str, Any], predict: Predict, memory: np.ndarray
) -> tuple[list[Mapping[str, np.ndarray]], np.ndarray]:
    """The same of a policy whose answers depend on all steps before."""
    carried, answers, actions = memory.reshape(1, -1), [], []
    for (observations, before, rewards, done), action in _steps(episodes, metadata):
        answer = predict(STEP, _step_inputs(observations, before, rewards, done, carried))
        carried = np.asarray(answer["memory"], np.float32)
        if action is not None:
            answers.append(answer)
            actions.append(action)
        if len(answers) == STEPS:
            break
    return answers, np.stack(actions)


def _steps(episodes: Episodes, metadata: Mapping[str, Any]) -> Iterator[tuple[_Inputs, np.ndarray | None]]:
    """Inputs of ``step`` (without the memory) and the action taken, with each episode's closing step (no action)."""
    shape, dtype = action_spec(space_from_metadata(metadata["action_space"]))
    lengths = episodes.mask[0].sum(-1).astype(int)
    for number, length in ((number, length) for number, length in enumerate(lengths) if length):
        action, reward = np.zeros((1, *shape), dtype), np.zeros(1)
        for step in range(length):
            done = episodes.actions[0, number, step]
            yield (episodes.observations[:, number, step], action, reward, False), done
            action, reward = done[None], episodes.rewards[:, number, step]
        yield (episodes.final_observations[:, number], action, reward, True), None


def _step_inputs(
    observations: np.ndarray, actions: np.ndarray, rewards: np.ndarray, done: bool, memory: np.ndarray
) -> dict[str, np.ndarray]:
    rows = len(observations)
    return {
        "observations": observations,
        "previous_actions": actions,
        "previous_rewards": np.asarray(rewards, np.float32),
        "previous_done": np.full(rows, done),
        "memory": memory,
        "seed": np.zeros(rows, np.int32),
        "deterministic": np.zeros(rows, bool),
    }


def _rows(values: Any) -> np.ndarray:
    return np.asarray(values, np.float64).reshape(len(values), -1)


def _categorical(parameters: Mapping[str, np.ndarray], actions: np.ndarray, space: spaces.Space) -> Likelihood:
    sizes = [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.ravel().tolist()
    chosen = (actions - space.start).reshape(len(actions), -1)
    parts = np.split(parameters["logits"], np.cumsum(sizes)[:-1], axis=-1)
    logs = [part - _log_sum_exp(part)[:, None] for part in parts]
    log_probs = sum(np.take_along_axis(part, chosen[:, [i]], -1)[:, 0] for i, part in enumerate(logs))
    expected = sum((np.exp(part) * part).sum(-1) for part in logs)
    return _likelihood(log_probs, expected, lambda power: sum(_log_sum_exp((1 + power) * part) for part in logs))


def _log_sum_exp(values: np.ndarray) -> np.ndarray:
    largest = values.max(-1)
    return largest + np.log(np.exp(values - largest[:, None]).sum(-1))


def _gaussian(parameters: Mapping[str, np.ndarray], actions: np.ndarray, space: spaces.Space) -> Likelihood:
    """Of actions as the environment got them: whether raw or clipped ones were recorded makes no difference then. On a
    bound, a clipped normal variable has a probability; within, a density."""
    from scipy.special import log_ndtr, ndtr  # SciPy takes long to import

    low, high = (np.asarray(bound, np.float64).ravel() for bound in (space.low, space.high))
    if space.dtype.kind in "iu":  # a missing bound is the dtype's last number
        low, high = (
            np.where(space.bounded_below.ravel(), low, -np.inf),
            np.where(space.bounded_above.ravel(), high, np.inf),
        )
    loc, scale = parameters["loc"], np.maximum(parameters["scale"], 1e-12)
    taken = np.asarray(actions, np.float64).reshape(loc.shape)
    below, above, margin = (
        (low - loc) / scale,
        (high - loc) / scale,
        1e-6 * np.where(np.isfinite(high - low), high - low, 0),
    )
    at_low, at_high, unit = log_ndtr(below), log_ndtr(-above), np.log(scale) + 0.5 * np.log(2 * np.pi)
    within = -0.5 * np.square((taken - loc) / scale) - unit
    log_probs = np.where(taken <= low + margin, at_low, np.where(taken >= high - margin, at_high, within))
    inside = np.clip(ndtr(above) - ndtr(below), 0, 1)
    squares = inside - _times_density(above) + _times_density(below)  # of standard deviations, where it is inside
    expected = -0.5 * squares - unit * inside + sum(np.exp(part) * np.maximum(part, -700) for part in (at_low, at_high))

    def log_moment(power: float) -> np.ndarray:
        root = np.sqrt(1 + power)
        dense = np.exp(-power * unit) / root * np.clip(ndtr(root * above) - ndtr(root * below), 0, 1)
        return np.log(dense + np.exp((1 + power) * at_low) + np.exp((1 + power) * at_high)).sum(-1)

    return _likelihood(log_probs.sum(-1), expected.sum(-1), log_moment)


def _times_density(bound: np.ndarray) -> np.ndarray:
    finite = np.where(np.isfinite(bound), bound, 0)
    return finite * np.exp(-0.5 * np.square(finite)) / np.sqrt(2 * np.pi)


def _likelihood(log_probs: Any, expected: Any, log_moment: Callable[[float], Any]) -> Likelihood:
    """``log_moment``: power → ln E[exp(power · log-probability)] of each step."""
    total = np.sum(log_probs)
    chances = {power: float(np.sum(log_moment(power)) - power * total) for power in _POWERS}
    below, above = (min(chance for power, chance in chances.items() if power * side > 0) for side in (-1, 1))
    mean = float(np.maximum(np.mean(log_probs), -1e300))  # JSON has no infinity
    return Likelihood(mean, float(np.mean(expected)), min(below, 0.0), min(above, 0.0))
