"""What ``metazoo.load`` returns, on small exports: loading, acting, adapting to plain Gymnasium, publishing."""

import concurrent.futures
import copy
import multiprocessing
import pickle
import shutil

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

import metazoo
from metazoo.artefact import store
from metazoo.artefact.spaces import space_from_metadata
from metazoo.collect import CollectionError, collect
from metazoo.hub import transfer as hub
from metazoo.pretrained import Pretrained, family_of
from metazoo.types import Episodes
from tests.exports import HORIZON, Session, batch_first, example_inputs, export_small


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A models directory with one policy, ``small``, for CartPole."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def learner(models):
    return export_small(models, "maml", "categorical")[0]


@pytest.fixture(scope="module")
def policy(models, learner):
    return metazoo.load(models / "small")


@pytest.fixture(scope="module")
def mover(tmp_path_factory):
    """A policy with continuous actions."""
    return metazoo.load(export_small(tmp_path_factory.mktemp("mover"), "maml", "gaussian")[1])


@pytest.fixture
def env():
    """Plain Gymnasium CartPole with another pole and a reversed motor."""
    env = gym.make("CartPole-v1")
    cart = env.unwrapped
    cart.length, cart.masspole, cart.force_mag = 0.8, 0.2, -9.0
    cart.total_mass, cart.polemass_length = cart.masspole + cart.masscart, cart.masspole * cart.length
    return env


def inner_step_by_hand(learner, memory, episodes):
    """The learner's own inner step on batch-first episodes of one row."""
    timed = {
        name: tf.constant(value if name == "final_observations" else np.moveaxis(value, 2, 0))
        for name, value in episodes._asdict().items()
    }
    after, _ = learner.adapt(learner.current_weights(), tf.constant(memory)[None, None], Episodes(**timed))
    return after[0, 0].numpy()


def recorded(policy, env, seed=0, episodes=2):
    options = {"memory": policy.memory, "horizon": policy.metadata["horizon"]}
    return collect(env, policy.step, episodes=episodes, seed=seed, **options)


def test_loading_by_name_by_directory_and_by_version(models, policy, learner, monkeypatch):
    monkeypatch.setattr(hub, "savedmodels_directory", lambda: models)
    for one in (metazoo.load("small"), metazoo.load(models / "small" / "1"), metazoo.load("small", version=1)):
        assert (one.name, one.version, one.directory) == ("small", 1, models / "small" / "1")
        assert np.array_equal(one.memory, learner.initial_memory(learner.current_weights()))
    with pytest.raises(ValueError, match=r"small has no version 7; it has \[1\]"):
        metazoo.load("small", version=7)
    with pytest.raises(ValueError, match=r"no policy 'smal'; did you mean small\?"):
        metazoo.load("smal")


def test_the_newest_version_is_loaded(models, policy, tmp_path):
    base = tmp_path / "small"
    shutil.copytree(models / "small", base)
    store.publish(base / "1", base, policy.memory + 1.0, {})
    assert metazoo.load(base).version == 2
    assert np.array_equal(metazoo.load(base).memory, policy.memory + 1.0)
    assert np.array_equal(metazoo.load(base, version=1).memory, policy.memory)


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.data-00000-of-00001", "assets.extra/metazoo.json"]
)
@pytest.mark.parametrize("harm", [damage, lambda path: path.unlink()], ids=["damaged", "missing"])
def test_a_corrupted_file_is_one_sentence(models, policy, tmp_path, name, harm):
    shutil.copytree(models / "small" / "1", tmp_path / "1")
    harm(tmp_path / "1" / name)
    with pytest.raises((store.CorruptedError, ValueError)) as caught:
        metazoo.load(tmp_path / "1")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    if not (name.endswith("json") and not (tmp_path / "1" / name).exists()):  # without metadata it is no policy at all
        assert isinstance(caught.value, store.CorruptedError)


def test_someone_elses_saved_model_is_refused(models, policy, tmp_path):
    shutil.copytree(models / "small", tmp_path / "foreign")
    shutil.rmtree(tmp_path / "foreign" / "1" / "assets.extra")
    with pytest.raises(ValueError, match=r"not a metazoo policy: it has no assets.extra/metazoo.json"):
        metazoo.load(tmp_path / "foreign")


def test_act_is_the_served_act_for_one_observation_and_for_a_batch(models, policy, learner):
    observations = example_inputs(learner, "act", rows=30)["observations"]
    served = Session(models / "small" / "1").run("act", {"observations": observations})
    actions = policy.act(observations)
    assert np.array_equal(actions, served["actions"]) and set(actions) == {0, 1} and actions.dtype == np.int32
    for row in range(3):
        one = policy.act(observations[row].tolist())
        assert one.shape == () and one == actions[row]


def test_sampled_actions_follow_the_seed(mover):
    observations = np.zeros((3, 2), np.float32)
    mode, sampled = mover.act(observations), mover.act(observations, deterministic=False, seed=5)
    assert np.array_equal(sampled, mover.act(observations, deterministic=False, seed=5))
    assert np.array_equal(sampled[1], mover.act(observations[0], deterministic=False, seed=6))
    assert np.all(mode == mode[0]) and len({*sampled[:, 0], mode[0, 0]}) == 4


@pytest.mark.parametrize("shape", [(3,), (8,), (2, 2), (1, 2, 4), ()])
def test_observations_of_another_shape_are_refused(policy, shape):
    with pytest.raises(ValueError, match=r"need \[4\] or \[B, ...\]"):
        policy.act(np.zeros(shape))


def test_a_policy_that_remembers_its_steps_has_no_act(policy):
    memory = {**policy.metadata["memory"], "kind": "recurrent", "online": True}
    recurrent = Pretrained(policy.directory, {**policy.metadata, "memory": memory}, policy._model)
    with pytest.raises(ValueError, match="use step"):
        recurrent.act(np.zeros(4))


def test_adapting_to_an_environment_is_the_rounds_by_hand(policy, learner, env):
    adapted = policy.adapt(env, episodes=2, steps=2, seed=3)
    memory = policy.memory
    for made in range(2):
        options = {"episodes": 2, "seed": 3 + made, "horizon": HORIZON}
        memory = inner_step_by_hand(learner, memory, collect(env, policy.step, memory=memory, **options).episodes)
    np.testing.assert_allclose(adapted.memory, memory, rtol=1e-4, atol=1e-4)
    assert np.abs(adapted.memory - policy.memory)[:-1].max() > 1e-2 and adapted.memory[-1] == 2.0
    one_step = policy.adapt(env, episodes=2, steps=1, seed=3).memory
    assert np.abs(one_step - adapted.memory)[:-1].max() > 1e-3
    made = adapted.metadata["adapted"]
    assert (made["from"], made["from_version"], made["episodes"], made["steps"]) == ("small", 1, 4, 2)
    assert made["last_episodes"] == 2
    assert made["diagnostics"]["kl"] > 0.0


def test_it_adapts_as_it_was_trained_by_default(policy, env):
    trained = policy.metadata["adapt"]
    made = policy.adapt(env).metadata["adapted"]
    assert trained == {"episodes": 3, "steps": 2} == {"episodes": made["last_episodes"], "steps": made["steps"]}
    assert made["episodes"] == 6  # in all, as a server counts


def test_adapting_leaves_the_policy_it_started_from_alone(policy, env):
    memory, actions = policy.memory.copy(), policy.act(np.eye(4))
    adapted = policy.adapt(env, episodes=1, steps=1)
    assert np.array_equal(policy.memory, memory) and np.array_equal(policy.act(np.eye(4)), actions)
    assert "adapted" not in policy.metadata and adapted is not policy


def test_recorded_episodes_allow_one_step(policy, learner, env):
    episodes = recorded(policy, env).episodes
    adapted = policy.adapt(episodes)
    expected = inner_step_by_hand(learner, policy.memory, episodes)
    np.testing.assert_allclose(adapted.memory, expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(adapted.memory, policy.adapt(episodes, steps=1).memory)
    assert (adapted.metadata["adapted"]["episodes"], adapted.metadata["adapted"]["steps"]) == (2, 1)
    with pytest.raises(ValueError, match="steps is 2; recorded episodes allow one, the next needs fresh ones"):
        policy.adapt(episodes, steps=2)


def test_unusable_episodes_are_refused(policy, learner, env):
    two_rows = Episodes(**{key: value for key, value in example_inputs(learner, "adapt").items() if key != "memory"})
    with pytest.raises(CollectionError, match="rewards have shape"):
        policy.adapt(two_rows)
    episodes = recorded(policy, env).episodes
    rewards = episodes.rewards.copy()
    rewards[0, 1, 0] = np.nan
    with pytest.raises(CollectionError, match=r"rewards holds nan at \[1, 0\]"):
        policy.adapt(episodes._replace(rewards=rewards))


def test_numbers_out_of_range_are_refused(policy, env):
    with pytest.raises(CollectionError, match="episodes is 0"):
        policy.adapt(env, episodes=0)
    with pytest.raises(ValueError, match="steps is 0; it must be at least 1"):
        policy.adapt(env, steps=0)
    with pytest.raises(CollectionError, match="episodes is 0"):
        policy.evaluate(env, episodes=0)


def test_an_environment_with_other_spaces_is_refused_with_both(policy, mover, env):
    car = gym.make("MountainCarContinuous-v0")
    for act in (policy.adapt, policy.evaluate):
        with pytest.raises(CollectionError) as caught:
            act(car)
        said = " ".join(str(caught.value).split())  # a sentence has no double spaces, numpy's arrays have
        for space in (car.observation_space, space_from_metadata(policy.metadata["observation_space"])):
            assert " ".join(str(space).split()) in said
    with pytest.raises(CollectionError, match="space"):
        mover.adapt(env)


def test_a_published_policy_loads_with_its_memory_and_its_name(policy, env, tmp_path):
    adapted = policy.adapt(env, episodes=2, steps=1)
    assert adapted.publish(tmp_path, "long-pole") == tmp_path / "small-long-pole" / "1"
    loaded = metazoo.load(tmp_path / "small-long-pole")
    assert (loaded.name, loaded.version) == ("small-long-pole", 1)
    assert np.array_equal(loaded.memory, adapted.memory)
    assert np.array_equal(loaded.act(np.eye(4)), adapted.act(np.eye(4)))
    assert loaded.metadata["adapted"] == {**adapted.metadata["adapted"], "task": "long-pole"}
    assert adapted.publish(tmp_path, "long-pole").name == "2"
    again = loaded.adapt(env, episodes=1, steps=1)
    assert again.metadata["adapted"]["from"] == "small-long-pole" and again.memory[-1] == 2.0
    assert policy.publish(tmp_path).parent.name == "small-adapted"


@pytest.mark.parametrize("task", ["", "a/b", "-a", ".", "a" * 65, "a b"])
def test_a_task_name_that_serving_could_not_carry_is_refused(policy, tmp_path, task):
    with pytest.raises(ValueError, match="task is"):
        policy.publish(tmp_path, task)
    assert not [*tmp_path.iterdir()]


def test_evaluate_returns_the_returns(policy, env):
    found = policy.evaluate(env, episodes=4, seed=1)
    assert found.shape == (4,) and np.array_equal(found, policy.evaluate(env, episodes=4, seed=1))
    assert np.array_equal(found, recorded(policy, env, seed=1, episodes=4).returns)
    adapted = policy.adapt(env, episodes=2, steps=1)
    assert np.array_equal(adapted.evaluate(env, 4, seed=1), recorded(adapted, env, seed=1, episodes=4).returns)
    assert found.max() <= HORIZON


@pytest.mark.parametrize("worse", [False, True])
def test_keep_better_returns_the_better_by_held_out_episodes_with_the_evidence(policy, env, monkeypatch, worse):
    adapted = policy.adapt(env, episodes=2, steps=1, seed=3)
    good = {False: adapted, True: policy}[worse].memory
    evaluate = Pretrained.evaluate

    def judged(one, *args, **options):
        return evaluate(one, *args, **options) + 100.0 * np.array_equal(one.memory, good)

    monkeypatch.setattr(Pretrained, "evaluate", judged)
    kept = policy.adapt(env, episodes=2, steps=1, seed=3, keep_better=4)
    assert np.array_equal(kept.memory, good)
    found = kept.metadata["adapted"]["kept"]
    assert found["which"] == ("before" if worse else "after") and found["episodes"] == 8
    for which, one in (("before", policy), ("after", adapted)):
        returns = judged(one, env, 4, seed=30_003)
        assert found[which] == {**found[which], "mean": pytest.approx(returns.mean()), "episodes": 4}
    assert "kept" not in kept.adapt(env, episodes=1, steps=1).metadata["adapted"]
    assert "kept" not in adapted.metadata["adapted"]


def test_keep_better_needs_an_environment(policy, env):
    episodes = recorded(policy, env, seed=1, episodes=2).episodes
    for given, count in ((episodes, 3), (env, -1)):
        with pytest.raises(ValueError, match=f"keep_better is {count}; it must be a number of episodes"):
            policy.adapt(given, keep_better=count)


def test_family_of_rebuilds_the_family_it_was_trained_on(policy):
    family = family_of(policy.metadata)
    assert (family.name, family.horizon) == ("cartpole", HORIZON)
    assert family_of(policy.metadata, horizon=9).horizon == 9
    with pytest.raises(ValueError, match="on the family 'chess', which is not known here; give it with --family"):
        family_of({**policy.metadata, "family": "chess"})


def test_in_graph_adapting_is_adapting(policy, learner):
    inputs = example_inputs(learner, "adapt")
    episodes = Episodes(**{key: value for key, value in inputs.items() if key != "memory"})
    timed = Episodes(*(tf.constant(v if i == 1 else np.moveaxis(v, 2, 0)) for i, v in enumerate(episodes)))
    assert all(np.array_equal(a, b) for a, b in zip(batch_first(timed), episodes, strict=True))
    memory = policy.agent().adapt(tf.constant(inputs["memory"])[:, None], timed)
    expected, _ = learner.adapt(learner.current_weights(), tf.constant(inputs["memory"])[:, None], timed)
    np.testing.assert_allclose(memory, expected, rtol=1e-5, atol=1e-5)


# --- copies, here and in other processes -------------------------------------------------------------------------


def seen(policy):
    """Everything there is to a policy, by what it does."""
    observation = np.linspace(-1.0, 1.0, 4, dtype=np.float32)
    return policy.act(observation, deterministic=False, seed=3), policy.memory, policy.metadata, policy.directory


def through(packer, *protocol):
    return lambda policy: packer.loads(packer.dumps({"policies": [policy]}, *protocol))["policies"][0]


@pytest.mark.parametrize(
    ("copied", "adapted"),
    [(copy.copy, False), (copy.deepcopy, True), (through(pickle), True), (through(cloudpickle, 2), False)],
    ids=["copy", "deepcopy", "pickle", "cloudpickle"],
)
def test_a_copy_is_the_same_policy(policy, env, copied, adapted, tmp_path):
    original = policy.adapt(env, episodes=2, steps=1) if adapted else policy
    other = copied(original)
    for one, two in zip(seen(original), seen(other), strict=True):
        assert np.array_equal(one, two) if isinstance(one, np.ndarray | np.integer) else one == two
    again = other.adapt(env, episodes=2, steps=1)
    assert np.array_equal(again.memory, original.adapt(env, episodes=2, steps=1).memory)
    assert np.array_equal(metazoo.load(other.publish(tmp_path)).memory, original.memory)


def test_a_deep_copy_shares_nothing_that_can_be_changed(policy):
    other = copy.deepcopy(policy)
    before = policy.memory.copy()
    other.memory += 1.0
    other.metadata["adapt"]["episodes"] = 99
    assert np.array_equal(policy.memory, before)
    assert policy.metadata["adapt"]["episodes"] == 3


def returns_in_a_process(policy, seed):
    return policy.evaluate(gym.make("CartPole-v1"), episodes=2, seed=seed)


@pytest.mark.slow  # copies by pickle, in this process, are the quick ones
def test_other_processes_evaluate_a_policy(policy, env):
    adapted = policy.adapt(env, episodes=2, steps=1)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        there = pool.submit(returns_in_a_process, adapted, 5).result()
    assert np.array_equal(there, returns_in_a_process(adapted, 5))


def test_a_policy_loaded_by_a_relative_path_is_found_from_elsewhere(models, tmp_path, monkeypatch):
    monkeypatch.chdir(models)
    here = metazoo.load("small")
    packed = pickle.dumps(here)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(pickle.loads(packed).memory, here.memory)
    assert metazoo.load(here.publish(tmp_path)).name == "small-adapted"


def test_a_pickled_policy_whose_files_are_gone_or_others_says_so(models, tmp_path):
    shutil.copytree(models / "small", tmp_path / "small")
    policy = metazoo.load(tmp_path / "small")
    packed = pickle.dumps(policy)
    store.replace_metadata(policy.directory, {**policy.metadata, "evaluation": {"recorded": "later"}})
    pickle.loads(packed)  # the network is the same
    _, other = export_small(tmp_path / "other", "maml", "categorical", inner_rate=0.5, inner_steps=2)
    shutil.rmtree(policy.directory)
    with pytest.raises(store.StoreError, match=r"small/1 is missing or incomplete, .* load it in the other process"):
        pickle.loads(packed)
    with pytest.raises(store.StoreError, match="is missing or incomplete"):
        pickle.dumps(policy)
    shutil.copytree(other, policy.directory)
    with pytest.raises(store.StoreError, match="holds another network now than when small was pickled"):
        pickle.loads(packed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_action_for_what_is_not_finite(policy, mover, value):
    for one in (policy, mover):
        good = one.metadata["observation_space"]["shape"]
        for observations in (np.full(good, value), [np.zeros(good), np.full(good, value)]):
            with pytest.raises(ValueError, match=f"observations has {value} in it: all must be finite"):
                one.act(observations)
        step = {
            "observations": np.zeros((1, *good)),
            "previous_actions": np.zeros((1, *np.shape(one.act(np.zeros(good))))),
            "previous_rewards": [0.0],
            "previous_done": [False],
            "memory": one.memory[None],
            "seed": [0],
            "deterministic": [True],
        }
        assert np.all(np.isfinite(one.step(**step)["actions"]))
        for name in ("observations", "previous_rewards", "memory"):
            with pytest.raises(ValueError, match=f"{name} has {value} in it"):
                one.step(**{**step, name: np.full_like(step[name], value, np.float32)})


@pytest.mark.parametrize(
    "observation", [["1", "2", "3", "4"], None, {"a": 1.0}, [1.0, [2.0]], [1j] * 4, np.zeros((1, 1, 4)), np.zeros(3)]
)
def test_what_is_no_observation_is_one_sentence(policy, observation):
    with pytest.raises(CollectionError, match="observations? .*need"):
        policy.act(observation)


def test_recorded_episodes_are_episodes_or_one_sentence_that_says_how_to_get_them(policy, tmp_path):
    wrong = {
        "episodes.npz": "there is no episodes file episodes.npz",
        tmp_path / "episodes.npz": "there is no episodes file .*episodes.npz",
        "CartPole-v1": r"'CartPole-v1' is not an environment.*gymnasium.make",
        (1, 2): "a tuple is not an environment",
        None: "None is not an environment",
    }
    for given, why in (*wrong.items(), ({"rewards": [[1.0]]}, "the episodes lack 'observations'")):
        with pytest.raises(CollectionError, match=why):
            policy.adapt(given)
    with pytest.raises(CollectionError, match="'CartPole-v1' is not an environment"):
        policy.evaluate("CartPole-v1")


@pytest.mark.parametrize("shape", [lambda r: np.array([r]), lambda r: [r], np.float16, int, bool])
def test_adapting_takes_a_reward_that_is_a_number_in_other_clothes(policy, env, shape):
    same = policy.adapt(gym.wrappers.TransformReward(env, shape), 1, 1).memory
    np.testing.assert_array_equal(policy.adapt(env, 1, 1).memory, same)
    with pytest.raises(CollectionError, match="gave the reward .*must be a number"):
        policy.adapt(gym.wrappers.TransformReward(env, lambda r: np.array([r, 0.0])), 1, 1)


def test_adapting_to_an_environment_that_reuses_its_array_is_adapting_to_it(policy, env):
    class Buffered(gym.ObservationWrapper):
        buffer = np.zeros(4, np.float32)

        def observation(self, observation):
            self.buffer[:] = observation
            return self.buffer

    right, found = policy.adapt(env, 2, 1), policy.adapt(Buffered(env), 2, 1)
    np.testing.assert_array_equal(right.memory, found.memory)
    np.testing.assert_array_equal(policy.evaluate(env, 2), policy.evaluate(Buffered(env), 2))
