"""Keras 3 functional networks that map an observation to the parameters of an action distribution."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from metazoo.types import Box, Discrete, Space, require_usable

LEAST_SCALE = 1e-2
SOFTPLUS_OF_ONE = math.log(math.expm1(1.0 - LEAST_SCALE))
"""What ``spread`` adds so that it begins with its initial scale."""


@keras.saving.register_keras_serializable("metazoo")
class Scale(keras.layers.Layer):
    """State-independent standard deviation of a Gaussian policy: exp of a learned vector, at least ``minimum``."""

    def __init__(self, initial: float = 1.0, minimum: float = 1e-6, **kwargs):
        super().__init__(**kwargs)
        self.initial, self.minimum = initial, minimum

    def build(self, input_shape):
        constant = keras.initializers.Constant(float(keras.ops.log(keras.ops.cast(self.initial, "float32"))))
        self.log_scale = self.add_weight(shape=(input_shape[-1],), initializer=constant, name="log_scale")

    def call(self, loc):
        scale = keras.ops.maximum(keras.ops.exp(self.log_scale), self.minimum)
        return keras.ops.broadcast_to(scale, keras.ops.shape(loc))

    def get_config(self):
        return {**super().get_config(), "initial": self.initial, "minimum": self.minimum}


@keras.saving.register_keras_serializable("metazoo")
class Spread(keras.layers.Layer):
    """Numbers ``[..., 2 n]`` → a Gaussian's ``loc`` and ``scale [..., n]``: a standard deviation for each input."""

    def __init__(self, initial: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def call(self, numbers):
        return spread(numbers, self.initial)

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}


def spread(numbers: Any, initial: float) -> tuple[Any, Any]:
    """``loc``, the first half of the last axis, and ``scale``: ``initial`` where the second half is 0, and never less
    than ``LEAST_SCALE`` of it, below which likelihoods of what is certain grow without bound."""
    loc, rest = keras.ops.split(numbers, 2, -1)
    return loc, initial * (LEAST_SCALE + keras.ops.softplus(rest + SOFTPLUS_OF_ONE))


@keras.saving.register_keras_serializable("metazoo")
class Head(keras.layers.Layer):
    """A dense layer with few outputs, its kernel stored as ``[units, inputs]``.

    XLA's CPU code for the gradients of ``x @ kernel [inputs, 2]`` is an order of magnitude slower than for the
    transposed layout; with it the head would cost as much as all hidden layers.
    """

    def __init__(self, units: int, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        self.kernel = self.add_weight((self.units, input_shape[-1]), self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((self.units,), "zeros", name="bias")

    def call(self, x):
        return keras.ops.einsum("...i,oi->...o", x, self.kernel) + self.bias

    def get_config(self):
        initializer = keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), "units": self.units, "kernel_initializer": initializer}


def network_for(observation_space: Box, action_space: Space, **settings: Any) -> keras.Model:
    """``cnn`` for images (uint8, ``[height, width, channels]`` or ``[height, width]``), ``mlp`` for all else; ``conv``
    where the settings say how many ``filters`` its ``blocks`` have. ``settings`` are theirs."""
    if "blocks" in settings:
        from metazoo.policies.convolutions import conv  # which builds on this module

        return conv(observation_space, action_space, **settings)
    if observation_space.dtype == "uint8" and len(observation_space.shape) in (2, 3):
        return cnn(observation_space, action_space, **settings)
    return mlp(observation_space, action_space, **settings)


def mlp(
    observation_space: Box,
    action_space: Space,
    hidden: tuple[int, ...] = (64, 64),
    activation: str = "tanh",
    initial_scale: float = 1.0,
    output_gain: float = 0.01,
    seed: int = 0,
    dtype: str = "float32",
    centre: Sequence[float] = (),
    width: Sequence[float] = (),
    heteroscedastic: bool = False,
) -> keras.Model:
    """A multi-layer perceptron ``[..., observation] → {"logits"}`` or ``{"loc", "scale"}``.

    Hidden layers are initialised orthogonally with gain √2, the output with ``output_gain``, which when small makes
    the first policy nearly uniform (or centred on 0). ``initial_scale`` is the Gaussian's first standard deviation in
    action units. Observations of several axes, or none, are taken as one vector; bytes are scaled to [0, 1]. With
    ``centre`` and ``width``, a number for each entry, the network sees (observation − centre) / width. A Gaussian that
    is ``heteroscedastic`` has a standard deviation for each observation instead of one for all.
    """
    require_usable(observation_space, action_space)
    inputs, x = inputs_of(observation_space, dtype)
    x = _vector(x, observation_space, dtype)
    if width:
        offset = [-c / w for c, w in zip(centre, width, strict=True)]
        x = keras.layers.Rescaling([1.0 / w for w in width], offset, dtype=dtype, name="scaled")(x)
    x = _dense(x, hidden, activation, seed, dtype)
    kernel = keras.initializers.Orthogonal(output_gain, seed=seed + len(hidden))
    return with_head(inputs, x, action_space, kernel, initial_scale, dtype, heteroscedastic)


def cnn(
    observation_space: Box,
    action_space: Space,
    filters: tuple[int, ...] = (16, 32),
    hidden: tuple[int, ...] = (64,),
    activation: str = "tanh",
    initial_scale: float = 1.0,
    output_gain: float = 0.01,
    seed: int = 0,
    dtype: str = "float32",
) -> keras.Model:
    """A small convolutional network for images ``[..., height, width, channels]``, then layers as ``mlp``'s.

    Each convolution is 3 × 3 with stride 2 (so the picture's sides halve) and followed by ReLU; bytes are scaled to
    [0, 1]. An image ``[height, width]`` has one channel.

    Raises:
        ValueError: spaces that policies cannot have, or observations that are no images.
    """
    require_usable(observation_space, action_space)
    shape = observation_space.shape
    if len(shape) not in (2, 3):
        raise ValueError(f"observations have shape {list(shape)}; cnn takes [height, width, channels], use mlp.")
    inputs, x = inputs_of(observation_space, dtype)
    if len(shape) == 2:
        x = keras.layers.Reshape((*shape, 1), dtype=dtype, name="channel")(x)
    for i, count in enumerate(filters):
        kernel = keras.initializers.Orthogonal(2.0**0.5, seed=seed + 1000 + i)
        x = keras.layers.Conv2D(
            count, 3, 2, "same", "channels_last", activation="relu", kernel_initializer=kernel, dtype=dtype,
            name=f"convolution_{i}",
        )(x)  # fmt: skip
    x = keras.layers.Reshape((math.prod(x.shape[1:]),), dtype=dtype, name="features")(x)
    x = _dense(x, hidden, activation, seed, dtype)
    kernel = keras.initializers.Orthogonal(output_gain, seed=seed + len(hidden))
    return with_head(inputs, x, action_space, kernel, initial_scale, dtype)


def inputs_of(space: Box, dtype: str) -> tuple[Any, Any]:
    """The network's input, and its values as numbers of ``dtype``: bytes scaled to [0, 1]."""
    if space.dtype != "uint8":
        return (inputs := keras.Input(space.shape, dtype=dtype, name="observations")), inputs
    inputs = keras.Input(space.shape, dtype="uint8", name="observations")
    return inputs, keras.layers.Rescaling(1.0 / 255.0, dtype=dtype, name="pixels")(inputs)


def _vector(x: Any, space: Box, dtype: str) -> Any:
    """Keras' ``Flatten`` would order the axes by a setting of the user's process."""
    return x if len(space.shape) == 1 else keras.layers.Reshape((space.size,), dtype=dtype, name="vector")(x)


def _dense(x: Any, hidden: tuple[int, ...], activation: str, seed: int, dtype: str) -> Any:
    for i, units in enumerate(hidden):
        kernel = keras.initializers.Orthogonal(2.0**0.5, seed=seed + i)
        x = keras.layers.Dense(units, activation, kernel_initializer=kernel, dtype=dtype, name=f"hidden_{i}")(x)
    return x


def with_head(
    inputs: Any,
    x: Any,
    action_space: Space,
    kernel: Any,
    initial_scale: float = 1.0,
    dtype: str = "float32",
    heteroscedastic: bool = False,
) -> keras.Model:
    """The model whose last layer turns ``x`` into the parameters of the space's action distribution."""
    gaussian = isinstance(action_space, Box)
    if gaussian and heteroscedastic:
        numbers = Head(2 * outputs_of(action_space), kernel, dtype=dtype, name="numbers")(x)
        loc, scale = Spread(initial_scale, dtype=dtype, name="spread")(numbers)
        return keras.Model(inputs, {"loc": loc, "scale": scale}, name="policy")
    head = Head(outputs_of(action_space), kernel, dtype=dtype, name="loc" if gaussian else "logits")(x)
    if not gaussian:
        return keras.Model(inputs, {"logits": head}, name="policy")
    scale = Scale(initial_scale, dtype=dtype, name="scale")(head)
    return keras.Model(inputs, {"loc": head, "scale": scale}, name="policy")


def outputs_of(action_space: Space) -> int:
    """Logits, or means of a Gaussian."""
    if isinstance(action_space, Box):
        return action_space.size
    return action_space.n if isinstance(action_space, Discrete) else sum(action_space.nvec)
