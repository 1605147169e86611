"""``metazoo federate`` as a person meets it; the rounds are in ``tests/federated``."""

import sys

import pytest

from metazoo.cli import federate as command
from metazoo.cli import main as cli
from metazoo.federated import simulate


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command; (exit code, standard output, standard error)."""

    def call(*arguments):
        words = ["metazoo", "federate", *arguments, "--out", tmp_path]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["rl2_navigation"],
            "rl2_navigation is trained by rl2, whose update is no mean over clients; choose a preset of",
        ),
        (["maml_navigaton"], "there is no preset 'maml_navigaton'; did you mean maml_navigation,"),
        ([], "name a preset, or give --family MODULE:OBJECT with --algorithm NAME."),
        (["maml_navigation", "--clients", "1"], "--clients is 1; it must be an integer from 2 to 100,000."),
        (["maml_navigation", "--sampled", "40"], "sampled is 40; with 32 clients it must be from 1 to 32."),
        (["maml_navigation", "--dropout", "1"], "dropout is 1.0; it must be at least 0 and below 1."),
        (["maml_navigation", "--step", "sum"], "--step is 'sum'; choose adam or average."),
        (
            ["maml_navigation", "--epsilon", "5", "--delta", "0.1"],
            "delta is 0.1; it must be above 0 and below 1 / clients",
        ),
        (
            ["maml_navigation", "--set", "outer=trpo"],
            "maml_navigation has outer=trpo; a federation's round is one step",
        ),
        (["maml_navigation", "--resume"], "holds no training to resume; check --out, or leave --resume out."),
        (
            ["maml_navigation", "--name", "maml_cartpole"],
            "the zoo has a policy 'maml_cartpole' that was trained otherwise",
        ),
    ],
)
def test_a_wrong_request_is_answered_in_one_sentence(run, words, sentence, tmp_path):
    code, printed, said = run(*words)
    assert (code, printed) == (2, "")
    assert sentence in said.splitlines()[-1]
    assert len(said.splitlines()) <= 2  # before it, what was begun
    assert not list(tmp_path.iterdir())


def test_without_flower_it_says_what_to_install(run, monkeypatch):
    found = simulate.importlib.util.find_spec
    hidden = lambda name, *more: None if name == "flwr" else found(name, *more)  # noqa: E731
    monkeypatch.setattr(simulate.importlib.util, "find_spec", hidden)
    code, _, said = run("maml_navigation")
    assert code == 2
    assert said == (
        "metazoo: metazoo federate needs Flower and its simulation engine: pip install 'metazoo[federated]'.\n"
    )


def test_help_shows_examples(run):
    code, printed, _ = run("--help")
    assert code == 0
    assert "metazoo federate maml_navigation --clients 32 --rounds 200 --resume" in printed


def test_the_card_s_command_has_no_places(monkeypatch):
    words = ["metazoo", "federate", "maml_navigation", "--clients", "4", "--out", "here", "--resume", "--workers=2"]
    monkeypatch.setattr(sys, "argv", words)
    assert command._command() == "metazoo federate maml_navigation --clients 4"
