"""CONTRIBUTING.md as it stands: its three recipes run, and what they make keeps the contracts."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import metazoo
from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.maml import MAML, MAMLConfig
from metazoo.presets.registry import PRESETS
from metazoo.training.export import export
from metazoo.training.train import build
from tests.algorithms.problems import small_policy

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def recipe(name: str) -> dict:
    """The names that the page's blocks of one recipe define, when they are run in order."""
    blocks = re.findall(rf"^```python recipe={name}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert blocks
    made: dict = {"__name__": f"recipe_{name}"}
    exec(compile("\n".join(blocks), "CONTRIBUTING.md", "exec"), made)
    return made


@pytest.fixture(scope="module")
def family():
    return recipe("family")["Thermostat"]  # check_family has run: it is in the recipe


def test_the_family_and_the_learner_make_a_policy(family, tmp_path):
    made = recipe("learner")
    learner = made["FirstOrder"](small_policy(family(5), dtype="float32"), family(5), made["FirstOrderConfig"](tasks=2))
    learner.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    before = learner.policy.flat_weights(learner.current_weights()).numpy()
    losses = learner.fit(updates(0, 2), shuffle=False, verbose=0).history["loss"]
    after = learner.policy.flat_weights(learner.current_weights()).numpy()
    assert np.isfinite(losses).all() and np.isfinite(after).all() and (before != after).any()
    export(learner, tmp_path / "policy" / "1", {"name": "policy", "adapt": {"episodes": 2, "steps": 1}})
    assert metazoo.load(tmp_path / "policy").act(np.zeros(1, np.float32)).shape == (1,)


def test_the_learner_is_first_order_maml(family):
    """Its gradient is that of MAML without second derivatives, with the same advantages inside and outside."""
    made, same = recipe("learner"), {"tasks": 2, "episodes": 2, "inner_rate": 0.3, "inner_gamma": 0.9}
    ours = made["FirstOrder"](small_policy(family(4), dtype="float32"), family(4), made["FirstOrderConfig"](**same))
    config = MAMLConfig(
        **same, gamma=0.9, lambda_=1.0, first_order=1, step_sizes="fixed", every_step=0, clip_norm=0.0, outer="ppo"
    )
    theirs = MAML(small_policy(family(4), dtype="float32"), family(4), config)
    weights = ours.current_weights()
    tasks = family(4).sample(2)
    rounds = ours.collect(weights, tasks, metazoo.random.key(1))
    first, _ = ours.meta_gradient(weights, ours.prepare(weights, rounds))
    second, _ = theirs.meta_gradient(weights, theirs.prepare(weights, rounds))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_preset_is_one_that_trains():
    preset = recipe("preset")["preset"]
    assert preset.name not in PRESETS
    assert build(preset).config.tasks == 40
