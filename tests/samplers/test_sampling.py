"""Where samplers and learners meet: the same tasks give the same weights, bit by bit, alone, in shares and resumed."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.common.sampling import Sampling
from metazoo.distributed.replica import Recipe
from metazoo.distributed.update import SharedUpdate
from metazoo.presets.preset import settings_of
from metazoo.presets.registry import PRESETS
from metazoo.training.callbacks import Checkpoints
from metazoo.training.train import build, override
from tests.distributed.tiny import MAML, Here, compiled, values
from tests.samplers.test_samplers import AsUniform
from tests.without_xla import without_xla

REPLAYED = dataclasses.replace(MAML, sampler="plr")


def learner_of(preset, sampler=None, shares=None):
    learner, optimizer = compiled(preset)
    if sampler:
        learner.sampling = Sampling(sampler(learner.family, learner.config.tasks), 1, learner.config.episodes)
    make = None
    if shares:
        make = SharedUpdate(learner, Here(Recipe(preset, 0, shares, 1, "nowhere")), shares)
    learner.compile(optimizer(), jit_compile=True, threads=1, elsewhere=make)
    learner.optimizer.build(learner.trainable_variables)
    return learner


def fitted(learner, start, stop, *callbacks):
    learner.fit(updates(start, stop), steps_per_epoch=stop - start, verbose=0, shuffle=False, callbacks=[*callbacks])
    return learner


def equal(one, other):
    for mine, theirs in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_same_tasks_give_the_same_weights(monkeypatch):
    """Uniform trains as before, in the graph; a sampler that proposes its tasks trains the same weights."""
    without_xla(monkeypatch)
    plain, sampled = (fitted(learner_of(MAML, sampler), 0, 3) for sampler in (None, AsUniform))
    equal(plain, sampled)
    tasks, returns = sampled.sampling.sampler.heard
    drawn, _ = plain.drawn(tf.constant(2))
    np.testing.assert_array_equal(tasks.goal, drawn.goal)
    assert returns.shape == (8, 2) and np.unique(returns).size > 8


def test_a_sampler_in_shares_hears_and_proposes_what_it_does_alone(monkeypatch):
    without_xla(monkeypatch)
    alone, shared = (fitted(learner_of(REPLAYED, shares=shares), 0, 3) for shares in (None, 2))
    for name, value in alone.sampling.sampler.state.items():
        np.testing.assert_allclose(shared.sampling.sampler.state[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    for mine, theirs in zip(values(alone), values(shared), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=2e-4, atol=2e-6)


def test_a_resumed_training_has_the_tasks_it_would_have_had(monkeypatch, tmp_path):
    without_xla(monkeypatch)
    whole = fitted(learner_of(REPLAYED), 0, 4)
    first = learner_of(REPLAYED)
    fitted(first, 0, 2, Checkpoints(first, tmp_path, 2))
    second = learner_of(REPLAYED)
    assert Checkpoints(second, tmp_path, 2).restore() == 2
    equal(whole, fitted(second, 2, 4))
    for name, value in whole.sampling.sampler.state.items():
        np.testing.assert_array_equal(second.sampling.sampler.state[name], value, err_msg=name)


def test_a_preset_s_sampler_is_set_and_named():
    preset = override(PRESETS["maml_navigation"], {"sampler": "roml"})
    assert preset.sampler == "roml" and settings_of(preset)["sampler"] == "roml"
    assert "sampler" not in settings_of(PRESETS["maml_navigation"]), "runs of earlier releases are resumed"
    assert all(one.sampler == "uniform" for one in PRESETS.values())
    with pytest.raises(ValueError, match="did you mean roml"):
        override(PRESETS["maml_navigation"], {"sampler": "romel"})


def test_who_learns_from_no_returns_takes_no_sampler():
    with pytest.raises(ValueError, match="learns from no returns"):
        build(dataclasses.replace(PRESETS["distilled_navigation"], sampler="plr"), 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alp_gmm", "pdts"])
def test_every_learner_of_returns_trains_with_a_sampler(name):
    """RL² with replicas, in the graph and compiled by XLA; two updates are finite and the replicas are alike."""
    preset = dataclasses.replace(PRESETS["rl2_navigation"], sampler=name, config={"tasks": 8, "replicas": 2})
    learner = fitted(learner_of(dataclasses.replace(preset, family_args={"horizon": 5})), 0, 2)
    assert all(np.isfinite(value).all() for value in values(learner))
    goals = np.asarray(learner.sample_tasks(tf.constant(0, tf.uint32)).goal)
    np.testing.assert_array_equal(goals[::2], goals[1::2])
