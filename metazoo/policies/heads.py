"""From a cell's output to the parameters of an action distribution: the last part of a recurrent policy.

``Head`` values hold no weights; ``specs`` says which there are, and ``__call__`` takes them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import keras
import numpy as np
import tensorflow as tf


class Spec(NamedTuple):
    """A weight to be made."""

    name: str
    shape: tuple[int, ...]
    initializer: Any


class Head(ABC):
    """``units``: U, of the cell's output; ``observed``: O; ``hidden``: sizes of the layers in between; ``outputs``:
    numbers of the distribution."""

    def __init__(self, units: int, observed: int, hidden: Sequence[int], outputs: int, seed: int):
        self.units, self.observed, self.hidden, self.outputs, self.seed = units, observed, tuple(hidden), outputs, seed

    @abstractmethod
    def specs(self) -> list[Spec]:
        """The head's weights, in the order in which ``__call__`` takes them."""

    @abstractmethod
    def __call__(self, weights: Sequence[tf.Tensor], output: tf.Tensor, observations: tf.Tensor) -> tf.Tensor:
        """``[..., outputs]`` from the cell's ``output [..., U]`` and the ``observations [..., O]`` of the step."""


@final
class FromOutput(Head):
    """Layers on the cell's output alone; without hidden ones one linear map (Duan et al. 2016)."""

    def specs(self) -> list[Spec]:
        return dense_specs("head", (self.units, *self.hidden, self.outputs), self.seed)

    def __call__(self, weights: Sequence[tf.Tensor], output: tf.Tensor, observations: tf.Tensor) -> tf.Tensor:
        return dense(weights, output)


@final
class WithObservation(Head):
    """Layers on the cell's output and, a second time, the observation: the memory need not carry what is seen anyway
    (the state-conditioned RNN of Beck et al. 2023, arXiv 2309.14970)."""

    def specs(self) -> list[Spec]:
        return dense_specs("head", (self.units + self.observed, *self.hidden, self.outputs), self.seed)

    def __call__(self, weights: Sequence[tf.Tensor], output: tf.Tensor, observations: tf.Tensor) -> tf.Tensor:
        return dense(weights, tf.concat([output, observations], -1))


@final
class Generated(Head):
    """A hypernetwork: the cell's output is mapped to all weights of a small network that acts on the observation (Beck
    et al. 2022, arXiv 2210.11348).

    Its kernel is zero at first and its bias is what the small network would begin with (their Bias-HyperInit): at first
    every memory generates that same network.
    """

    def specs(self) -> list[Spec]:
        layers = dense_specs("base", (self.observed, *self.hidden, self.outputs), self.seed)
        first = np.concatenate([_values(spec).reshape(-1) for spec in layers])
        return [
            Spec("generator", (self.units, len(first)), "zeros"),
            Spec("generator_bias", (len(first),), keras.initializers.Constant(first)),
        ]

    def __call__(self, weights: Sequence[tf.Tensor], output: tf.Tensor, observations: tf.Tensor) -> tf.Tensor:
        kernel, bias = weights
        lead = tf.shape(output)[:-1]
        flat = tf.matmul(tf.reshape(output, [-1, self.units]), kernel) + bias
        x, start = tf.reshape(observations, [-1, self.observed]), 0
        sizes = (self.observed, *self.hidden, self.outputs)
        for layer, (taken, given) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            matrix = tf.reshape(flat[:, start : start + given * taken], [-1, given, taken])
            start += given * taken
            x = tf.linalg.matvec(matrix, x) + flat[:, start : start + given]
            start += given
            x = tf.tanh(x) if layer < len(self.hidden) else x
        return tf.reshape(x, tf.concat([lead, [self.outputs]], 0))


def dense_specs(name: str, sizes: Sequence[int], seed: int, last_gain: float = 0.01) -> list[Spec]:
    """Kernels ``[given, taken]`` and biases of layers of these sizes: orthogonal, of gain √2 and the last its own."""
    specs = []
    for i, (taken, given) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        last = i == len(sizes) - 2
        kernel = keras.initializers.Orthogonal(last_gain if last else 2.0**0.5, seed=seed + (1 if last else 100 + i))
        label = name if last else f"{name}_{i}"
        specs += [Spec(label, (given, taken), kernel), Spec(f"{label}_bias", (given,), "zeros")]
    return specs


def dense(weights: Sequence[tf.Tensor], x: tf.Tensor, last: Any = None) -> tf.Tensor:
    """Layers with the ``weights`` of ``dense_specs``, tanh between them and ``last`` (or nothing) after the last."""
    for i in range(0, len(weights), 2):
        x = linear(x, weights[i], weights[i + 1])
        if i + 2 < len(weights):
            x = tf.tanh(x)
    return x if last is None else last(x)


def linear(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """``x [..., U]`` times ``kernel [N, U]``. One matrix product over all rows: XLA's CPU code for the gradient of an
    einsum with more axes is ten times slower."""
    rows = tf.matmul(tf.reshape(x, [-1, kernel.shape[1]]), kernel, transpose_b=True) + bias
    return tf.reshape(rows, tf.concat([tf.shape(x)[:-1], [kernel.shape[0]]], 0))


def _values(spec: Spec) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.initializers.get(spec.initializer)(spec.shape, "float32"))
