"""A recurrent policy, applied with explicit weights: what RL² and recurrent students act with."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from metazoo.policies.acting import choose
from metazoo.policies.cells import CELLS, Kernels, one_step, unroll
from metazoo.policies.distributions import Parameters, distribution_for
from metazoo.policies.networks import outputs_of
from metazoo.types import Box, Discrete, MultiDiscrete, Space, StepInputs, StepOutputs, require_usable
from metazoo.words import meant

KEY_SCALE = 5.0
"""Logit of an associative cell's key at first: five sixths of the weight on one of 32."""


class Weights(NamedTuple):
    """A recurrent policy's weights, in the order in which they are kept."""

    inputs: Any
    """``[F, G·U]``"""
    input_bias: Any
    recurrent: Any
    """``[U, G·U]``"""
    recurrent_bias: Any
    head: Any
    """``[outputs, U]``: logits, or means"""
    head_bias: Any
    log_scale: Any = None
    """``[outputs]``; a Gaussian's alone"""
    rewards: Any = None
    """``[codes, U]``: predicts the reward of an action, see ``RecurrentPolicy.predicted_rewards``"""
    rewards_bias: Any = None


@keras.saving.register_keras_serializable("metazoo")
class RecurrentNetwork(keras.layers.Layer):
    """Holds the weights of ``RecurrentPolicy``; computes nothing itself."""

    def __init__(
        self, features: int, outputs: int, gaussian: bool, cell="gru", units=64, initial_scale=1.0, seed=0, **kw
    ):
        super().__init__(name=kw.pop("name", "recurrent"), **kw)
        self.features, self.outputs, self.gaussian = features, outputs, gaussian
        self.cell, self.units, self.initial_scale, self.seed = cell, units, initial_scale, seed
        self.build(None)

    def build(self, input_shape):
        gates = CELLS[self.cell].gates
        orthogonal = keras.initializers.Orthogonal
        width = gates * self.units
        self.add_weight((self.features, width), self._first_inputs, name="inputs")
        self.add_weight((width,), self._first_bias, name="input_bias")
        self.add_weight((self.units, width), self._orthogonal_gates, name="recurrent")
        self.add_weight((width,), "zeros", name="recurrent_bias")
        self.add_weight((self.outputs, self.units), orthogonal(0.01, seed=self.seed + 1), name="head")
        self.add_weight((self.outputs,), "zeros", name="head_bias")
        scale = keras.initializers.Constant(float(keras.ops.log(keras.ops.cast(self.initial_scale, "float32"))))
        if self.gaussian:
            self.add_weight((self.outputs,), scale, name="log_scale")
        codes = self.outputs + self.gaussian
        self.add_weight((codes, self.units), "zeros", name="rewards")
        self.add_weight((codes,), "zeros", name="rewards_bias")
        self.built = True

    def _first_inputs(self, shape, dtype=None):
        """LeCun's normal by the features alone, as most of them are one-hot. An associative cell's keys are told apart
        from the start, one for each entry of a one-hot observation: from keys that are almost the same, a training
        finds ones that differ only by luck, and the better they do, the better the policy becomes."""
        kernel = keras.initializers.LecunNormal(self.seed)(shape, dtype)
        if self.cell != "associative":
            return kernel
        keys = slice(self.units, 2 * self.units)
        observed = self.features - self.outputs - 2  # before the previous action, reward and done
        kernel = keras.ops.convert_to_numpy(kernel)
        kernel[:observed, keys] = KEY_SCALE * np.eye(self.units)[np.arange(observed) % self.units]
        return keras.ops.convert_to_tensor(kernel)

    def _orthogonal_gates(self, shape, dtype=None):
        """An orthogonal matrix for each gate: a state that is not written to keeps its length."""
        blocks = [
            keras.initializers.Orthogonal(seed=self.seed + 10 + gate)((self.units, self.units), dtype)
            for gate in range(shape[1] // self.units)
        ]
        return keras.ops.concatenate(blocks, 1)

    def _first_bias(self, shape, dtype=None):
        """Zeros, but 1 for an LSTM's forget gate, so that it remembers at first (Jozefowicz et al. 2015)."""
        ones = keras.ops.arange(shape[0]) // self.units == 1
        return keras.ops.cast(ones if self.cell == "lstm" else keras.ops.zeros_like(ones), dtype)

    def get_config(self):
        names = ("features", "outputs", "gaussian", "cell", "units", "initial_scale", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class RecurrentPolicy:
    """A cell that is told, at every step, the observation, the previous action and reward, and whether it ended an
    episode; a linear head gives the action distribution (Duan et al. 2016, section 2.2).

    Rewards enter as they are. Memory ``[S]``: the cell's state, zeros at first.
    """

    def __init__(
        self,
        observation_space: Box,
        action_space: Space,
        cell: str = "gru",
        units: int = 64,
        initial_scale: float = 1.0,
        observation_scale: float = 1.0,
        seed: int = 0,
        dtype: str = "float32",
    ):
        """``initial_scale`` is a Gaussian's first standard deviation in action units. ``observation_scale`` multiplies
        observations: large numbers open or shut a cell's gates from the start. Bytes are scaled to [0, 1] before.

        Raises:
            ValueError: there is no such cell, spaces that policies cannot have, or observations that are images.
        """
        require_usable(observation_space, action_space)
        pixels = observation_space.dtype == "uint8"
        if pixels and len(observation_space.shape) > 1:
            raise ValueError(f"observations are images {observation_space.shape}; a recurrent policy takes vectors.")
        if cell not in CELLS:
            raise ValueError(f"cell is {cell!r}; {meant(cell, CELLS)}")
        self.observation_space, self.action_space = observation_space, action_space
        self.observation_scale = observation_scale / 255.0 if pixels else observation_scale
        self.distribution = distribution_for(action_space)
        outputs, gaussian = outputs_of(action_space), isinstance(action_space, Box)
        features = observation_space.size + outputs + 2
        self.model = RecurrentNetwork(features, outputs, gaussian, cell, units, initial_scale, seed, dtype=dtype)
        self.cell = CELLS[cell]
        self.memory_size = self.cell.size(units)
        self.acting = len(self.model.trainable_variables) - 2
        """How many of the weights, from the first on, acting takes: all but the predictions' of rewards."""
        self.shapes = tuple(tuple(variable.shape) for variable in self.model.trainable_variables)

    def features(self, inputs: StepInputs, dtype: tf.DType) -> tf.Tensor:
        """What the cell is fed, ``[..., F]``."""
        lead = tf.shape(inputs.previous_rewards)
        observations = tf.reshape(inputs.observations, tf.concat([lead, [self.observation_space.size]], 0))
        if self.observation_scale != 1.0:
            observations = self.observation_scale * tf.cast(observations, dtype)
        actions = self._encoded(inputs.previous_actions, dtype)
        told = (observations, actions, inputs.previous_rewards[..., None], inputs.previous_done[..., None])
        return tf.concat([tf.cast(part, dtype) for part in told], -1)

    def step(
        self, weights: list[tf.Tensor], inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        """Acts in ``[M, E]`` trials with memory ``[M, E, S]``; ``weights`` may be the first ``acting`` alone."""
        features = self.features(inputs, memory.dtype)
        rows = [tf.reshape(field, [-1, field.shape[-1]]) for field in (features, memory)]
        rows = one_step(self.cell, self._kernels(weights), *rows)
        memory = tf.reshape(rows, tf.shape(memory))
        parameters = self.parameters(weights, memory)
        actions = choose(self.distribution, parameters, key, deterministic, len(self.action_space.shape))
        return StepOutputs(actions, parameters, self.distribution.log_prob(parameters, actions), memory)

    def states(
        self, weights: list[tf.Tensor], inputs: StepInputs, mask: tf.Tensor, memory: tf.Tensor, truncation: int = 0
    ) -> tf.Tensor:
        """The memories ``[L, B, S]`` after each of L steps (``inputs`` ``[L, B, ...]``) from ``memory [B, S]``.

        Where ``mask [L, B]`` is 0 a step changes nothing. ``truncation``: see ``cells.unroll``.
        """
        features = self.features(inputs, memory.dtype)
        return unroll(self.cell, self._kernels(weights), features, memory, mask, truncation)

    def outputs(self, states: tf.Tensor) -> tf.Tensor:
        """The cell's output ``[..., U]`` in states ``[..., S]``."""
        return states[..., : self.model.units]

    def parameters(self, weights: list[tf.Tensor], states: tf.Tensor) -> Parameters:
        """Parameters of the action distribution in states ``[..., S]``."""
        parts = self._parts(weights)
        head = _linear(self.outputs(states), parts.head, parts.head_bias)
        if isinstance(self.action_space, Box):
            return {"loc": head, "scale": tf.broadcast_to(tf.exp(parts.log_scale), tf.shape(head))}
        return {"logits": head}

    def predicted_rewards(self, weights: list[tf.Tensor], states: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        """The rewards ``[...]`` that actions in states ``[..., S]`` are expected to bring: linear in the output for
        each discrete action, and bilinear in output and (1, action) for continuous ones."""
        parts = self._parts(weights)
        code = self._encoded(actions, states.dtype)
        if isinstance(self.action_space, Box):
            code = tf.concat([tf.ones_like(code[..., :1]), code], -1)
        of_code = _linear(self.outputs(states), parts.rewards, parts.rewards_bias)
        return tf.reduce_sum(code * of_code, -1)

    def _encoded(self, actions: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Actions ``[..., outputs]``: one-hot, for each component of its own, or as they are."""
        space = self.action_space
        if isinstance(space, Discrete):
            return tf.one_hot(actions - space.start, space.n, dtype=dtype)
        if isinstance(space, MultiDiscrete):
            parts = tf.unstack(actions - tf.constant(space.start, actions.dtype), axis=-1)
            return tf.concat([tf.one_hot(part, n, dtype=dtype) for part, n in zip(parts, space.nvec, strict=True)], -1)
        return tf.cast(tf.reshape(actions, tf.concat([tf.shape(actions)[: -len(space.shape)], [space.size]], 0)), dtype)

    def _parts(self, weights: list[tf.Tensor]) -> Weights:
        """The weights by name; those of the predictions may be missing."""
        predicting = dict(zip(("rewards", "rewards_bias"), weights[self.acting :], strict=False))
        return Weights(*weights[: self.acting])._replace(**predicting)

    def _kernels(self, weights: list[tf.Tensor]) -> Kernels:
        return Kernels(*weights[: len(Kernels._fields)])


def _linear(outputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """``outputs [..., U]`` times ``kernel [N, U]``. One matrix product over all rows: XLA's CPU code for the gradient
    of an einsum with more axes is ten times slower."""
    rows = tf.matmul(tf.reshape(outputs, [-1, kernel.shape[1]]), kernel, transpose_b=True) + bias
    return tf.reshape(rows, tf.concat([tf.shape(outputs)[:-1], [kernel.shape[0]]], 0))
