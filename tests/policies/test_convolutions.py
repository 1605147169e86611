"""Convolutions as matrix products are Keras' own, with all derivatives; layer normalisation knows one image only."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo.policies.convolutions import ImageNorm, Patches, conv
from metazoo.policies.networks import network_for
from metazoo.policies.policy import Policy
from metazoo.types import Box, Discrete

PICTURES, CLASSES = Box((28, 28), 0, 255, "uint8"), Discrete(5)


def images(count, seed=0, side=28):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side)).astype(np.float32)


@pytest.mark.parametrize(("height", "width", "channels"), [(28, 28, 1), (14, 7, 3), (5, 4, 2), (2, 1, 4)])
def test_patches_times_a_kernel_is_keras_convolution(height, width, channels):
    rng = np.random.default_rng(1)
    x = tf.constant(rng.standard_normal((3, height, width, channels)), tf.float32)
    kernel = tf.constant(rng.standard_normal((3, 3, channels, 6)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, kernel])
        ours = tf.matmul(Patches()(x), tf.reshape(kernel, (9 * channels, 6)))
        theirs = tf.nn.conv2d(x, kernel, 2, "SAME")
        squares = [tf.reduce_sum(one**3) for one in (ours, theirs)]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    for what in (x, kernel):
        mine, others = (tape.gradient(one, what) for one in squares)
        np.testing.assert_allclose(mine, others, rtol=1e-4, atol=1e-3)


def test_the_norm_is_the_closed_form_of_each_image_alone():
    layer, rng = ImageNorm(), np.random.default_rng(2)
    x = rng.normal(3.0, 2.0, (4, 5, 6, 3)).astype(np.float32)
    layer.build(x.shape)
    scale, offset = rng.standard_normal((2, 3)).astype(np.float32)
    layer.set_weights([scale, offset])
    mean, deviation = x.mean((1, 2, 3), keepdims=True), x.std((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(layer(x), (x - mean) / deviation * scale + offset, atol=1e-4)
    np.testing.assert_allclose(layer(x)[1:2], layer(x[1:2]), atol=1e-6)


def test_the_network_has_the_published_shape():
    model = conv(PICTURES, CLASSES, blocks=4, filters=32)
    assert [layer.output.shape[1:3] for layer in model.layers if layer.name.startswith("convolution")] == [
        (14, 14), (7, 7), (4, 4), (2, 2)
    ]  # fmt: skip
    kernels = 9 * 32 + 3 * 9 * 32 * 32 + 4 * 3 * 32
    assert model.count_params() == kernels + 4 * 32 * 5 + 5
    assert conv(PICTURES, CLASSES, head=False).output["features"].shape[1:] == (128,)
    assert network_for(PICTURES, CLASSES, blocks=2, filters=8).count_params() < 8_000


def test_no_images_are_refused():
    with pytest.raises(ValueError, match=r"observations have shape \[4\]; conv takes"):
        conv(Box((4,)), CLASSES)


def test_the_second_derivative_through_an_inner_step_is_that_of_finite_differences():
    """d/dw of the loss after a gradient step, along a random direction, in float64."""
    policy = Policy(
        conv(Box((6, 6), 0, 255, "uint8"), CLASSES, 1, 2, dtype="float64"), Box((6, 6), 0, 255, "uint8"), CLASSES
    )
    shown, labels = tf.constant(images(5, side=6), tf.float64), tf.range(5)

    def loss(weights):
        logits = policy.apply(weights, shown)["logits"]
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    def after_a_step(weights):
        with tf.GradientTape() as outer:
            outer.watch(weights)
            with tf.GradientTape() as inner:
                inner.watch(weights)
                before = loss(weights)
            moved = weights - 0.1 * inner.gradient(before, weights)
            after = loss(moved)
        return after, outer.gradient(after, weights)

    weights = policy.flat_weights()
    along = tf.constant(np.random.default_rng(3).standard_normal(policy.size))
    step = 1e-6
    up, down = (after_a_step(weights + sign * step * along)[0] for sign in (1.0, -1.0))
    slope = tf.tensordot(after_a_step(weights)[1], along, 1)
    assert float(slope) == pytest.approx(float((up - down) / (2 * step)), rel=1e-5)


def test_the_network_is_saved_and_loaded(tmp_path):
    model = conv(PICTURES, CLASSES, 2, 4)
    model.save(tmp_path / "model.keras")
    shown = images(3)
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "model.keras")(shown)["logits"], model(shown)["logits"], atol=1e-6
    )
