"""The zoo's policies as TF-Agents policies, whose ``policy_state`` is the memory and what ``step`` must be told.

TF-Agents asks a policy about the last time step of an episode too and drops the answer: that call is the *closing* step
by which a recurrent memory sees the last reward, so nothing has to be added for it.
"""

from typing import Any, NamedTuple, final

import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.distributions import shifted_categorical
from tf_agents.policies import tf_policy
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts

from metazoo import axes, random
from metazoo.artefact import signatures
from metazoo.collect import space_from_metadata
from metazoo.pretrained import Pretrained
from metazoo.tf_agents import specs


class PolicyState(NamedTuple):
    """What the policy carries from step to step, for ``B`` rows."""

    memory: Any
    """``[B, S]``: fast weights, a recurrent state, or nothing (S = 0)."""
    previous_actions: Any
    """As sampled, before TF-Agents clipped them."""
    key: Any
    """``[B]`` int32: the row's stream of random numbers."""
    episode: Any
    """``[B]`` int32: which one of the row's episodes this is."""
    step: Any
    """``[B]`` int32: of that episode."""


@final
class ZooPolicy(tf_policy.TFPolicy):
    """A policy of the zoo, meta-trained or adapted, with its memory.

    A memory that changes while the policy plays is carried from episode to episode, for as long as the driver carries
    ``policy_state``: that is how RL² and recurrent students adapt, and ``get_initial_state`` begins a new task. (A
    ``PyDriver`` over an environment that is not batched begins one at every episode.) Do not wrap it in a
    ``GreedyPolicy``, which does so too: ``deterministic`` is the same without that.

    Args:
        policy: what ``metazoo.load`` returned, or its ``adapt``.
        deterministic: play the most likely actions; otherwise samples.
        memory: ``[S]``, or ``[B, S]`` with a memory for each row; None: the policy's own.
        seed: of the samples; without effect where ``keys`` are given.
        keys: ``[B]`` uint32, a stream for each row, such as ``environments.evaluation_keys``.
        forget: begin each *episode* with the first memory.

    Raises:
        ValueError: the memory has another size than the policy's.
    """

    def __init__(
        self,
        policy: Pretrained,
        deterministic: bool = False,
        memory: Any = None,
        seed: int = 0,
        keys: tf.Tensor | None = None,
        forget: bool = False,
    ):
        memory = tf.convert_to_tensor(policy.memory if memory is None else memory, tf.float32)
        size = policy.metadata["memory"]["size"]
        if memory.shape.rank not in (1, 2) or memory.shape[-1] != size:
            raise ValueError(
                f"the memory has shape {memory.shape.as_list()}; {policy.name} needs {[size]} or [B, {size}]."
            )
        spaces = (space_from_metadata(policy.metadata[f"{name}_space"]) for name in ("observation", "action"))
        seen, action = (tensor_spec.from_spec(make(space)) for make, space in zip(
            (specs.observation_spec, specs.action_spec), spaces, strict=True))  # fmt: skip
        count = tf.TensorSpec((), tf.int32)
        told = tf.TensorSpec(action.shape, action.dtype)
        state = PolicyState(tf.TensorSpec((size,), tf.float32), told, count, count, count)
        # resetting the state at every episode, as TF-Agents would, is what ``forget`` does for the memory alone
        super().__init__(ts.time_step_spec(seen), action, state, automatic_state_reset=False, name="ZooPolicy")
        self._model = tf.saved_model.load(str(policy.directory))
        self._call = self._model.signatures[signatures.STEP]
        self._kind = policy.metadata["distribution"]
        self._deterministic, self._forget, self._seed = deterministic, forget, seed
        self._memory = tf.Variable(memory, trainable=False, shape=tf.TensorShape(None))
        self._streams, self._runs = keys, tf.Variable(0, trainable=False)

    def _get_initial_state(self, batch_size: Any) -> PolicyState:
        rows = tf.constant(1) if batch_size is None else tf.convert_to_tensor(batch_size)
        keys = random.fold(random.key(self._seed), tf.range(rows)) if self._streams is None else self._streams
        run = self._runs.assign_add(1) - 1
        keys = tf.where(run == 0, keys, random.fold(keys, -run))  # other draws in every run, the first with the keys
        zeros = tf.zeros([rows], tf.int32)
        action = tf.zeros(tf.concat([[rows], self.action_spec.shape], 0), self.action_spec.dtype)
        state = PolicyState(self._first_memory(rows), action, tf.bitcast(keys, tf.int32), zeros, zeros)
        return tf.nest.map_structure(lambda field: field[0], state) if batch_size is None else state

    def _first_memory(self, rows: Any) -> tf.Tensor:
        memory = self._memory.read_value()
        size = self.policy_state_spec.memory.shape[0]
        return tf.ensure_shape(tf.broadcast_to(memory, [rows, size]), [None, size])

    def _action(self, time_step: ts.TimeStep, policy_state: PolicyState, seed: Any) -> policy_step.PolicyStep:
        """``seed`` is not used: the draws come from the state."""
        outputs, state = self._answer(time_step, policy_state, self._deterministic)
        return policy_step.PolicyStep(outputs["actions"], state, ())

    def _distribution(self, time_step: ts.TimeStep, policy_state: PolicyState) -> policy_step.PolicyStep:
        """The state that follows takes the mode as the action that is played."""
        outputs, state = self._answer(time_step, policy_state, True)
        return policy_step.PolicyStep(self._distribution_of(outputs), state, ())

    def _answer(
        self, time_step: ts.TimeStep, state: PolicyState, deterministic: bool
    ) -> tuple[dict[str, tf.Tensor], PolicyState]:
        """The outputs of the signature ``step``, and the next state."""
        first, rows = time_step.is_first(), tf.shape(time_step.step_type)
        new_episode = first & (state.step > 0)
        episode = state.episode + tf.cast(new_episode, tf.int32)
        step = tf.where(first, 0, state.step)
        key = random.fold(random.fold(tf.bitcast(state.key, tf.uint32), episode), step + 1)
        memory = axes.where(new_episode, self._first_memory(rows[0]), state.memory) if self._forget else state.memory
        outputs = self._call(
            observations=time_step.observation,
            previous_actions=axes.where(first, tf.zeros_like(state.previous_actions), state.previous_actions),
            previous_rewards=tf.where(first, 0.0, tf.cast(time_step.reward, tf.float32)),
            previous_done=time_step.is_last(),
            memory=memory,
            seed=tf.bitcast(random.fold(key, 0), tf.int32),
            deterministic=tf.fill(rows, deterministic),
        )
        return outputs, PolicyState(outputs["memory"], outputs["actions"], state.key, episode, step + 1)

    def _distribution_of(self, outputs: dict[str, tf.Tensor]) -> Any:
        if self._kind == "gaussian":
            return tfp.distributions.MultivariateNormalDiag(outputs["loc"], outputs["scale"])
        low, high = self.action_spec.minimum, self.action_spec.maximum
        if self._kind == "categorical":
            if low == 0:
                return tfp.distributions.Categorical(outputs["logits"], dtype=tf.int32)
            return shifted_categorical.ShiftedCategorical(outputs["logits"], dtype=tf.int32, shift=low)
        sizes = (high - low + 1).tolist()
        draws = [
            shifted_categorical.ShiftedCategorical(part, dtype=tf.int32, shift=shift)
            for part, shift in zip(tf.split(outputs["logits"], sizes, -1), low.tolist(), strict=True)
        ]
        return tfp.distributions.Blockwise(draws)
