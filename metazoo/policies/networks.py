"""Keras 3 functional networks that map an observation to the parameters of an action distribution."""

import keras

from metazoo.types import Box, Discrete, Space


@keras.saving.register_keras_serializable("metazoo")
class Scale(keras.layers.Layer):
    """State-independent standard deviation of a Gaussian policy: exp of a learned vector, at least ``minimum``."""

    def __init__(self, initial: float = 1.0, minimum: float = 1e-6, **kwargs):
        super().__init__(**kwargs)
        self.initial, self.minimum = initial, minimum

    def build(self, input_shape):
        constant = keras.initializers.Constant(float(keras.ops.log(self.initial)))
        self.log_scale = self.add_weight(shape=(input_shape[-1],), initializer=constant, name="log_scale")

    def call(self, loc):
        scale = keras.ops.maximum(keras.ops.exp(self.log_scale), self.minimum)
        return keras.ops.broadcast_to(scale, keras.ops.shape(loc))

    def get_config(self):
        return {**super().get_config(), "initial": self.initial, "minimum": self.minimum}


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


def mlp(
    observation_space: Box,
    action_space: Space,
    hidden: tuple[int, ...] = (64, 64),
    activation: str = "tanh",
    initial_scale: float = 1.0,
    output_gain: float = 0.01,
    seed: int = 0,
    dtype: str = "float32",
) -> keras.Model:
    """A multi-layer perceptron ``[..., observation] → {"logits"}`` or ``{"loc", "scale"}``.

    Hidden layers are initialised orthogonally with gain √2, the output with ``output_gain``, which when small makes
    the first policy nearly uniform (or centred on 0). ``initial_scale`` is the Gaussian's first standard deviation in
    action units.
    """
    inputs = keras.Input(observation_space.shape, dtype=dtype, name="observations")
    x = inputs if len(observation_space.shape) == 1 else keras.layers.Flatten()(inputs)
    orthogonal = keras.initializers.Orthogonal
    for i, units in enumerate(hidden):
        kernel = orthogonal(2.0**0.5, seed=seed + i)
        x = keras.layers.Dense(units, activation, kernel_initializer=kernel, dtype=dtype, name=f"hidden_{i}")(x)
    discrete = isinstance(action_space, Discrete)
    units = action_space.n if isinstance(action_space, Discrete) else action_space.size
    kernel = orthogonal(output_gain, seed=seed + len(hidden))
    head = Head(units, kernel, dtype=dtype, name="logits" if discrete else "loc")(x)
    if discrete:
        return keras.Model(inputs, {"logits": head}, name="policy")
    scale = Scale(initial_scale, dtype=dtype, name="scale")(head)
    return keras.Model(inputs, {"loc": head, "scale": scale}, name="policy")
