"""The one evaluation protocol: explore → adapt → test, on held-out tasks, the same for every learner and every export.

Round 0 plays ``K`` episodes a task with the unadapted policy; ``adapt`` makes one inner step from them; round 1 plays
fresh episodes with the new memory, and so on. Round ``s`` is at the same time the test after ``s`` steps and the
exploration for step ``s + 1``, so the curve over steps costs nothing extra and no episode is adapted to and tested on.

A policy whose memory changes while it plays (``online``) plays one trial instead, episode after episode, and the curve
runs over its episodes. A supervised family has one support set, which all inner steps use, and fresh points to test on.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import progress, random
from metazoo.rollouts import returns, supervised
from metazoo.rollouts.agent import Agent
from metazoo.rollouts.graph import rollout, trial
from metazoo.summaries import by_parameter, gain, summary, tail
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.types import Episodes

CHUNK, CHUNK_ONLINE = 50, 1000
"""Tasks played side by side: bounds the memory, changes no result. An online memory is small."""
HELD = 2**28
"""Numbers of played episodes held in memory at once: where they are long, fewer tasks are played side by side."""
FEW = 4
"""Distinct tasks up to which each is reported by itself: a mean over few hides how far they lie apart."""


def player(
    agent: Agent, family: AnyFamily, episodes: int, steps: int, deterministic: bool = False, long: Any = None
) -> Callable[[Any, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """``judging_player``'s without what it says of success."""
    play = _player(agent, family, episodes, steps, deterministic, long)
    return _compiled(family, lambda tasks, key: play(tasks, key)[:2])


def judging_player(
    agent: Agent, family: AnyFamily, episodes: int, steps: int, deterministic: bool = False, long: Any = None
) -> Callable[[Any, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """A compiled function ``(tasks [M], key) → (returns, long returns [M, episodes], successes)``.

    Returns and successes are ``[points, M, episodes]``.

    The points of the curve are rounds ``0 … steps``; for online memories they are the episodes of one trial, as many
    as all rounds have, one each (``[points, M, 1]``). Of a supervised family, minus the mean squared error stands for
    the return. Successes are like returns: 1 where an episode reached its goal, 0 where not, NaN where the family does
    not say. ``key`` is one key, or one ``[M]`` for each task (see ``rollout``). ``long`` is the same family with a
    longer horizon, for one more round with the final memory; without it the second result is empty, as it is for
    online memories.
    """
    return _compiled(family, _player(agent, family, episodes, steps, deterministic, long))


def plays_trials(online: bool, family: AnyFamily) -> bool:
    """Whether the points of a curve are the episodes of one trial; sets of examples are given at once, to all."""
    return online and not family.paired


def _compiled(family: AnyFamily, play: Callable[..., Any]) -> Callable[..., Any]:
    return play if isinstance(family, HostFamily) else tf.function(play, jit_compile=True, autograph=False)


def _player(
    agent: Agent, family: AnyFamily, episodes: int, steps: int, deterministic: bool, long: Any
) -> Callable[[Any, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """``judging_player``'s before it is compiled."""

    def start(tasks: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The first memories, and what stands for long returns where there are none."""
        initial, count = agent.initial_memory(), tf.nest.flatten(tasks)[0].shape[0]
        return tf.broadcast_to(initial, [count, 1, initial.shape[0]]), tf.zeros([count, 0])

    def play_rounds(tasks: Any, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        (memory, none), rounds, reached, told = start(tasks), [], [], []
        for made in range(steps + 1):
            played = rollout(family, tasks, agent.step, memory, random.fold(key, made), episodes, deterministic, told)
            rounds.append(returns.episode_returns(played))
            reached.append(_successes(family, tasks, played, told))
            if made < steps:
                memory = agent.adapt(memory, played)
        if long is None:
            return tf.stack(rounds), none, tf.stack(reached)
        last = rollout(long, tasks, agent.step, memory, random.fold(key, steps + 1), episodes, deterministic)
        return tf.stack(rounds), returns.episode_returns(last), tf.stack(reached)

    def play_trial(tasks: Any, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        (memory, none), told = start(tasks), []
        played, _ = trial(family, tasks, agent.step, memory, key, episodes * (steps + 1), deterministic, told)
        ends = returns.episode_returns(played), _successes(family, tasks, played, told)
        curve, reached = (tf.transpose(end)[..., None] for end in ends)
        return curve, none, reached

    def play_supervised(tasks: Any, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        (memory, none), errors = start(tasks), []
        support = rollout(family, tasks, agent.step, memory, random.fold(key, 0), 1, True)
        for made in range(steps + 1):
            query = rollout(family, tasks, agent.step, memory, random.fold(key, made + 1), episodes, True)
            errors.append(returns.episode_returns(query) / family.horizon)
            if made < steps:
                memory = agent.adapt(memory, support)
        return tf.stack(errors), none, tf.fill([steps + 1, *none.shape[:1], episodes], np.nan)

    def play_paired(tasks: Any, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        (memory, none), scores = start(tasks), []
        support, query = supervised.rounds(family, tasks, key, 2)
        for made in range(steps + 1):
            scores.append(supervised.score(family, query, agent.step, _for_each(agent, memory, query), key))
            if made < steps:
                memory = agent.adapt(memory, support)
        return tf.stack(scores)[..., None], none, tf.fill([steps + 1, *none.shape[:1], 1], np.nan)

    on_examples = play_paired if family.paired else play_supervised
    return play_trial if plays_trials(agent.online, family) else on_examples if family.supervised else play_rounds


def _for_each(agent: Agent, memory: tf.Tensor, query: Episodes) -> tf.Tensor:
    """A task's memory ``[M, 1, S]``, a copy for each example where ``step`` writes to it."""
    return tf.repeat(memory, query.mask.shape[0], 1) if agent.online else memory


def _successes(family: AnyFamily, tasks: Any, played: Episodes, told: list[Any]) -> tf.Tensor:
    """What the family says of success ``[M, E]``: at its steps (the last of ``told``), or of whole episodes."""
    if told and not np.isnan(told[-1]).all():
        return tf.constant(told[-1])
    judged = family.successes(tasks, played)
    return tf.fill(tf.shape(played.rewards)[1:], np.float32(np.nan)) if judged is None else judged


def play_split(
    agent: Agent,
    family: AnyFamily,
    split: str,
    tasks: int,
    episodes: int,
    steps: int,
    seed: int = 0,
    deterministic: bool = False,
    long: AnyFamily | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """``player``'s returns ``[points, tasks, episodes]`` and long returns ``[tasks, episodes]`` on a split's tasks."""
    sampled = family.sample(tasks, split, seed)
    return play_tasks(agent, family, sampled, episodes, steps, seed, deterministic, long)


def play_tasks(
    agent: Agent,
    family: AnyFamily,
    sampled: Any,
    episodes: int,
    steps: int,
    seed: int = 0,
    deterministic: bool = False,
    long: AnyFamily | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """``play_split`` on tasks that were sampled already."""
    return _play_tasks(agent, family, sampled, episodes, steps, seed, deterministic, long)[:2]


def _play_tasks(
    agent: Agent,
    family: AnyFamily,
    sampled: Any,
    episodes: int,
    steps: int,
    seed: int,
    deterministic: bool,
    long: AnyFamily | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same, and successes ``[points, tasks, episodes]``."""
    tasks = len(tf.nest.flatten(sampled)[0])
    chunk = min(CHUNK_ONLINE if agent.online else CHUNK, _tasks_held(agent, long or family, episodes, steps))
    play = judging_player(agent, family, episodes, steps, deterministic, long)
    keys = random.fold(random.fold(random.key(seed), 1), tf.range(tasks))
    curves, ends, successes = [], [], []
    with progress.stage("tasks", tasks) as advance:
        for start in range(0, tasks, chunk):
            first = max(0, min(start, tasks - chunk))  # the last part overlaps: one of another size would compile again
            part = tf.nest.map_structure(lambda field, i=first: field[i : i + chunk], (sampled, keys))
            curve, end, reached = play(*part)
            curves.append(curve.numpy()[:, start - first :])
            successes.append(reached.numpy()[:, start - first :])
            ends.append(end.numpy()[start - first :])
            advance(min(chunk, tasks - start))
    return np.concatenate(curves, 1), np.concatenate(ends, 0), np.concatenate(successes, 1)


def _tasks_held(agent: Agent, family: AnyFamily, episodes: int, steps: int) -> int:
    """How many tasks' episodes fit into memory side by side. Raises ValueError where those of one do not."""
    together = episodes * (steps + 1) if agent.online else episodes
    numbers = math.prod(family.observation_space.shape) + math.prod(family.action_space.shape) + len(Episodes._fields)
    held = HELD // (together * family.horizon * numbers)
    if not held:
        most = HELD // (family.horizon * numbers)
        raise ValueError(f"episodes is {episodes}; of {family.name} at most {most:,} of a task are played at once.")
    return held


def evaluate(
    agent: Agent,
    family: AnyFamily,
    *,
    name: str,
    split: str = "test",
    tasks: int = 200,
    episodes: int = 10,
    steps: int = 1,
    seed: int = 0,
    deterministic: bool = False,
    long: AnyFamily | None = None,
) -> dict[str, Any]:
    """The report of ``metazoo evaluate``: a curve over inner steps, or a trial's episodes, with mean and IQM and their
    95 % intervals, and the whole trial's total.

    The unit of the intervals is the test task (its mean over episodes): they say how well *this* policy does on new
    tasks, not how much training runs differ. Where there are few distinct tasks, or several kinds, each has its own
    figures under ``by_task`` of a point, and the intervals are stratified by them. Where the family says which episodes
    reached their goal, every point has their rate under ``success``, from 0 to 1. ``long`` (the family at a longer
    horizon) adds ``at_horizon``. Points after the first say what adapting brought to single tasks (``gain``), and the
    report says first and last point by each task parameter (``by_parameter``; ``metazoo.summaries`` has both).

    Raises:
        ValueError: no tasks, no episodes, negative steps, or an unknown split.
    """
    for what, value, least in (("tasks", tasks, 2), ("episodes", episodes, 1), ("steps", steps, 0)):
        if value < least:
            raise ValueError(f"{what} is {value}; it must be at least {least}.")
    sampled = family.sample(tasks, split, seed)
    with progress.stage(f"{name}, {split} tasks"):
        played, end, reached = _play_tasks(agent, family, sampled, episodes, steps, seed, deterministic, long)
    kinds = kinds_of(family, sampled) or strata(sampled)
    error = family.supervised and not family.metric
    if error:
        played = -played
    online = plays_trials(agent.online, family)
    curve = _curve(played, kinds, episodes, online, family.supervised, -1 if error else 1)
    if not np.isnan(reached).any():
        for point, rates in zip(curve, reached.mean(2), strict=True):
            point["success"] = _stratified(rates, kinds)
            for one, kind in zip(point.get("by_task", []), kinds, strict=True):
                one["success"] = summary(rates[kind.where])
    report = {
        "name": name,
        "split": split,
        "tasks": tasks,
        "seed": seed,
        "deterministic": deterministic,
        "metric": "mse" if error else family.metric or "return",
        "higher_is_better": not error,
        "horizon": family.horizon,
        "online": online,
        "curve": curve,
        "total": _stratified(played.sum((0, 2)), kinds),
        "baselines": {},
    }
    if len(played) > 1 and (cut := by_parameter(sampled, played[0].mean(1), played[-1].mean(1))):
        report["by_parameter"] = cut
    if long is not None and end.size:
        report["at_horizon"] = {str(long.horizon): _stratified(end.mean(1), kinds)}
    return report


class Stratum(NamedTuple):
    """One of few distinct tasks or kinds, and where it stands among those that were sampled."""

    task: dict[str, Any]
    where: np.ndarray


def strata(sampled: Any) -> list[Stratum]:
    """The distinct tasks among ``sampled``, where there are few and each occurs several times; else none."""
    fields = {name: np.asarray(value) for name, value in sampled._asdict().items()}
    rows = np.concatenate([value.reshape(len(value), -1) for value in fields.values()], 1)
    _, first, kind, counts = np.unique(rows, axis=0, return_index=True, return_inverse=True, return_counts=True)
    if not 1 < len(first) <= FEW or counts.min() < 2:
        return []
    tasks = [{name: value[i].tolist() for name, value in fields.items()} for i in first]
    return [Stratum(task, np.flatnonzero(kind.reshape(-1) == i)) for i, task in enumerate(tasks)]


def kinds_of(family: AnyFamily, sampled: Any) -> list[Stratum]:
    """The kinds of tasks among ``sampled`` as the family names them, where there are several; else none."""
    named = family.kinds_of(sampled)
    names, counts = np.unique([] if named is None else named, return_counts=True)
    if len(names) < 2 or counts.min() < 2:
        return []
    return [Stratum({"kind": str(name)}, np.flatnonzero(np.asarray(named) == name)) for name in names]


def _stratified(per_task: np.ndarray, kinds: list[Stratum]) -> dict[str, Any]:
    return summary(*(per_task[kind.where] for kind in kinds)) if kinds else summary(per_task)


def _curve(
    played: np.ndarray, kinds: list[Stratum], episodes: int, online: bool, supervised: bool, better: int
) -> list[dict[str, Any]]:
    """A point for each round, or for each episode of a trial, with what had been played of the task before it."""
    points = []
    for i, per_task in enumerate(means := played.mean(2)):
        steps, explored = (i // episodes, i) if online else (i, min(i, 1) if supervised else i * episodes)
        point = {"steps": steps, "episodes": explored, **_stratified(per_task, kinds)}
        point |= tail(per_task, better)
        if i:
            point["gain"] = gain(better * means[0], better * per_task)
        point["per_task"] = per_task.round(3).tolist()
        if kinds:
            point["by_task"] = [
                {"task": kind.task, "tasks": len(kind.where), **summary(per_task[kind.where])} for kind in kinds
            ]
        points.append(point)
    return points
