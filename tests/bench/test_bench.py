"""What ``metazoo bench`` measures, on settings small enough for a test."""

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

import metazoo.tasks.views.make
from metazoo import bench, random
from metazoo.bench import families, gym_peers, host_families, learners, serving, timing
from metazoo.presets.registry import PRESETS
from metazoo.tasks.families.cartpole import CartPoleGoal
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.family import TaskFamily, Transition
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.mujoco.families import HalfCheetahDir
from metazoo.tasks.registry import FAMILIES
from metazoo.types import Box, Discrete
from tests import toy_policy


@pytest.fixture
def quick(monkeypatch):
    """Measurements that take as long as one repetition."""
    monkeypatch.setitem(timing.take_turns.__kwdefaults__, "seconds", 0.0)
    monkeypatch.setattr(families, "COPIES", 8)
    monkeypatch.setattr(families, "MANY_COPIES", 32)
    monkeypatch.setattr(families, "STEPS", 20)


@pytest.mark.slow
def test_a_learners_rate_counts_whole_updates(monkeypatch):
    small = learners.LEARNERS["maml/navigation"]._replace(
        config={"tasks": 3, "episodes": 2, "inner_steps": 1}, network={"hidden": (8, 8)}
    )
    monkeypatch.setitem(learners.LEARNERS, "maml/navigation", small)
    monkeypatch.setattr(learners, "take_turns", lambda action: [[action(), 0.5][1:]])
    (row,) = learners.measure("maml/navigation")
    assert row["env_steps_per_s"] == 3 * 2 * 100 * 2 * learners.UPDATES_PER_FIT / 0.5
    assert row["what"] == "maml/navigation"
    assert row["config"] == "3 tasks x 2 episodes x 100 steps, 1 inner step, second order, MLP 8-8"


def test_learners_are_measured_at_the_published_sizes():
    sizes = {name: (*one.config.values(), *one.network.values()) for name, one in learners.LEARNERS.items()}
    assert sizes["maml/cartpole"] == (20, 20, 1, (64, 64))
    assert sizes["maml/navigation"] == (40, 20, 1, (100, 100))
    for units in (64, 128):
        one = learners.LEARNERS[f"rl2/bandit-gru{units}"]
        assert (*one.config.values(), *one.network.values()) == (512, 1, 4, "gru", units)
        assert PRESETS[one.preset].family_args == {"arms": 5, "horizon": 100}


def test_every_family_that_can_be_made_is_measured(monkeypatch):
    in_graph = {name for name, family in FAMILIES.items() if issubclass(family, TaskFamily)}
    monkeypatch.setattr(families, "find_spec", lambda package: package)
    assert set(bench.GROUPS["families"].names()) == set(FAMILIES)
    monkeypatch.setattr(families, "find_spec", lambda package: None)
    assert set(bench.GROUPS["families"].names()) == in_graph


def test_cartpole_is_measured_with_more_environments_and_beside_gymnasiums(quick):
    ours, many, theirs = families.measure("cartpole")
    assert [row["what"] for row in (ours, many, theirs)] == ["cartpole", "cartpole-32", "gymnasium/CartPole-v1"]
    assert ours["config"] == "8 environments, random actions, automatic resets, 20 steps in one XLA program"
    assert theirs["config"].startswith("8 environments, Gymnasium's native vector environment, random actions")
    assert all(row["env_steps_per_s"] > 100 and row["threads"] == 1 for row in (ours, many, theirs))


@pytest.mark.parametrize("name", ["navigation", "bandit"])
def test_other_families_are_measured_alone(quick, name):
    (row,) = families.measure(name)
    assert row["what"] == name and row["env_steps_per_s"] > 100


@pytest.mark.parametrize("name", ["acrobot", "mountain_car_continuous"])
def test_rates_count_the_steps_of_all_environments(monkeypatch, name):
    """Ours 8 x 20 in 0.5 s; the peer's as many as its environments were asked for, in 2 s."""
    monkeypatch.setattr(families, "COPIES", 8)
    monkeypatch.setattr(families, "STEPS", 20)
    monkeypatch.setattr(families, "take_turns", lambda *actions: [[0.5], [2.0]])
    made = []
    step = gym.vector.SyncVectorEnv.step
    monkeypatch.setattr(gym.vector.SyncVectorEnv, "step", lambda self, a: made.append(len(a)) or step(self, a))
    ours, theirs = families.measure(name)
    assert ours["env_steps_per_s"] == 320
    assert theirs["env_steps_per_s"] == sum(made) / 2.0  # its only play, before the clock runs


def test_a_family_on_the_host_is_measured_with_a_policy(quick, monkeypatch):
    monkeypatch.setattr(host_families, "COPIES", 4)
    family = GymFamily("Pendulum-v1", {"g": (8.0, 12.0)}, horizon=6, name="pendulum")
    monkeypatch.setattr(families, "FAMILIES", {"pendulum": lambda: family})
    played, step = [], GymFamily.step
    monkeypatch.setattr(GymFamily, "step", lambda self, a, p: played.append(p.sum()) or step(self, a, p))
    monkeypatch.setattr(host_families, "take_turns", lambda ours, peer: [[ours(), 0.5][1:], [2.0]])
    ours, theirs = families.measure("pendulum")
    assert sum(played) == 2 * 4 * 6  # once to warm up
    assert ours == {
        "what": "pendulum",
        "config": "4 environments in one process, MLP 64-64 acting, recorded episodes",
        "threads": 1,
        "env_steps_per_s": 4 * 6 / 0.5,
    }
    assert (theirs["what"], theirs["env_steps_per_s"]) == ("gymnasium/Pendulum-v1", 4 * 20 / 2.0)


class AgeState(NamedTuple):
    age: Any


class Ages(TaskFamily):
    """Pays the number of the step within the episode."""

    name, horizon = "ages", 4
    observation_space, action_space = Box((1,), 0.0, 4.0), Discrete(2, start=5)

    class Task(NamedTuple):
        """``nothing``, no unit."""

        nothing: Any

    def sample_task(self, key, split):
        return self.Task(random.uniform(key))

    def reset(self, task, key):
        return AgeState(tf.zeros(tf.shape(key)))

    def step(self, task, state, actions, key):
        age = state.age + 1.0
        return Transition(AgeState(age), tf.where(actions < 5, -100.0, age), tf.zeros_like(age, tf.bool))

    def observe(self, task, state):
        return state.age[..., None]


def test_environments_begin_anew_when_their_episode_ends(monkeypatch):
    """Where age 3 ends the episode, no age beyond it is seen."""
    step = Ages.step
    monkeypatch.setattr(Ages, "step", lambda *a: (after := step(*a))._replace(terminated=after.state.age >= 3.0))
    rewards, seen = families.in_graph(Ages(), 3, 40)()
    assert rewards == 3 * (13 * (1 + 2 + 3) + 1)
    assert seen == 3 * (13 * (1 + 2) + 1)


def test_environments_begin_anew_at_the_horizon():
    rewards, seen = families.in_graph(Ages(), 3, 40)()
    assert rewards == 3 * 10 * (1 + 2 + 3 + 4)
    assert seen == 3 * 10 * (1 + 2 + 3 + 0)  # what a policy would see next: a new episode, not the old one's end


@pytest.mark.mujoco
def test_a_peer_whose_package_is_missing_is_left_out(monkeypatch):
    monkeypatch.setattr(gym_peers, "find_spec", lambda package: None)
    assert gym_peers.make(HalfCheetahDir(workers=0, rows=1), 2) is None


def test_an_original_is_measured_beside_one_family_only():
    assert gym_peers.make(CartPoleGoal(), 2) is None
    assert gym_peers.make(Navigation(), 2) is None


def test_turns_are_taken_often_enough():
    calls = []
    first, second = timing.take_turns(lambda: calls.append(1), lambda: calls.append(2), seconds=0.0, least=7)
    assert calls == [1, 2] * 7
    assert len(first) == len(second) == 7 and min(first + second) >= 0


@pytest.mark.slow
def test_serving_is_measured_over_rest_and_grpc(monkeypatch, tmp_path, quick):
    monkeypatch.setattr(timing, "SECONDS", 0.2)
    toy_policy.export_toy(tmp_path / "models" / "toy" / "1")
    monkeypatch.setattr(metazoo.tasks.views.make, "make_task", lambda metadata, parameters: gym.make("CartPole-v1"))
    rows = serving.measure("serving", str(tmp_path / "models"))
    act = [f"{api}/act-{what}" for api in ("rest", "grpc") for what in ("1", "1x256", "16")]
    assert [row["what"] for row in rows] == [*act, "adapt/rest", "adapt/signature", "adapt/live"]
    assert rows[1]["actions_per_s"] > rows[1]["requests_per_s"] and rows[0]["threads"] == 1
    assert all(0 < row["p50_ms"] <= row["p99_ms"] and np.isfinite(row["requests_per_s"]) for row in rows)


@pytest.mark.slow
def test_a_measurement_that_fails_says_why(monkeypatch):
    group = bench.GROUPS["families"]._replace(names=lambda: ["moons"])
    monkeypatch.setitem(bench.GROUPS, "families", group)
    with pytest.raises(RuntimeError, match="the benchmark moons failed: KeyError: 'moons'"):
        bench.run("families")


def test_several_cores_are_measured_where_there_are_several(monkeypatch):
    alone = {name for name, one in learners.LEARNERS.items() if one.cores == 1}
    assert {name for name in learners.LEARNERS if name.endswith("-2cores")} == set(learners.LEARNERS) - alone
    monkeypatch.setattr(learners, "cores", lambda: 1)
    assert learners.measure("rl2/bandit-gru64-2cores") == []
