"""What is explained: a policy on test tasks, before and after it adapted, and the memories that it has then."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.pretrained import Pretrained
from metazoo.rollouts import returns
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.types import Episodes

TESTED = 4
"""Episodes of each task after adapting, of policies that adapt between episodes."""


class Played(NamedTuple):
    """Time-major episodes as numpy arrays, ``[T, M, E, ...]``."""

    tasks: Any
    before: Episodes
    after: Episodes
    start: np.ndarray
    """The memory before, ``[S]``."""
    memories: np.ndarray
    """The memories after adapting, ``[M, S]``."""
    trials: Episodes | None
    """Of a policy that remembers its steps: all episodes of each task, one after another; ``before`` is the first of
    them and ``after`` the last."""

    @property
    def gains(self) -> np.ndarray:
        """Mean return after minus before, ``[M]``."""
        first, last = (mean_returns(played) for played in (self.before, self.after))
        return last - first


def mean_returns(played: Episodes) -> np.ndarray:
    """Mean return of each task's episodes, ``[M]``."""
    return returns.episode_returns(played).numpy().mean(1)


def play(policy: Pretrained, family: AnyFamily, tasks: Any, seed: int, moves: np.ndarray | None = None) -> Played:
    """Lets ``policy`` adapt to each of ``tasks`` as it was trained to, and plays it before and after.

    ``moves [S]`` is 1 for the entries of the memory that inner steps may change and 0 for the others; all may if it is
    not given.
    """
    agent, adapt = policy.agent(), policy.metadata["adapt"]
    start, count = agent.initial_memory(), len(tf.nest.flatten(tasks)[0])
    key = random.fold(random.key(seed), 1)
    free = tf.ones_like(start) if moves is None else tf.constant(moves, start.dtype)

    def remembering(tasks: Any) -> tuple[Episodes, Episodes, tf.Tensor]:
        memory = tf.broadcast_to(start, [count, 1, start.shape[0]])
        played, memory = trial(family, tasks, agent.step, memory, key, adapt["episodes"])
        return played, played, memory

    def stepping(tasks: Any) -> tuple[Episodes, Episodes, tf.Tensor]:
        memory, rounds = tf.broadcast_to(start, [count, 1, start.shape[0]]), []
        for made in range(adapt["steps"]):
            number = 0 if family.supervised else made  # of a supervised family all steps use the same points
            played = rollout(
                family, tasks, agent.step, memory, random.fold(key, number), adapt["episodes"], family.supervised
            )
            rounds.append(played)
            memory = memory + free * (agent.adapt(memory, played) - memory)
        last = rollout(family, tasks, agent.step, memory, random.fold(key, 99), TESTED, family.supervised)
        return rounds[0], last, memory

    first, last, memory = _compiled(remembering if agent.online else stepping, family)(tasks)
    first, last = (tf.nest.map_structure(np.asarray, episodes) for episodes in (first, last))
    whole = first if agent.online else None
    if whole is not None:
        first, last = _episode(whole, 0), _episode(whole, -1)
    return Played(tasks, first, last, start.numpy(), np.asarray(memory)[:, 0], whole)


def _compiled(play: Callable[..., Any], family: AnyFamily) -> Callable[..., Any]:
    return play if isinstance(family, HostFamily) else tf.function(play, jit_compile=True, autograph=False)


def _episode(played: Episodes, number: int) -> Episodes:
    """One of each task's episodes, ``[T, M, 1, ...]``."""
    fields = {name: field[:, :, [number]] for name, field in played._asdict().items() if name != "final_observations"}
    return Episodes(final_observations=played.final_observations[:, [number]], **fields)


class Replayed(NamedTuple):
    """A trial step by step, ``[K · (T + 1), M, ...]``: each episode's steps and its closing step."""

    memories: np.ndarray
    """After the step."""
    answers: dict[str, np.ndarray]
    """The distribution's parameters at the step."""
    real: np.ndarray
    """Whether the step was made, and was not one after an episode's end, ``[K · (T + 1), M]``."""


def replay(policy: Pretrained, played: Played) -> Replayed:
    """Shows the policy each step of its trials again, to see the memory and the distribution at each."""
    assert played.trials is not None
    trials, (horizon, count, episodes) = played.trials, played.trials.mask.shape
    memory = np.broadcast_to(played.start, (count, played.start.size)).copy()
    seen: list[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]] = []
    rows = np.arange(count)
    for number in range(episodes):
        lengths = trials.mask[:, :, number].sum(0).astype(int)
        for t in range(horizon + 1):
            closing = t == horizon
            last = lengths - 1 if closing else np.full(count, t - 1)
            given = trials.final_observations[:, number] if closing else trials.observations[t, :, number]
            actions, rewards = trials.actions[last, rows, number], trials.rewards[last, rows, number]
            fresh = t == 0
            answer = policy.step(
                observations=given,
                previous_actions=np.zeros_like(actions) if fresh else actions,
                previous_rewards=np.zeros_like(rewards) if fresh else rewards,
                previous_done=np.full(count, closing),
                memory=memory,
                seed=np.zeros(count, np.int32),
                deterministic=np.ones(count, bool),
            )
            real = np.ones(count, bool) if closing else trials.mask[t, :, number] > 0
            memory = np.where(real[:, None], answer["memory"], memory)
            seen.append((memory, {name: answer[name] for name in ("logits", "loc") if name in answer}, real))
    memories, answers, made = zip(*seen, strict=True)
    joined = {name: np.stack([one[name] for one in answers]) for name in answers[0]}
    return Replayed(np.stack(memories), joined, np.stack(made))
