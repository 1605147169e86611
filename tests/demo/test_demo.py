"""The demo: its tasks, its statistics, and the whole of it on small policies."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import metazoo
from metazoo.artefact import store
from metazoo.cli import main as cli
from metazoo.collect import validate_episodes
from metazoo.demo import main as demo
from metazoo.demo import tasks as gym_demo
from metazoo.tasks.families.cartpole import RANGES, CartPoleGoal
from metazoo.tasks.views.gym_view import FamilyEnv
from serving.client import Client
from serving.server import Server
from tests import toy_policy
from tests.served import pretrained

PRETRAINED = metazoo.savedmodels_directory() / demo.POLICY


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A models directory where the toy policy plays the part of the pretrained one."""
    directory = tmp_path_factory.mktemp("models")
    toy_policy.export_toy(directory / demo.POLICY / "1", name=demo.POLICY)
    return directory


@pytest.fixture
def few(monkeypatch):
    """A demo of two tasks and five episodes."""
    tasks = {name: gym_demo.TASKS[name] for name in ("left", "right")}
    monkeypatch.setattr(gym_demo, "TASKS", tasks)
    monkeypatch.setattr(demo, "TEST_EPISODES", 5)


def test_the_tasks_lie_inside_the_training_ranges_and_differ():
    assert len(gym_demo.TASKS) >= 5
    assert len({task.target for task in gym_demo.TASKS.values()}) == len(gym_demo.TASKS)
    for task in gym_demo.TASKS.values():
        for name in ("pole_mass", "half_length", "cart_mass", "force"):
            low, high = RANGES[name].train
            assert low < getattr(task, name) < high
        low, high = CartPoleGoal.ranges["target"].train
        assert low < task.target < high


@pytest.mark.parametrize("name", gym_demo.TASKS)
def test_the_tasks_are_what_the_family_calls_so(name):
    """Plain Gymnasium with the wrapper gives the observations, rewards and ends of the family's own dynamics."""
    task = gym_demo.TASKS[name]
    ours, theirs = FamilyEnv("cartpole_goal", task._asdict()), gym_demo.make(task)
    assert theirs.spec.id == "CartPole-v1"
    observation, _ = ours.reset(seed=1)
    theirs.reset(seed=1)
    steps, terminated = 0, False
    while not terminated and steps < 200:
        theirs.unwrapped.state = tuple(float(value) for value in observation)  # float32 drifts from float64
        action = int(observation[2] + 0.3 * observation[3] > 0)
        observation, reward, terminated, _, _ = ours.step(action)
        expected, their_reward, their_end, _, _ = theirs.step(action)
        np.testing.assert_allclose(observation, expected, atol=1e-5)
        assert reward == pytest.approx(their_reward, abs=1e-5)
        assert terminated == their_end
        steps += 1
    assert steps > 20


def test_episodes_played_side_by_side_are_what_adapt_takes(toy, tmp_path):
    with Server(toy, tmp_path, poll_seconds=0) as server:
        client = Client(server.url)
        metadata = client.metadata(demo.POLICY)
        envs = [gym_demo.make(gym_demo.TASKS["left"]) for _ in range(4)]
        played = demo.play(client, demo.POLICY, metadata, envs, seed=5)
        again = demo.play(client, demo.POLICY, metadata, envs, seed=5)
        client.close()
    checked = validate_episodes(played._asdict(), metadata)
    lengths = played.mask.sum(-1).astype(int)
    assert checked.rewards.shape == (1, 4, toy_policy.HORIZON)
    assert np.all(played.terminated.sum(-1) + played.truncated.sum(-1) == 1)
    for number, length in enumerate(lengths):  # each copy plays as it does alone, from the same actions
        env = gym_demo.make(gym_demo.TASKS["left"])
        observation, _ = env.reset(seed=5000 + number)
        for step in range(length):
            np.testing.assert_array_equal(played.observations[number, step], observation)
            observation, reward, terminated, _, _ = env.step(int(played.actions[number, step]))
            assert played.rewards[number, step] == pytest.approx(reward)
            assert played.terminated[number, step] == terminated
        np.testing.assert_array_equal(played.final_observations[number], observation)
    np.testing.assert_array_equal(played.actions, again.actions)


def test_intervals_cover_and_shrink():
    rng = np.random.default_rng(0)
    task_means = np.array([[20.0], [150.0]])  # the tasks are fixed: their distance is no uncertainty
    covered = 0
    for trial in range(200):
        one = demo.estimate(task_means + rng.normal(0, 10, (2, 20)), seed=trial)
        covered += one.low <= 85.0 <= one.high
        assert one.high - one.low < 10
    assert 175 <= covered <= 200
    assert demo.estimate(np.full((3, 4), 7.0)) == (7.0, 7.0, 7.0)


def test_the_whole_demo_through_servers(toy, few, tmp_path, monkeypatch, capsys):
    report = demo.run(toy, tmp_path / "out")
    assert list(report.tasks) == ["left", "right"]
    for name, task in report.tasks.items():
        assert task.model == f"{demo.POLICY}-{name}"
        assert len(task.rounds) == toy_policy.METADATA["adapt"]["steps"]
        np.testing.assert_array_equal(task.over_rest.actions, task.over_grpc.actions)
        published = store.latest(tmp_path / "out" / "adapted" / task.model)
        assert store.verify(published)
        assert not np.array_equal(store.read_memory(published), store.read_memory(toy / demo.POLICY / "1"))
    means = [demo.returns(task.over_rest).mean() for task in report.tasks.values()]
    assert report.over_rest.mean == pytest.approx(np.mean(means))
    assert report.improvement.mean == pytest.approx(report.over_rest.mean - report.before.mean)
    assert report.best_fixed == pytest.approx(100.0)  # 1.6 m apart: who stands at one target gets nothing at the other
    assert set(demo.latencies(report)) == {"adapt_ms", "publish_ms", "load_ms", "request_ms"}
    demo.draw(report, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    demo.show(report, Path("picture.png"), 1.0)
    printed = capsys.readouterr().out
    assert f"{report.before.mean:.1f}" in printed
    assert f"{report.over_grpc.mean:.1f}" in printed


@pytest.mark.parametrize(("gain", "code"), [(40.0, 0), (-40.0, 1), (0.0, 1)])
def test_the_exit_code_says_whether_adapting_helped(toy, few, tmp_path, monkeypatch, gain, code):
    """The games are real; their returns after adapting are moved."""
    run = demo.run

    def moved(models, out):
        report = run(models, out)
        tasks = {
            name: task._replace(over_rest=task.over_rest._replace(rewards=shifted(task.before, gain)),
                                over_grpc=task.over_grpc._replace(rewards=shifted(task.before, gain)))
            for name, task in report.tasks.items()
        }  # fmt: skip
        return demo.summarise(tasks)

    def shifted(episodes, by):
        return episodes.rewards + by * (np.arange(episodes.rewards.shape[1]) == 0)

    monkeypatch.setattr(demo, "run", moved)
    monkeypatch.setattr(sys, "argv", ["metazoo", "demo", "--models", str(toy), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert (stop.value.code or 0) == code
    assert (tmp_path / "out" / "positions.png").is_file()


def test_a_missing_policy_is_one_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(sys, "argv", ["metazoo", "demo", "--models", str(tmp_path / "models"), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert demo.POLICY in capsys.readouterr().err


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="the pretrained policy is not there yet")
def test_the_pretrained_policy_adapts_to_the_demos_tasks(few, tmp_path):
    report = demo.run(pretrained(tmp_path / "models", demo.POLICY), tmp_path)
    assert report.improved
    assert report.over_rest.mean > report.best_fixed
    lineage = json.loads(
        (tmp_path / "adapted" / f"{demo.POLICY}-left").joinpath("3", "assets.extra", "metazoo.json").read_text()
    )
    assert lineage["adapted"]["from"] == demo.POLICY
