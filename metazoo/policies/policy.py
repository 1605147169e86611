"""A network with an action distribution, applied with explicit weights."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from metazoo.policies.distributions import Parameters, distribution_for
from metazoo.policies.networks import Head, Scale, Spread
from metazoo.policies.weights import flatten, unflatten
from metazoo.types import Box, Space, require_usable

layers = keras.layers
SIDE_BY_SIDE = (layers.InputLayer, layers.Rescaling, layers.Reshape, layers.Dense, Head, Scale, Spread)
"""Layers that ``vectorized_map`` turns into one operation with a kernel for each task. TensorFlow has none for others,
such as convolutions, and what it makes of them fails where there is one task: those go through the tasks one by one."""


class Policy:
    """A Keras 3 ``model`` of observations → distribution parameters, without state of its own.

    The model's variables are only the initial weights: ``apply`` takes the weights to use, one flat vector for all
    rows or one per task. Assigning variables inside an inner loop would cut the meta-gradient.
    """

    def __init__(self, model: keras.Model, observation_space: Box, action_space: Space):
        require_usable(observation_space, action_space)
        self.model = model
        self.observation_space = observation_space
        self.action_space = action_space
        self.distribution = distribution_for(action_space)
        self.shapes = tuple(tuple(variable.shape) for variable in model.trainable_variables)
        self.size = sum(math.prod(shape) for shape in self.shapes)
        """Number of weights, P."""
        operations = getattr(model, "operations", [None])  # a model with a ``call`` of its own does not list them
        self._side_by_side = all(isinstance(operation, SIDE_BY_SIDE) for operation in operations)

    def apply(self, weights: tf.Tensor, observations: tf.Tensor) -> Parameters:
        """Distribution parameters of ``observations``: ``[..., *shape]`` under weights ``[P]``, or ``[M, N, *shape]``
        under weights ``[M, P]``, a set for each task."""
        parts = unflatten(weights, self.shapes)
        if weights.shape.rank == 1:
            shape = self.observation_space.shape
            rows = self._call(parts, tf.reshape(observations, [-1, *shape]))
            lead = tf.shape(observations)[: observations.shape.rank - len(shape)]
            return {name: tf.reshape(value, tf.concat([lead, value.shape[1:]], 0)) for name, value in rows.items()}
        return self._by_task(parts, observations)

    def flat_weights(self, variables: Sequence[tf.Tensor] | None = None) -> tf.Tensor:
        """``[P]``: the given tensors, or the model's own variables, as one vector."""
        return flatten([tf.convert_to_tensor(v) for v in (variables or self.model.trainable_variables)])

    def _by_task(self, parts: list[tf.Tensor], observations: tf.Tensor) -> Parameters:
        """Every task's ``observations [M, N, ...]`` under its own weights ``[M, ...]``."""
        if self._side_by_side:
            return tf.vectorized_map(lambda args: self._call(*args), (parts, observations), warn=False)
        dtypes = dict.fromkeys(self.distribution.parameters, parts[0].dtype)
        return tf.map_fn(lambda args: self._call(*args), (parts, observations), fn_output_signature=dtypes)

    def _call(self, parts: list[tf.Tensor], observations: tf.Tensor) -> Parameters:
        fixed = [variable.value for variable in self.model.non_trainable_variables]
        return self.model.stateless_call(parts, fixed, observations)[0]
