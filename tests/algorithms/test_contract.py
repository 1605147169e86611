"""What every learner promises: equal results in all modes of execution, no growth, and that it learns."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.registry import LEARNERS
from tests import memory
from tests.algorithms.problems import FAMILIES, ON_EPISODES, learner_for

SMALL = {"tasks": 2, "episodes": 3}
VARIANTS = [(algorithm, tuple(FAMILIES)[number % 2], {}) for number, algorithm in enumerate(ON_EPISODES)]
KIN = ("anil", "meta_sgd")
"""MAML with other settings: their programs are compared in the slow tests."""
MORE = [
    ("maml", "gaussian", {"inner_steps": 2, "outer": "ppo", "epochs": 3}),
    ("maml", "categorical", {"outer": "trpo", "step_sizes": "fixed", "cg_damping": 0.1, "cg_iterations": 5}),
    ("reptile", "gaussian", {"inner_steps": 2, "inner_optimizer": "adam"}),
    ("meta_sgd", "supervised", {"inner_steps": 2}),
]


def name_of(variant):
    return "-".join([*variant[:2], *map(str, variant[2].values())])


@pytest.mark.parametrize(
    "variant",
    [pytest.param(one, marks=pytest.mark.slow if one in MORE or one[0] in KIN else ()) for one in [*VARIANTS, *MORE]],
    ids=name_of,
)
def test_eager_graph_and_xla_agree(variant):
    algorithm, kind, settings = variant
    learner = learner_for(algorithm, kind, horizon=4, **SMALL, **settings)
    weights = learner.current_weights()
    rounds = learner.collect(weights, learner.sample_tasks(random.key(0)), random.key(1))
    first = tf.tile(learner.initial_memory(weights)[None, None], [SMALL["tasks"], 1, 1])

    def everything(weights, memory, rounds):
        gradients, metrics = learner.meta_gradient(weights, learner.prepare(weights, rounds))
        return [*gradients, metrics, learner.adapt(weights, memory, rounds[0])]

    eager = tf.nest.flatten(everything(weights, first, rounds))
    graph = tf.function(everything, autograph=False).get_concrete_function(weights, first, rounds)  # traced once
    compiled = tf.function(lambda *given: graph(*given), jit_compile=True, autograph=False)
    for run in (graph, compiled):
        for one, other in zip(eager, tf.nest.flatten(run(weights, first, rounds)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def parameter_bytes(learner):
    return 4 * sum(np.prod(variable.shape, dtype=int) for variable in learner.trainable_variables)


def tensors_alive():
    gc.collect()
    return sum(isinstance(one, tf.Tensor | tf.Variable) for one in gc.get_objects())


UPDATES, PARTS, HIDDEN = 1000, 4, (40, 40)


@pytest.mark.skipif(not memory.STATM.exists(), reason="this system has no /proc")
@pytest.mark.slow  # of MAML it is quick: test_training.py
@pytest.mark.parametrize("algorithm", ON_EPISODES)
def test_it_learns_and_nothing_grows_over_a_thousand_updates(algorithm):
    """Sinusoids for those who adapt by gradients: the error after adaptation, 4.25 for a constant 0, comes down."""
    supervised = LEARNERS[algorithm].memory_kind == "fast_weights"
    kind, horizon = ("supervised", 10) if supervised else ("gaussian", 3)
    learner = learner_for(algorithm, kind, horizon, hidden=HIDDEN, tasks=5, episodes=1 if supervised else 2)
    learner.compile(keras.optimizers.Adam(3e-3), jit_compile=True)
    losses: list[float] = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))

    def fit(start, stop):
        learner.fit(updates(start, stop), shuffle=False, verbose=0, callbacks=[record])

    fit(0, 100)
    tensors, each = tensors_alive(), UPDATES // PARTS
    grown = memory.least_growth([lambda n=n: fit(100 + n * each, 100 + (n + 1) * each) for n in range(PARTS)])
    assert tensors_alive() <= tensors
    assert grown < each * parameter_bytes(learner) / 2, "as if it kept its parameters of every other update"
    assert np.all(np.isfinite(losses))
    if supervised:
        assert np.mean(losses[-200:]) < min(3.6, 0.85 * np.mean(losses[:50]))
