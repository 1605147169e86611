"""Rewards of another unit than training's are noticed, everywhere a policy meets them, and its own are not."""

import warnings

import gymnasium as gym
import numpy as np
import pytest

import metazoo
from metazoo.artefact import rewards, store
from metazoo.artefact.rewards import RewardWarning, doubts
from metazoo.cards import rewards as recording
from metazoo.pretrained import family_of
from metazoo.tasks.views.gym_view import FamilyEnv
from tests.exports import export_small

SEEN = {"unit": "1 a step", "low": -0.5, "high": 1.0, "largest": [0.8, 1.0]}


def metadata(**seen):
    return {"name": "some", "adapt": {"episodes": 2}, "rewards": {**SEEN, **seen}}


def said(values, mask=None, **seen):
    values = np.asarray(values, np.float32)
    return doubts(values, np.ones_like(values) if mask is None else mask, metadata(**seen))


OWN = [[0.9, -0.5], [0.1, 0.2]]


@pytest.mark.parametrize(
    "values", [OWN, [[0.0, 0.0], [0.0, 0.0]], [[1.3, 0.0], [0.0, -0.8]], [[0.1, 0.1]]],
    ids=["training's", "zeros", "a little outside", "too small, in fewer episodes than a task had"],
)  # fmt: skip
def test_rewards_like_those_of_training_are_not_doubted(values):
    assert said(values) is None


@pytest.mark.parametrize("change", [lambda r: 10 * r, lambda r: 0.1 * r, lambda r: r + 1, lambda r: -3 * r])
def test_rewards_on_another_scale_are_doubted_in_one_sentence(change):
    text = said(change(np.array(OWN)))
    assert "recorded for some are" in text and "in training they were -0.5 to 1 (1 a step)" in text


def test_padding_is_no_reward():
    assert said([[0.9, 50.0], [0.1, -50.0]], mask=np.array([[1, 0], [1, 0]])) is None


def test_a_constant_reward_has_a_scale_too():
    seen = {"low": 1.0, "high": 1.0, "largest": [1.0, 1.0]}
    assert said([[1.0], [1.0]], **seen) is None
    assert all(said([[value], [value]], **seen) for value in (0.1, 2.0, 10.0))


def test_a_sign_that_training_never_saw_is_doubted_at_once():
    costs = {"low": -16.0, "high": -1e-6, "largest": [0.3, 16.0]}
    assert said([[-16.0, 0.0], [-0.1, 0.01]], **costs) is None
    assert said([[-15.0, 1.0], [-3.0, 0.5]], **costs) and said([[-0.1]], low=0.0)


def test_a_policy_that_does_not_know_its_rewards_doubts_none():
    assert doubts(np.full((2, 2), 1e6), np.ones((2, 2)), {"name": "old", "adapt": {"episodes": 1}}) is None


def test_the_warning_is_shown_where_the_caller_asked():
    with pytest.warns(RewardWarning) as caught:
        rewards.say("text")
    assert caught[0].filename == __file__


# --- shipped policies -----------------------------------------------------------------------------------------------

GOAL = "metazoo/CartPoleGoal-v0"


@pytest.fixture(scope="module")
def recurrent():
    """``rl2_cartpole_goal``, measured here, whatever was recorded."""
    policy = metazoo.load("rl2_cartpole_goal")
    policy.metadata["rewards"] = recording.measure(policy, family_of(policy.metadata), tasks=20)
    return policy


SCALES = {"a tenth": lambda r: 0.1 * r, "ten times": lambda r: 10.0 * r, "plus one": lambda r: r + 1.0}


@pytest.mark.parametrize(
    "change",
    [pytest.param(SCALES[name], id=name, marks=pytest.mark.slow if name == "plus one" else ()) for name in SCALES],
)
def test_rl2_warns_of_another_scale(recurrent, change):
    """Its return in a trial falls from 424 to 122, 89 and 175."""
    env = gym.wrappers.TransformReward(gym.make(GOAL), change)
    with pytest.warns(RewardWarning, match="1 − distance"):
        recurrent.adapt(env)
    with pytest.warns(RewardWarning, match="rl2_cartpole_goal"):
        recurrent.evaluate(env, 5)


NAMES = ["rl2_cartpole_goal", "maml_navigation", "rl2_pendulum", "rl2_bandit_k5_n10"]
QUICK = [(NAMES[3], "ood")]
OWN_TASKS = [
    pytest.param(name, split, marks=() if (name, split) in QUICK else pytest.mark.slow)
    for name in NAMES
    for split in ("test", "ood")
]


@pytest.mark.parametrize(("name", "split"), OWN_TASKS)
def test_own_environments_are_not_warned_of(name, split):
    policy = metazoo.load(name)
    family = family_of(policy.metadata)
    if "rewards" not in policy.metadata:
        policy.metadata["rewards"] = recording.measure(policy, family, tasks=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RewardWarning)
        for seed in range(1 if name == "maml_navigation" else 2):  # whose tasks take a second each
            env = FamilyEnv(family, split=split, seed=seed, max_episode_steps=policy.metadata["horizon"])
            policy.adapt(env, seed=seed).evaluate(env, 3, seed=seed)


def test_recorded_episodes_are_looked_at_too(tmp_path):
    learner, directory = export_small(tmp_path, "maml", "categorical")
    policy = metazoo.load(directory)
    policy.metadata["rewards"] = {"unit": "", "low": 0.0, "high": 0.01, "largest": [0.01, 0.01]}
    played = policy._collect(gym.make("CartPole-v1"), 4, 0, policy.memory, False).episodes
    with pytest.warns(RewardWarning, match="0 to 0.01: bring"):
        policy.adapt(played)


# --- what is measured -----------------------------------------------------------------------------------------------


def test_supervised_policies_have_no_rewards():
    policy = metazoo.load("maml_sinusoid")
    assert recording.measure(policy, family_of(policy.metadata)) is None


def test_it_is_measured_on_play_and_written_with_checksums(tmp_path):
    version = export_small(tmp_path, "maml", "categorical")[1]
    before = store.read_metadata(version)
    found = recording.add(version, tasks=3)
    assert found["low"] == found["high"] == 1.0 and found["largest"] == [1.0, 1.0]
    assert found["unit"] == "1 a step upright"
    assert store.verify(version) and store.read_metadata(version) == {**before, "rewards": found}
