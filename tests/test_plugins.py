"""Learners and presets of other packages come by entry points, as families do; what cannot be used is left out."""

from importlib.metadata import EntryPoint

import pytest

from metazoo import plugins
from metazoo.algorithms import registry as learners
from metazoo.algorithms.common.bilevel import BilevelLearner
from metazoo.presets import registry as presets
from metazoo.presets.preset import Preset


class Theirs(BilevelLearner):
    name_in_registry = "theirs"


PRESET = Preset("theirs", "a preset of another package", "cartpole", "maml", {}, updates=1, episodes=1, steps=1)
PAIR = (PRESET, PRESET.__class__(**{**PRESET.__dict__, "name": "theirs_too"}))
TAKEN = PRESET.__class__(**{**PRESET.__dict__, "name": "maml_cartpole"})
NOTHING = object()


def points(monkeypatch, group: str, value: str) -> None:
    found = [EntryPoint("mine", f"tests.test_plugins:{value}", group)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found if group == found[0].group else [])


def test_a_learner_comes_by_an_entry_point(monkeypatch):
    points(monkeypatch, "metazoo.learners", "Theirs")
    assert learners.load_learners() == {**learners.LEARNERS, "theirs": Theirs}


@pytest.mark.parametrize(("value", "names"), [("PRESET", ["theirs"]), ("PAIR", ["theirs", "theirs_too"])])
def test_presets_come_by_an_entry_point_one_or_several(monkeypatch, value, names):
    points(monkeypatch, "metazoo.presets", value)
    assert list(presets.load_presets()) == [*presets.PRESETS, *names]


@pytest.mark.parametrize(
    ("load", "group", "value", "why"),
    [
        (learners.load_learners, "metazoo.learners", "NOTHING", "not a subclass of Learner"),
        (presets.load_presets, "metazoo.presets", "NOTHING", "not a Preset, nor a tuple of them"),
        (presets.load_presets, "metazoo.presets", "TAKEN", "the name 'maml_cartpole' is taken"),
        (presets.load_presets, "metazoo.presets", "gone", "has no attribute 'gone'"),
    ],
)
def test_an_unusable_entry_point_is_left_out_with_a_warning(monkeypatch, load, group, value, why):
    points(monkeypatch, group, value)
    with pytest.warns(UserWarning, match=why):
        found = load()
    assert list(found) == list(learners.LEARNERS if "learners" in group else presets.PRESETS)
