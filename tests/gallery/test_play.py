"""What the gallery plays, against the policy's own signatures and worked values."""

import json

import numpy as np
import pytest
import tensorflow as tf

import metazoo
from metazoo import axes, random
from metazoo.artefact.places import savedmodels_directory
from metazoo.gallery import beliefs, parameters, pictures
from metazoo.gallery.play import ROWS, Stage
from metazoo.hub import listing
from metazoo.pretrained import family_of
from metazoo.tasks.registry import FAMILIES
from metazoo.types import Episodes


def stage(name):
    policy = metazoo.load(name)
    return Stage(policy, family_of(policy.metadata))


@pytest.fixture(scope="module")
def bandit():
    """With a probe that is fitted on a few trials: what it reads is not looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beliefs, "FITTED", 40)
        patch.setattr(beliefs, "JUDGED", 20)
        yield stage("rl2_bandit_k5_n10")


@pytest.fixture(scope="module")
def sinusoid():
    return stage("maml_sinusoid")


def batch_first(played):
    return axes.batch_major(Episodes(*map(tf.constant, played)))


def test_a_trial_leaves_the_memory_that_adapting_by_it_gives(bandit):
    task = bandit.family.sample(1, "test", 3)
    played = bandit._player.play(task, random.key(3))
    assert played.explored[0].mask.shape == (10, 1, 1)
    adapted = bandit.policy.adapt(Episodes(*(np.asarray(one) for one in batch_first(played.explored[0]))))
    np.testing.assert_allclose(played.memories[-1][0, 0], adapted.memory, atol=1e-5)


def test_reading_a_trial_again_gives_the_same_memory_and_the_probabilities_of_its_steps(bandit):
    task = bandit.family.sample(1, "test", 3)
    played = bandit._player.play(task, random.key(3))
    inputs, alive = beliefs.replay_of(played.explored[0])
    held = bandit._reader._held(inputs, alive)
    np.testing.assert_allclose(held[-1, 0], played.memories[-1][0, 0], atol=1e-5)
    told = bandit._reader.read(played.explored, played.memories)
    assert len(told["probabilities"]) == 10
    np.testing.assert_allclose(np.sum(told["probabilities"], 1), 1.0, atol=2e-3)
    memory, before = bandit.policy.memory, (0, 0.0)
    for step in range(3):  # by hand, a step at a time
        answer = bandit.policy.step(
            observations=[[1.0]], previous_actions=[before[0]], previous_rewards=[before[1]], previous_done=[False],
            memory=memory[None], seed=[0], deterministic=[True],
        )  # fmt: skip
        powers = np.exp(answer["logits"][0] - answer["logits"][0].max())
        np.testing.assert_allclose(told["probabilities"][step], powers / powers.sum(), atol=2e-3)
        memory = answer["memory"][0]
        explored = played.explored[0]
        before = int(explored.actions[step, 0, 0]), float(explored.rewards[step, 0, 0])


def test_equal_seeds_give_equal_plays_and_others_do_not(bandit):
    task = bandit.family.sample(1, "test", 1)
    one, same, other = (bandit.play(task, seed) for seed in (5, 5, 6))
    del one["milliseconds"], same["milliseconds"]
    assert one == same
    assert other["explored"] != one["explored"]
    json.dumps(one, allow_nan=False)


def test_what_a_bandit_stands_beside_is_chance(bandit):
    task = bandit.family.Task(tf.constant([[1.0, 1.0, 0.0, 0.0, 0.0]]))
    pulled = np.array([bandit._player.play(task, random.key(seed)).before.actions for seed in range(5)])
    assert np.bincount(pulled.ravel(), minlength=5) / pulled.size == pytest.approx(0.2, abs=0.05)
    assert bandit.play(task, 0)["before_is"] == "random actions"


def test_most_bandits_are_played_better_by_who_knows_them(bandit):
    plays = [bandit.play(bandit.family.sample(1, "test", seed), seed) for seed in range(8)]
    gains = [play["after"]["mean"] - play["before"]["mean"] for play in plays]
    assert len(plays[0]["after"]["returns"]) == ROWS
    assert np.mean(gains) > 1.0  # of 10 pulls


def test_a_regression_adapts_as_the_policy_itself_does(sinusoid):
    task = sinusoid.family.sample(1, "test", 2)
    played = sinusoid._player.play(task, random.key(2))
    assert len(played.explored) == 1 and len(played.memories) == 11
    adapted = sinusoid.policy.adapt(Episodes(*(np.asarray(one) for one in batch_first(played.explored[0]))))
    np.testing.assert_allclose(played.memories[-1][0, 0], adapted.memory, rtol=1e-3, atol=1e-4)
    told = sinusoid.play(task, 2)
    assert told["after"]["mean"] < told["before"]["mean"]  # an error
    inputs, curves = np.array(told["curves"]["inputs"]), np.array(told["curves"]["outputs"])
    assert curves.shape == (11, 101)
    truth = float(task.amplitude[0]) * np.sin(inputs - float(task.phase[0]))
    assert np.square(curves[-1] - truth).mean() < np.square(curves[0] - truth).mean()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maml_cartpole_goal", "rl2_navigation", "rl2_bandit_k5_n100"])
def test_nearly_all_tasks_gain(name):
    shown = stage(name)
    plays = [shown.play(shown.family.sample(1, "test", seed), seed) for seed in range(100)]
    gains = np.array([play["after"]["mean"] - play["before"]["mean"] for play in plays])
    print(f"{name}: {(gains > 0).sum()} of 100 tasks gain, {gains.mean():.1f} on average")
    assert (gains > 0).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", list(listing.policies(savedmodels_directory())))
def test_every_policy_that_comes_along_can_be_watched(name):
    shown = stage(name)
    told = shown.play(shown.family.sample(1, "test", 0), 0)
    json.dumps(told, allow_nan=False)
    assert told["after"]["episode"]["states"]
    assert len(told["after"]["returns"]) == len(told["before"]["returns"]) > 1


# --- what the memory holds ---------------------------------------------------------------------------------------


def test_a_probe_reads_what_is_linear_in_the_memory_and_owns_up_to_what_is_not():
    draws = np.random.default_rng(0)
    mixing = draws.normal(size=(2, 8))

    def sample(count):
        truth = draws.uniform(-1, 1, (count, 3))  # the third leaves no trace
        return truth[:, :2] @ mixing + 3.0, truth

    (memories, targets), (judged, truth) = sample(2000), sample(500)
    probe = beliefs.fit(memories, targets, judged, truth)
    assert probe.r2[0] > 0.99 and probe.r2[1] > 0.99
    assert probe.r2[2] < 0.02
    np.testing.assert_allclose(probe.read(judged)[:, :2], truth[:, :2], atol=0.1)


def test_a_replay_puts_each_closing_step_where_its_episode_ended():
    """Two episodes of one task, of 2 and 3 steps of at most 3."""
    zeros = np.zeros((3, 1, 2), np.float32)
    mask = np.array([[[1, 1]], [[1, 1]], [[0, 1]]], np.float32)
    played = Episodes(
        observations=np.arange(6, dtype=np.float32).reshape(3, 1, 2, 1),
        final_observations=np.array([[[70.0], [71.0]]], np.float32),
        actions=np.array([[[1, 2]], [[3, 4]], [[9, 6]]], np.int32),
        rewards=np.array([[[0.1, 0.2]], [[0.3, 0.4]], [[0.0, 0.6]]], np.float32),
        terminated=zeros.astype(bool),
        truncated=zeros.astype(bool),
        mask=mask,
    )
    inputs, alive = beliefs.replay_of(played)
    assert alive[:, 0, 0].tolist() == [True, True, True, False, True, True, True, True]
    assert inputs.observations[alive[:, 0, 0], 0, 0, 0].tolist() == [0, 2, 70, 1, 3, 5, 71]
    assert inputs.previous_actions[alive[:, 0, 0], 0, 0].tolist() == [0, 1, 3, 0, 2, 4, 6]
    np.testing.assert_allclose(inputs.previous_rewards[alive[:, 0, 0], 0, 0], [0, 0.1, 0.3, 0, 0.2, 0.4, 0.6])
    assert inputs.previous_done[alive[:, 0, 0], 0, 0].tolist() == [False, False, True, False, False, False, True]


# --- what a visitor may choose ---------------------------------------------------------------------------------------


def test_sliders_reach_as_far_as_the_ranges_and_show_what_was_trained():
    made = {one["label"]: one for one in parameters.sliders(FAMILIES["cartpole_goal"]())}
    assert list(made) == ["pole mass", "half length", "force", "gravity", "cart mass", "target"]
    assert (made["target"]["low"], made["target"]["high"], made["target"]["train"]) == (-1.9, 1.9, [-1.5, 1.5])
    assert made["gravity"]["unit"] == "m/s²"
    force = next(one for one in parameters.sliders(FAMILIES["cartpole"]()) if one["field"] == "force")
    assert (force["low"], force["high"], force["train"]) == (-18.0, 18.0, [6.0, 14.0])  # motors are turned round
    goals = parameters.sliders(FAMILIES["darkroom"]())
    assert [(one["label"], one["step"], one["low"], one["high"]) for one in goals] == [
        ("goal x", 1.0, 0.0, 9.0),
        ("goal y", 1.0, 0.0, 9.0),
    ]
    assert parameters.sliders(FAMILIES["tabular_mdp"]()) == []


def test_a_chosen_task_is_the_familys():
    family = FAMILIES["navigation"]()
    task = parameters.task_of(family, {"goal": [0.25, -0.5]})
    assert isinstance(task, family.Task)
    np.testing.assert_allclose(task.goal, [[0.25, -0.5]])
    left_out = parameters.task_of(FAMILIES["cartpole_goal"](), {"target": 1.0})
    assert left_out.target.numpy().tolist() == [1.0] and 0.05 <= float(left_out.pole_mass[0]) <= 0.3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"goal": [0.1]}, "a list of 2 numbers"),
        ({"goal": [0.1, float("nan")]}, "a list of 2 numbers"),
        ({"goal": "far"}, "a list of 2 numbers"),
        ({"goal": [[0.1], [0.1, 0.2]]}, "a list of 2 numbers"),
        ({"goal": [5.0, 0.0]}, "from -0.7 to 0.7"),
        ({"gaol": [0.1, 0.1]}, "no task parameter 'gaol'"),
    ],
)
def test_a_task_that_cannot_be_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        parameters.task_of(FAMILIES["navigation"](), given)


def test_numbers_are_short_and_json():
    assert pictures.rounded(np.array([[1.23456, np.nan], [np.inf, -0.000123456]])) == [
        [1.235, None],
        [None, -0.0001235],
    ]
    assert pictures.rounded(np.zeros((2, 0))) == [[], []]
    assert pictures.rounded(np.int32(3)) == 3
