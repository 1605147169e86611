"""Learners over a family on the host: ``compile`` and ``fit`` as ever, the pieces compiled, evaluated and exported."""

import keras
import numpy as np
import pytest
from gymnasium import spaces

import metazoo
from metazoo.algorithms.common.learner import agent_of, updates
from metazoo.algorithms.domain_randomised import DomainRandomised, DomainRandomisedConfig
from metazoo.algorithms.maml import MAML, MAMLConfig
from metazoo.algorithms.rl2 import RL2, RL2Config
from metazoo.evaluation import evaluate
from metazoo.policies.networks import network_for
from metazoo.policies.policy import Policy
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.rollouts.agent import random_agent
from metazoo.tasks.gym.family import GymFamily
from metazoo.training.export import export
from tests.host_envs import Odd, Point


def goals(generator, split):
    return {"goal": generator.choice([-1.0, 1.0]) * generator.uniform(0.8, 1.2)}


def small_policy(family, **settings) -> Policy:
    model = network_for(family.observation_space, family.action_space, hidden=(16,), **settings)
    return Policy(model, family.observation_space, family.action_space)


def new_maml() -> MAML:
    family = GymFamily(Point, goals, 10, name="point")
    config = MAMLConfig(tasks=8, episodes=10, clip_norm=0.5)
    learner = MAML(small_policy(family, initial_scale=0.5), family, config)
    learner.compile(keras.optimizers.Adam(2e-2), jit_compile=True)
    return learner


def fit(learner, start, stop):
    return learner.fit(updates(start, stop), shuffle=False, verbose=0).history


@pytest.fixture(scope="module")
def trained():
    learner = new_maml()
    return learner, fit(learner, 0, 40)


def test_maml_learns_to_adapt_on_the_host(trained):
    learner, history = trained
    assert set(history) == {"loss", "gradient_norm", "return_0", "return_1"}
    assert np.all(np.isfinite(list(history.values())))
    report = evaluate(agent_of(learner), learner.family, name="m", tasks=20, episodes=10, steps=1)
    before, after = (point["mean"] for point in report["curve"])
    assert after > before + 1.0


def test_processes_change_nothing_and_the_seed_decides():
    weights = []
    for workers in (0, 2):
        family = GymFamily(Point, goals, 10, workers=workers)
        learner = DomainRandomised(small_policy(family), family, DomainRandomisedConfig(tasks=3, episodes=4))
        learner.compile(keras.optimizers.Adam(2e-2), jit_compile=True)
        fit(learner, 0, 2)
        weights.append(learner.current_weights())
        family.close()
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_policy_trained_on_the_host_is_exported_loaded_and_adapted(trained, tmp_path):
    learner = trained[0]
    directory = export(learner, tmp_path / "point" / "1", {"name": "point", "adapt": {"episodes": 5, "steps": 1}})
    policy = metazoo.load(directory)
    env = Point()
    env.goal = -1.0
    before, after = policy.evaluate(env, 10), policy.adapt(env, episodes=10).evaluate(env, 10)
    assert after.mean() > before.mean()
    played, direct = (
        evaluate(agent, learner.family, name="p", tasks=20, episodes=10, steps=0, deterministic=True)["curve"][0][
            "mean"
        ]
        for agent in (policy.agent(), agent_of(learner))
    )
    assert played == pytest.approx(direct, rel=1e-4)


SPACES = {
    "images": (spaces.Box(0, 255, (8, 8, 1), np.uint8), spaces.Discrete(2)),
    "multi_discrete": (spaces.Dict({"a": spaces.Discrete(2)}), spaces.MultiDiscrete([2, 3], start=[1, 0])),
}


@pytest.mark.parametrize("kind", ["images", pytest.param("multi_discrete", marks=pytest.mark.slow)])
def test_images_and_several_discrete_actions_train_evaluate_and_export(kind, tmp_path):
    family = GymFamily(lambda: Odd(*SPACES[kind]), {"offset": (0.0, 1.0)}, 4, name=kind)
    learner = DomainRandomised(small_policy(family), family, DomainRandomisedConfig(tasks=2, episodes=3))
    learner.compile(keras.optimizers.Adam(1e-2))
    assert np.all(np.isfinite(fit(learner, 0, 2)["loss"]))
    for agent in (agent_of(learner), random_agent(family)):
        report = evaluate(agent, family, name=kind, tasks=2, episodes=3, steps=1)
        assert np.isfinite(report["curve"][1]["mean"])
    directory = export(learner, tmp_path / kind / "1", {"name": kind, "adapt": {"episodes": 2, "steps": 1}})
    loaded = metazoo.load(directory)
    assert loaded.metadata["observation_space"]["type"] == ("Box" if kind == "images" else "Dict")
    adapted = loaded.adapt(Odd(*SPACES[kind]), episodes=2)
    assert adapted.evaluate(Odd(*SPACES[kind]), 2).shape == (2,)


@pytest.mark.slow
def test_rl2_learns_on_the_host_and_its_export_carries_what_the_learner_carries(tmp_path):
    family = GymFamily(Point, goals, 6, name="point")
    policy = RecurrentPolicy(family.observation_space, family.action_space, units=6)
    learner = RL2(policy, family, RL2Config(tasks=6, episodes=2, epochs=2, prediction=0.1))
    learner.compile(keras.optimizers.Adam(1e-2), jit_compile=True)
    before = learner.current_weights()
    history = fit(learner, 0, 3)
    assert np.all(np.isfinite(list(history.values())))
    assert not np.array_equal(before[0], learner.current_weights()[0])
    loaded = metazoo.load(
        export(learner, tmp_path / "point" / "1", {"name": "p", "adapt": {"episodes": 2, "steps": 0}})
    )
    env = Point()
    env.goal = 1.0
    adapted = loaded.adapt(env, episodes=2)
    assert adapted.memory.shape == (6,) and np.abs(adapted.memory).max() > 0
    assert adapted.evaluate(env, episodes=3).shape == (3,)
    report = evaluate(agent_of(learner), family, name="r", tasks=5, episodes=3, steps=0)
    assert [point["episodes"] for point in report["curve"]] == [0, 1, 2]
