"""The bridge to TF-Agents: their drivers, metrics and policies, our tasks, policies and students."""

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

import metazoo
from metazoo.evaluation import play_split
from metazoo.pretrained import family_of
from metazoo.rollouts.agent import random_agent
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.registry import IN_GRAPH
from metazoo.tasks.views.gym_view import FamilyVectorEnv
from tests.exports import export_small
from tests.test_examples import needs

if find_spec("tf_agents"):  # elsewhere the tests that need it are skipped
    from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
    from tf_agents.drivers.py_driver import PyDriver
    from tf_agents.environments.utils import validate_py_environment
    from tf_agents.metrics.tf_metrics import AverageReturnMetric, NumberOfEpisodes
    from tf_agents.policies import policy_saver, py_tf_eager_policy, random_tf_policy
    from tf_agents.trajectories import time_step as ts

    from metazoo.tf_agents.environments import FamilyEnvironment, GymnasiumEnvironment, evaluation_keys
    from metazoo.tf_agents.policies import ZooPolicy

ROOT = Path(__file__).resolve().parents[2]
HORIZON = 6


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Small policies of every kind of memory and distribution, loaded; each is exported when it is first asked for."""
    made = {}

    def load(algorithm, kind):
        if (algorithm, kind) not in made:
            _, directory = export_small(tmp_path_factory.mktemp(algorithm), algorithm, kind)
            made[algorithm, kind] = metazoo.load(directory)
        return made[algorithm, kind]

    return load


def play(environment, policy, episodes):
    """The average return that TF-Agents measures, and the policy's state in the end."""
    metric, number = AverageReturnMetric(batch_size=environment.batch_size, buffer_size=episodes), NumberOfEpisodes()
    driver = DynamicEpisodeDriver(environment, policy, [metric, number], num_episodes=episodes)
    _, state = tf.function(driver.run)()
    assert int(number.result()) == episodes
    return float(metric.result()), state


# --- without TF-Agents -------------------------------------------------------------------------------------------

WITHOUT = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "tf_agents" else found(name, *rest)
sys.argv = ["metazoo", *sys.argv[1:]]
"""


SENTENCE = (
    "TF-Agents is not installed: pip install 'metazoo[tf-agents]' does it on Python 3.11, the newest Python that"
    " TF-Agents 0.19 runs on."
)


def without(code, *words):
    """Python, run where TF-Agents is not found."""
    return subprocess.run([sys.executable, "-c", WITHOUT + code, *words], cwd=ROOT, capture_output=True, text=True)


def test_without_tf_agents_importing_the_bridge_says_what_to_do():
    done = without("import metazoo.tf_agents")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"metazoo.tf_agents.NotInstalledError: {SENTENCE}"


@pytest.mark.slow
def test_without_tf_agents_one_sentence_says_what_to_do(tmp_path):
    (tmp_path / "policy_specs.pbtxt").write_text("")
    command = ["train", "distilled_cartpole_tiny", "--set", f"teacher={tmp_path}", "--out", str(tmp_path / "runs")]
    done = without("from metazoo.cli.main import main; main()", *command)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == f"metazoo: {SENTENCE}"


# --- environments ------------------------------------------------------------------------------------------------


@pytest.mark.tf_agents
@pytest.mark.parametrize(
    "make",
    [
        lambda: gym.make("metazoo/CartPole-v0"),
        lambda: gym.make("FrozenLake-v1"),
        lambda: gym.make_vec("CartPole-v1", 3, vectorization_mode="sync"),
        lambda: FamilyVectorEnv(Navigation(HORIZON), split="test", num_envs=3, max_episode_steps=HORIZON),
    ],
    ids=["family", "discrete observations", "vector", "family of tasks"],
)
def test_gymnasium_environments_are_valid(make):
    environment = GymnasiumEnvironment(make(), seed=0)
    validate_py_environment(environment, episodes=4)
    environment.close()


@pytest.mark.tf_agents
def test_the_ends_of_episodes_on_the_host():
    single = GymnasiumEnvironment(gym.make("CartPole-v1", max_episode_steps=12), seed=0)
    vector = GymnasiumEnvironment(gym.make_vec("CartPole-v1", 2, vectorization_mode="sync", max_episode_steps=12), 0)

    def discounts(environment, choose, shape):
        """Of the time steps of the first episode of row 0, its last reward, and the time step that follows it."""
        seen, step = [], environment.reset()
        while not np.ravel(step.is_last())[0]:
            step = environment.step(np.full(shape, choose(len(seen)), np.int32))
            seen.append(float(np.ravel(step.discount)[0]))
        return seen, float(np.ravel(step.reward)[0]), environment.step(np.zeros(shape, np.int32))

    for environment, shape in ((single, ()), (vector, (2,))):
        fallen, reward, after = discounts(environment, lambda t: 1, shape)
        assert fallen[-1] == 0.0 and set(fallen[:-1]) == {1.0} and reward == 1.0
        assert [np.ravel(field)[0] for field in after[:3]] == [ts.StepType.FIRST, 0.0, 1.0]
        cut, _, _ = discounts(environment, lambda t: t % 2, shape)
        assert cut == [1.0] * 12


class Rude(gym.Wrapper):
    """One array again and again, numbers as lists of one, and actions changed in place; or the ``reward`` given."""

    def __init__(self, env, reward=None):
        super().__init__(env)
        self.seen, self.reward = np.zeros(2, np.float32), reward

    def reset(self, **options):
        self.seen[:], info = self.env.reset(**options)
        return self.seen, info

    def step(self, action):
        self.seen[:], reward, terminated, truncated, info = self.env.step(action)
        if isinstance(action, np.ndarray):
            action[...] = 0
        return self.seen, [reward] if self.reward is None else self.reward, [terminated], np.array([truncated]), info


@pytest.mark.tf_agents
def test_what_an_environment_changes_later_stays_out_of_time_steps():
    def played(env):
        environment = GymnasiumEnvironment(env, seed=0)
        action = np.ones(environment.action_spec().shape, environment.action_spec().dtype)
        steps = [environment.reset(), *(environment.step(action) for _ in range(9))]
        assert np.all(action == 1)
        return steps

    def make():
        return gym.make("MountainCarContinuous-v0", max_episode_steps=5)

    for right, found in zip(played(make()), played(Rude(make())), strict=True):
        for one, other in zip(right, found, strict=True):
            np.testing.assert_array_equal(one, other)
    for reward, why in ((np.zeros(2), "must be a number"), (np.nan, "must be finite")):
        with pytest.raises(ValueError, match=f"MountainCarContinuous-v0 gave the reward .* in a step: it {why}"):
            played(Rude(make(), reward))
    for thing in ("CartPole-v1", None, gym.Env):
        with pytest.raises(ValueError, match="is not an environment: a gymnasium.Env is needed"):
            GymnasiumEnvironment(thing)


@pytest.mark.tf_agents
def test_an_action_stays_as_the_policy_chose_it_for_vectors_too():
    class Many(gym.Env):
        observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
        action_space = gym.spaces.MultiDiscrete([3, 3], dtype=np.int32)

        def reset(self, *, seed=None, options=None):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            action[...] = 0
            return np.zeros(1, np.float32), 0.0, False, False, {}

    for env, shape in ((Many(), (2,)), (gym.vector.SyncVectorEnv([Many, Many]), (2, 2))):
        environment, action = GymnasiumEnvironment(env), np.ones(shape, np.int32)
        environment.reset()
        environment.step(action)
        assert np.all(action == 1)


@pytest.mark.tf_agents
def test_unusable_environments_are_refused():
    restarting = gym.make_vec(
        "CartPole-v1",
        2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP},
    )
    with pytest.raises(ValueError, match=r"autoreset mode of .* is .*SAME_STEP; TF-Agents needs .*NEXT_STEP"):
        GymnasiumEnvironment(restarting)
    with pytest.raises(ValueError, match=r"observations of .* are Discrete\(16\); wrap it in .*FlattenObservation"):
        GymnasiumEnvironment(gym.make_vec("FrozenLake-v1", 2, vectorization_mode="sync"))
    family = CartPole()
    with pytest.raises(ValueError, match="episodes is 0; it must be at least 1"):
        FamilyEnvironment(family, family.sample(2), episodes=0)
    with pytest.raises(ValueError, match=r"keys have shape \[3\]; 2 tasks need \[2\]"):
        FamilyEnvironment(family, family.sample(2), keys=evaluation_keys(3))
    with pytest.raises(ValueError, match="CartPole-v1 does not run in the graph; make a GymnasiumEnvironment"):
        FamilyEnvironment("CartPole-v1", family.sample(2))


@pytest.mark.tf_agents
@pytest.mark.parametrize("name", ["cartpole", "navigation", "bandit", "gridworld"])
def test_a_row_plays_the_episodes_of_rollouts(name):
    family, tasks, episodes = IN_GRAPH[name](horizon=40), IN_GRAPH[name]().sample(3, "test"), 2
    keys = evaluation_keys(3, seed=5)
    explore = tf.function(
        lambda: rollout(family, tasks, random_agent(family).step, tf.zeros([3, 1, 0]), keys, episodes)
    )
    played = tf.nest.map_structure(np.asarray, explore())
    environment = FamilyEnvironment(family, tasks, keys=keys)
    step, now, at = tf.function(environment.step), environment.reset(), [(0, 0)] * 3
    while min(at) < (episodes, 0):
        # each row is at its own step t of its own episode e; those that are done play on, unobserved
        here = [(min(t, 39), m, min(e, 1)) for m, (e, t) in enumerate(at)]
        for m, (e, t) in enumerate(at):
            if e < episodes:
                check_time_step(tf.nest.map_structure(lambda field, m=m: field[m].numpy(), now), played, t, m, e)
        last = now.is_last().numpy()
        now = step(tf.stack([played.actions[index] for index in here]))
        at = [(e + 1, 0) if over else (e, t + 1) for over, (e, t) in zip(last, at, strict=True)]


def check_time_step(step, played, t, m, e):
    """Compares what a row shows after ``t`` steps of episode ``e`` with what a rollout recorded."""
    length = int(played.mask[:, m, e].sum())
    seen = played.final_observations[m, e] if t == length else played.observations[t, m, e]
    np.testing.assert_allclose(step.observation, seen, 1e-4, 1e-5)
    assert step.step_type == (ts.StepType.FIRST if t == 0 else ts.StepType.LAST if t == length else ts.StepType.MID)
    assert step.reward == pytest.approx(played.rewards[t - 1, m, e] if t else 0.0, abs=1e-5)
    assert step.discount == (0.0 if t and played.terminated[t - 1, m, e] else 1.0)


@pytest.mark.slow
@pytest.mark.tf_agents
def test_rows_rest_when_they_have_played_their_episodes_until_they_are_reset():
    family = CartPole(horizon=40)
    environment = FamilyEnvironment(family, family.sample(4), episodes=2)
    policy = random_tf_policy.RandomTFPolicy(environment.time_step_spec(), environment.action_spec())
    first, _ = play(environment, policy, 8)
    assert 8 <= first <= 40
    assert not np.any(environment.current_time_step().is_last())
    step = tf.function(environment.step)
    for _ in range(45):
        now = step(tf.ones(4, tf.int32))
    assert np.all(now.step_type == ts.StepType.MID) and np.all(now.reward == 0.0)
    assert np.all(environment.reset().is_first())
    assert np.all(step(tf.ones(4, tf.int32)).reward == 1.0)


# --- policies ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs():
    """``examples/evaluate_with_tf_agents.py``, whose ``evaluate`` measures with TF-Agents."""
    return runpy.run_path(str(ROOT / "examples" / "evaluate_with_tf_agents.py"))["evaluate"]


@pytest.mark.tf_agents
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) for name in ("evaluate_with_tf_agents", "train_with_tf_agents")]
)
def test_the_examples_start_in_a_fresh_process(name):
    """TF-Agents finds no Keras 2 unless metazoo was imported before it."""
    environment = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "usage:" in done.stdout


def ours(name, tasks, episodes, steps, seed, deterministic):
    """What ``metazoo evaluate`` plays: the mean at each point of its curve, or of a whole trial."""
    policy = metazoo.load(name)
    family, agent = family_of(policy.metadata), policy.agent()
    curve, _ = play_split(agent, family, "test", tasks, episodes, steps, seed, deterministic)
    return [curve.mean()] if agent.online else curve.mean((1, 2)).tolist()


@pytest.mark.tf_agents
@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        pytest.param("dr_cartpole", (10, 3, 0, 0, True), marks=[needs("dr_cartpole"), pytest.mark.slow]),
        pytest.param("maml_cartpole", (10, 3, 1, 1, True), marks=[needs("maml_cartpole"), pytest.mark.slow]),
        pytest.param("rl2_navigation", (10, 3, 0, 2, False), marks=needs("rl2_navigation")),
    ],
    ids=["feed-forward", "adapted", "recurrent"],
)
def test_the_average_return_of_tf_agents_is_ours(theirs, name, protocol):
    tasks, episodes, steps, seed, deterministic = protocol
    measured = theirs(name, "test", tasks, episodes, steps, seed, deterministic)
    rounding = 2e-3 if "cartpole" in name else 1e-4  # a falling pole amplifies that of XLA
    assert measured == pytest.approx(ours(name, *protocol), rel=rounding)
    assert len(measured) == steps + 1


@pytest.mark.slow
@pytest.mark.tf_agents
def test_samples_are_those_of_our_evaluation_too(theirs, exported):
    policy = exported("rl2", "categorical").directory
    assert theirs(policy, "test", 5, 3, 0, 2, False) == pytest.approx(ours(policy, 5, 3, 0, 2, False), rel=1e-4)


@pytest.mark.tf_agents
@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_the_state_is_the_memory_after_the_closing_step(exported, kind):
    policy = exported("rl2", kind)
    family, keys, step = family_of(policy.metadata), evaluation_keys(1, online=True), policy.agent().step
    tasks, memory = family.sample(1), tf.constant(policy.memory)[None, None]
    _, memory = tf.function(lambda: trial(family, tasks, step, memory, keys, 3), autograph=False)()
    _, state = play(FamilyEnvironment(family, tasks, keys=keys), ZooPolicy(policy, keys=keys), 3)
    np.testing.assert_allclose(state.memory, memory[:, 0], 1e-4, 1e-5)


@pytest.mark.tf_agents
def test_a_policy_that_forgets_begins_each_episode_anew(exported):
    policy = exported("rl2", "categorical")
    family, keys = family_of(policy.metadata), evaluation_keys(1)

    def memory_after(episodes, skipped, forget):
        environment = FamilyEnvironment(family, family.sample(1), keys=keys)
        for _ in range(skipped):
            environment.reset()  # every reset begins the row's next episode
        return play(environment, ZooPolicy(policy, deterministic=True, forget=forget), episodes)[1].memory.numpy()

    last_alone = memory_after(1, 2, False)
    np.testing.assert_allclose(memory_after(3, 0, True), last_alone, 1e-5, 1e-6)
    assert np.abs(memory_after(3, 0, False) - last_alone).max() > 1e-3


@pytest.mark.tf_agents
@pytest.mark.parametrize(("algorithm", "kind"), [("maml", "categorical"), ("maml", "gaussian"), ("rl2", "categorical")])
def test_the_distribution_is_that_of_the_signature(exported, algorithm, kind):
    policy = exported(algorithm, kind)
    zoo = ZooPolicy(policy, deterministic=True)
    rows, shape = 5, family_of(policy.metadata).observation_space.shape
    seen = tf.constant(np.random.default_rng(0).standard_normal((rows, *shape)), tf.float32)
    state = zoo.get_initial_state(rows)
    answer = zoo.distribution(ts.restart(seen, rows), state)
    played = zoo.action(ts.restart(seen, rows), state)
    told = {"previous_actions": np.zeros_like(played.action), "previous_rewards": np.zeros(rows)}
    memory = np.tile(policy.memory, (rows, 1))
    expected = policy.step(observations=seen, previous_done=np.zeros(rows), memory=memory, seed=np.zeros(rows),
                           deterministic=np.ones(rows), **told)  # fmt: skip
    np.testing.assert_allclose(answer.action.log_prob(expected["actions"]), expected["log_probs"], 1e-4, 1e-5)
    np.testing.assert_allclose(played.state.memory, expected["memory"], 1e-5, 1e-6)
    np.testing.assert_array_equal(played.state.previous_actions, expected["actions"])
    inside = np.clip(expected["actions"], zoo.action_spec.minimum, zoo.action_spec.maximum)
    np.testing.assert_allclose(played.action, inside)


@pytest.mark.tf_agents
def test_samples_differ_between_rows_steps_and_runs(exported):
    zoo, rows = ZooPolicy(exported("maml", "gaussian"), seed=3), 4
    again = ZooPolicy(exported("maml", "gaussian"), seed=3)
    seen = ts.restart(tf.zeros([rows, 2]), rows)
    first = zoo._action(seen, zoo.get_initial_state(rows), None)
    later = ts.transition(tf.zeros([rows, 2]), tf.zeros(rows))
    second = zoo._action(later, first.state, None)
    other = zoo._action(seen, zoo.get_initial_state(rows), None)
    draws = np.concatenate([first.action, second.action, other.action])
    assert len(np.unique(draws.round(5), axis=0)) == 3 * rows
    np.testing.assert_array_equal(again._action(seen, again.get_initial_state(rows), None).action, first.action)


@pytest.mark.tf_agents
def test_a_python_driver_plays_a_gymnasium_environment(exported):
    zoo = ZooPolicy(exported("rl2", "categorical"))
    environment = GymnasiumEnvironment(gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"), seed=0)
    policy = py_tf_eager_policy.PyTFEagerPolicy(zoo, use_tf_function=True, batch_time_steps=False)
    seen = []
    state = policy.get_initial_state(2)
    PyDriver(environment, policy, [seen.append], max_steps=60).run(environment.reset(), state)
    assert sum(trajectory.is_last().sum() for trajectory in seen) >= 1
    assert {int(action) for trajectory in seen for action in trajectory.action} == {0, 1}


@pytest.mark.tf_agents
def test_a_policy_of_the_zoo_can_be_saved_by_tf_agents(exported, tmp_path):
    policy = exported("rl2", "gaussian")
    zoo = ZooPolicy(policy, deterministic=True)
    policy_saver.PolicySaver(zoo).save(str(tmp_path / "saved"))
    loaded, seen = tf.saved_model.load(str(tmp_path / "saved")), ts.restart(tf.fill([3, 2], 0.3), 3)
    answer = loaded.action(seen, loaded.get_initial_state(3))
    expected = zoo.action(seen, zoo.get_initial_state(3))
    np.testing.assert_allclose(answer.action, expected.action, 1e-6)
    np.testing.assert_allclose(answer.state.memory, expected.state.memory, 1e-6)


@pytest.mark.tf_agents
def test_a_memory_of_another_size_is_refused(exported):
    policy = exported("maml", "categorical")
    with pytest.raises(ValueError, match=rf"the memory has shape \[3\]; small needs \[{policy.memory.size}\] or \[B"):
        ZooPolicy(policy, memory=np.zeros(3))
