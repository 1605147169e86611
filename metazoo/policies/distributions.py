"""Action distributions: parameters by name → TFP distributions, samples from our own generator, modes."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from metazoo import random
from metazoo.types import Box, Discrete, MultiDiscrete, Space

Parameters = dict[str, tf.Tensor]


class Categorical:
    """Distribution over a ``Discrete`` space from ``logits [..., n]``."""

    kind = "categorical"
    parameters = ("logits",)

    def __init__(self, space: Discrete):
        self.space = space

    def of(self, parameters: Parameters) -> Any:
        """The TFP distribution over 0 … n−1."""
        return tfp.distributions.Categorical(logits=parameters["logits"])

    def log_prob(self, parameters: Parameters, actions: tf.Tensor) -> tf.Tensor:
        return self.of(parameters).log_prob(actions - self.space.start)

    def sample(self, parameters: Parameters, key: tf.Tensor) -> tf.Tensor:
        return random.categorical(key, parameters["logits"]) + self.space.start

    def mode(self, parameters: Parameters) -> tf.Tensor:
        return tf.argmax(parameters["logits"], -1, tf.int32) + self.space.start

    def clip(self, actions: tf.Tensor) -> tf.Tensor:
        return actions


class MultiCategorical:
    """Independent categorical components of a ``MultiDiscrete`` space, from their concatenated ``logits``."""

    kind = "multi_categorical"
    parameters = ("logits",)

    def __init__(self, space: MultiDiscrete):
        self.space = space

    def of(self, parameters: Parameters) -> "Product":
        return Product([tfp.distributions.Categorical(logits=part) for part in self._parts(parameters)])

    def log_prob(self, parameters: Parameters, actions: tf.Tensor) -> tf.Tensor:
        return self.of(parameters).log_prob(actions - self.space.start)

    def sample(self, parameters: Parameters, key: tf.Tensor) -> tf.Tensor:
        draws = [random.categorical(random.fold(key, i), part) for i, part in enumerate(self._parts(parameters))]
        return tf.stack(draws, -1) + self.space.start

    def mode(self, parameters: Parameters) -> tf.Tensor:
        return tf.stack([tf.argmax(part, -1, tf.int32) for part in self._parts(parameters)], -1) + self.space.start

    def clip(self, actions: tf.Tensor) -> tf.Tensor:
        return actions

    def _parts(self, parameters: Parameters) -> list[tf.Tensor]:
        return tf.split(parameters["logits"], self.space.nvec, -1)


class Product:
    """Independent TFP distributions side by side: what losses ask of a distribution, summed over its components."""

    def __init__(self, parts: list[Any]):
        self.parts = parts

    def log_prob(self, values: tf.Tensor) -> tf.Tensor:
        return tf.add_n(
            [part.log_prob(value) for part, value in zip(self.parts, tf.unstack(values, axis=-1), strict=True)]
        )

    def entropy(self) -> tf.Tensor:
        return tf.add_n([part.entropy() for part in self.parts])

    def kl_divergence(self, other: "Product") -> tf.Tensor:
        return tf.add_n([ours.kl_divergence(theirs) for ours, theirs in zip(self.parts, other.parts, strict=True)])


class Gaussian:
    """Diagonal Gaussian over a ``Box`` of rank 1 from ``loc [..., n]`` and ``scale [..., n]``, unclipped."""

    kind = "gaussian"
    parameters = ("loc", "scale")

    def __init__(self, space: Box):
        self.space = space

    def of(self, parameters: Parameters) -> Any:
        return tfp.distributions.MultivariateNormalDiag(parameters["loc"], parameters["scale"])

    def log_prob(self, parameters: Parameters, actions: tf.Tensor) -> tf.Tensor:
        return self.of(parameters).log_prob(tf.cast(actions, parameters["loc"].dtype))

    def sample(self, parameters: Parameters, key: tf.Tensor) -> tf.Tensor:
        noise = random.normal(random.spread(key, self.space.size))
        return parameters["loc"] + parameters["scale"] * tf.cast(noise, parameters["loc"].dtype)

    def mode(self, parameters: Parameters) -> tf.Tensor:
        return parameters["loc"]

    def clip(self, actions: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(actions, self.space.low, self.space.high)


def distribution_for(space: Space) -> Categorical | MultiCategorical | Gaussian:
    """The distribution a policy uses over an action space."""
    if isinstance(space, Discrete):
        return Categorical(space)
    return MultiCategorical(space) if isinstance(space, MultiDiscrete) else Gaussian(space)
