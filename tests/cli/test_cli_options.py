"""Numeric options: whatever is typed, each is checked before any work, and says its range."""

import re
import sys

import pytest
import typer

from metazoo.cli import main as cli
from tests.command import metazoo

PROGRAM = typer.main.get_command(cli.app)
OPTIONS = {(name, param.opts[0]): param for name, command in PROGRAM.commands.items() for param in command.params}
NUMERIC = [key for key, param in OPTIONS.items() if param.metavar == "N"]
BEFORE = {"train": ["maml_cartpole"], "evaluate": ["none"], "adapt": ["none", "--env", "CartPole-v1"]}
"""What else a command needs to come to its work."""
RANGE = re.compile(r"^metazoo: (--[a-z-]+) is (.*); it must be an? (integer|number) from (\S+) to (\S+)\.$")


def test_every_option_that_takes_a_number_says_its_range():
    plain = [key for key, param in OPTIONS.items() if param.type.name in ("integer", "int", "float", "integer range")]
    assert plain == [], "declare it with metazoo.cli.options"
    assert {("evaluate", "--tasks"), ("adapt", "--seed"), ("serve", "--rest-port"), ("train", "--jobs")} <= set(NUMERIC)


@pytest.mark.parametrize(("command", "option"), NUMERIC, ids=" ".join)
@pytest.mark.parametrize(
    "value",
    ["-1", "-0.5", "nan", "inf", "-inf", "1e400", "9" * 5000, "100000000000000000000", "", "many", "0x10", "1,5"],
)
def test_a_number_out_of_range_is_one_sentence(monkeypatch, capsys, command, option, value):
    monkeypatch.setattr(sys, "argv", ["metazoo", command, *BEFORE.get(command, []), f"{option}={value}"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    printed, said = capsys.readouterr()
    found = RANGE.match(said.rstrip("\n"))
    assert (stop.value.code, printed) == (cli.WRONG_REQUEST, "") and found, said
    assert found[1] == option and value[:40] in found[2]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("command", "option"), NUMERIC, ids=" ".join)
def test_both_ends_of_a_range_are_taken(monkeypatch, capsys, command, option, number):
    """The command goes on to the next thing that is wrong with it."""
    monkeypatch.setattr(sys, "argv", ["metazoo", command, f"{option}=none"])
    with pytest.raises(SystemExit):
        cli.main()
    end = RANGE.match(capsys.readouterr().err.rstrip("\n")).groups()[3 + number].replace(",", "")
    param = OPTIONS[command, option]
    assert param.callback(None, param, end) == float(end)


def test_the_program_itself_refuses_them():
    for option, words in (
        ("--seed", "adapt maml_cartpole --env CartPole-v1 --episodes 1 --steps 1 --seed -1"),
        ("--tasks", "evaluate maml_cartpole --tasks 100000000000000000000"),
        ("--episodes", "evaluate maml_cartpole --tasks 2 --episodes 100000000"),
    ):
        done = metazoo(*words.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert RANGE.match(done.stderr.strip())[1] == option


def test_seeds_are_checked_one_by_one():
    for seeds in ("0,-1", "1,two", "0,99999999999", "", ","):
        done = metazoo("train", "maml_cartpole", "--seeds", seeds)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"metazoo: --seeds is {seeds!r}; it must be integers from 0 to 2,147,483,647")
