"""Whether recorded actions are a policy's own: their log-probability beside what its own samples would have.

A gradient step reweights actions by how they turned out *for this policy*. Another controller's actions, however good,
push its weights anywhere: the result looks adapted and plays badly. So the mean log-probability of the recorded actions
is compared with its expectation under the policy, on the same observations. A controller may meet that by chance, but
what it does can be foretold from the observation or from the step before, and the noise of a sample cannot. How far a
policy's own samples stray is bounded exactly (Chernoff, over a martingale: it holds for few steps, rare actions and
recurrent policies too).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from metazoo.artefact.likelihood import Likelihood, categorical, gaussian
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
"""Own samples get here in less than one of a million cases (the bound, times the number of powers and stakes tried)."""


_Inputs = tuple[np.ndarray, np.ndarray, np.ndarray, bool]
"""Observations, previous actions and rewards ``[1, ...]``, and whether the episode is over."""


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
    if not insist and metadata["memory"]["size"] > 0:  # a plain policy stays as it is
        _refuse(likelihood, metadata)
    return likelihood.diagnostics()


def _refuse(likelihood: Likelihood, metadata: Mapping[str, Any]) -> None:
    online = metadata["memory"]["online"]
    if likelihood.below < LOG_CHANCE or (likelihood.above < LOG_CHANCE and not online):
        reason = f"their mean log-probability is {likelihood.log_prob:.4g}, its own samples would have "
        reason += f"{likelihood.expected:.4g}"
    elif likelihood.foretold < LOG_CHANCE and not online:
        reason = "what follows can be foretold from the observation or the step before, better than of a sample"
    else:
        return
    raise CollectionError(
        f"the actions of the episodes were not sampled from {metadata.get('name', 'this policy')}: {reason}; record "
        "episodes that it plays itself (sampled, with the memory that is adapted), or insist with off_policy"
    )


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
        found, seen, actions = _replayed(episodes, metadata, predict, memory)
    else:
        found, seen, actions = _side_by_side(episodes, predict, None if own else memory, at_once)
    names = DISTRIBUTION_PARAMETERS[kind]
    if not all(name in answer for name in names for answer in found):
        return None
    parameters = {name: np.concatenate([_rows(answer[name]) for answer in found]) for name in names}
    space = space_from_metadata(metadata["action_space"])
    return (gaussian if kind == "gaussian" else categorical)(parameters, actions, space, _rows(seen))


def _side_by_side(
    episodes: Episodes, predict: Predict, memory: np.ndarray | None, at_once: int
) -> tuple[list[Mapping[str, np.ndarray]], np.ndarray, np.ndarray]:
    """What the policy answers at some steps, what was seen and done there. ``memory``: None for its own."""
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
    return answers, observations, actions


def _replayed(
    episodes: Episodes, metadata: Mapping[str, Any], predict: Predict, memory: np.ndarray
) -> tuple[list[Mapping[str, np.ndarray]], np.ndarray, np.ndarray]:
    """The same of a policy whose answers depend on all steps before."""
    carried, answers, seen, actions = memory.reshape(1, -1), [], [], []
    for (observations, before, rewards, done), action in _steps(episodes, metadata):
        answer = predict(STEP, _step_inputs(observations, before, rewards, done, carried))
        carried = np.asarray(answer["memory"], np.float32)
        if action is not None:
            answers.append(answer)
            seen.append(observations[0])
            actions.append(action)
        if len(answers) == STEPS:
            break
    return answers, np.stack(seen), np.stack(actions)


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
