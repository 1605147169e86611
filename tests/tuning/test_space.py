"""Where a search looks: declared ranges, narrowed ones, and what is refused."""

import dataclasses

import pytest

from metazoo.algorithms.registry import LEARNERS
from metazoo.presets.registry import PRESETS
from metazoo.training.train import override
from metazoo.tuning.space import Choices, Range, as_settings, space_of, start_of

MAML = PRESETS["maml_navigation"]


@pytest.mark.parametrize("name", LEARNERS)
def test_declared_ranges_lie_within_what_is_allowed(name):
    for field in dataclasses.fields(LEARNERS[name].config_class):
        if search := field.metadata.get("search"):
            low, high = field.metadata["allowed"]
            assert low <= search[0] < search[1] <= high, field.name


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_space_that_holds_its_own_positive_values(name):
    preset = PRESETS[name]
    space = space_of(preset, {})
    start = start_of(preset, space)
    assert "learning_rate" in start
    assert not {"tasks", "episodes", "inner_steps"} & space.keys(), "trials would not be comparable"
    full = {**{key: part.low for key, part in space.items()}, **start}
    override(preset, as_settings(full, space))


def test_a_bad_start_stretches_the_range_and_is_the_first_trial():
    bad = override(MAML, {"learning_rate": "0.5"})
    space = space_of(bad, {})
    assert space["learning_rate"] == Range(1e-4, 0.5) and space["learning_rate"].log
    assert start_of(bad, space)["learning_rate"] == 0.5


def test_given_ranges_are_searched_alone_and_as_they_are():
    given = {"learning_rate": "0.001:0.005", "epochs": "1:30", "step_sizes": "scalar,parameter", "first_order": "0,1"}
    space = space_of(MAML, given)
    assert space == {
        "learning_rate": Range(0.001, 0.005),
        "epochs": Range(1, 30, whole=True),
        "step_sizes": Choices(("scalar", "parameter")),
        "first_order": Choices((0, 1)),
    }
    assert not space["learning_rate"].log and space["epochs"].log
    values = {"learning_rate": 0.00123456, "epochs": 7, "step_sizes": "scalar", "first_order": 1}
    expected = {"learning_rate": "0.00123", "epochs": "7", "step_sizes": "scalar", "first_order": "1"}
    assert as_settings(values, space) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"learning_rat": "1:2"}, "no setting 'learning_rat'; did you mean learning_rate"),
        ({"learning_rate": "0.1:2"}, "has '2'; it must be numbers from 1e-08 to 1.0"),
        ({"gamma": "0.5:1.5"}, "has '1.5'; it must be numbers from 0.0 to 1.0"),
        ({"gamma": "nan:1"}, "has 'nan'"),
        ({"gamma": "0.9:0.9"}, "the first number must be below the second"),
        ({"tasks": "1.5:3"}, "has '1.5'; it must be whole numbers"),
        ({"step_sizes": "scalar,parametre"}, "has 'parametre'; did you mean parameter"),
        ({"step_sizes": "fixed:scalar"}, "names with commas between them, no range"),
    ],
)
def test_wrong_ranges_are_answered_in_a_sentence(given, said):
    with pytest.raises(ValueError) as caught:
        space_of(MAML, given)
    assert said in str(caught.value)
