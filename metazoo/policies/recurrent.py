"""A recurrent policy, applied with explicit weights: what RL² and recurrent students act with."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from metazoo.policies import running
from metazoo.policies.acting import choose
from metazoo.policies.cells import CELLS, Kernels, one_step, unroll
from metazoo.policies.distributions import Parameters, distribution_for
from metazoo.policies.heads import dense
from metazoo.policies.networks import outputs_of, spread
from metazoo.policies.recurrent_network import HEADS, RecurrentNetwork
from metazoo.types import Box, Discrete, MultiDiscrete, Space, StepInputs, StepOutputs, require_usable
from metazoo.words import meant


class RecurrentPolicy:
    """A cell that is told, at every step, the observation, the previous action and reward, and whether it ended an
    episode; a head gives the action distribution, by default one linear map (Duan et al. 2016, section 2.2).

    Rewards enter as they are, unless they are normalised. Memory ``[S]``: the cell's state, zeros at first.
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
        head: str = "output",
        hidden: Sequence[int] = (),
        encoder: Sequence[int] = (),
        normalise: bool = False,
        heteroscedastic: bool = False,
    ):
        """Args:
        cell, units: see ``cells``.
        initial_scale: a Gaussian's first standard deviation in action units.
        observation_scale: multiplies observations: large numbers open or shut a cell's gates from the start. Bytes are
            scaled to [0, 1] before.
        head, hidden: ``output``, ``observation`` (seen a second time) or ``hypernetwork``, and the sizes of its hidden
            layers; see ``heads``.
        encoder: sizes of layers in front of the cell.
        normalise: observations and rewards by running means and variances, learned in training; see ``running``.
        heteroscedastic: a Gaussian's standard deviation comes from the head, as its mean does.

        Raises:
            ValueError: no such cell or head, spaces that policies cannot have, or observations that are images.
        """
        require_usable(observation_space, action_space)
        pixels = observation_space.dtype == "uint8"
        if pixels and len(observation_space.shape) > 1:
            raise ValueError(
                f"observations are images of shape {list(observation_space.shape)}; a recurrent policy takes vectors,"
                " so choose a learner such as maml, or flatten them."
            )
        if cell not in CELLS:
            raise ValueError(f"cell is {cell!r}; {meant(cell, CELLS)}")
        if head not in HEADS:
            raise ValueError(f"head is {head!r}; {meant(head, HEADS)}")
        self.observation_space, self.action_space = observation_space, action_space
        self.observation_scale = observation_scale / 255.0 if pixels else observation_scale
        self.distribution = distribution_for(action_space)
        outputs, gaussian = outputs_of(action_space), isinstance(action_space, Box)
        self.initial_scale = initial_scale if heteroscedastic else None
        features = observation_space.size + outputs + 2
        self.model = RecurrentNetwork(
            features, outputs, gaussian, cell, units, initial_scale, seed, head, hidden, encoder,
            observation_space.size, normalise, heteroscedastic, dtype=dtype,
        )  # fmt: skip
        self.cell, self._head = CELLS[cell], self.model.head_of()
        self.memory_size = self.cell.size(units)
        self.acting = self.model.layout["rewards"].start
        """How many of the weights, from the first on, acting takes: all but the predictions' of rewards."""
        self.shapes = tuple(tuple(variable.shape) for variable in self.model.trainable_variables)

    def features(self, weights: list[tf.Tensor], inputs: StepInputs, dtype: tf.DType) -> tf.Tensor:
        """What the policy is told of a step, ``[..., F]``."""
        observations, rewards = self._told(weights, inputs, dtype)
        actions = self._encoded(inputs.previous_actions, dtype)
        done = tf.cast(inputs.previous_done[..., None], dtype)
        return tf.concat([observations, actions, rewards, done], -1)

    def _told(self, weights: list[tf.Tensor], inputs: StepInputs, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """Observations ``[..., O]`` and previous rewards ``[..., 1]``, scaled."""
        values = self._measured(inputs.observations, inputs.previous_rewards, dtype)
        if statistics := self._part(weights, "statistics"):
            values = running.normalised(statistics[0], values)
        return values[..., :-1], values[..., -1:]

    def _measured(self, observations: tf.Tensor, rewards: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Observations, as vectors of numbers, and rewards ``[..., O + 1]``."""
        observations = tf.reshape(observations, tf.concat([tf.shape(rewards), [self.observation_space.size]], 0))
        observations = tf.cast(observations, dtype)
        if self.observation_scale != 1.0:
            observations *= self.observation_scale
        return tf.concat([observations, tf.cast(rewards[..., None], dtype)], -1)

    def measured(
        self, weights: list[tf.Tensor], observations: tf.Tensor, rewards: tf.Tensor, mask: tf.Tensor
    ) -> list[tf.Tensor]:
        """The weights once their running statistics, if they have any, know what was played ``[..., ]`` too."""
        where = self.model.layout["statistics"]
        if where.start == where.stop:
            return weights
        values = self._measured(observations, rewards, weights[0].dtype)
        statistics = running.updated(weights[where.start], values, mask)
        return [*weights[: where.start], statistics, *weights[where.stop :]]

    def step(
        self, weights: list[tf.Tensor], inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        """Acts in ``[M, E]`` trials with memory ``[M, E, S]``; ``weights`` may be the first ``acting`` alone."""
        fed = self._fed(weights, inputs, memory.dtype)
        rows = [tf.reshape(field, [-1, field.shape[-1]]) for field in (fed, memory)]
        rows = one_step(self.cell, self._kernels(weights), *rows)
        memory = tf.reshape(rows, tf.shape(memory))
        parameters = self.parameters(weights, memory, inputs)
        actions = choose(self.distribution, parameters, key, deterministic, len(self.action_space.shape))
        return StepOutputs(actions, parameters, self.distribution.log_prob(parameters, actions), memory)

    def _fed(self, weights: list[tf.Tensor], inputs: StepInputs, dtype: tf.DType) -> tf.Tensor:
        """What the cell is fed."""
        features = self.features(weights, inputs, dtype)
        encoder = self._part(weights, "encoder")
        return dense(encoder, features, tf.tanh) if encoder else features

    def states(
        self, weights: list[tf.Tensor], inputs: StepInputs, mask: tf.Tensor, memory: tf.Tensor, truncation: int = 0
    ) -> tf.Tensor:
        """The memories ``[L, B, S]`` after each of L steps (``inputs`` ``[L, B, ...]``) from ``memory [B, S]``.

        Where ``mask [L, B]`` is 0 a step changes nothing. ``truncation``: see ``cells.unroll``.
        """
        fed, encoded = self._fed(weights, inputs, memory.dtype), bool(self.model.encoder)
        return unroll(self.cell, self._kernels(weights), fed, memory, mask, truncation, through=encoded)

    def outputs(self, states: tf.Tensor) -> tf.Tensor:
        """The cell's output ``[..., U]`` in states ``[..., S]``."""
        return states[..., : self.model.units]

    def parameters(self, weights: list[tf.Tensor], states: tf.Tensor, inputs: StepInputs) -> Parameters:
        """Parameters of the action distribution in states ``[..., S]``, after steps with ``inputs [..., ...]``."""
        observations, _ = self._told(weights, inputs, states.dtype)
        head = self._head(self._part(weights, "head"), self.outputs(states), observations)
        if self.initial_scale is not None:
            return dict(zip(("loc", "scale"), spread(head, self.initial_scale), strict=True))
        if isinstance(self.action_space, Box):
            (log_scale,) = self._part(weights, "log_scale")
            return {"loc": head, "scale": tf.broadcast_to(tf.exp(log_scale), tf.shape(head))}
        return {"logits": head}

    def predicted_rewards(self, weights: list[tf.Tensor], states: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        """The rewards ``[...]`` that actions in states ``[..., S]`` are expected to bring: linear in the output for
        each discrete action, and bilinear in output and (1, action) for continuous ones."""
        code = self._encoded(actions, states.dtype)
        if isinstance(self.action_space, Box):
            code = tf.concat([tf.ones_like(code[..., :1]), code], -1)
        return tf.reduce_sum(code * dense(self._part(weights, "rewards"), self.outputs(states)), -1)

    def _encoded(self, actions: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Actions ``[..., outputs]``: one-hot, for each component of its own, or as they are."""
        space = self.action_space
        if isinstance(space, Discrete):
            return tf.one_hot(actions - space.start, space.n, dtype=dtype)
        if isinstance(space, MultiDiscrete):
            parts = tf.unstack(actions - tf.constant(space.start, actions.dtype), axis=-1)
            return tf.concat([tf.one_hot(part, n, dtype=dtype) for part, n in zip(parts, space.nvec, strict=True)], -1)
        return tf.cast(tf.reshape(actions, tf.concat([tf.shape(actions)[: -len(space.shape)], [space.size]], 0)), dtype)

    def _part(self, weights: list[tf.Tensor], name: str) -> list[tf.Tensor]:
        """The weights of one part; there may be none, and those of the predictions may be missing."""
        return list(weights[self.model.layout[name]])

    def _kernels(self, weights: list[tf.Tensor]) -> Kernels:
        return Kernels(*self._part(weights, "cell"))
