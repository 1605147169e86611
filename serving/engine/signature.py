"""An entry point of a loaded graph: named arrays in, named arrays out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.wire import tensors
from serving.wire.map_order import walked

DEFAULT_SIGNATURE: Final = "serving_default"

Feeds = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]
Call = Callable[[Feeds, Sequence[str], int], Outputs]
"""(feeds, names of the wanted outputs, time limit in ms or 0) → outputs."""


class Runner(ABC):
    """How a signature is run: from a thread, which waits, or from an event loop, which does not."""

    @abstractmethod
    def __call__(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs: ...

    @abstractmethod
    async def start(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs: ...


@final
class Immediate(Runner):
    """Runs what takes no time worth speaking of."""

    def __init__(self, call: Call):
        self._call = call

    def __call__(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs:
        return self._call(feeds, outputs, timeout_ms)

    async def start(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs:
        return self._call(feeds, outputs, timeout_ms)


class Signature:
    """A named entry point. ``input_types``: name → dtype name; ``outputs``: sorted names."""

    def __init__(self, name: str, definition: meta_graph_pb2.SignatureDef, runner: Runner):
        self.name, self.definition, self._runner = name, definition, runner
        self.input_types = {key: tensors.dtype_name(definition.inputs[key].dtype) for key in walked(definition.inputs)}
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

    async def start(self, feeds: Feeds, outputs: Sequence[str] = (), timeout_ms: int = 0) -> Outputs:
        """The same from an event loop."""
        return await self._runner.start(feeds, outputs or self.outputs, timeout_ms)

    def replaced(self, runner: Runner) -> "Signature":
        """The same entry point, run in another way."""
        return Signature(self.name, self.definition, runner)
