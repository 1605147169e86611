"""What clients compute, against the same written otherwise."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.federated.client import Client, client_from
from metazoo.training.train import build
from metazoo.types import Episodes
from tests.federated.small import federation


@pytest.mark.parametrize(
    "name",
    [
        "dr_navigation",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("maml_navigation", "reptile_navigation")),
    ],
)
def test_the_mean_over_clients_is_the_gradient_over_all_their_tasks(name):
    """What makes a federation the central training it stands for: checked against one gradient on the union."""
    one = federation(name, clients=2, sampled=2)
    client, weights = client_from(one.as_text()), build(one.preset, 0).current_weights()
    arrays = [tensor.numpy() for tensor in weights]
    moved = [client.update(arrays, number, 1)[0] for number in (0, 1)]
    mean = [array - (a + b) / 2 for array, a, b in zip(arrays, *moved, strict=True)]

    @tf.function(autograph=False)
    def on_the_union():
        pieces, learner = [], client.learner
        for number in (0, 1):
            key = random.fold(random.fold(random.key(one.seed), number), 1)
            tasks = client.slices.sample(one.tasks, "train", client.slices.of(number), random.fold(key, 0))
            pieces.append(learner.collect(weights, tasks, random.fold(key, 1)))
        union = [_side_by_side(*parts) for parts in zip(*pieces, strict=True)]
        return learner.meta_gradient(weights, learner.prepare(weights, union))[0]

    expected = on_the_union()
    for found, gradient in zip(mean, expected, strict=True):
        assert found == pytest.approx(gradient.numpy(), abs=3e-6)
    assert max(np.abs(gradient).max() for gradient in expected) > 1e-3


def _side_by_side(one: Episodes, other: Episodes) -> Episodes:
    """The episodes of all tasks; what stands at the end has no axis of time."""
    task_axis = {name: 0 if name.startswith("final") else 1 for name in Episodes._fields}
    return Episodes(*(tf.concat([getattr(one, n), getattr(other, n)], axis) for n, axis in task_axis.items()))


def test_meta_sgd_s_step_sizes_have_a_gradient_of_their_own():
    """∂J/∂α = −∇L ∘ ∂J/∂θ' with ∇L constant, so that the two are proportional, weight by weight, with a factor that
    differs (Chen et al. 2018, section 3.1); one that took the weights' gradient for it would have the factor 1."""
    one = federation("metasgd_navigation", clients=2, sampled=1, tasks=1)
    client = Client(one)
    learner = client.learner
    weights = learner.current_weights()

    @tf.function(autograph=False)
    def played():
        tasks = client.slices.sample(1, "train", client.slices.of(0), random.key(1))
        rounds = learner.collect(weights, tasks, random.key(2))
        return rounds, learner.meta_gradient(weights, learner.prepare(weights, rounds))[0]

    rounds, gradients = played()
    of_weights = np.concatenate([part.numpy().ravel() for part in gradients[:-1]])
    of_rates = gradients[-1].numpy().ravel()

    first = learner.inner_samples(rounds[0])
    slope = _inner_gradient(learner, weights, tf.nest.map_structure(lambda field: field[0], first))
    assert of_rates == pytest.approx(-slope * of_weights, rel=1e-3, abs=1e-6)
    assert np.abs(of_rates - of_weights).max() > 0.1 * np.abs(of_weights).max()


def _inner_gradient(learner, weights, samples):
    """∇L(θ) of −mean(log π · A), written out anew."""
    flat = learner.policy.flat_weights(weights[:-1])
    with tf.GradientTape() as tape:
        tape.watch(flat)
        said = learner.policy.apply(flat, samples.observations)
        likely = learner.policy.distribution.log_prob(said, samples.actions)
        mask = tf.cast(samples.mask, tf.float32)
        loss = -tf.reduce_sum(likely * samples.advantages * mask) / tf.reduce_sum(mask)
    return tape.gradient(loss, flat).numpy()


def test_clients_that_play_alike_share_a_program():
    """Rounds, turns and dropping out change no episode, so a process compiles nothing anew for them."""
    name = "dr_navigation"
    one = client_from(federation(name, clients=2, sampled=2).as_text())
    assert client_from(federation(name, clients=2, sampled=1, rounds=9, dropout=0.5, private=True).as_text()) is one
    assert client_from(federation(name, clients=2, sampled=1, seed=1).as_text()) is not one
