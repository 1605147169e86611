"""What a policy's explanation says, against plays that were made by hand and against evaluation."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import metazoo
from metazoo import random
from metazoo.explain import layers, memory, pictures, record
from metazoo.explain.explain import explain
from metazoo.explain.played import Played, Replayed, play, replay
from metazoo.pretrained import family_of
from metazoo.rollouts.graph import trial
from metazoo.tasks.families.bandit import Bandit, BanditTask
from metazoo.types import Episodes


@pytest.fixture(scope="module")
def recurrent():
    policy = metazoo.load("rl2_navigation")
    family = family_of(policy.metadata)
    return policy, family, play(policy, family, family.sample(20, "test", 0), 0)


def test_replaying_a_trial_gives_the_memories_it_had(recurrent):
    policy, family, played = recurrent
    again = replay(policy, played)
    np.testing.assert_allclose(again.memories[-1], played.memories, atol=1e-4)
    first, _ = trial(  # the memory after one episode alone
        family, played.tasks, policy.agent().step, tf.zeros([20, 1, played.start.size]) + played.start,
        random.fold(random.key(0), 1), 1,
    )  # fmt: skip
    np.testing.assert_allclose(first.observations[:, :, 0], played.before.observations[:, :, 0], atol=1e-5)


def test_an_explanation_is_whole_and_its_numbers_are_json(tmp_path):
    found = explain(metazoo.load("maml_navigation"), tasks=24)
    report = json.loads(json.dumps(found.report, allow_nan=False))
    assert set(report["sentences"]) == set(pictures.NAMES) and report["memory"] is None
    assert report["returns"]["after"] > report["returns"]["before"] + 10
    assert min(report["identified"]["r2"].values()) > 0.8, "the goal is all there is to find out"
    assert list(report["layers"]["moved"]) == ["layer 1", "layer 2", "head", "deviation"]
    assert 0 < report["layers"]["share_of_head"] < 1.2
    for path in pictures.draw(found, tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert pictures.shown(found) == ["actions", "layers", "trajectories", "identified"]


def test_steps_of_the_head_alone_leave_the_rest(recurrent):
    policy = metazoo.load("maml_navigation")
    found = layers.layers(policy.metadata)
    family = family_of(policy.metadata)
    alone = play(policy, family, family.sample(2, "test", 0), 0, layers.head_alone(found, policy.memory.size))
    moved = np.abs(alone.memories - alone.start).max(0)
    (head,) = (layer.where for layer in found if layer.name == "head")
    assert moved[: head.start].max() == 0 and moved[head].max() > 0
    assert moved[-1] == policy.metadata["adapt"]["steps"], "the counter counts"


@pytest.mark.parametrize("name", ["maml_cartpole_goal", "maml_half_cheetah_dir", "maml_sinusoid", "promp_navigation"])
def test_the_layers_cover_the_weights(name):
    metadata = metazoo.load(name).metadata
    found = layers.layers(metadata)
    assert [one.where.start for one in found[1:]] == [one.where.stop for one in found[:-1]]
    assert (found[0].where.start, found[-1].where.stop) == (0, metadata["memory"]["size"] - 1)


def test_layers_that_sizes_do_not_explain_are_not_told_apart():
    metadata = dict(metazoo.load("maml_cartpole_goal").metadata)
    assert layers.layers({**metadata, "network": {"hidden": [7]}}) == []
    assert layers.layers({**metadata, "memory": {"kind": "recurrent", "size": 64}}) == []


def test_a_layer_that_is_zero_before_has_no_share_of_its_length():
    found = [layers.Layer("layer 1", slice(0, 2)), layers.Layer("deviation", slice(2, 3))]
    memories = np.array([[3.0, 4.0, 0.0], [6.0, 8.0, 0.0]])
    played = Played(None, None, None, np.array([3.0, 4.0, 0.0]), memories, None)
    assert layers.movement(found, played) == {"layer 1": 0.5}


def made_up_trial(actions, rewards):
    shape = np.shape(actions)
    nothing = np.zeros((*shape, 1), np.float32)
    flags = np.zeros((*shape, 1), bool)
    seen = np.ones((*shape, 1, 1), np.float32)
    fields = np.asarray(actions)[..., None], np.float32(rewards)[..., None]
    whole = Episodes(seen, seen[0], *fields, flags, flags, nothing + 1)
    return Played(BanditTask(np.ones((shape[1], 2))), whole, whole, np.zeros(1), np.zeros((shape[1], 1)), whole)


def test_the_distance_from_the_best_play_by_hand():
    """Two arms, two pulls: at first both are equally good; after a success the same one, after a failure the other."""
    logits = np.log(np.array([[[0.9, 0.1], [0.9, 0.1]], [[0.8, 0.2], [0.8, 0.2]], [[0.5, 0.5], [0.5, 0.5]]]))
    replayed = Replayed(np.zeros((3, 2, 1)), {"logits": logits}, np.ones((3, 2), bool))
    played = made_up_trial([[0, 0], [0, 0]], [[1, 0], [1, 0]])
    found = memory.from_the_best_play(Bandit(arms=2, horizon=2), played, replayed)
    expected = [0.0, -(np.log(0.8) + np.log(0.2)) / 2]
    assert found["bayes_optimal"] == pytest.approx(expected) and found["finite_gittins"] == pytest.approx(expected)


def test_a_parameter_that_a_memory_ignores_cannot_be_decoded():
    rng = np.random.default_rng(0)
    known, unknown = rng.normal(size=(2, 60))
    memories = rng.normal(size=(30, 60, 8)) * 0.01
    memories[5:, :, 3] += known
    found = memory.decoded(Replayed(memories, {}, np.ones((30, 60), bool)), {"known": known, "unknown": unknown})
    assert found.steps[0] == 1 and found.steps[-1] == 30
    assert found.r2["known"][0] < 0.2 < 0.99 < found.r2["known"][-1]
    assert max(map(abs, found.r2["unknown"])) < 0.25


def test_bandits_have_a_distance_and_no_slice():
    found = explain(metazoo.load("rl2_bandit_k5_n10"), tasks=30)
    assert found.report["actions"] is None and list(found.divergence) == ["bayes_optimal", "finite_gittins"]
    assert 0 <= found.report["memory"]["from_best_play"]["bayes_optimal"][0] < 0.01, "at first all arms are equal"
    assert pictures.shown(found) == ["identified", "memory"]


def test_a_task_can_be_given(recurrent):
    found = explain(metazoo.load("rl2_navigation"), tasks=20, given={"goal": [0.3, -0.2]})
    assert found.shown == 0 and found.report["shown"]["task"] == pytest.approx({"goal[0]": 0.3, "goal[1]": -0.2})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dr_cartpole"], "dr_cartpole does not adapt, so there is nothing to explain."),
        (["rl2_navigation", "--task", "gol=1"], "navigation has no parameter 'gol'; it has goal."),
        (["rl2_navigation", "--task", "goal=1,2"], "--task is goal=1,2; it must be a number, or numbers in brackets"),
        (["rl2_navigation", "--task", "goal=[1,2,3]"], "goal is [1.0, 2.0, 3.0]; it must have shape [2]."),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(arguments, sentence, tmp_path, capsys, monkeypatch):
    from metazoo.cli.main import main

    monkeypatch.setattr(sys, "argv", ["metazoo", "explain", *arguments, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (1, 2) and sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maml_cartpole_goal", "rl2_half_cheetah_vel", "reptile_sinusoid", "rl2_mdp_n10"])
def test_the_command_takes_less_than_half_a_minute_of_one_core(name, tmp_path):
    code = "import os, sys; from metazoo.cli.main import main\n"
    code += "try: main()\nfinally: print(*os.times()[:2], file=sys.stderr)"
    command = [sys.executable, "-c", code, "explain", name, "--out", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True)
    assert json.loads(done.stdout)["name"] == name
    assert sum(map(float, done.stderr.split()[-2:])) < 30, done.stderr


def test_it_is_written_on_the_card(tmp_path):
    shutil.copytree(metazoo.load("rl2_bandit_k5_n10").directory, tmp_path / "rl2_bandit_k5_n10" / "1")
    policy = metazoo.load(tmp_path / "rl2_bandit_k5_n10")
    found = explain(policy, tasks=20)
    text = record.record(policy.directory, found).read_text("utf-8")
    assert all(f"- {sentence}" in text for sentence in found.report["sentences"].values())
    assert "![What adapting changed](explain.png)" in text and "on 20 test tasks" in text
    assert metazoo.load(tmp_path / "rl2_bandit_k5_n10").metadata["explained"]["tasks"] == 20
