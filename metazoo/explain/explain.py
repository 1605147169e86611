"""``metazoo explain``: five answers about a policy that adapted, in numbers and sentences; ``pictures`` draws them."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import progress
from metazoo.explain.actions import Slice, action_slice
from metazoo.explain.layers import head_alone, layers, movement
from metazoo.explain.memory import Decoded, decoded, from_the_best_play, hidden_parameters
from metazoo.explain.played import Played, mean_returns, play, replay
from metazoo.explain.probe import components, r_squared
from metazoo.explain.sentences import sentences
from metazoo.pretrained import Pretrained, family_of
from metazoo.tasks.host_family import AnyFamily, HostFamily

TASKS, TASKS_ON_HOST = 200, 40
"""Test tasks that are played; fewer where they are stepped on the host."""


class Explanation(NamedTuple):
    """``report`` is what ``--json`` prints; the rest is what pictures are drawn from."""

    report: dict[str, Any]
    played: Played
    shown: int
    """The task that pictures of one task show: that with the median gain."""
    slice: Slice | None
    embedding: np.ndarray
    """The tasks' adapted memories in two principal components, ``[M, 2]``."""
    parameters: dict[str, np.ndarray]
    decoded: Decoded | None
    divergence: dict[str, list[float]]


def explain(policy: Pretrained, *, tasks: int | None = None, seed: int = 0, given: Any = None) -> Explanation:
    """Lets a policy adapt to test tasks of its family and says what that changed.

    Args:
        policy: one that adapts, of a family that is known here.
        tasks: how many; by default 200, and 40 of families that are stepped on the host.
        seed: decides tasks and draws.
        given: parameters of the task that pictures of one task show, by name, the others as in the first test task; by
            default the test task with the median gain.

    Returns:
        The explanation; every number of it is in ``report``.

    Raises:
        ValueError: the policy does not adapt, its family is unknown, there are fewer than 20 tasks, or ``given`` names
            a parameter that the family does not have.
    """
    family = family_of(policy.metadata)
    if policy.metadata["memory"]["kind"] == "none" or not (policy.metadata["memory"]["size"]):
        raise ValueError(f"{policy.name} does not adapt, so there is nothing to explain.")
    count = tasks or (TASKS_ON_HOST if isinstance(family, HostFamily) else TASKS)
    if count < 20:
        raise ValueError(f"tasks is {count}; a probe needs at least 20.")
    sampled = with_given(family, family.sample(count, "test", seed), given)
    with progress.stage(f"{policy.name} on {count} test tasks"):
        played = play(policy, family, sampled, seed)
    shown = 0 if given else int(np.argsort(played.gains)[count // 2])
    parameters = hidden_parameters(sampled)
    embedding, explained = components(played.memories - played.start)
    replayed = replay(policy, played) if played.trials is not None else None
    known = decoded(replayed, parameters) if replayed else None
    divergence = from_the_best_play(family, played, replayed) if replayed else {}
    cut = action_slice(policy, played, shown)
    report = {
        "name": policy.name,
        "family": family.name,
        "tasks": count,
        "seed": seed,
        "points": family.horizon if family.supervised else 0,
        "one_episode": played.trials is not None and played.trials.mask.shape[2] == 1,
        "shown": {"task": {name: float(values[shown]) for name, values in parameters.items()}}
        | _returns(played, shown),
        "returns": _returns(played),
        "actions": _actions(cut),
        "layers": _layers(policy, family, played, seed),
        "identified": {
            "components": explained.tolist(),
            "r2": {name: r_squared(played.memories - played.start, values) for name, values in parameters.items()},
        },
        "memory": None if known is None else {"steps": known.steps, "r2": known.r2, "from_best_play": divergence},
    }
    report["sentences"] = sentences(report)
    return Explanation(report, played, shown, cut, embedding, parameters, known, divergence)


def with_given(family: AnyFamily, sampled: Any, given: Any) -> Any:
    """The tasks, the first one with the ``given`` parameters."""
    for name, value in (given or {}).items():
        field = getattr(sampled, name, None)
        if field is None:
            raise ValueError(f"{family.name} has no parameter {name!r}; it has {', '.join(sampled._fields)}.")
        changed = np.asarray(field).copy()
        if np.shape(value) not in ((), changed.shape[1:]):
            raise ValueError(f"{name} is {value}; it must have shape {list(changed.shape[1:])}.")
        changed[0] = value
        sampled = sampled._replace(**{name: tf.constant(changed) if tf.is_tensor(field) else changed})
    return sampled


def _returns(played: Played, task: int | None = None) -> dict[str, float]:
    which: Any = slice(None) if task is None else task
    first, last = (float(np.mean(mean_returns(one)[which])) for one in (played.before, played.after))
    return {"before": first, "after": last}


def _actions(cut: Slice | None) -> dict[str, Any] | None:
    if cut is None:
        return None
    change = np.abs(cut.after - cut.before)
    return {"what": cut.what, "entries": list(cut.entries), "change": float(change.mean()), "most": float(change.max())}


def _layers(policy: Pretrained, family: AnyFamily, played: Played, seed: int) -> dict[str, Any] | None:
    """How far layers moved, and the share of the gain that the head alone gets."""
    found = layers(policy.metadata)
    if not found:
        return None
    with progress.stage("steps of the head alone"):
        alone = play(policy, family, played.tasks, seed, head_alone(found, played.start.size))
    gain, of_head = float(played.gains.mean()), float(alone.gains.mean())
    share = of_head / gain if abs(gain) > 1e-9 else None
    return {"moved": movement(found, played), "gain": gain, "gain_of_head": of_head, "share_of_head": share}
