"""The unrolled cells against Keras' own, and their hand-written gradients against automatic and finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo.policies.cells import CELLS, Kernels, one_step, unroll

STEPS, ROWS, FEATURES, UNITS = 7, 3, 2, 4


def problem(name, dtype="float64", seed=0):
    """A cell, random kernels, features, a first state, and a mask with holes."""
    cell, rng = CELLS[name], np.random.default_rng(seed)
    width = cell.gates * UNITS
    shapes = ((FEATURES, width), (width,), (UNITS, width), (width,))
    shapes = shapes[:2] if cell.linear else shapes
    kernels = Kernels(*(tf.constant(0.7 * rng.standard_normal(shape), dtype) for shape in shapes))
    features = tf.constant(rng.standard_normal((STEPS, ROWS, FEATURES)), dtype)
    state = tf.constant(rng.standard_normal((ROWS, cell.size(UNITS))), dtype)
    mask = tf.constant(rng.random((STEPS, ROWS)) < 0.7, dtype)
    return cell, kernels, features, state, mask


def plain_unroll(cell, kernels, features, state, mask, truncation=0):
    """The definition, differentiated by TensorFlow."""
    states = []
    for t in range(STEPS):
        if truncation and t % truncation == 0:
            state = tf.stop_gradient(state) if t else state * 0.0 + tf.stop_gradient(state)
        after = one_step(cell, kernels, features[t], state)
        state = tf.where(mask[t][:, None] > 0, after, state)
        states.append(state)
    return tf.stack(states)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_step_is_keras_s(name):
    cell, kernels, features, state, _ = problem(name, "float32")
    theirs = keras.layers.GRUCell(UNITS, reset_after=True) if name == "gru" else keras.layers.LSTMCell(UNITS)
    theirs.build((ROWS, FEATURES))
    biases = [kernels.input_bias, kernels.recurrent_bias]
    bias = np.stack(biases) if name == "gru" else np.sum(biases, 0)
    theirs.set_weights([kernels.inputs.numpy(), kernels.recurrent.numpy(), bias])
    _, expected = theirs(features[0], tf.split(state, state.shape[1] // UNITS, -1))
    np.testing.assert_allclose(one_step(cell, kernels, features[0], state), tf.concat(expected, -1), atol=1e-6)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("truncation", [0, 3])
@pytest.mark.parametrize("jit", [False, True])
def test_states_and_gradients_are_those_of_automatic_differentiation(name, truncation, jit):
    cell, kernels, features, state, mask = problem(name)
    weights = tf.constant(np.random.default_rng(1).standard_normal((STEPS, ROWS, state.shape[1])))

    given = [kernel for kernel in kernels if kernel is not None]

    def outcome(function):
        with tf.GradientTape() as tape:
            kernels = Kernels(*given)
            tape.watch((*given, state))
            states = function(cell, kernels, features, state, mask, truncation)
            loss = tf.reduce_sum(weights * states**2)
        return states, tape.gradient(loss, (*given, state))

    states, gradients = tf.function(outcome, jit_compile=jit)(unroll)
    expected, by_tape = outcome(plain_unroll)
    np.testing.assert_allclose(states, expected, atol=1e-12)
    for ours, theirs in zip(gradients, by_tape, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_agree_with_finite_differences(name):
    cell, kernels, features, state, mask = problem(name)

    def loss(scale, direction):
        moved = Kernels(*(kernel + scale * part for kernel, part in zip(given, direction, strict=True)))
        return tf.reduce_sum(tf.sin(unroll(cell, moved, features, state, mask)))

    given, rng = [kernel for kernel in kernels if kernel is not None], np.random.default_rng(2)
    direction = [tf.constant(rng.standard_normal(kernel.shape)) for kernel in given]
    scale = tf.constant(0.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(scale)
        value = loss(scale, direction)
    found = tape.gradient(value, scale)
    step = 1e-5
    expected = (loss(step, direction) - loss(-step, direction)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_masked_steps_leave_the_state_alone():
    cell, kernels, features, state, _ = problem("gru")
    mask = tf.constant([[1.0] * ROWS] * 2 + [[0.0] * ROWS] * (STEPS - 2), tf.float64)
    states = unroll(cell, kernels, features, state, mask)
    np.testing.assert_array_equal(states[-1], states[1])
    assert np.abs(states[1] - states[0]).min() > 0


def test_the_associative_cell_by_hand():
    """One unit: the key is 1, so the table is a number that moves towards the value and is added to the output."""
    cell = CELLS["associative"]
    out, address, value, factor, rate = 0.3, 7.0, 2.0, 0.5, 0.25
    fed = tf.constant([[out, address, value, factor, rate]])
    state = cell.update(fed, tf.zeros_like(fed), tf.constant([[0.9, 1.0, 0.4]])).numpy()[0]
    table = 0.4 + (np.tanh(factor) * value - 0.4) / (1 + np.exp(-rate))
    np.testing.assert_allclose(state, [np.tanh(out + table), 1.0, table], rtol=1e-6)


def test_the_associative_cell_recalls_what_followed_a_key():
    units = 4
    cell = CELLS["associative"]
    sharp, open_ = 50.0, 50.0

    def step(state, key, value):
        address = sharp * tf.one_hot(key, units)
        parts = [tf.zeros(units), address, tf.fill([units], value), tf.fill([units], open_), tf.fill([units], open_)]
        return cell.update(tf.concat(parts, 0)[None], tf.zeros([1, 5 * units]), state)

    state = tf.zeros([1, cell.size(units)])
    for key, value in [(2, 0.0), (0, 0.7), (2, -0.4), (1, 0.0)]:  # 0.7 follows key 2, −0.4 key 0, then 0 key 2 again
        state = step(state, key, value)
    table = state.numpy()[0, 2 * units :].reshape(units, units)
    np.testing.assert_allclose(table[:, 0], [-0.4, 0.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(np.arctanh(step(state, 0, 0.0).numpy()[0, :units]), -0.4, atol=1e-5)


def test_mingru_by_hand():
    """z = σ(0) = 1/2, h̃ = 3: half of the state and half of the new; a masked step keeps it."""
    kernels = Kernels(tf.constant([[0.0, 3.0]]), tf.constant([0.0, 0.0]))
    features, mask = tf.ones([3, 1, 1]), tf.constant([[1.0], [0.0], [1.0]])
    states = unroll(CELLS["mingru"], kernels, features, tf.constant([[1.0]]), mask)
    assert states.numpy().ravel().tolist() == [2.0, 2.0, 2.5]
