"""Picture 1: the action over a slice of states, before and after adapting to one task."""

from typing import Any, NamedTuple

import numpy as np

from metazoo.explain.played import Played
from metazoo.pretrained import Pretrained

GRID = 41
"""Points of the slice along each entry of the observation."""
SEEN = 400
"""Observations by which the entries to show are chosen."""


class Slice(NamedTuple):
    """``before`` and ``after`` are ``[GRID, GRID]``, the first axis along ``entries[1]``; of an observation with a
    single entry that varies ``[GRID]``."""

    what: str
    """What is shown of the action."""
    entries: tuple[int, ...]
    """Which entries of the flattened observation are varied; the others stay at their medians."""
    grid: tuple[np.ndarray, ...]
    before: np.ndarray
    after: np.ndarray


def action_slice(policy: Pretrained, played: Played, task: int) -> Slice | None:
    """The slice of the task with that number; None where every observation is the same.

    The two entries that are varied are those that the adapted policy's actions depend on most: shuffling one among the
    observations that were seen changes them most (permutation importance, Breiman 2001).
    """
    seen = _seen(played, task)
    flat = seen.reshape(len(seen), -1).astype(np.float64)
    varying = np.flatnonzero(np.ptp(flat, axis=0) > 0)
    if not varying.size:
        return None
    rows = flat[np.linspace(0, len(flat) - 1, min(SEEN, len(flat))).astype(int)]
    memories = played.start, played.memories[task]
    shape, dtype = seen.shape[1:], seen.dtype

    def answer(rows: np.ndarray, memory: np.ndarray) -> dict[str, np.ndarray]:
        return distribution(policy, rows.reshape(-1, *shape).astype(dtype), memory)

    what, read = readout(policy, answer(rows, memories[0]), answer(rows, memories[1]))
    rng, plain = np.random.default_rng(0), read(answer(rows, memories[1]))

    def importance(entry: int) -> float:
        shuffled = rows.copy()
        shuffled[:, entry] = rng.permutation(shuffled[:, entry])
        return float(np.abs(read(answer(shuffled, memories[1])) - plain).mean())

    chosen = tuple(sorted(sorted(varying.tolist(), key=importance)[-2:]))
    ends = [np.percentile(flat[:, entry], (2, 98)) for entry in chosen]
    grid = tuple(np.linspace(low, high, GRID) for low, high in ends)
    mesh = np.stack(np.meshgrid(*grid), -1).reshape(-1, len(chosen))
    points = np.repeat(np.median(flat, 0)[None], len(mesh), 0)
    points[:, chosen] = mesh
    before, after = (read(answer(points, memory)).reshape([GRID] * len(chosen)) for memory in memories)
    return Slice(what, chosen, grid, before, after)


def _seen(played: Played, task: int) -> np.ndarray:
    """The observations of one task's episodes, ``[N, ...]``."""
    return np.concatenate(
        [one.observations[:, task][one.mask[:, task] > 0] for one in (played.before, played.after)], 0
    )


def distribution(policy: Pretrained, observations: np.ndarray, memory: np.ndarray) -> dict[str, np.ndarray]:
    """``logits`` or ``loc`` of the action for observations ``[N, ...]`` at an episode's first step, with one memory."""
    count, space = len(observations), policy.metadata["action_space"]
    shape = () if space["type"] == "Discrete" else tuple(space.get("shape") or (len(space["nvec"]),))
    answer = policy.step(
        observations=observations,
        previous_actions=np.zeros((count, *shape), np.float32 if space["type"] == "Box" else np.int32),
        previous_rewards=np.zeros(count, np.float32),
        previous_done=np.zeros(count, bool),
        memory=np.broadcast_to(memory, (count, memory.size)),
        seed=np.zeros(count, np.int32),
        deterministic=np.ones(count, bool),
    )
    return {name: answer[name] for name in ("logits", "loc") if name in answer}


def readout(policy: Pretrained, before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> tuple[str, Any]:
    """The entry of the action that adapting changed most, in words, and a function from a distribution to it."""
    if "loc" in after:
        entry = int(np.argmax(np.abs(after["loc"] - before["loc"]).mean(0)))
        what = "action" if after["loc"].shape[1] == 1 else f"action {entry}"
        return f"mean {what}", lambda answer: answer["loc"][:, entry].astype(np.float64)
    space = policy.metadata["action_space"]
    choices = space["n"] if space["type"] == "Discrete" else after["logits"].shape[1]
    moved = np.abs(softmax(after["logits"]) - softmax(before["logits"])).mean(0)
    entry = int(choices - 1 if choices == 2 else np.argmax(moved))
    return f"probability of action {entry + space.get('start', 0)}", lambda answer: softmax(answer["logits"])[:, entry]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities ``[..., n]``."""
    raised = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)
