"""Starting from another's adaptation: the published policy of the same parent whose task is most alike.

A task is known by the first inner step from the parent's own memory. Steps are compared by their distance after a
random projection to 64 numbers (Johnson and Lindenstrauss 1984), the *sketch*, which a record keeps. Whether one is a
better start is asked of episodes that are held back: the self-normalised importance-weighted advantage of their steps,

Σ r A / Σ r,   r = π(a | o) / π₀(a | o), at most 10,

where A is the discounted return less its mean over the episodes at that step, in standard deviations, and π₀ the policy
that played them (Precup et al. 2000; Kakade and Langford 2002). The published memory is taken if it is better than the
inner step on the other episodes by more than a standard error; it counts as one step then.
"""

import functools
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.artefact import lineage, store
from metazoo.artefact.spaces import space_from_metadata
from metazoo.types import Episodes

HELD_BACK: Final = 0.25
"""The share of the episodes that decides; at least one."""
TRIED: Final = 3
"""How many of the nearest are tried on it."""
MOST_STEPS: Final = 512
"""Held-back steps that are looked at, spread evenly."""
LARGEST_RATIO: Final = 10.0
USUAL_DISCOUNT: Final = 0.99
"""Where the metadata does not say how inner steps discount."""
AT_ONCE: Final = 64

Step = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""The signature ``step`` on rows."""


SKETCH: Final = 64


def sketch(step: np.ndarray) -> np.ndarray:
    """64 numbers of a step ``[S]``, without the counter of inner steps that is its last entry."""
    weights = np.asarray(step, np.float32).reshape(-1)[:-1]
    return weights @ _signs(weights.size)


@functools.cache
def _signs(size: int) -> np.ndarray:
    drawn = np.random.default_rng(0).integers(2, size=(size, SKETCH))
    return (2.0 * drawn - 1.0).astype(np.float32) / np.float32(SKETCH**0.5)


class Near(NamedTuple):
    """A published adaptation, and how far its first step is from the new one, in lengths of the new one."""

    name: str
    version: int
    memory: np.ndarray
    distance: float


class Index:
    """The newest memories of all policies in ``directory`` that were adapted from one version of a policy.

    Of those whose record has a sketch, or says that the memory is the first step itself. Brute force over one matrix,
    which 10⁵ policies allow; from then on an approximate index (such as HNSW) is better, and most of the time goes into
    looking what has changed anyway. Thread-safe; ``refresh`` reads what has.
    """

    def __init__(self, directory: str | os.PathLike[str], parent: str, version: int, start: np.ndarray):
        self._directory, self._parent, self._version = Path(directory), parent, version
        self._start = np.asarray(start, np.float32).reshape(-1)
        self._lock = threading.Lock()
        self._known: dict[str, int] = {}
        self._rows: dict[str, int] = {}
        self._entries: list[tuple[str, int]] = []
        self._memories = np.zeros((0, self._start.size), np.float32)
        self._sketches = np.zeros((0, SKETCH), np.float32)

    def __len__(self) -> int:
        return len(self._entries)

    def refresh(self) -> None:
        """Reads the policies that were published, changed or deleted since it was last asked."""
        with self._lock:
            there = self._there()
            gone = [name for name in self._known if name not in there]
            changed = [name for name, when in there.items() if self._known.get(name) != when]
            for name in gone:
                self._forget(name)
            for name in changed:
                self._read(name)
            self._known = there

    def nearest(self, step: np.ndarray, count: int = TRIED) -> list[Near]:
        """The ``count`` nearest to a step ``[S]`` from the parent's memory, the nearest first."""
        wanted = sketch(step)
        with self._lock:
            far = np.linalg.norm(self._sketches[: len(self._entries)] - wanted, axis=1)
            far /= max(float(np.linalg.norm(wanted)), 1e-12)
            best = np.argsort(far, kind="stable")[:count]
            found = [(*self._entries[i], self._memories[i].copy(), float(far[i])) for i in best]
        return [Near(name, version, memory, distance) for name, version, memory, distance in found]

    def _there(self) -> dict[str, int]:
        """When each adapted policy's directory last got or lost a version."""
        try:
            with os.scandir(self._directory) as entries:
                return {
                    one.name: one.stat().st_mtime_ns
                    for one in entries
                    if one.name.startswith(f"{self._parent}-") and one.is_dir()
                }
        except FileNotFoundError:
            return {}

    def _read(self, name: str) -> None:
        path = lineage.newest_in(self._directory / name)
        try:
            record = lineage.record(store.read_metadata(path) or {}) if path else None
            whose = None if record is None else (record["from"], record["from_version"])
            if path is None or whose != (self._parent, self._version):
                self._forget(name)
                return
            memory = store.read_memory(path).reshape(-1)
        except (OSError, store.StoreError):  # it is being deleted
            self._forget(name)
            return
        first: Any = record.get("sketch") if record else None
        if first is None and record and record["steps"] == 1 and "warm_start" not in record:
            first = sketch(memory - self._start)
        if memory.shape == self._start.shape and np.shape(first) == (SKETCH,):
            self._put(name, int(path.name), memory, np.asarray(first, np.float32))

    def _put(self, name: str, version: int, memory: np.ndarray, first: np.ndarray) -> None:
        row = self._rows.setdefault(name, len(self._entries))
        if row == len(self._entries):
            self._entries.append((name, version))
            if row == len(self._memories):
                more = max(16, row)
                self._memories = np.pad(self._memories, ((0, more), (0, 0)))
                self._sketches = np.pad(self._sketches, ((0, more), (0, 0)))
        self._entries[row] = (name, version)
        self._memories[row] = memory
        self._sketches[row] = first

    def _forget(self, name: str) -> None:
        """Puts the last row in its place."""
        row = self._rows.pop(name, None)
        if row is None:
            return
        last = self._entries.pop()
        if row < len(self._entries):
            end = len(self._entries)
            self._entries[row], self._rows[last[0]] = last, row
            self._memories[row], self._sketches[row] = self._memories[end], self._sketches[end]


def check_possible(metadata: Mapping[str, Any], episodes: int) -> None:
    """Raises LineageError where nothing can be started from, or nothing held back."""
    if metadata["memory"]["kind"] != "fast_weights" or metadata.get("supervised"):
        raise lineage.LineageError(
            f"{metadata['name']} cannot be started from another's adaptation: warm starts are for policies that adapt"
            " their weights by episodes"
        )
    if episodes < 2:
        raise lineage.LineageError("A warm start needs at least 2 episodes: one of them is held back")


def parts(episodes: Episodes) -> tuple[Episodes, Episodes]:
    """Batch-major episodes ``[1, K, ...]`` to adapt with, and those that are held back."""
    count = int(episodes.mask.shape[1])
    cut = count - max(1, round(HELD_BACK * count))
    return Episodes(*(field[:, :cut] for field in episodes)), Episodes(*(field[:, cut:] for field in episodes))


class Choice(NamedTuple):
    """The memory to go on from (None: that of the usual step), and what the record says: ``sketch``, and of a memory
    that was taken over ``warm_start``."""

    memory: np.ndarray | None
    record: dict[str, Any]


Adapt = Callable[[np.ndarray, Episodes], np.ndarray]
"""An inner step: ``(memory [S], episodes) → memory``."""


def start(
    index: Index, adapt: Adapt, step: Step, metadata: Mapping[str, Any], episodes: Episodes, memory: np.ndarray
) -> Choice:
    """The memory of a policy in ``index``, if it is better than an inner step on ``[1, K, ...]`` episodes.

    Raises:
        LineageError: the policy has no fast weights, or there is but one episode.
    """
    check_possible(metadata, int(episodes.mask.shape[1]))
    index.refresh()
    cold = adapt(memory, parts(episodes)[0])
    near = index.nearest(cold - memory)
    found = choose(step, metadata, episodes, memory, cold, near) if near else Choice(None, {})
    return found._replace(record={**found.record, "sketch": [round(float(x), 6) for x in sketch(cold - memory)]})


def choose(
    step: Step, metadata: Mapping[str, Any], episodes: Episodes, start: np.ndarray, cold: np.ndarray, near: list[Near]
) -> Choice:
    """The best of ``near`` if held-back episodes say that it is better than ``cold``.

    Args:
        step: runs the signature.
        metadata: the parent's.
        episodes: all of them, ``[1, K, ...]``, played from ``start [S]``.
        start: the parent's memory.
        cold: the memory after an inner step on the episodes that are not held back.
        near: the nearest published adaptations, at least one.
    """
    held = parts(episodes)[1]
    chosen = _steps(held)
    worth = advantages(episodes, _discount(metadata))[0, -held.mask.shape[1] :][chosen]
    seen, done = held.observations[0][chosen], held.actions[0][chosen]
    space = space_from_metadata(metadata["action_space"])

    def score(memory: np.ndarray) -> np.ndarray:
        return weighed_advantages(_log_probs(step, memory, seen, done, space) - before, worth)

    before = _log_probs(step, start, seen, done, space)
    scores, other = [score(one.memory) for one in near], score(cold)
    best = int(np.argmax([one.sum() for one in scores]))
    apart = scores[best] - other
    if not apart.sum() > apart.std() * len(apart) ** 0.5:
        return Choice(None, {})
    found, memory = near[best], near[best].memory.copy()
    memory[-1] = start[-1] + 1.0  # it stands for the first step: the next one has the size of a second
    record = {"from": found.name, "version": found.version, "distance": found.distance}
    said = {"warm": float(scores[best].sum()), "cold": float(other.sum()), "episodes": int(held.mask.shape[1])}
    return Choice(memory, {"warm_start": {**record, "held_back": said}})


def _steps(held: Episodes) -> tuple[np.ndarray, np.ndarray]:
    """Which of the held-back steps are looked at: episode and time."""
    episode, time = np.nonzero(np.asarray(held.mask[0]) > 0)
    which = np.unique(np.linspace(0, len(time) - 1, min(MOST_STEPS, len(time))).astype(int))
    return episode[which], time[which]


def _discount(metadata: Mapping[str, Any]) -> float:
    return float(metadata.get("config", {}).get("inner_gamma", USUAL_DISCOUNT))


def advantages(episodes: Episodes, discount: float) -> np.ndarray:
    """A ``[B, K, T]``: discounted returns to go, less their mean over the episodes at that step, scaled."""
    rewards, mask = np.asarray(episodes.rewards, np.float64), np.asarray(episodes.mask, np.float64)
    to_go = np.zeros_like(rewards)
    after = np.zeros_like(rewards[:, :, 0])
    for t in reversed(range(rewards.shape[2])):
        after = (rewards[:, :, t] + discount * after) * mask[:, :, t]
        to_go[:, :, t] = after
    level = (to_go * mask).sum(1, keepdims=True) / np.maximum(mask.sum(1, keepdims=True), 1.0)
    apart = (to_go - level) * mask
    spread = np.sqrt((apart**2).sum() / max(mask.sum(), 1.0))
    return apart / max(spread, 1e-9)


def weighed_advantages(log_ratios: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """The terms ``[N]`` of Σ r A / Σ r over steps."""
    ratios = np.exp(np.clip(log_ratios, -50.0, np.log(LARGEST_RATIO)))
    return ratios * worth / max(ratios.sum(), 1e-12)


def _log_probs(step: Step, memory: np.ndarray, seen: np.ndarray, done: np.ndarray, space: Any) -> np.ndarray:
    """log π(a | o) of a policy with fast weights, ``[N]``."""
    found = []
    for first in range(0, len(seen), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        count = len(seen[rows])
        answer = step({
            "observations": seen[rows],
            "previous_actions": np.zeros_like(done[rows]),
            "previous_rewards": np.zeros(count, np.float32),
            "previous_done": np.zeros(count, bool),
            "memory": np.repeat(np.asarray(memory, np.float32)[None], count, 0),
            "seed": np.zeros(count, np.int32),
            "deterministic": np.zeros(count, bool),
        })  # fmt: skip
        found.append(log_probs(answer, done[rows], space))
    return np.concatenate(found)


def log_probs(parameters: Mapping[str, np.ndarray], actions: np.ndarray, space: Any) -> np.ndarray:
    """log π of actions ``[N, ...]`` under logits, or under means and deviations."""
    if "logits" not in parameters:
        apart = (actions - parameters["loc"]) / parameters["scale"]
        each = -0.5 * apart**2 - np.log(parameters["scale"]) - 0.5 * np.log(2 * np.pi)
        return each.reshape(len(actions), -1).sum(1)
    sizes = np.ravel(space.nvec if hasattr(space, "nvec") else space.n).astype(int)
    chosen = (actions - space.start).reshape(len(actions), -1).astype(int)
    total = np.zeros(len(actions))
    for i, part in enumerate(np.split(np.asarray(parameters["logits"], np.float64), np.cumsum(sizes)[:-1], axis=-1)):
        highest = part.max(-1, keepdims=True)
        normal = part - highest - np.log(np.exp(part - highest).sum(-1, keepdims=True))
        total += np.take_along_axis(normal, chosen[:, [i]], -1)[:, 0]
    return total
