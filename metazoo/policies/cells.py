"""Recurrent cells unrolled over long sequences: GRU (Cho et al. 2014), LSTM (Hochreiter & Schmidhuber 1997), one with
an associative memory, fast weights written by the delta rule (Schlag et al. 2021, arXiv 2102.11174), and minGRU (Feng
et al. 2024, arXiv 2410.01201), whose gates do not look at its state.

A cell is split into two matrix products, of what it is fed and of its output, and the elementwise rest, ``update``.
The backward pass keeps the states alone and makes the products anew: trials may be long. In both loops the slice that a
step works on is carried over from the step before: XLA's CPU code for arithmetic on a slice that it has to find first
is several times slower.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from metazoo.policies import linear_cells


class Cell(NamedTuple):
    """``update(fed [B, G·U], back [B, G·U], state [B, S]) → state``: the elementwise part of a cell.

    ``fed`` and ``back`` are the two matrix products with their biases; the first ``U`` entries of a state are the
    cell's output.
    """

    name: str
    gates: int
    """G, products per unit."""
    size: Callable[[int], int]
    """S, from U."""
    update: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    linear: bool = False
    """Linear in its state, with nothing fed back: ``fed`` of all steps is one matrix product (``linear_cells``)."""


class Kernels(NamedTuple):
    """A cell's weights: ``inputs [F, G·U]``, ``recurrent [U, G·U]``, and a bias ``[G·U]`` of each.

    Those of a linear cell have no ``recurrent`` ones.
    """

    inputs: Any
    input_bias: Any
    recurrent: Any = None
    recurrent_bias: Any = None

    def products(self, features: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What ``Cell.update`` takes, from features ``[B, F]`` and states ``[B, S]``."""
        if self.recurrent is None:
            fed = tf.matmul(features, self.inputs) + self.input_bias
            return fed, tf.zeros_like(fed)
        output = state[:, : self.recurrent.shape[0]]
        return (
            tf.matmul(features, self.inputs) + self.input_bias,
            tf.matmul(output, self.recurrent) + self.recurrent_bias,
        )


def _gru(fed: tf.Tensor, back: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    """The variant of cuDNN and Keras, which resets after the matrix product."""
    update_fed, reset_fed, new_fed = tf.split(fed, 3, -1)
    update_back, reset_back, new_back = tf.split(back, 3, -1)
    keep = tf.sigmoid(update_fed + update_back)
    new = tf.tanh(new_fed + tf.sigmoid(reset_fed + reset_back) * new_back)
    return keep * state + (1.0 - keep) * new


def _lstm(fed: tf.Tensor, back: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    write, forget, new, read = tf.split(fed + back, 4, -1)
    _, cell = tf.split(state, 2, -1)
    cell = tf.sigmoid(forget) * cell + tf.sigmoid(write) * tf.tanh(new)
    return tf.concat([tf.sigmoid(read) * tf.tanh(cell), cell], -1)


def _associative(fed: tf.Tensor, back: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    """Output, key, and a matrix ``[U, U]`` from keys to values.

    What follows a key (for a policy: the action taken on an observation, and its reward) is what belongs to it, so a
    step writes its value under the key of the step before, and reads with its own. A value is a product of two linear
    maps, since a reward means little without its action.
    """
    out, address, value, factor, rate = tf.split(fed + back, 5, -1)
    units = out.shape[-1]
    _, before, table = tf.split(state, [units, units, units * units], -1)
    table = tf.reshape(table, [-1, units, units])
    key = tf.nn.softmax(address)
    recalled = tf.linalg.matvec(table, before, transpose_a=True)  # as a sum of products it takes twice as long
    table += before[..., None] * (tf.sigmoid(rate) * (tf.tanh(factor) * value - recalled))[:, None]
    out = tf.tanh(out + tf.linalg.matvec(table, key, transpose_a=True))
    return tf.concat([out, key, tf.reshape(table, [-1, units * units])], -1)


def _mingru(fed: tf.Tensor, back: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    write, new = tf.split(fed, 2, -1)
    write = tf.sigmoid(write)
    return (1.0 - write) * state + write * new


CELLS = {
    cell.name: cell
    for cell in (
        Cell("gru", 3, lambda units: units, _gru),
        Cell("lstm", 4, lambda units: 2 * units, _lstm),
        Cell("associative", 5, lambda units: units * (units + 2), _associative),
        Cell("mingru", 2, lambda units: units, _mingru, linear=True),
    )
}


def one_step(cell: Cell, kernels: Kernels, features: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    """The states ``[B, S]`` after one step with features ``[B, F]``."""
    return cell.update(*kernels.products(features, state), state)


def unroll(
    cell: Cell,
    kernels: Kernels,
    features: tf.Tensor,
    state: tf.Tensor,
    mask: tf.Tensor,
    truncation: int = 0,
    through: bool = False,
) -> tf.Tensor:
    """The states ``[L, B, S]`` after each of L steps with ``features [L, B, F]``, from ``state [B, S]``.

    Where ``mask [L, B]`` is 0 the state stays. Gradients, of ``kernels`` and ``state``, are those of back-propagation
    through the whole sequence or, with a ``truncation``, through blocks of so many steps (Williams & Peng 1990). There
    are some of ``features`` only if they are wanted, ``through`` them.
    """
    if cell.linear:
        return linear_cells.unroll(
            kernels, features if through else tf.stop_gradient(features), state, mask, truncation
        )
    features, kept = features if through else tf.stop_gradient(features), tf.cast(mask, features.dtype)[..., None]

    @tf.custom_gradient
    def run(state, features, *kernels):
        def step(state, features, kept):
            return state + kept * (one_step(cell, Kernels(*kernels), features, state) - state)

        steps = tf.shape(features)[0]

        def body(t, state, inputs, states):
            state = step(state, *inputs)
            return t + 1, state, _at(tf.minimum(t + 1, steps - 1), features, kept), states.write(t, state)

        array = tf.TensorArray(features.dtype, steps, element_shape=state.shape)
        start = (tf.constant(0), state, _at(0, features, kept), array)
        _, _, _, array = tf.while_loop(lambda t, *_: t < steps, body, start, parallel_iterations=1)
        states = array.stack()
        states.set_shape([features.shape[0], *state.shape])
        before = tf.concat([state[None], states[:-1]], 0)

        def gradients(upstream):
            return _backward(cell, Kernels(*kernels), (features, kept, before, upstream), truncation, through)

        return states, gradients

    return run(state, features, *kernels)


def _backward(
    cell: Cell, kernels: Kernels, sequence: tuple[tf.Tensor, ...], truncation: int, through: bool
) -> list[tf.Tensor | None]:
    """Gradients of the first state, of the features if ``through`` them, and of the kernels.

    ``sequence``: features, 1.0 where steps count, the states before, and the gradients of the states after each step.
    """
    units, steps = kernels.recurrent.shape[0], tf.shape(sequence[0])[0]

    def body(t, carried, here, sums, fed):
        features, kept, before, upstream = here
        total = carried + upstream
        with tf.GradientTape() as tape:
            variables = (*kernels.products(features, before), before)
            tape.watch(variables)
            after = cell.update(*variables)
        to_fed, to_back, to_state = tape.gradient(after, variables, kept * total)
        to_output = tf.matmul(to_back, kernels.recurrent, transpose_b=True)
        to_state += (1.0 - kept) * total + tf.pad(to_output, [[0, 0], [0, carried.shape[1] - units]])
        if truncation:
            to_state = tf.where(t % truncation == 0, tf.zeros_like(to_state), to_state)
        parts = (
            tf.matmul(features, to_fed, transpose_a=True),
            tf.reduce_sum(to_fed, 0),
            tf.matmul(before[:, :units], to_back, transpose_a=True),
            tf.reduce_sum(to_back, 0),
        )
        sums = tuple(total + part for total, part in zip(sums, parts, strict=True))
        fed = fed.write(t, to_fed) if through else fed
        return t - 1, to_state, _at(tf.maximum(t - 1, 0), *sequence), sums, fed

    sums = tuple(tf.zeros_like(kernel) for kernel in kernels)
    width = kernels.input_bias.shape[0]
    fed: Any = tf.TensorArray(sequence[0].dtype, steps, element_shape=[sequence[0].shape[1], width]) if through else ()
    start = (steps - 1, tf.zeros_like(sequence[2][0]), _at(steps - 1, *sequence), sums, fed)
    _, to_state, _, sums, fed = tf.while_loop(lambda t, *_: t >= 0, body, start, parallel_iterations=1)
    if not through:
        return [to_state, None, *sums]
    rows = tf.matmul(tf.reshape(fed.stack(), [-1, width]), kernels.inputs, transpose_b=True)
    return [to_state, tf.reshape(rows, tf.shape(sequence[0])), *sums]


def _at(t: Any, *fields: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Step ``t`` of each field."""
    return tuple(field[t] for field in fields)
