"""The weights of a recurrent policy, and what they are at first."""

from collections.abc import Callable

import keras
import numpy as np

from metazoo.policies import running
from metazoo.policies.cells import CELLS
from metazoo.policies.heads import FromOutput, Generated, Head, Spec, WithObservation, dense_specs

KEY_SCALE = 5.0
"""Logit of an associative cell's key at first: five sixths of the weight on one of 32."""

HEADS: dict[str, Callable[..., Head]] = {
    "output": FromOutput,
    "observation": WithObservation,
    "hypernetwork": Generated,
}


@keras.saving.register_keras_serializable("metazoo")
class RecurrentNetwork(keras.layers.Layer):
    """Holds the weights of ``RecurrentPolicy``; computes nothing itself.

    They are kept in this order; ``layout`` says where each part stands: ``cell`` (kernels ``[F, G·U]``, ``[G·U]``,
    ``[U, G·U]``, ``[G·U]``), ``head`` (see ``heads``), ``log_scale`` (of a Gaussian that has one
    standard deviation for all), ``encoder`` (layers in front
    of the cell), ``statistics`` (``[3, O + 1]``, see ``running``) and ``rewards`` (``[codes, U]``, ``[codes]``, which
    predict the reward of an action: ``RecurrentPolicy.predicted_rewards``).
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        gaussian: bool,
        cell="gru",
        units=64,
        initial_scale=1.0,
        seed=0,
        head="output",
        hidden=(),
        encoder=(),
        observed=0,
        normalise=False,
        heteroscedastic=False,
        **kw,
    ):
        super().__init__(name=kw.pop("name", "recurrent"), **kw)
        self.features, self.outputs, self.gaussian = features, outputs, gaussian
        self.cell, self.units, self.initial_scale, self.seed = cell, units, initial_scale, seed
        self.head, self.hidden, self.encoder = head, tuple(hidden), tuple(encoder)
        self.observed, self.normalise = observed, normalise
        self.heteroscedastic = heteroscedastic
        self.layout: dict[str, slice] = {}
        self.build(None)

    def build(self, input_shape):
        width = CELLS[self.cell].gates * self.units
        fed = self.encoder[-1] if self.encoder else self.features
        scale = keras.initializers.Constant(float(keras.ops.log(keras.ops.cast(self.initial_scale, "float32"))))
        codes = self.outputs + self.gaussian
        inputs = [Spec("inputs", (fed, width), self._first_inputs), Spec("input_bias", (width,), self._first_bias)]
        recurrent = [
            Spec("recurrent", (self.units, width), self._orthogonal_gates), Spec("recurrent_bias", (width,), "zeros")
        ]  # fmt: skip
        self._add("cell", inputs if CELLS[self.cell].linear else [*inputs, *recurrent])
        self._add("head", self.head_of().specs())
        self._add(
            "log_scale",
            [Spec("log_scale", (self.outputs,), scale)] if self.gaussian and not self.heteroscedastic else [],
        )
        layers = dense_specs("encoder", (self.features, *self.encoder), self.seed + 200, 2.0**0.5)
        self._add("encoder", layers if self.encoder else [])
        statistics = keras.initializers.Constant(running.first(self.observed + 1))
        self._add("statistics", [Spec("statistics", (3, self.observed + 1), statistics)] if self.normalise else [])
        self._add("rewards", [Spec("rewards", (codes, self.units), "zeros"), Spec("rewards_bias", (codes,), "zeros")])
        self.built = True

    def head_of(self) -> Head:
        """What turns the cell's output into the distribution's numbers."""
        outputs = self.outputs * (2 if self.heteroscedastic else 1)
        return HEADS[self.head](self.units, self.observed, self.hidden, outputs, self.seed)

    def _add(self, part: str, specs: list[Spec]) -> None:
        start = len(self.trainable_variables)
        for spec in specs:
            self.add_weight(spec.shape, spec.initializer, name=spec.name)
        self.layout[part] = slice(start, start + len(specs))

    def _first_inputs(self, shape, dtype=None):
        """LeCun's normal by the features alone, as most of them are one-hot. An associative cell's keys are told apart
        from the start, one for each entry of a one-hot observation: from keys that are almost the same, a training
        finds ones that differ only by luck, and the better they do, the better the policy becomes."""
        kernel = keras.initializers.LecunNormal(self.seed)(shape, dtype)
        if self.cell != "associative" or self.encoder:
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
        names = "features outputs gaussian cell units initial_scale seed head hidden encoder observed normalise"
        names += " heteroscedastic"
        return {**super().get_config(), **{name: getattr(self, name) for name in names.split()}}
