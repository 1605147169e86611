"""``metazoo tune`` as a person meets it; the search itself is in ``tests/tuning``."""

import importlib.util
import json
import sys

import pytest

from metazoo.cli import main as cli
from metazoo.cli.new import new
from metazoo.tuning import tune as tuning
from tests.own_families import working_in
from tests.tuning.tiny_study import Trainer

NAME = "maml_navigation"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command with a stand-in for training; (exit code, standard output, standard error)."""
    trainer = Trainer()
    monkeypatch.setattr(tuning, "fitted", trainer)

    def call(*arguments):
        words = ["metazoo", "tune", NAME, "--out", tmp_path, "--confirm", "0", *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    call.trainer = trainer
    return call


def test_it_prints_the_command_that_trains_with_what_won(run, tmp_path):
    code, printed, _ = run("--trials", "3", "--space", "learning_rate=0.001:0.02", "--set", "clip_norm=0.7")
    assert code == 0
    won = json.loads((tmp_path / NAME / "study.json").read_text())
    assert won["preset"]["config"]["clip_norm"] == 0.7
    assert printed.splitlines()[-1].startswith(f"metazoo train {NAME} --set clip_norm=0.7 --set learning_rate=0.0")
    assert str(tmp_path / NAME / "study.png") in printed


def test_it_goes_on_and_prints_the_preset_that_won(run):
    arguments = ("--space", "learning_rate=0.001:0.02", "--json")
    first = json.loads(run("--trials", "2", *arguments)[1])
    code, printed, _ = run("--trials", "4", *arguments, "--apply")
    second = json.loads(printed)
    assert code == 0
    assert (first["trials"]["complete"], second["trials"]["complete"]) == (2, 4)
    assert len(run.trainer.made) == 4
    assert f"learning_rate={float(second['best']['settings']['learning_rate'])}" in second["preset"]


def test_interrupted_it_says_so_in_its_exit_code(run):
    run.trainer.interrupt_at = 1
    code, printed, _ = run("--trials", "2")
    assert (code, printed) == (130, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--space", "learning_rate"], "--space is 'learning_rate'; it must be KEY=VALUE."),
        (["--space", "learning_rat=0.1:0.2"], "did you mean learning_rate?"),
        (["--space", "learning_rate=0.2:0.1"], "the first number must be below the second."),
        (["--set", "gamma=2"], "gamma is 2.0; it must lie in [0.0, 1.0]."),
        (["--trials", "0"], "--trials is 0; it must be an integer from 1"),
        (["--timeout", "-1"], "--timeout is -1; it must be a number from 0"),
    ],
)
def test_wrong_requests_are_answered_in_a_sentence(run, arguments, said):
    code, printed, error = run(*arguments)
    assert (code, printed) == (cli.WRONG_REQUEST, "")
    assert said in error and "Traceback" not in error
    assert not run.trainer.made


def test_without_optuna_it_says_what_to_install(run, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "optuna" else found(name, *rest)
    )
    code, _, error = run()
    assert code == cli.WRONG_REQUEST
    assert "pip install 'metazoo[tune]'" in error


def test_a_family_of_the_users_own_is_tuned_too(run, tmp_path, monkeypatch, capsys):
    with working_in(tmp_path):
        new("family", "lift_robot", tmp_path)
        words = ["metazoo", "tune", "--family", "lift_robot:LiftRobot", "--algorithm", "maml", "--out", "studies"]
        words += ["--confirm", "0", "--trials", "2", "--space", "learning_rate=0.001:0.02", "--set", "tasks=20"]
        monkeypatch.setattr(sys, "argv", words)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed, error = capsys.readouterr()
        assert stop.value.code == 0, error
        last = printed.splitlines()[-1]
        assert last.startswith("metazoo train --family lift_robot:LiftRobot --algorithm maml --name maml_lift_robot")
        assert "--set tasks=20" in last and "--set learning_rate=0.0" in last
        study = json.loads((tmp_path / "studies" / "maml_lift_robot" / "study.json").read_text())
        assert study["preset"]["family_from"] == "lift_robot:LiftRobot"


@pytest.mark.parametrize(
    "words", [[], ["maml_navigation", "--family", "a:B"], ["--family", "a:B"], ["--algorithm", "rl2"]]
)
def test_a_preset_or_a_family_is_tuned_not_both(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["metazoo", "tune", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == cli.WRONG_REQUEST
    assert "name a preset, or give --family MODULE:OBJECT with --algorithm NAME" in capsys.readouterr().err
