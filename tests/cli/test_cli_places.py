"""Places that cannot be written: refused before the work; and what was measured is printed whatever fails after it."""

import json
import os
import sys

import pytest

from metazoo.artefact import lineage
from metazoo.cards import plots, report, video
from metazoo.cli import main as program
from metazoo.cli import places, support
from metazoo.pretrained import Pretrained
from tests import toy_policy
from tests.cards.reports import made_up_report
from tests.command import metazoo


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The base path of a policy; not to be changed."""
    models = tmp_path_factory.mktemp("models")
    toy_policy.export_toy(models / "toy" / "1")
    return models / "toy"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the program in this process; (exit code, standard output, standard error)."""

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["metazoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            program.main()
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def unread(monkeypatch):
    """No command comes to TensorFlow, so it has not begun to work."""
    monkeypatch.setattr(support, "load_tensorflow", lambda: pytest.fail("the work began"))


@pytest.fixture
def bad(tmp_path):
    """Directories that are none, by what is wrong with them."""
    (tmp_path / "file").write_text("kept")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    return {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "deeper" / "out",
        "a link to nowhere": tmp_path / "dangling",
        "not to be written": "/proc/out",
    }


WRITERS = {
    "train": ["train", "maml_cartpole", "--out"],
    "train, export": ["train", "maml_cartpole", "--export"],
    "adapt": ["adapt", "maml_cartpole", "--env", "CartPole-v1", "--out"],
    "demo": ["demo", "--out"],
    "download": ["download", "maml_cartpole", "--to"],
    "push": ["push", "maml_cartpole", "--to"],
}


@pytest.mark.parametrize("command", WRITERS)
def test_a_directory_that_cannot_be_written_is_refused_before_the_work(
    run, unread, bad, tmp_path, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    for place in bad.values():
        *words, option = WRITERS[command]
        code, printed, said = run(*words, option, place)
        assert (code, printed) == (2, "Nothing was computed.\n"), said
        assert said.startswith(f"metazoo: {option} is {place}; ") and said.count("\n") == 1
    assert (tmp_path / "file").read_text() == "kept" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("option", "ending"), [("--plot", ".png"), ("--plot", ".SVG"), ("--video", ".gif")])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(run, unread, tmp_path, option, ending):
    (tmp_path / "file").write_text("kept")
    (tmp_path / f"directory{ending}").mkdir()
    for place in (
        f"/nonexist/x{ending}", tmp_path / "file" / f"x{ending}", tmp_path / f"directory{ending}", f"/proc/x{ending}",
        tmp_path / "x.nosuchformat", tmp_path / "x", tmp_path / f"{ending}",
    ):  # fmt: skip
        code, printed, said = run("evaluate", "maml_cartpole", option, place)
        assert (code, printed) == (2, "Nothing was computed.\n"), place
        assert said.startswith(f"metazoo: {option} is {place}; ") and said.count("\n") == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_places_that_can_be_written_are_left_as_they_are(tmp_path):
    (tmp_path / "old.png").write_text("old")
    for good in (tmp_path, tmp_path / "new" / "deep", None):
        places.directory(good, "--out")
    for good in (tmp_path / "old.png", tmp_path / "new.PNG", None):
        places.file(good, "--plot", (".png", ".svg"))
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"] and (tmp_path / "old.png").read_text() == "old"


def test_relative_places_are_those_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for good in ("out", "./out/deep", "."):
        places.directory(type(tmp_path)(good), "--out")
    with pytest.raises(ValueError, match="--plot is gone/x.png; there is no directory"):
        places.file(type(tmp_path)("gone/x.png"), "--plot", (".png",))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_rights_are_looked_at(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="nothing can be written in"):
        places.directory(tmp_path / "out", "--out")


def test_a_family_without_films_is_refused_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "evaluate_preset", lambda *_, **__: pytest.fail("the work began"))
    for name in ("maml_sinusoid", "rl2_bandit_k5_n10", "rl2_mdp_n10"):
        code, printed, said = run("evaluate", name, "--video", tmp_path / "film.gif")
        assert (code, printed) == (2, "") and f"metazoo: {name} is of the family" in said and "films are of" in said
    assert not list(tmp_path.iterdir())


@pytest.fixture
def measured(monkeypatch):
    """Evaluating takes no time."""
    made = made_up_report("maml_cartpole", (31.5, 190.5))
    monkeypatch.setattr(report, "evaluate_preset", lambda *_, **__: made)
    return made


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_measured_is_printed_though_the_picture_fails(run, measured, tmp_path, monkeypatch, as_json):
    monkeypatch.setattr(plots, "adaptation_curve", full)
    monkeypatch.setattr(video, "film", full)
    for option in (["--plot", tmp_path / "curve.png"], ["--video", tmp_path / "film.gif"]):
        code, printed, said = run("evaluate", "maml_cartpole", *option, *(["--json"] if as_json else []))
        assert code == 1 and "No space left on device" in said
        assert json.loads(printed) == measured if as_json else "190.50" in printed


def test_policies_that_were_measured_are_printed_though_the_next_one_fails(run, measured, monkeypatch):
    answers = iter([measured])
    monkeypatch.setattr(report, "evaluate_preset", lambda *_, **__: next(answers, None) or full())
    code, printed, _ = run("evaluate", "maml_cartpole", "dr_cartpole", "--json")
    assert (code, json.loads(printed)) == (1, [measured])


def test_what_adapting_brought_is_printed_though_publishing_fails(run, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(Pretrained, "publish", full)
    words = ("--env", "CartPole-v1", "--episodes", 1, "--steps", 1, "--test-episodes", 2, "--out", tmp_path, "--json")
    code, printed, said = run("adapt", toy, *words)
    result = json.loads(printed)
    assert code == 1 and "No space left on device" in said
    assert result["published"] is None and result["after"]["episodes"] == 2


def test_a_name_that_another_policy_has_is_refused_before_the_work(run, toy, tmp_path, monkeypatch):
    toy_policy.export_toy(tmp_path / "toy-CartPole-v1" / "1")
    monkeypatch.setattr(Pretrained, "adapt", lambda *_, **__: pytest.fail("the work began"))
    code, printed, said = run("adapt", toy, "--env", "CartPole-v1", "--out", tmp_path)
    assert (code, printed) == (2, "") and "There is a model toy-CartPole-v1 that was not adapted from toy" in said


@pytest.mark.parametrize(
    "label", ["CartPole-v1", "_private", "-.-", "..", "", "é" * 9, "x" * 500, "a b/c", "x" * 63 + ".y", "ünder_scores"]
)
def test_every_label_becomes_a_name_that_can_be_published(label):
    lineage.check_task_name(support.task_name(label))


def test_the_program_itself_refuses_before_it_works(tmp_path):
    (tmp_path / "file").touch()
    for words in (
        ["evaluate", "maml_cartpole", "--tasks", "2", "--plot", "curve.nosuchformat"],
        ["evaluate", "maml_cartpole", "--tasks", "2", "--plot", f"{tmp_path}/file/curve.png"],
        ["adapt", "maml_cartpole", "--env", "CartPole-v1", "--out", f"{tmp_path}/file"],
    ):
        done = metazoo(*words)
        assert (done.returncode, done.stdout) == (2, "Nothing was computed.\n")
        assert done.stderr.startswith(f"metazoo: {words[-2]} is ")
