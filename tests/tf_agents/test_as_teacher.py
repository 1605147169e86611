"""Policies of TF-Agents as teachers. ``tf_agents_teacher`` holds one that was trained on Gymnasium's CartPole-v1 by

python examples/train_with_tf_agents.py --iterations 120 --units 16 --learning-rate 1e-3 \\
    --out tests/tf_agents/tf_agents_teacher
"""

import dataclasses
import runpy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from metazoo import random
from metazoo.artefact import store
from metazoo.presets.registry import PRESETS
from metazoo.rollouts import returns
from metazoo.rollouts.graph import rollout
from metazoo.tasks.families.cartpole import CartPole, CartPoleGoal, CartPoleTask
from metazoo.tasks.families.navigation import Navigation
from metazoo.training.teacher_sources import load_teacher
from metazoo.training.train import train
from metazoo.types import Box, Discrete, MultiDiscrete, StepOutputs
from tests.test_examples import needs, python_blocks

if find_spec("tf_agents"):  # elsewhere the tests that need it are skipped
    from tf_agents.agents.sac import tanh_normal_projection_network
    from tf_agents.networks import actor_distribution_network
    from tf_agents.policies import actor_policy, greedy_policy, policy_saver
    from tf_agents.trajectories import time_step as ts

    from metazoo.tf_agents.as_teacher import DOUBT, SPREAD, parameters_of, teacher_of
    from metazoo.tf_agents.environments import FamilyEnvironment

pytestmark = pytest.mark.tf_agents

ROOT = Path(__file__).resolve().parents[2]
TEACHER = Path(__file__).with_name("tf_agents_teacher")


def nominal(count):
    """CartPole-v1's physics, ``count`` times."""
    return CartPoleTask(*(tf.fill([count], CartPole.nominal[name]) for name in CartPoleTask._fields))


def mean_return(teacher, family, tasks, episodes):
    """Of a teacher that plays what it would most likely do."""

    def step(inputs, memory, key, deterministic):
        actions = tf.argmax(teacher.parameters(tasks, inputs.observations)["logits"], -1, tf.int32)
        return StepOutputs(actions, {}, tf.zeros(tf.shape(key)), memory)

    @tf.function(jit_compile=True, autograph=False)
    def play():
        played = rollout(family, tasks, step, tf.zeros([len(tasks[0]), 1, 0]), random.key(7), episodes)
        return tf.reduce_mean(returns.episode_returns(played))

    return float(play())


def actor(family, **network):
    """An untrained policy of TF-Agents on a family."""
    environment = FamilyEnvironment(family, family.sample(2))
    seen, action = environment.observation_spec(), environment.action_spec()
    net = actor_distribution_network.ActorDistributionNetwork(seen, action, fc_layer_params=(8,), **network)
    return actor_policy.ActorPolicy(environment.time_step_spec(), action, net)


def observations(family, rows=6):
    return tf.constant(np.random.default_rng(0).standard_normal((2, rows, *family.observation_space.shape)), tf.float32)


def test_the_committed_teacher_balances_the_pole():
    family = CartPole(horizon=500)
    teacher = load_teacher(TEACHER, family)
    assert teacher.name == "tf_agents_teacher"
    assert teacher.size == (4 * 16 + 16) + (16 * 16 + 16) + (16 * 2 + 2)
    assert mean_return(teacher, family, nominal(4), 5) > 400


def test_a_saved_teacher_answers_as_the_policy_that_was_saved(tmp_path):
    family = CartPole()
    policy = actor(family)
    policy_saver.PolicySaver(policy).save(str(tmp_path / "mine"))
    saved, mine = load_teacher(tmp_path / "mine", family), teacher_of(policy, family)
    seen = observations(family)
    answer = saved.parameters(None, seen)["logits"]
    np.testing.assert_allclose(answer, mine.parameters(None, seen)["logits"], 1e-5, 1e-6)
    steps = ts.TimeStep(tf.ones(12, tf.int32), tf.zeros(12), tf.ones(12), tf.reshape(seen, [12, 4]))
    expected = policy.distribution(steps).action.probs_parameter()
    np.testing.assert_allclose(tf.nn.softmax(tf.reshape(answer, [12, 2])), expected, 1e-5)
    assert (saved.name, mine.name) == ("mine", "ActorPolicy")
    assert saved.size == mine.size == (4 * 8 + 8) + (8 * 2 + 2)


def test_a_teacher_of_continuous_actions(tmp_path):
    family = Navigation()
    seen = observations(family)
    policy = actor(family)
    policy_saver.PolicySaver(policy).save(str(tmp_path / "normal"))
    answer = load_teacher(tmp_path / "normal", family).parameters(None, seen)
    steps = ts.TimeStep(tf.ones(12, tf.int32), tf.zeros(12), tf.ones(12), tf.reshape(seen, [12, 2]))
    expected = policy.distribution(steps).action
    np.testing.assert_allclose(tf.reshape(answer["loc"], [12, 2]), expected.mean(), 1e-5, 1e-6)
    np.testing.assert_allclose(tf.reshape(answer["scale"], [12, 2]), expected.stddev(), 1e-5)
    squashed = actor(family, continuous_projection_net=tanh_normal_projection_network.TanhNormalProjectionNetwork)
    answer = teacher_of(squashed, family).parameters(None, seen)
    np.testing.assert_allclose(tf.reshape(answer["loc"], [12, 2]), squashed.distribution(steps).action.mode(), 1e-5)
    assert np.all(answer["scale"] > 0)


def test_a_teacher_without_doubts_is_given_some(tmp_path):
    family = CartPole()
    policy = greedy_policy.GreedyPolicy(actor(family))
    policy_saver.PolicySaver(policy).save(str(tmp_path / "greedy"))
    seen = observations(family)
    probabilities = tf.nn.softmax(load_teacher(tmp_path / "greedy", family).parameters(None, seen)["logits"])
    np.testing.assert_allclose(np.sort(probabilities, -1)[..., 0], DOUBT, 1e-4)
    chosen = policy.action(ts.restart(tf.reshape(seen, [12, 4]), 12)).action
    np.testing.assert_array_equal(tf.argmax(tf.reshape(probabilities, [12, 2]), -1), chosen)
    continuous = teacher_of(greedy_policy.GreedyPolicy(actor(Navigation())), Navigation())
    np.testing.assert_allclose(continuous.parameters(None, observations(Navigation()))["scale"], 0.1 * SPREAD, 1e-5)


def test_distributions_become_our_parameters():
    logits = tf.constant(np.random.default_rng(0).standard_normal((5, 2, 3)), tf.float32)
    pairs = tfp.distributions.Independent(tfp.distributions.Categorical(logits), 1)
    answer = parameters_of(pairs, MultiDiscrete((3, 3)))
    np.testing.assert_allclose(answer["logits"], tf.reshape(logits, [5, 6]))
    certain = parameters_of(tfp.distributions.Deterministic(tf.constant([5, 7])), Discrete(3, start=5))
    np.testing.assert_array_equal(tf.argmax(certain["logits"], -1), [0, 2])
    unbounded = parameters_of(tfp.distributions.Deterministic(tf.zeros([2, 1])), Box((1,)))
    np.testing.assert_allclose(unbounded["scale"], SPREAD)


def test_a_teacher_may_be_shown_what_is_hidden_from_the_student(tmp_path):
    informed, family = CartPoleGoal(reveal_target=True), CartPoleGoal()
    policy = actor(informed)
    policy_saver.PolicySaver(policy).save(str(tmp_path / "informed"))
    tasks, seen = family.sample(2), observations(family)
    answer = load_teacher(tmp_path / "informed", family).parameters(tasks, seen)["logits"]
    shown = tf.concat([seen, tf.broadcast_to(tasks.target[:, None, None], [2, 6, 1])], -1)
    expected = teacher_of(policy, informed).parameters(tasks, shown)["logits"]
    np.testing.assert_allclose(answer, expected, 1e-5, 1e-6)
    with pytest.raises(ValueError, match="ActorPolicy sees more than the student; save it with PolicySaver"):
        teacher_of(policy, family)


def test_teachers_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the actions of tf_agents_teacher are Bounded.*; those of navigation are"):
        load_teacher(TEACHER, Navigation())
    with pytest.raises(ValueError, match=r"tf_agents_teacher observes .*; the observations of cartpole_goal .* \[5\]"):
        load_teacher(TEACHER, CartPoleGoal(reveal_target=True))
    policy_saver.PolicySaver(actor(CartPole()), batch_size=1).save(str(tmp_path / "one"))
    with pytest.raises(ValueError, match="one does not take batches of any size; save it with batch_size=None"):
        load_teacher(tmp_path / "one", CartPole())
    remembering = actor(CartPole())
    remembering._policy_state_spec = tf.TensorSpec([3], tf.float32)
    with pytest.raises(ValueError, match="ActorPolicy remembers its steps"):
        teacher_of(remembering, CartPole())


def test_a_student_is_trained_from_a_directory_of_policy_saver(tmp_path, capsys):
    preset = dataclasses.replace(PRESETS["distilled_cartpole_tiny"], family_args={"horizon": 10}, evaluation_tasks=2)
    settings = {"teacher": str(TEACHER), "tasks": "4", "episodes": "2"}
    exported = train(preset, tmp_path, updates=30, overrides=settings)
    metadata = store.read_metadata(exported)
    assert metadata["teacher"] == {"name": "tf_agents_teacher", "parameters": 386}
    student = tf.saved_model.load(str(exported)).signatures["act"]
    seen = observations(CartPole(), 200)
    theirs = load_teacher(TEACHER, CartPole()).parameters(None, seen)["logits"]
    ours = student(observations=tf.reshape(seen, [400, 4]))["actions"]
    assert np.mean(np.argmax(tf.reshape(theirs, [400, 2]), -1) == ours) > 0.7


@needs("maml_cartpole")
def test_the_page_on_tf_agents_runs(tmp_path, monkeypatch, capsys):
    shutil.copytree(TEACHER, tmp_path / "runs" / "cartpole_teacher")
    monkeypatch.chdir(tmp_path)
    exec(compile(python_blocks("docs/tf-agents.md"), "tf-agents.md", "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out
    assert "cartpole_teacher has 386 weights" in printed
    before, after = (float(line.split()[-1]) for line in printed.splitlines() if line.startswith("average return"))
    assert after > before


@pytest.mark.slow
def test_an_agent_of_tf_agents_learns_cartpole_v1_and_teaches_it(tmp_path, monkeypatch, capsys):
    out = tmp_path / "ppo"
    arguments = ["--iterations", "60", "--units", "16", "--learning-rate", "1e-3", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["train_with_tf_agents.py", *arguments])
    runpy.run_path(str(ROOT / "examples" / "train_with_tf_agents.py"), run_name="__main__")
    printed = capsys.readouterr().out
    learned = float(printed.split("average return ")[1].split()[0])
    assert learned > 200, printed
    env, saved = gym.make("CartPole-v1"), tf.saved_model.load(str(out))
    total, (seen, _) = 0.0, env.reset(seed=1)
    for _ in range(500):
        logits = saved.distribution(ts.transition(tf.constant(seen[None]), tf.zeros(1))).action.logits_parameter()
        seen, reward, terminated, truncated, _ = env.step(int(tf.argmax(logits[0])))
        total += reward
        if terminated or truncated:
            break
    assert total > 100
    family = CartPole(horizon=500)
    assert mean_return(load_teacher(out, family), family, nominal(8), 4) > 200
