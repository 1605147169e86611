"""MAML under ``compile`` and ``fit``: it learns, compiles once, repeats bit for bit, and leaks nothing."""

import time

import keras
import numpy as np
import pytest

from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.maml import MAML, MAMLConfig
from metazoo.policies.networks import mlp
from metazoo.policies.policy import Policy
from metazoo.tasks.families.navigation import Navigation
from tests import memory

UPDATES = 90
EARLY = 3
"""After how many updates the weights are compared with those of a second learner."""


def new_learner(seed=0, **settings) -> MAML:
    family = Navigation(horizon=20)
    model = mlp(family.observation_space, family.action_space, (16,), initial_scale=0.1)
    policy = Policy(model, family.observation_space, family.action_space)
    learner = MAML(policy, family, MAMLConfig(**({"tasks": 10, "episodes": 10} | settings)), seed)
    learner.compile(keras.optimizers.Adam(1e-2), jit_compile=True)
    return learner


def weights_of(learner):
    return [variable.numpy() for variable in learner.meta_variables]


class Recorder(keras.callbacks.Callback):
    """Keeps, for every update, its metrics, how long it took, and whether every weight changed."""

    def on_train_begin(self, logs=None):
        self.logs, self.seconds, self.early = [], [], None
        self.weights, self.all_changed = weights_of(self.model), True

    def on_train_batch_begin(self, batch, logs=None):
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append(dict(logs))
        self.seconds.append(time.perf_counter() - self.start)
        before, self.weights = self.weights, weights_of(self.model)
        self.all_changed &= all(np.any(old != new) for old, new in zip(before, self.weights, strict=True))
        if batch == EARLY - 1:
            self.early = self.weights


def fit(learner, start, stop, *callbacks):
    return learner.fit(updates(start, stop), shuffle=False, verbose=0, callbacks=callbacks)


@pytest.fixture(scope="module")
def trained():
    """A learner after ``UPDATES`` updates, and what was recorded meanwhile."""
    learner, recorder = new_learner(), Recorder()
    fit(learner, 0, UPDATES, recorder)
    return learner, recorder


def test_metrics_are_finite_and_named_after_the_rounds(trained):
    for logs in trained[1].logs:
        assert set(logs) == {"loss", "gradient_norm", "return_0", "return_1"}
        assert np.all(np.isfinite(list(logs.values())))


def test_it_learns_to_adapt(trained):
    """Before training, an inner step gains next to nothing; afterwards it is worth more than 1 of a return of −8."""
    gains = [logs["return_1"] - logs["return_0"] for logs in trained[1].logs]
    assert np.mean(gains[-30:]) > 1.0 > np.mean(gains[:5]) + 0.5


def test_updates_do_not_compile_again_when_weights_and_step_sizes_change(trained):
    recorder = trained[1]
    assert recorder.all_changed
    assert max(recorder.seconds[1:]) < 0.2 * recorder.seconds[0]
    assert np.median(recorder.seconds[1:]) < 0.02 * recorder.seconds[0]


@pytest.mark.slow  # a second compilation: tests/training/test_train.py resumes to the same bits
def test_the_same_seed_gives_the_same_bits(trained):
    again = new_learner()
    fit(again, 0, EARLY)
    assert all(np.array_equal(one, two) for one, two in zip(trained[1].early, weights_of(again), strict=True))


@pytest.mark.skipif(not memory.STATM.exists(), reason="this system has no /proc")
def test_memory_does_not_grow_over_a_thousand_updates(trained):
    learner, begin, each = trained[0], UPDATES + 100, 250
    fit(learner, UPDATES, begin)
    parts = [lambda n=n: fit(learner, begin + n * each, begin + (n + 1) * each) for n in range(4)]
    assert memory.least_growth(parts) < 1e6  # 4 kB an update


@pytest.mark.slow
def test_without_inner_steps_it_trains_one_policy_for_all_tasks():
    learner = new_learner(inner_steps=0)
    before = weights_of(learner)
    history = fit(learner, 0, 2).history
    assert set(history) == {"loss", "gradient_norm", "return_0"} and np.all(np.isfinite(list(history.values())))
    network = len(learner.policy.shapes)
    assert all(np.any(old != new) for old, new in zip(before[:network], weights_of(learner)[:network], strict=True))
    assert learner.env_steps_per_update == 10 * 10 * 20
