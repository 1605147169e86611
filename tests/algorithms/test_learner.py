"""What all learners share: settings that refuse nonsense, clipping, the indices of updates."""

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
import tensorflow as tf

from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.common.outer_step import clip
from metazoo.algorithms.registry import LEARNERS

CONFIGS = {name: learner.config_class for name, learner in LEARNERS.items()}

COMPANIONS = {
    "replicas": {"tasks": 1000},
    "exploration": {"replicas": 2},
    "epochs": {"outer": "ppo"},
    "minibatches": {"tasks": 100_000},
    "inner_rate": {"inner_rate_high": 100.0},
    "inner_rate_high": {"inner_rate": 0.0},
}
"""What else must be set where the ends of a setting's range need it."""


def cases():
    """Every numeric and every text setting of every learner."""
    return [(config, item) for config in CONFIGS.values() for item in fields(config)]


@pytest.mark.parametrize(("config", "item"), cases(), ids=lambda value: getattr(value, "__name__", None) or value.name)
def test_every_setting_has_a_range_and_refuses_what_lies_outside_in_one_sentence(config, item):
    assert item.metadata["doc"]
    allowed = item.metadata["allowed"]
    known = {field.name for field in fields(config)}
    companions = {name: value for name, value in COMPANIONS.get(item.name, {}).items() if name in known}
    for good in allowed:
        assert getattr(config(**companions, **{item.name: good}), item.name) == good
    if isinstance(allowed[0], str):
        bad, right = ["nonsense", 3, None], f"choose {', '.join(allowed[:-1])} or {allowed[-1]}."
    else:
        low, high = allowed
        must = "be a whole number" if isinstance(item.default, int) else "lie"
        bad, right = [low - 1, high + 1, float("nan"), "1", None, True], f"it must {must} in [{low}, {high}]."
        bad += [low + 0.5] if isinstance(item.default, int) else []
    for value in bad:
        with pytest.raises(ValueError) as refused:
            config(**{item.name: value})
        assert str(refused.value).startswith(f"{item.name} is {value!r}; {right}")
        assert "\n" not in str(refused.value)


def test_configs_are_frozen_and_checked_when_replaced():
    for config in CONFIGS.values():
        with pytest.raises(FrozenInstanceError):
            config().tasks = 3
        with pytest.raises(ValueError, match="tasks is 0"):
            replace(config(), tasks=0)


def test_clip_scales_down_only_and_zero_means_never():
    gradients = [tf.constant([3.0]), tf.constant([[4.0]])]
    for norm, factor in ((1.0, 0.2), (5.0, 1.0), (50.0, 1.0), (0.0, 1.0)):
        clipped, before = clip(gradients, norm)
        assert float(before) == pytest.approx(5.0)
        np.testing.assert_allclose([clipped[0][0], clipped[1][0, 0]], [3 * factor, 4 * factor], rtol=1e-6)


def test_updates_count_from_start_to_stop():
    assert list(updates(3, 6).as_numpy_iterator()) == [3, 4, 5]


def test_learners_are_registered_under_their_own_names():
    for name, learner in LEARNERS.items():
        assert learner.name_in_registry == name
        assert learner.__init__.__annotations__["config"].__args__[0] is learner.config_class
