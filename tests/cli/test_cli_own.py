"""Families of users on the command line: begun, described, trained, evaluated, moved, measured."""

import json
import subprocess
import sys

import pytest

from metazoo import bench
from metazoo.artefact import store
from metazoo.bench import host_families, timing
from metazoo.cli import main as cli
from metazoo.hub import listing
from metazoo.tasks import own
from metazoo.training import callbacks, train
from tests.own_families import working_in
from tests.without_xla import without_xla

TRAIN = ("train", "--family", "lift_robot:LiftRobot", "--family-arg", "horizon=4", "--updates", "1")

WATCHING = """
import json
from pathlib import Path
import keras

def watch():
    return keras.callbacks.LambdaCallback(on_train_batch_end=write)

def write(update, logs):
    Path("watched.json").write_text(json.dumps({name: float(value) for name, value in logs.items()}))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "EPOCH", 2)
    monkeypatch.setattr(callbacks, "ON_HOST", (3, 3))
    without_xla(monkeypatch)
    with working_in(tmp_path):
        yield tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the program in this process; (exit code, standard output, standard error)."""

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["metazoo", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return call


def test_a_family_is_begun_described_trained_moved_and_measured(here, run):
    code, said, _ = run("new", "family", "lift_robot")
    assert code == 0 and said.splitlines()[-1] == "metazoo train --family lift_robot:LiftRobot --algorithm rl2"
    about = json.loads(run("card", "--family", "lift_robot:LiftRobot", "--json")[1])
    assert about["horizon"] == 50 and about["presets"]["rl2"]["name"] == "rl2_lift_robot"
    assert "mass               0.5 to 1.5" in run("card", "--family", "lift_robot:LiftRobot")[1]
    (here / "watching.py").write_text(WATCHING)
    options = ("--set", "tasks=2", "--no-card", "--no-baseline", "--export", "models")
    code, said, error = run(*TRAIN, "--algorithm", "maml", *options, "--callback", "watching:watch")
    assert code == 0, error
    assert json.loads((here / "watched.json").read_text())["return_0"] < 0
    assert said.splitlines() == ["models/maml_lift_robot/1"]
    assert listing.entries(here / "models")[0]["does"] == "Box(1)"
    evaluate = ("evaluate", "models/maml_lift_robot", "--tasks", "3", "--episodes", "2", "--steps", "1", "--json")
    report = json.loads(run(*evaluate)[1])
    assert set(report["baselines"]) == {"random"} and report["horizon"] == 4
    assert run(*evaluate, "--video", "film.gif")[0] == 0 and (here / "film.gif").read_bytes().startswith(b"GIF")
    task = (
        "adapt",
        "models/maml_lift_robot",
        "--task",
        "motor=-1",
        "--episodes",
        "2",
        "--test-episodes",
        "2",
        "--json",
    )
    assert json.loads(run(*task)[1])["after"]["episodes"] == 2
    (here / "lift_robot.py").rename(here / "moved.py")
    del sys.modules["lift_robot"]  # and what is known of it, as in another process
    own._GIVEN.clear()
    code, _, error = run(*evaluate)
    assert code == cli.WRONG_REQUEST and "If it is elsewhere now, say so with --family." in error
    assert json.loads(run(*evaluate, "--family", "moved:LiftRobot")[1])["curve"] == report["curve"]
    own._GIVEN.clear()
    assert json.loads(run(*task, "--family", "moved:LiftRobot")[1])["after"]["episodes"] == 2
    assert store.read_metadata(here / "models/maml_lift_robot/1")["family_from"] == "lift_robot:LiftRobot"


@pytest.mark.slow  # evaluating and adapting, above, are the quick ones
def test_a_family_that_was_moved_is_named_to_export_and_explain(here, run):
    run("new", "family", "lift_robot")
    options = ("--set", "tasks=2", "--no-card", "--no-baseline", "--export", "models")
    assert run(*TRAIN, "--algorithm", "maml", *options)[0] == 0
    (here / "lift_robot.py").rename(here / "moved.py")
    del sys.modules["lift_robot"]
    for words in (
        ("export", "models/maml_lift_robot", "--int8"),
        ("explain", "models/maml_lift_robot", "--tasks", "20"),
    ):
        own._GIVEN.clear()
        code, _, error = run(*words)
        assert code == cli.WRONG_REQUEST and "If it is elsewhere now, say so with --family." in error
        code, _, error = run(*words, "--family", "moved.py:LiftRobot")
        assert code == 0, error


def test_families_of_users_are_measured_like_those_of_the_zoo(here, run, monkeypatch):
    """In this process, and once: that each measurement has a process, ``tests/bench`` says."""
    monkeypatch.setattr(bench, "_in_subprocess", lambda group, *given: bench.GROUPS[group].measure(*given))
    monkeypatch.setattr(host_families, "stay_on", lambda cores: None)
    monkeypatch.setitem(timing.take_turns.__kwdefaults__, "seconds", 0.0)
    run("new", "family", "lift_robot")
    code, said, error = run(
        "bench", "families", "--family", "lift_robot:LiftRobot", "--family-arg", "horizon=20", "--json"
    )
    assert code == 0, error
    (row,) = json.loads(said)
    assert row["what"] == "lift_robot" and row["env_steps_per_s"] > 0


@pytest.mark.slow
def test_the_starting_test_passes(here, run):
    run("new", "family", "lift_robot")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_lift_robot.py"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_nothing_is_overwritten(here, run):
    assert run("new", "family", "lift_robot")[0] == 0
    (here / "lift_robot.py").unlink()
    code, _, error = run("new", "family", "lift_robot")
    assert code == cli.WRONG_REQUEST and "test_lift_robot.py exists already; choose another name" in error
    assert not (here / "lift_robot.py").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("new", "robot", "a"), "there is nothing new of the kind 'robot'; metazoo new family NAME"),
        (("new", "family", "My Robot"), "the name is 'My Robot'; it must be one of a module"),
        (("new", "family", "class"), "the name is 'class'; it must be one of a module"),
        (("train", "--family", "a:B"), "--family is a:B; say how to train on it, such as --algorithm rl2"),
        (("train", "maml_cartpole", "--family", "a:B", "--algorithm", "rl2"), "give it, or presets, not both"),
        (("train", "maml_cartpole", "--algorithm", "rl2"), "--algorithm needs --family MODULE:OBJECT"),
        (("train", "maml_cartpole", "--family-arg", "a=1"), "--family-arg is 'a=1'; it needs --family"),
        (("train", "--family", "nowhere:B", "--algorithm", "rl2"), "there is no module 'nowhere' here"),
        (("card",), "give the name of a policy, or --family MODULE:OBJECT"),
        (("bench", "learners", "--family", "a:B"), "it goes with metazoo bench families"),
        (("adapt", "a", "--env", "b", "--family", "c:D"), "--family is c:D; it needs --task"),
        (("find", "--env", "Nowhere-v9"), "Nowhere-v9"),
        (("find", "--env", "CartPole-v1", "--models", "nowhere"), "there is no models directory nowhere"),
    ],
)
def test_wrong_requests_are_one_sentence(here, run, arguments, said):
    code, printed, error = run(*arguments)
    lines = [line for line in error.splitlines() if line.startswith("metazoo: ")]
    assert (code, printed, len(lines)) == (cli.WRONG_REQUEST, "", 1) and said in lines[0]
