"""An entry point of a loaded graph: named arrays in, named arrays out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving import tensors
from serving.errors import invalid

DEFAULT_SIGNATURE: Final = "serving_default"

Feeds = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]
Runner = Callable[[Feeds, Sequence[str], int], Outputs]


class Signature:
    """A named entry point. ``input_types``: name → dtype name; ``outputs``: sorted names."""

    def __init__(self, name: str, definition: meta_graph_pb2.SignatureDef, runner: Runner):
        self.name, self.definition, self._runner = name, definition, runner
        self.input_types = {key: tensors.dtype_name(definition.inputs[key].dtype) for key in sorted(definition.inputs)}
        self.outputs = tuple(sorted(definition.outputs))

    def run(self, feeds: Feeds, outputs: Sequence[str] = (), timeout_ms: int = 0) -> Outputs:
        """Run it.

        Args:
            feeds: exactly the signature's inputs.
            outputs: which to return, in this order; empty for all.
            timeout_ms: 0 for none.

        Raises:
            ServingError: with TensorFlow's own code and message.
        """
        return self._runner(feeds, outputs or self.outputs, timeout_ms)

    def replaced(self, runner: Runner) -> "Signature":
        """The same entry point, run in another way."""
        return Signature(self.name, self.definition, runner)

    def check_inputs(self, names: set[str]) -> None:
        """Refuse a wrong set of input names, in TF Serving's words."""
        expected = set(self.input_types)
        if len(names) != len(expected):
            sent, needed = ",".join(sorted(names)), ",".join(sorted(expected))
            extra, missing = ",".join(sorted(names - expected)), ",".join(sorted(expected - names))
            raise invalid(
                f"input size does not match signature: {len(names)}!={len(expected)} len({{{sent}}}) != "
                f"len({{{needed}}}). Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
            )
        for alias in sorted(expected - names):
            feed, sent = self.definition.inputs[alias].name, ", ".join(sorted(names))
            raise invalid(
                f"Signature input alias: {alias}(feed name: {feed}) not found in request. "
                f"Inputs expected to be in the set {{{', '.join(sorted(expected))}}}. Sent: {{{sent}}}."
            )
