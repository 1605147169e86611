"""What learners have in common whose weights stay as they were trained, and those that do not adapt at all."""

from abc import ABC
from typing import Any, ClassVar

import keras
import tensorflow as tf

from metazoo.algorithms.common.learner import Learner
from metazoo.policies.acting import act
from metazoo.policies.distributions import Parameters
from metazoo.policies.weights import Tensors, flatten
from metazoo.types import Episodes, StepInputs, StepOutputs


class FixedWeights(Learner, ABC):
    """A learner that knows a task by a memory that begins with zeros, not by weights."""

    @property
    def exported_variables(self) -> list[keras.Variable]:
        return self.meta_variables

    def exported_weights(self, memory: tf.Tensor, variables: Tensors) -> list[tf.Tensor]:
        return list(variables)

    def initial_memory(self, weights: Tensors) -> tf.Tensor:
        return tf.zeros([self.memory_size], weights[0].dtype)


class PlainLearner(FixedWeights, ABC):
    """A learner whose memory is empty, and whose ``adapt`` changes nothing."""

    memory_kind: ClassVar[str] = "none"
    online: ClassVar[bool] = False

    @property
    def memory_size(self) -> int:
        return 0

    def act(self, weights: Tensors, memory: tf.Tensor, observations: tf.Tensor) -> Parameters:
        return self.policy.apply(flatten(list(weights)), observations)

    def step(
        self, weights: Tensors, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        return act(self.policy, flatten(list(weights)), inputs.observations, memory, key, deterministic)

    def adapt(self, weights: Tensors, memory: tf.Tensor, episodes: Episodes) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        zero = tf.zeros(tf.shape(episodes.mask)[1:2], memory.dtype)
        return memory, {"loss": zero, "kl": zero}
