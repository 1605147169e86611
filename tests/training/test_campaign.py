"""Several trainings: what is finished is skipped, what was begun is resumed, and a table says what they cost.

Training itself is in ``test_train``; here a stand-in leaves what it leaves, within the same contract.
"""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

from metazoo.artefact import store
from metazoo.cli import main as cli
from metazoo.cli import support as cli_support
from metazoo.presets.metaworld import METAWORLD_PRESETS
from metazoo.presets.mujoco import MUJOCO_PRESETS
from metazoo.presets.registry import PRESETS
from metazoo.training import campaign
from metazoo.training.campaign import Options, Run, train_all
from tests import toy_policy
from tests.cards.reports import made_up_metadata
from tests.training.tiny_training import TINY

OTHER = dataclasses.replace(TINY, name="other")
THIRD = dataclasses.replace(TINY, name="third")
SECONDS = {"tiny": 60.0, "other": 90.0, "third": 30.0}


class Trainer:
    """In the place of ``train``: interrupted or failing on demand, it remembers what it was asked for."""

    def __init__(self, toy):
        self.toy, self.asked, self.interrupted, self.failing = toy, [], set(), set()

    def __call__(self, preset, out, *, seed, updates, overrides, resume, export_to, callbacks=(), elsewhere=None):
        run = out / preset.name
        version = (export_to or run / "savedmodels") / preset.name / "1"
        self.asked.append((preset.name, "resumed" if resume else "begun"))
        if preset.name in self.failing:
            raise ValueError(f"{preset.name} cannot be trained.")
        if (run / "run.json").exists() and not resume:
            raise FileExistsError(f"{run} holds a training already; go on with --resume.")
        run.mkdir(parents=True, exist_ok=True)
        (run / "run.json").write_text("{}")
        if preset.name in self.interrupted:
            return run
        if not version.exists():
            provenance = {**made_up_metadata()["provenance"], "seconds": SECONDS[preset.name], "seed": seed or 0}
            changes = {"name": preset.name, "provenance": provenance, "evaluation": {}}
            store.publish(self.toy, version.parent, np.zeros(toy_policy.SIZE, np.float32), changes)
        return version


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toy_policy.export_toy(tmp_path_factory.mktemp("toy") / "toy" / "1")


@pytest.fixture
def recorded(monkeypatch):
    """The versions whose card was written."""
    versions = []

    def record(version):
        versions.append(version.parent.name)
        curve = [{"steps": 0, "mean": 1.0}, {"steps": 1, "mean": 2.5}]
        store.replace_metadata(version, {**store.read_metadata(version), "evaluation": {"curve": curve}})

    monkeypatch.setattr(campaign, "record", record)
    return versions


@pytest.fixture
def trainer(toy, recorded, monkeypatch):
    trainer = Trainer(toy)
    monkeypatch.setattr(campaign, "train", trainer)
    return trainer


def test_all_goes_on_where_it_was_left(trainer, recorded, tmp_path, capsys):
    runs = [Run(preset, tmp_path) for preset in (TINY, OTHER, THIRD)]
    trainer.interrupted = {"other"}
    assert not train_all(runs, tmp_path, Options(keep_going=True))
    assert trainer.asked == [("tiny", "begun"), ("other", "begun")] and recorded == ["tiny"]
    trainer.interrupted, trainer.asked = set(), []
    assert train_all(runs, tmp_path, Options(keep_going=True, resume=True))
    assert trainer.asked == [("tiny", "resumed"), ("other", "resumed"), ("third", "begun")]
    assert recorded == ["tiny", "other", "third"], "each once"


def test_the_table_holds_the_logged_wall_clocks_and_their_sum(trainer, tmp_path, capsys):
    runs = [Run(preset, tmp_path) for preset in (TINY, OTHER)]
    assert train_all(runs, tmp_path, Options(export_to=tmp_path / "models"))
    table = (tmp_path / "summary.md").read_text()
    assert "| `tiny` | 0 | 1,500 | 240,000,000 | 1.0 min | 1.00 | 2.50 |" in table
    assert "| `other` | 0 |" in table and "| sum | | | | 2.5 min | | |" in table
    rows = json.loads((tmp_path / "summary.json").read_text())
    assert [(row["preset"], row["state"], row["seconds"]) for row in rows] == [
        ("tiny", "done", 60.0),
        ("other", "done", 90.0),
    ]
    assert rows[0]["version"] == str(tmp_path / "models" / "tiny" / "1")
    assert f"\n{campaign.table(rows)}\n\nThis call took 0.0 min with its evaluations, 1 at once.\n" in table


def test_what_cannot_be_resumed_is_refused_before_anything_is_made(trainer, tmp_path):
    """A mistyped --out must not begin a training of hours anew."""
    out = tmp_path / "mistyped"
    with pytest.raises(ValueError, match="mistyped holds no training of tiny, other to resume; check --out"):
        train_all([Run(TINY, out), Run(OTHER, out)], out, Options(resume=True))
    assert not out.exists() and not trainer.asked


def test_one_that_fails_does_not_stop_the_others_of_all(trainer, tmp_path, capsys):
    runs = [Run(TINY, tmp_path), Run(OTHER, tmp_path)]
    trainer.failing = {"tiny"}
    with pytest.raises(ValueError, match="tiny cannot be trained"):
        train_all(runs, tmp_path, Options())
    with pytest.raises(RuntimeError, match="1 of 2 trainings failed: tiny"):
        train_all(runs, tmp_path, Options(keep_going=True))
    assert trainer.asked[1:] == [("tiny", "begun"), ("other", "begun")]
    assert "| `tiny` | | | | failed: tiny cannot be trained. | | |" in (tmp_path / "summary.md").read_text()


def test_one_training_has_no_table_and_a_card_only_if_wanted(trainer, recorded, tmp_path, capsys):
    assert train_all([Run(TINY, tmp_path)], tmp_path, Options(card=False))
    assert recorded == [] and not (tmp_path / "summary.md").exists()
    assert train_all([Run(TINY, tmp_path)], tmp_path, Options(resume=True))
    assert recorded == ["tiny"]


def test_the_command_trains_seeds_in_directories_of_their_own(trainer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("metazoo.cli.support.PRESETS", {"tiny": TINY})
    monkeypatch.setattr("sys.argv", ["metazoo", "train", "tiny", "--seeds", "1,2", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code in (None, 0)
    assert trainer.asked == [("tiny", "begun")] * 2
    assert {path.name for path in tmp_path.glob("seed-*")} == {"seed-1", "seed-2"}
    assert [row["seed"] for row in json.loads((tmp_path / "summary.json").read_text())] == [1, 2]


def test_all_needs_no_resume_to_go_on(trainer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("metazoo.cli.support.PRESETS", {"tiny": TINY, "other": OTHER})
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["metazoo", "train", "--all", "--out", str(tmp_path)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code in (None, 0)
    assert [how for _, how in trainer.asked] == ["begun", "begun", "resumed", "resumed"]


@pytest.mark.parametrize("installed", [True, False])
def test_all_leaves_out_what_needs_a_missing_extra(installed, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: find("json" if installed else "no_such_module"))
    chosen = {preset.name for preset in cli_support.presets([], every=True)}
    said = capsys.readouterr().err
    missing = set() if installed else {preset.name for preset in (*MUJOCO_PRESETS, *METAWORLD_PRESETS)}
    assert chosen == set(PRESETS) - missing
    assert all(name in said for name in missing) and bool(said) != installed
