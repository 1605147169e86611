"""The Gymnasium views: valid environments, the tensor dynamics exactly, tasks as asked, refusals in one sentence."""

import importlib
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from metazoo import random
from metazoo.tasks import catalogue
from metazoo.tasks.families.cartpole import CartPole, CartPoleGoal, CartPoleTask
from metazoo.tasks.family import per_episode
from metazoo.tasks.registry import BUILT_IN
from metazoo.tasks.views import gym_render, gym_view
from metazoo.tasks.views.gym_view import FamilyEnv, FamilyVectorEnv, to_gym_space
from metazoo.types import Box, Discrete

if gym_render.MODES:
    importlib.import_module("pygame")  # now: it warns while it is imported, and below warnings are errors

pytestmark = pytest.mark.filterwarnings("error")
IDS = [line.gym_id for line in catalogue.IN_THE_GRAPH.values()]


def test_every_family_has_an_id_with_its_horizon():
    assert [(f.name, f().horizon) for f in BUILT_IN] == [
        (name, line.horizon) for name, line in catalogue.IN_THE_GRAPH.items()
    ]
    for name, line in catalogue.IN_THE_GRAPH.items():
        assert gym.spec(line.gym_id).max_episode_steps == line.horizon
        assert gym.spec(line.gym_id).kwargs == {"family": name}
    gym_view.register_envs()  # again: no warning


IN_UNITS = ("metazoo/Pendulum-v0", "metazoo/PendulumHidden-v0", "metazoo/Sinusoid-v0")


@pytest.mark.parametrize("gym_id", IDS)
def test_gymnasiums_checker_has_nothing_to_say(gym_id):
    with warnings.catch_warnings():
        if gym_id in (*IN_UNITS, *(one for one in IDS if one.endswith("Dynamics-v0"))):  # in N·m; predictions
            warnings.filterwarnings("ignore", ".*we recommend using a symmetric and normalized space.*")
        if gym_id == "metazoo/HalfCheetahDynamics-v0":  # as Gymnasium's own half-cheetah
            warnings.filterwarnings("ignore", ".*A Box observation space m...mum value is -?infinity.*")
        check_env(gym.make(gym_id).unwrapped)


def test_registering_does_not_load_tensorflow():
    code = "import sys, metazoo.tasks.views.gym_view, gymnasium; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("gym_id", IDS)
def test_an_episode_equals_the_tensor_dynamics(gym_id):
    env = gym.make(gym_id, split="test", seed=3)
    family = env.unwrapped.family
    task = per_episode(family.sample(1, "test", 3))
    observation, info = env.reset(seed=11)
    env.action_space.seed(0)

    row = random.key(np.random.default_rng(11).integers(2**32, size=(1, 1), dtype=np.uint32))
    state = family.reset(task, random.fold(row, 0))
    np.testing.assert_array_equal(observation, family.observe(task, state)[0, 0])
    for t in range(family.horizon):
        action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        noise = random.fold(random.fold(row, t + 1), 1)
        after = family.step(task, state, tf.cast(np.asarray(action), _dtype(family))[None, None], noise)
        np.testing.assert_allclose(observation, family.observe(task, after.state)[0, 0], rtol=1e-5, atol=1e-5)
        assert reward == pytest.approx(float(after.rewards[0, 0]), rel=1e-5, abs=1e-5)
        assert terminated == bool(after.terminated[0, 0])
        assert truncated == (t == family.horizon - 1)
        assert info["task"].keys() == set(family.Task._fields)
        if terminated or truncated:
            return
        # go on from the view's own state: rounding grows along chaotic episodes
        fields = [tf.constant(field[:, None]) for field in env.unwrapped._batch.state]
        state = tf.nest.pack_sequence_as(state, fields)
    raise AssertionError("the episode did not end")


def _dtype(family):
    return tf.int32 if isinstance(family.action_space, Discrete) else tf.float32


def test_nominal_cartpole_is_gymnasiums_cartpole():
    ours, theirs = gym.make("metazoo/CartPole-v0").unwrapped, gym.make("CartPole-v1").unwrapped
    assert ours.task == pytest.approx(CartPole.nominal)
    assert ours.action_space == theirs.action_space and ours.observation_space.shape == theirs.observation_space.shape
    start, _ = ours.reset(seed=1)
    theirs.reset(seed=1)
    theirs.state = start.astype(np.float64)
    for t in range(8):
        mine, other = ours.step(t % 2), theirs.step(t % 2)
        np.testing.assert_allclose(mine[0], other[0], atol=1e-5)
        assert mine[1:4] == other[1:4]


def test_given_parameters_and_the_rest():
    task = {"pole_mass": 0.2, "force": -9.0}
    nominal = gym.make("metazoo/CartPole-v0", task=task).unwrapped.task
    assert nominal == pytest.approx({**CartPole.nominal, **task})
    sampled = FamilyEnv(CartPole(), task, split="ood", seed=5).task
    expected = {name: float(field[0]) for name, field in CartPole().sample(1, "ood", 5)._asdict().items()}
    assert sampled == pytest.approx({**expected, **task})
    goal = FamilyEnv("cartpole_goal").task
    assert goal["half_length"] == 0.5
    assert goal["target"] == float(CartPoleGoal().sample(1, "train", 0).target[0])
    assert goal["target"] != FamilyEnv("cartpole_goal", seed=1).task["target"]


@pytest.mark.parametrize("fields", [lambda f: f[2], lambda f: f[2:3]])
def test_a_task_of_the_familys_own_type(fields):
    tasks = CartPole().sample(4, "test")
    one = CartPoleTask(*(fields(field) for field in tasks))
    env = FamilyEnv("cartpole", one)
    assert env.task == {name: float(field[2]) for name, field in tasks._asdict().items()}


def test_info_tells_the_task_and_hands_out_copies():
    env = gym.make("metazoo/Navigation-v0", task={"goal": [0.3, -0.2]})
    _, info = env.reset(seed=0)
    info["task"]["goal"][:] = 9
    *_, info = env.step(np.array([0.1, 0.0], np.float32))
    np.testing.assert_allclose(info["task"]["goal"], [0.3, -0.2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"task": {"mass": 1.0}},
            "cartpole has no task parameter 'mass'; choose pole_mass, half_length, force, gravity or",
        ),
        ({"task": {"force": float("nan")}}, "task parameter force is nan; it must be a number, finite."),
        ({"task": {"force": "strong"}}, "task parameter force is 'strong'; it must be a number"),
        ({"task": {"force": [1.0, 2.0]}}, r"task parameter force is \[1.0, 2.0\]; it must be a number"),
        ({"task": 3}, "task is 3; it must be a mapping of parameters or a CartPoleTask."),
        ({"split": "exam"}, "split is 'exam'; choose train, validation, test or ood."),
        ({"family": "cart"}, "family is 'cart'; "),
        ({"render_mode": "ansi"}, "render_mode is 'ansi', which cartpole has not; "),
        (
            {"family": "navigation", "task": {"goal": 1.0}},
            r"goal is 1.0; it must be an array of shape \[2\], finite.",
        ),
        (
            {"family": "navigation", "render_mode": "rgb_array"},
            "render_mode is 'rgb_array', which navigation has not; there are none.",
        ),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        FamilyEnv(**{"family": "cartpole", **arguments})


@pytest.mark.parametrize(
    ("family", "action"),
    [("cartpole", 2), ("cartpole", 0.5), ("cartpole", [1, 1]), ("navigation", 0.1), ("navigation", [np.nan, 0])],
)
def test_unusable_actions(family, action):
    env = FamilyEnv(family)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action is .*; it must be"):
        env.step(action)


def test_reset_comes_first():
    for env in (FamilyEnv("cartpole"), FamilyVectorEnv("cartpole", num_envs=2)):
        with pytest.raises(ValueError, match="call reset before the first step"):
            env.step(env.action_space.sample())


def test_continuous_actions_are_clipped():
    env = FamilyEnv("navigation")
    env.reset(seed=0)
    np.testing.assert_allclose(env.step(np.array([5.0, -5.0]))[0], [0.1, -0.1])


def test_an_environment_made_directly_can_have_its_own_time_limit():
    env = FamilyEnv(CartPole(), max_episode_steps=3)
    for _ in range(2):
        env.reset(seed=4)
        ends = [env.step(t % 2)[2:4] for t in range(3)]
        assert ends == [(False, False), (False, False), (False, True)]


def test_seeds_repeat_start_states_and_resets_without_seed_differ():
    env = FamilyEnv("cartpole")
    first, second = env.reset(seed=5)[0], env.reset()[0]
    np.testing.assert_array_equal(env.reset(seed=5)[0], first)
    np.testing.assert_array_equal(env.reset()[0], second)
    assert not np.array_equal(first, second)


def test_vectorised_rows_equal_single_environments_until_they_restart():
    count = 6
    tasks = CartPole().sample(count, "test", 2)
    vector = gym.make_vec("metazoo/CartPole-v0", num_envs=count, split="test", seed=2, max_episode_steps=25)
    assert isinstance(vector, FamilyVectorEnv) and vector.observation_space.shape == (count, 4)
    observations, info = vector.reset(seed=9)
    np.testing.assert_array_equal(info["task"]["force"], tasks.force)
    state = [field[:, None] for field in observations.T]
    steps, previous = np.zeros(count, int), np.zeros(count, bool)
    restarts, rng = 0, np.random.default_rng(0)
    for _ in range(60):
        actions = rng.integers(2, size=count)
        observations, rewards, terminated, truncated, _ = vector.step(actions)
        after = CartPole().step(
            per_episode(tasks), type_of_state(state), actions[:, None], tf.zeros((count, 1), tf.uint32)
        )
        expected = np.stack([field[:, 0] for field in after.state], 1)
        steps = np.where(previous, 0, steps + 1)
        np.testing.assert_allclose(observations[~previous], expected[~previous], atol=1e-5)
        assert np.all(np.abs(observations[previous]) <= 0.05) and not np.any((terminated | truncated)[previous])
        np.testing.assert_array_equal(rewards, np.where(previous, 0.0, 1.0))
        np.testing.assert_array_equal(truncated, (steps >= 25) & ~terminated)
        restarts += previous.sum()
        previous = terminated | truncated
        state = [field[:, None] for field in observations.T]
    assert restarts > count and truncated.shape == (count,)


def type_of_state(columns):
    from metazoo.tasks.families.cartpole import CartPoleState

    return CartPoleState(*(tf.constant(column) for column in columns))


def test_vectorised_restarts_are_new_episodes():
    vector = FamilyVectorEnv("cartpole", num_envs=3, max_episode_steps=1)
    seen = [vector.reset(seed=0)[0]]
    for _ in range(3):
        vector.step(np.zeros(3, int))
        seen.append(vector.step(np.zeros(3, int))[0])
    starts = np.concatenate(seen)
    assert len(np.unique(starts[:, 0])) == 12


def test_vectorised_tasks():
    both = gym.make_vec("metazoo/CartPole-v0", num_envs=3, task={"force": [-8.0, 8.0, 9.0], "gravity": 9.0})
    np.testing.assert_allclose(both.unwrapped.task["force"], [-8, 8, 9])
    np.testing.assert_allclose(both.unwrapped.task["gravity"], 9)
    np.testing.assert_allclose(both.unwrapped.task["cart_mass"], 1)
    with pytest.raises(ValueError, match="it must be a number, or 3 of them, finite"):
        FamilyVectorEnv("cartpole", {"force": [1.0, 2.0]}, num_envs=3)
    with pytest.raises(ValueError, match=r"action is .*; it must be in MultiDiscrete"):
        both.reset(seed=0)
        both.step(np.array([0, 1, 2]))


def test_gymnasiums_own_vectorisation_works_too():
    sync = gym.make_vec("metazoo/Navigation-v0", num_envs=2, vectorization_mode="sync", split="test")
    observations, info = sync.reset(seed=3)
    assert observations.shape == (2, 2) and info["task"]["goal"].shape == (2, 2)
    sync.step(sync.action_space.sample())
    sync.close()


def test_spaces():
    assert to_gym_space(Discrete(3, start=1)) == spaces.Discrete(3, start=1)
    assert to_gym_space(Box((2, 3), -1.0, 2.0)) == spaces.Box(-1, 2, (2, 3), np.float32)
    uneven = to_gym_space(Box((2,), (-1.0, -2.0), 5.0))
    np.testing.assert_array_equal(uneven.low, [-1, -2])
    assert to_gym_space(Box((4, 4, 3), 0, 255, "uint8")).dtype == np.uint8


@pytest.mark.parametrize("name", ["pendulum", "acrobot", "mountain_car_continuous"])
def test_rendering_of_the_other_physics_families(name):
    pytest.importorskip("pygame")
    env = FamilyEnv(name, split="test", render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    for _ in range(8):
        env.step(env.action_space.sample() if name == "acrobot" else np.ones(1))
    assert first.shape[2] == 3 and first.dtype == np.uint8
    assert np.any(env.render() != first)
    env.close()


def test_rendering_draws_the_task():
    pytest.importorskip("pygame")
    images = {}
    for length in (0.4, 0.9):
        env = gym.make("metazoo/CartPoleGoal-v0", task={"half_length": length, "target": 1.0}, render_mode="rgb_array")
        env.reset(seed=0)
        images[length] = env.render()
        env.close()
        env.close()
    assert images[0.4].shape == (400, 600, 3) and images[0.4].dtype == np.uint8
    assert np.all(images[0.4][:, 300 + 125] == (220, 40, 40))  # 1 m of 4.8 m on 600 pixels
    pole = {length: np.all(image == (202, 152, 101), axis=-1).sum() for length, image in images.items()}
    assert pole[0.9] > 1.8 * pole[0.4]
