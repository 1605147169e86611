"""Older cards get the new sections, and keep their figures."""

import copy
import shutil

import pytest

import metazoo
from metazoo.artefact import store
from metazoo.cards import complete as completing
from metazoo.cards.record import brief
from metazoo.cards.report import evaluate_preset

NEW = "by_step", "by_parameter", "robustness"


@pytest.mark.slow
def test_a_card_that_was_recorded_before_gets_what_is_new(tmp_path):
    version = tmp_path / "mine" / "1"
    shutil.copytree(metazoo.savedmodels_directory() / "rl2_bandit_k5_n10" / "1", version)
    metadata = store.read_metadata(version)
    metadata["name"], metadata["adapt"]["tasks"] = "mine", 30
    metadata.pop("explained", None)
    store.replace_metadata(version, metadata)
    whole = brief(evaluate_preset(version))
    old = copy.deepcopy({key: value for key, value in whole.items() if key not in NEW})
    for one in old["baselines"].values():
        one.pop("by_step", None)
    for key in ("cvar10", "cvar10_ci95"):
        del old["curve"][0][key]
    store.replace_metadata(version, {**metadata, "evaluation": old})

    card = completing.complete(version).read_text(encoding="utf-8")
    made = store.read_metadata(version)["evaluation"]
    assert made.pop("robustness")["modes"] and made == whole
    assert "## As it is served" in card and (tmp_path / "mine" / "curve.png").is_file()

    old["curve"][0]["mean"] += 0.1
    store.replace_metadata(version, {**metadata, "evaluation": old})
    with pytest.raises(ValueError, match="has other means than were recorded: .* measures everything anew"):
        completing.complete(version)
    assert store.read_metadata(version)["evaluation"] == old


def test_recorded_figures_stay_and_new_ones_stand_beside_them():
    recorded, found = [{"mean": 10.0, "ci95": [9.0, 11.0]}], [{"mean": 10.01, "ci95": [9.01, 11.0], "cvar10": 3.0}]
    assert completing._merged("mine/1", recorded, found) == [{"mean": 10.0, "ci95": [9.0, 11.0], "cvar10": 3.0}]
    with pytest.raises(ValueError, match=r"mine/1 has other means than were recorded: \[10.0\] and \[10.2\];"):
        completing._merged("mine/1", recorded, [{"mean": 10.2, "ci95": [9.0, 11.0]}])


def test_who_was_not_evaluated_has_no_card_to_complete(tmp_path):
    version = tmp_path / "mine" / "1"
    shutil.copytree(metazoo.savedmodels_directory() / "rl2_bandit_k5_n10" / "1", version)
    store.replace_metadata(version, {**store.read_metadata(version), "evaluation": None})
    with pytest.raises(ValueError, match="was not evaluated; metazoo evaluate .* --record does that"):
        completing.complete(version)
