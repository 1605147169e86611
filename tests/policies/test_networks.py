"""Networks, explicit weights, and acting."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.policies.acting import act
from metazoo.policies.networks import Head, Scale, mlp, network_for
from metazoo.policies.policy import Policy
from metazoo.policies.weights import flatten, unflatten
from metazoo.types import Box, Discrete, MultiDiscrete

OBSERVATIONS = Box((3,), -1.0, 1.0)
ACTIONS = {"categorical": Discrete(4, start=1), "gaussian": Box((2,), -0.5, 0.5)}


def new_policy(kind, dtype="float32"):
    return Policy(mlp(OBSERVATIONS, ACTIONS[kind], (8, 5), dtype=dtype), OBSERVATIONS, ACTIONS[kind])


def random_weights(policy, tasks):
    noise = np.random.default_rng(0).standard_normal((tasks, policy.size)).astype(np.float32)
    return policy.flat_weights() + 0.3 * noise


def observations(*shape):
    return tf.constant(np.random.default_rng(1).standard_normal((*shape, 3)).astype(np.float32))


def test_head_is_a_dense_layer_with_its_kernel_turned():
    head, dense, x = Head(2), keras.layers.Dense(2), observations(4, 5)
    head(x), dense(x)
    dense.kernel.assign(tf.transpose(head.kernel))
    head.bias.assign([1.0, -2.0])
    dense.bias.assign(head.bias)
    np.testing.assert_allclose(head(x), dense(x), rtol=1e-5, atol=1e-6)
    with tf.GradientTape() as ours, tf.GradientTape() as theirs:
        one, other = tf.reduce_sum(head(x) ** 2), tf.reduce_sum(dense(x) ** 2)
    one, other = ours.gradient(one, head.kernel.value), theirs.gradient(other, dense.kernel.value)
    np.testing.assert_allclose(one, tf.transpose(other), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_policies_are_nearly_uniform_or_centred(dtype):
    categorical, gaussian = (new_policy(kind, dtype).model(observations(50)) for kind in ACTIONS)
    assert categorical["logits"].shape == (50, 4) and np.abs(categorical["logits"]).max() < 0.1
    assert gaussian["loc"].shape == gaussian["scale"].shape == (50, 2) and np.abs(gaussian["loc"]).max() < 0.1
    np.testing.assert_allclose(gaussian["scale"], 1.0)
    assert {part.dtype.name for part in [*categorical.values(), *gaussian.values()]} == {dtype}


def test_hidden_layers_are_orthogonal_and_the_seed_decides():
    one, same, other = (mlp(OBSERVATIONS, ACTIONS["categorical"], (8,), seed=seed) for seed in (1, 1, 2))
    kernel = one.get_layer("hidden_0").kernel.numpy()
    np.testing.assert_allclose(kernel @ kernel.T, 2 * np.eye(3), atol=1e-5)
    for first, second in zip(one.variables, same.variables, strict=True):
        np.testing.assert_array_equal(first, second)
    assert np.any(kernel != other.get_layer("hidden_0").kernel.numpy())


def test_scale_is_positive_bounded_below_and_starts_as_asked():
    scale = Scale(0.25, minimum=0.1)
    np.testing.assert_allclose(scale(tf.zeros([3, 2])), np.full((3, 2), 0.25), rtol=1e-6)
    scale.log_scale.assign([-20.0, 1.0])
    np.testing.assert_allclose(scale(tf.zeros([1, 2])), [[0.1, np.e]], rtol=1e-6)


def test_networks_can_be_saved_and_loaded(tmp_path):
    model = new_policy("gaussian").model
    model.save(tmp_path / "policy.keras")
    loaded = keras.saving.load_model(tmp_path / "policy.keras")
    for name, value in model(observations(4)).items():
        np.testing.assert_array_equal(value, loaded(observations(4))[name])


def test_images_are_flattened():
    model = mlp(Box((4, 5), 0.0, 1.0), Discrete(2), (3,))
    assert model(tf.zeros([7, 4, 5]))["logits"].shape == (7, 2)


@pytest.mark.parametrize("kind", ACTIONS)
def test_unflatten_inverts_flatten(kind):
    policy = new_policy(kind)
    parts = [tf.constant(variable) for variable in policy.model.trainable_variables]
    flat = flatten(parts)
    assert flat.shape == (policy.size,)
    for part, back in zip(parts, unflatten(flat, policy.shapes), strict=True):
        np.testing.assert_array_equal(part, back)
    weights = random_weights(policy, 3)
    for row, parts in enumerate(zip(*unflatten(weights, policy.shapes), strict=False)):
        np.testing.assert_array_equal(flatten(list(parts)), weights[row])
    assert unflatten(weights, policy.shapes)[0].shape == (3, *policy.shapes[0])


@pytest.mark.parametrize("kind", ACTIONS)
def test_apply_uses_the_weights_it_is_given_and_not_the_variables(kind):
    policy, x = new_policy(kind), observations(6)
    weights = random_weights(policy, 1)[0]
    given = policy.apply(weights, x)
    assert any(np.any(value != own) for value, own in zip(given.values(), policy.model(x).values(), strict=True))
    for variable, part in zip(policy.model.trainable_variables, unflatten(weights, policy.shapes), strict=True):
        variable.assign(part)
    for name, value in policy.model(x).items():
        np.testing.assert_allclose(given[name], value, atol=1e-6)
    np.testing.assert_array_equal(policy.flat_weights(), weights)


@pytest.mark.parametrize("kind", ACTIONS)
def test_weights_per_task_equal_separate_calls(kind):
    policy, x = new_policy(kind), observations(3, 6)
    weights = random_weights(policy, 3)
    together = policy.apply(weights, x)
    for task in range(3):
        for name, value in policy.apply(weights[task], x[task]).items():
            np.testing.assert_allclose(together[name][task], value, atol=1e-6)


@pytest.mark.parametrize("kind", ACTIONS)
def test_acting_samples_or_takes_the_mode_row_by_row(kind):
    policy, x = new_policy(kind), observations(3, 6)
    weights, keys = random_weights(policy, 3), random.spread(random.key(0), 3, 6)
    memory = weights[:, None]
    sampled, greedy = (act(policy, weights, x, memory, keys, deterministic) for deterministic in (False, True))
    np.testing.assert_array_equal(greedy.actions, policy.distribution.mode(greedy.parameters))
    assert np.any(sampled.actions != greedy.actions) and sampled.memory is memory
    for out in (sampled, greedy):
        expected = policy.distribution.log_prob(policy.apply(weights, x), out.actions)
        np.testing.assert_allclose(out.log_probs, expected, atol=1e-5)
    some = tf.constant(np.arange(18).reshape(3, 6) % 2 == 0)
    mixed = act(policy, weights, x, memory, keys, some).actions.numpy()
    np.testing.assert_array_equal(mixed[some.numpy()], greedy.actions.numpy()[some.numpy()])
    np.testing.assert_array_equal(mixed[~some.numpy()], sampled.actions.numpy()[~some.numpy()])


IMAGES = Box((8, 6, 2), 0, 255, "uint8")


def test_multi_discrete_policies_have_the_logits_of_all_components():
    space = MultiDiscrete((2, 3), start=(0, 4))
    policy = Policy(mlp(OBSERVATIONS, space, (8,)), OBSERVATIONS, space)
    seen, keys = observations(3, 5), random.spread(random.key(0), 3, 5)
    out = act(policy, random_weights(policy, 3), seen, tf.zeros([3, 1, 0]), keys, tf.zeros([3, 5], tf.bool))
    assert out.parameters["logits"].shape == (3, 5, 5) and out.log_probs.shape == (3, 5)
    assert out.actions.shape == (3, 5, 2) and out.actions.dtype == tf.int32
    assert np.all((out.actions >= [0, 4]) & (out.actions < [2, 7]))


def test_images_get_a_convolutional_network_and_all_else_a_dense_one():
    model = network_for(IMAGES, Discrete(3), filters=(4, 5), hidden=(7,))
    layers = [type(layer).__name__ for layer in model.layers]
    assert layers == ["InputLayer", "Rescaling", "Conv2D", "Conv2D", "Reshape", "Dense", "Head"]
    assert "Conv2D" not in [type(layer).__name__ for layer in network_for(OBSERVATIONS, Discrete(3)).layers]


def test_convolutions_take_weights_per_task_and_see_pixels_scaled():
    policy = Policy(network_for(IMAGES, Discrete(3), output_gain=1.0), IMAGES, Discrete(3))
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 8, 6, 2), np.uint8)
    weights = random_weights(policy, 2)
    together = tf.function(policy.apply, jit_compile=True, autograph=False)(weights, tf.constant(images))["logits"]
    for task in range(2):
        alone = policy.apply(weights[task], tf.constant(images[task]))["logits"]
        np.testing.assert_allclose(together[task], alone, rtol=1e-3, atol=1e-4)
    dark, bright = (policy.apply(policy.flat_weights(), tf.fill([1, 8, 6, 2], value)) for value in (0, 255))
    assert 1e-3 < np.abs(bright["logits"] - dark["logits"]).max() < 10.0
    as_floats = policy.apply(weights[0], tf.cast(images[0], tf.float32))["logits"]
    np.testing.assert_allclose(as_floats, policy.apply(weights[0], tf.constant(images[0]))["logits"], rtol=1e-6)
