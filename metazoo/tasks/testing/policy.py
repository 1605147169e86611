"""A tiny policy goes all the way with a family: it plays, is exported, loaded, acts on one row and on several, adapts.

What a family declares is one thing, what a policy makes of it another: a dtype or a rank that nothing supports shows
only there. Imported when it is used: it needs almost everything.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from metazoo import axes, pretrained, random
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.maml import MAML, MAMLConfig
from metazoo.policies.networks import network_for
from metazoo.policies.policy import Policy
from metazoo.rollouts.graph import rollout
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.tasks.testing.graph import name_of, require
from metazoo.tasks.views.gym_view import FamilyEnv
from metazoo.training.export import export
from metazoo.types import Episodes

STEPS, TASKS, EPISODES = 8, 2, 2
"""Enough to meet every signature; a family's own horizon would take long and show no more."""


def check_policy(family: AnyFamily) -> None:
    """An untrained policy plays the family, is exported and loaded, acts on one row and on three, and adapts; a family
    in the graph is an environment too."""
    with _short(family), tempfile.TemporaryDirectory() as directory:
        with _doing(family, "be made for it"):
            learner = _learner(family)
        with _doing(family, "play it"):
            played = _play(learner)
        _check_episodes(family, played)
        with _doing(family, "be exported"):
            adapt = {"episodes": EPISODES, "steps": 1}
            path = export(learner, Path(directory, "1"), {"name": "check", "adapt": adapt})
        with _doing(family, "act once exported"):
            policy = pretrained.load(path)
            _act(policy, family, np.asarray(played.observations)[0].reshape(-1, *family.observation_space.shape))
        with _doing(family, "adapt once exported"):
            recorded = axes.batch_major(Episodes(*(tf.convert_to_tensor(field) for field in played)))
            policy.adapt(Episodes(*(field[:1].numpy() for field in recorded)), off_policy=True)
        if not isinstance(family, HostFamily):
            with _doing(family, "meet it as an environment"):
                _step_view(FamilyEnv(family))


def _learner(family: AnyFamily) -> Learner:
    spaces = family.observation_space, family.action_space
    network = network_for(*spaces, hidden=(4,))
    return MAML(Policy(network, *spaces), family, MAMLConfig(tasks=TASKS, episodes=EPISODES, inner_steps=1))


def _play(learner: Learner) -> Episodes:
    family, weights = learner.family, learner.current_weights()
    tasks = family.sample(TASKS)
    memory = tf.broadcast_to(learner.initial_memory(weights), [TASKS, 1, learner.memory_size])

    def play() -> Episodes:
        return rollout(family, tasks, lambda *args: learner.step(weights, *args), memory, random.key(0), EPISODES)

    return play() if isinstance(family, HostFamily) else tf.function(play, autograph=False)()


def _check_episodes(family: AnyFamily, played: Episodes) -> None:
    lead, spaces = [STEPS, TASKS, EPISODES], (family.observation_space, family.action_space)
    lead[0] = min(lead[0], family.horizon)
    for name, space in zip(("observations", "actions"), spaces, strict=True):
        value = np.asarray(getattr(played, name))
        found = f"{name} of a rollout have shape {list(value.shape)} and dtype {value.dtype}"
        right = value.shape == (*lead, *space.shape) and value.dtype == space.dtype
        require(family, right, f"{found}; they must have {[*lead, *space.shape]} and {space.dtype}")
    for name in ("observations", "final_observations", "rewards"):
        require(family, bool(np.all(np.isfinite(np.asarray(getattr(played, name))))), f"a rollout has {name} of NaN")


def _act(policy: Any, family: AnyFamily, seen: np.ndarray) -> None:
    """One observation, one row and three, whose first row does not depend on the others."""
    rows = np.resize(seen, (3, *seen.shape[1:]))
    alone, one, three = policy.act(rows[0]), policy.act(rows[:1]), policy.act(rows)
    shape = family.action_space.shape
    found = [list(answer.shape) for answer in (alone, one, three)]
    require(family, found == [[*shape], [1, *shape], [3, *shape]], f"actions of 0, 1 and 3 rows have shapes {found}")
    same = np.allclose(alone, one[0], atol=1e-4) and np.allclose(alone, three[0], atol=1e-4)
    require(family, same, "actions for an observation depend on the rows beside it")


def _step_view(env: FamilyEnv) -> None:
    seen, _ = env.reset(seed=0)
    env.action_space.seed(0)
    for observation in (seen, env.step(env.action_space.sample())[0]):
        require(env.family, env.observation_space.contains(observation), "FamilyEnv gives observations off its space")


@contextlib.contextmanager
def _short(family: AnyFamily) -> Iterator[None]:
    """The family with a short horizon, as long as this lasts."""
    own, horizon = "horizon" in vars(family), family.horizon
    family.horizon = min(horizon, STEPS)
    try:
        yield
    finally:
        family.horizon = horizon
        if not own:
            del family.horizon


@contextlib.contextmanager
def _doing(family: AnyFamily, what: str) -> Iterator[None]:
    """Whatever goes wrong is one sentence that says at which station."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise AssertionError(f"{name_of(family)}: a policy cannot {what}: {type(error).__name__}: {reason}") from error
