"""Into how many shares an update is cut, and what is refused."""

import dataclasses
import re

import pytest

from metazoo.distributed.shares import config_of, possible, share_of, shares_for
from metazoo.distributed.training import OnRay
from metazoo.presets.registry import PRESETS
from metazoo.tasks import own
from tests.distributed.tiny import MAML, NAVIGATION, TASKS, Preset

RL2 = Preset(**NAVIGATION, algorithm="rl2", config={"tasks": 12, "replicas": 2, "minibatches": 3, "episodes": 2})


def test_shares_hold_whole_replicas_and_a_part_of_every_minibatch():
    assert possible(config_of(MAML)) == [1, 2, 4, 8]
    assert possible(config_of(RL2)) == [1, 2]  # of 4 tasks each, 3 minibatches would not divide them; of 6, all does


@pytest.mark.parametrize(
    ("preset", "asked", "workers", "shares"),
    [(MAML, None, 1, 4), (MAML, None, 4, 4), (MAML, 8, 5, 8), (RL2, None, 2, 2)],
)
def test_the_usual_number_does_not_depend_on_the_workers(preset, asked, workers, shares):
    assert shares_for(preset, asked, workers) == shares


@pytest.mark.parametrize(
    ("asked", "workers", "sentence"),
    [
        (3, 1, "--shares is 3; the 8 tasks of tiny can be cut into 1, 2, 4 or 8 shares."),
        (None, 5, "--workers is 5; tiny is cut into 4 shares, and every worker needs one: --shares 8 makes enough"),
        (None, 9, "--workers is 9; the 8 tasks of tiny make at most 8 shares, and every worker needs one."),
    ],
)
def test_what_cannot_be_cut_is_refused(asked, workers, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        shares_for(MAML, asked, workers)


def test_an_outer_step_that_is_searched_for_is_refused():
    trpo = dataclasses.replace(MAML, config={**MAML.config, "outer": "trpo"})
    with pytest.raises(ValueError, match=r"^tiny has outer=trpo, .* train it without --ray\.$"):
        shares_for(trpo, None, 1)


def test_a_family_that_only_this_program_has_is_refused(monkeypatch):
    monkeypatch.setattr(own, "_GIVEN", {"navigation": None})
    with pytest.raises(ValueError, match=r"^workers do not find the family navigation, .*'module:object'\.$"):
        OnRay().shares(MAML)


def test_a_share_does_not_clip_its_gradient():
    assert share_of(MAML, 4).config == {**TASKS, "tasks": 2, "inner_steps": 1, "clip_norm": 0.0}


def test_every_preset_of_the_zoo_can_be_cut():
    assert all(shares_for(preset, None, 2) > 1 for preset in PRESETS.values())
