"""What every learner promises: equal results in all modes of execution, no growth, and that it learns."""

import gc
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.registry import LEARNERS
from tests.algorithms.problems import FAMILIES, learner_for

SMALL = {"tasks": 2, "episodes": 3}
VARIANTS = [(algorithm, tuple(FAMILIES)[number % 2], {}) for number, algorithm in enumerate(LEARNERS)]
MORE = [
    ("maml", "gaussian", {"inner_steps": 2, "outer": "ppo", "epochs": 3}),
    ("maml", "categorical", {"outer": "trpo", "step_sizes": "fixed", "cg_damping": 0.1, "cg_iterations": 5}),
    ("reptile", "gaussian", {"inner_steps": 2, "inner_optimizer": "adam"}),
    ("meta_sgd", "supervised", {"inner_steps": 2}),
]


def name_of(variant):
    return "-".join([*variant[:2], *map(str, variant[2].values())])


@pytest.mark.parametrize(
    "variant", [*VARIANTS, *(pytest.param(one, marks=pytest.mark.slow) for one in MORE)], ids=name_of
)
def test_eager_graph_and_xla_agree(variant):
    algorithm, kind, settings = variant
    learner = learner_for(algorithm, kind, horizon=4, **SMALL, **settings)
    weights = learner.current_weights()
    rounds = learner.collect(weights, learner.sample_tasks(random.key(0)), random.key(1))
    memory = tf.tile(learner.initial_memory(weights)[None, None], [SMALL["tasks"], 1, 1])

    def everything(weights, memory, rounds):
        gradients, metrics = learner.meta_gradient(weights, learner.prepare(weights, rounds))
        return [*gradients, metrics, learner.adapt(weights, memory, rounds[0])]

    eager = tf.nest.flatten(everything(weights, memory, rounds))
    for compile_it in (False, True):
        compiled = tf.function(everything, jit_compile=compile_it, autograph=False)
        for one, other in zip(eager, tf.nest.flatten(compiled(weights, memory, rounds)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def resident_bytes():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tensors_alive():
    gc.collect()
    return sum(isinstance(one, tf.Tensor | tf.Variable) for one in gc.get_objects())


QUICK = ("maml", "promp")
LONG = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in LEARNERS]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("algorithm", LONG)
def test_it_learns_and_nothing_grows_over_a_thousand_updates(algorithm):
    """Sinusoids for those who adapt by gradients: the error after adaptation, 4.25 for a constant 0, comes down."""
    supervised = LEARNERS[algorithm].memory_kind == "fast_weights"
    kind, horizon = ("supervised", 10) if supervised else ("gaussian", 3)
    learner = learner_for(algorithm, kind, horizon, hidden=(20,), tasks=5, episodes=1 if supervised else 2)
    learner.compile(keras.optimizers.Adam(3e-3), jit_compile=True)
    losses: list[float] = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))

    def fit(start, stop):
        learner.fit(updates(start, stop), shuffle=False, verbose=0, callbacks=[record])

    fit(0, 100)
    tensors, memory = tensors_alive(), resident_bytes()
    fit(100, 1100)
    assert tensors_alive() <= tensors
    assert resident_bytes() - memory < 8e6
    assert np.all(np.isfinite(losses))
    if supervised:
        assert np.mean(losses[-200:]) < min(3.6, 0.85 * np.mean(losses[:50]))
