"""What learners have in common whose policies remember a trial in a recurrent state: adapting is playing."""

from abc import ABC
from typing import Any, ClassVar

import keras
import tensorflow as tf

from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.common.sequences import Sequence, as_sequence
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.policies.weights import Tensors
from metazoo.types import Episodes, StepInputs, StepOutputs


class RecurrentLearner(Learner, ABC):
    """A learner whose memory is ``[S]``, the recurrent state, zeros at first. ``adapt`` replays episodes."""

    memory_kind: ClassVar[str] = "recurrent"
    online: ClassVar[bool] = True
    policy: RecurrentPolicy

    @property
    def memory_size(self) -> int:
        return self.policy.memory_size

    @property
    def exported_variables(self) -> list[keras.Variable]:
        return self.meta_variables[: self.policy.acting]

    def exported_weights(self, memory: tf.Tensor, variables: Tensors) -> list[tf.Tensor]:
        return list(variables)

    def initial_memory(self, weights: Tensors) -> tf.Tensor:
        return tf.zeros([self.memory_size], weights[0].dtype)

    def step(
        self, weights: Tensors, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        return self.policy.step(list(weights), inputs, memory, key, deterministic)

    def adapt(self, weights: Tensors, memory: tf.Tensor, episodes: Episodes) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Replays the episodes through the cell. ``loss``: −mean log π of the replayed actions; ``kl``: how far the
        policy moved, KL(before ‖ after) on the replayed inputs."""
        weights, before = list(weights), memory[:, 0]
        sequence = as_sequence(episodes)
        states = self.policy.states(weights, sequence.inputs, sequence.told, before)
        after = tf.where(tf.reduce_max(sequence.told, 0)[:, None] > 0, states[-1], before)
        distribution = self.policy.distribution
        log_probs = distribution.log_prob(self.policy.parameters(weights, states, sequence.inputs), sequence.actions)
        old, new = (distribution.of(self._answers(weights, sequence, state)) for state in (before, after))
        count = tf.maximum(tf.reduce_sum(sequence.played, 0), 1.0)
        mean = lambda values: tf.reduce_sum(sequence.played * values, 0) / count  # noqa: E731
        return after[:, None], {"loss": -mean(log_probs), "kl": mean(old.kl_divergence(new))}

    def _answers(self, weights: list[tf.Tensor], sequence: Sequence, state: tf.Tensor) -> dict[str, tf.Tensor]:
        """The policy's distribution on each of a sequence's inputs, always from the one ``state [M, S]``."""
        steps = tf.shape(sequence.told)[0]
        rows = StepInputs(
            *(tf.reshape(field, tf.concat([[1, -1], tf.shape(field)[2:]], 0)) for field in sequence.inputs)
        )
        memory = tf.reshape(tf.repeat(state[None], steps, 0), [-1, self.memory_size])
        states = self.policy.states(weights, rows, tf.ones_like(rows.previous_rewards), memory)
        return self.policy.parameters(weights, tf.reshape(states, [steps, -1, self.memory_size]), sequence.inputs)
