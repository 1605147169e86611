"""A search: killed and gone on with it ends as if undisturbed; bad trials end early; the winner is trained anew."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from metazoo.algorithms.common.learner import agent_of
from metazoo.evaluation import play_split
from metazoo.presets.preset import Preset
from metazoo.training import callbacks, train
from metazoo.training.callbacks import DivergedError
from metazoo.tuning import confirm
from metazoo.tuning import tune as tuning
from metazoo.tuning.report import applied, text_of
from metazoo.tuning.space import space_of, start_of
from metazoo.tuning.study import STARTUP_TRIALS, Study
from metazoo.tuning.tune import Options, tune
from tests.training.tiny_training import TINY
from tests.tuning.tiny_study import OPTIONS, SPACE, Trainer
from tests.without_xla import without_xla

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def small():
    """Validations after updates 4 and 6, on few tasks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "EPOCH", 4)
        patch.setattr(callbacks, "VALIDATION_TASKS", 3)
        yield


@pytest.fixture
def trainer(monkeypatch):
    stand_in = Trainer()
    monkeypatch.setattr(tuning, "fitted", stand_in)
    return stand_in


RATE = {"learning_rate": "0.001:1"}


def opened(out, narrowed=RATE, preset=TINY):
    space = space_of(preset, narrowed)
    settings = json.loads((out / "tiny" / "study.json").read_text())
    return Study(out / "tiny", settings, space, start_of(preset, space), 0)


def outcome(out, narrowed):
    """What counted, in its order: state, values, score."""
    trials = opened(out, narrowed).trials(TrialState.COMPLETE, TrialState.PRUNED)
    return [(one.state, one.params, one.value, one.intermediate_values) for one in trials]


def killed_and_gone_on_with(tmp_path, *how):
    """A search that was left alone, and one that was killed in its second trial and gone on with."""
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    tune(TINY, undisturbed, SPACE, OPTIONS)
    program = [sys.executable, "-m", "tests.tuning.tiny_study", str(killed), *how]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [one.state for one in opened(killed, SPACE).trials()] == [TrialState.COMPLETE, TrialState.RUNNING]
    report = tune(TINY, killed, SPACE, OPTIONS)
    assert report["trials"]["complete"] == OPTIONS.trials
    return undisturbed, killed


@pytest.mark.slow  # interrupted in this process, below, it is quick
def test_killed_in_a_trial_it_goes_on_to_the_same_end(tmp_path, trainer):
    undisturbed, killed = killed_and_gone_on_with(tmp_path)
    assert outcome(killed, SPACE) == outcome(undisturbed, SPACE)
    rate = opened(killed, SPACE).trials()[1].params["learning_rate"]
    again = [made for made in trainer.made if made[2]]
    assert again == [(float(f"{rate:.3g}"), 0, True)], "its training was resumed, not begun again"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_after_a_checkpoint_the_training_itself_goes_on(tmp_path):
    """Really trained, and killed after the first of a trial's two checkpoints, the third of all."""
    undisturbed, killed = killed_and_gone_on_with(tmp_path, "--trained")
    assert outcome(killed, SPACE) == outcome(undisturbed, SPACE)


def test_the_winner_and_the_preset_are_trained_with_fresh_seeds(tmp_path, trainer, monkeypatch):
    """Weights are those that a seed begins with: what is evaluated, and of whom, is looked at here."""
    without_xla(monkeypatch)
    seeds = []

    def untrained(preset, run, seed, total, threads, resume):
        seeds.append((preset.learning_rate, seed))
        return train.Fitted(train.build(preset, seed), None, True)

    monkeypatch.setattr(confirm, "fitted", untrained)
    options = Options(trials=2, updates=4, confirm=1)
    report = tune(TINY, tmp_path, RATE, options)
    won = float(report["best"]["settings"]["learning_rate"])
    assert seeds == [(won, 1), (TINY.learning_rate, 1)], "a seed that no trial had"
    winner, preset = report["confirmed"]["winner"], report["confirmed"]["preset"]
    assert winner == preset and winner["seeds"] == [1]
    learner = train.build(TINY, 1)
    played, _ = play_split(agent_of(learner), learner.family, "validation", 3, TINY.episodes, TINY.steps, 1)
    assert winner["scores"] == [pytest.approx(played[1:].mean(), rel=1e-5)]
    assert "preset  with fresh seeds" in text_of(report)
    assert tune(TINY, tmp_path, RATE, options) == report and len(seeds) == 2, "called again, nothing is made anew"


def test_the_zoo_s_preset_is_compared_where_set_only_begins_the_search(tmp_path, trainer, monkeypatch):
    """And what diverges has no figure; nor is trained twice what won as it began."""
    made = []

    def diverges(preset, run, seed, total, threads, resume):
        made.append((run.parent.name, preset.learning_rate, preset.config["episodes"]))
        raise DivergedError("Training diverged.")

    monkeypatch.setattr(confirm, "fitted", diverges)
    monkeypatch.setitem(tuning.PRESETS, "tiny", TINY)
    bad = train.override(TINY, {"learning_rate": "0.9", "episodes": "3"})
    report = tune(bad, tmp_path / "bad", RATE, Options(trials=2, updates=4, confirm=1))
    (winner, won, _), (name, rate, _) = made
    assert (name, rate) == ("preset", TINY.learning_rate) and winner.startswith("trial-") and won != rate
    assert {episodes for *_, episodes in made} == {3}
    assert report["confirmed"]["winner"] == {"seeds": [1], "scores": [None], "mean": None}
    assert "winner  with fresh seeds: diverged (diverged)" in text_of(report)
    made.clear()
    report = tune(TINY, tmp_path / "same", RATE, Options(trials=1, updates=4, confirm=2))
    assert [one[0] for one in made] == ["preset"] * 2
    assert report["confirmed"]["winner"] == report["confirmed"]["preset"]


def test_values_of_set_that_the_zoo_s_do_not_go_with_stay(tmp_path, trainer, monkeypatch):
    monkeypatch.setitem(tuning.PRESETS, "tiny", TINY)
    given = train.override(TINY, {"epochs": "3", "outer": "ppo"})
    space = space_of(given, {"outer": "ppo,trpo"})
    assert tuning._own_settings(given, space) == {}


def test_a_trial_below_the_median_ends_early(tmp_path, trainer):
    report = tune(TINY, tmp_path, RATE, Options(trials=25, confirm=0))
    trials = opened(tmp_path).trials()
    early = [one for one in trials if one.state is TrialState.PRUNED]
    assert early and len(early) == report["trials"]["ended_early"]
    for one in early:
        assert one.number >= STARTUP_TRIALS
        earlier = sorted(t.intermediate_values[4] for t in trials[: one.number] if t.state is TrialState.COMPLETE)
        assert one.value < earlier[len(earlier) // 2]
    assert (tmp_path / "tiny" / "study.png").read_bytes().startswith(b"\x89PNG")


def test_it_finds_better_settings_from_a_bad_start(tmp_path, trainer):
    report = tune(TINY, tmp_path, {**RATE, "gamma": "0.5:1"}, Options(trials=25, confirm=0))
    assert trainer.made[0][0] == TINY.learning_rate
    assert -report["best"]["score"] < 0.1 * (TINY.learning_rate - 0.01)
    importance = report["importance"]
    assert importance.keys() == {"learning_rate", "gamma"} and sum(importance.values()) == pytest.approx(1)
    assert importance["learning_rate"] > importance["gamma"], "which plays no part in the score"


def test_trials_that_diverge_count_as_ended_early(tmp_path, trainer):
    trainer.error = DivergedError("Training diverged.")
    with pytest.raises(ValueError, match="no trial that ran to its end"):
        tune(TINY, tmp_path, RATE, Options(trials=2, confirm=0))
    assert [one.user_attrs["why"] for one in opened(tmp_path).trials()] == ["Training diverged."] * 2


def test_another_failure_ends_the_search_and_its_trial_is_drawn_again(tmp_path, trainer):
    trainer.error = OSError("No space left.")
    with pytest.raises(OSError, match="No space"):
        tune(TINY, tmp_path, RATE, Options(trials=2, confirm=0))
    trainer.error = None
    assert tune(TINY, tmp_path, RATE, Options(trials=2, confirm=0))["trials"]["complete"] == 2


def test_interrupted_the_same_trial_is_resumed(tmp_path, trainer, capsys):
    trainer.interrupt_at = 1
    assert tune(TINY, tmp_path, RATE, Options(trials=3, confirm=0)) is None
    assert "the same command goes on from there" in capsys.readouterr().err
    assert tune(TINY, tmp_path, RATE, Options(trials=3, confirm=0)) is not None
    assert trainer.made[2] == (*trainer.made[1][:2], True)
    assert len(trainer.made) == 4


def test_a_study_is_shared(tmp_path, trainer):
    """While one holds a trial, another takes others, does not take it up, and does not train the winner anew."""
    tune(TINY, tmp_path, RATE, Options(trials=1, confirm=0))
    study = opened(tmp_path)
    held = study.take(3)
    report = tune(TINY, tmp_path, RATE, Options(trials=3, confirm=2))
    assert report["trials"]["complete"] == 2 and "confirmed" not in report
    study.end(held, -1.0, update=4)
    assert study.take(3) is None and study.done == 3


def test_no_trial_begins_after_the_time(tmp_path, trainer):
    with pytest.raises(ValueError, match="no trial that ran to its end"):
        tune(TINY, tmp_path, RATE, Options(trials=3, minutes=0, confirm=0))
    assert not trainer.made


def test_values_that_do_not_go_together_are_no_failure(tmp_path, trainer):
    report = tune(TINY, tmp_path, {"epochs": "1,3", "outer": "policy_gradient,ppo"}, Options(trials=12, confirm=0))
    refused = [
        one.user_attrs["why"]
        for one in opened(tmp_path, {"epochs": "1,3", "outer": "policy_gradient,ppo"}).trials(TrialState.PRUNED)
    ]
    assert any(why.startswith("epochs is 3") for why in refused)
    assert report["trials"]["complete"] >= 1


def test_another_study_in_its_place_is_refused(tmp_path, trainer):
    tune(TINY, tmp_path, RATE, Options(trials=1, confirm=0))
    with pytest.raises(ValueError, match="holds a study with another space and updates; go on"):
        tune(TINY, tmp_path, {"gamma": "0.5:1"}, Options(trials=1, updates=3, confirm=0))


def test_what_won_is_told_as_command_and_as_preset(tmp_path, trainer):
    report = tune(TINY, tmp_path, RATE, Options(trials=5, confirm=0))
    settings = report["best"]["settings"]
    text = text_of(report)
    assert f"metazoo train tiny --set learning_rate={settings['learning_rate']}" in text
    assert "importance" in text
    written = applied(TINY, settings)
    assert eval(written, {"Preset": Preset}) == train.override(TINY, settings)
