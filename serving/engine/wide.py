"""Tensors of more dimensions than numpy has, which TF Serving's clients may send all the same.

They go into the session as serialized protos, and come out as such: the part of the graph that computes on a
signature's inputs is copied once, behind operations that parse and serialize.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf import meta_graph_pb2

from serving.engine import tf_internals
from serving.wire import tensors

SCOPE: Final = "wide"
_COPY: Final = re.compile(rf"{{{{node {SCOPE}(_\d+)?/")


_building: Final = threading.Lock()


class WideCalls:
    """Runs one signature on such tensors."""

    def __init__(self, session: tf.compat.v1.Session, definition: meta_graph_pb2.SignatureDef):
        self._session, self._definition = session, definition
        self._run = tf_internals.runner(session)
        self._made: tuple[dict[str, Any], dict[str, Any]] | None = None

    def run(self, values: Mapping[str, Any], outputs: Sequence[str], options: Any) -> dict[str, Any]:
        """The outputs; of those that numpy can hold, as arrays."""
        feeds, fetches = self._copy()
        given = {feeds[key]: tensors.text(tensors.encode(value).SerializeToString()) for key, value in values.items()}
        wanted = [fetches[key] for key in outputs]
        try:
            results = self._run(options, given, wanted)
        except tf.errors.OpError as error:
            raise _renamed(error) from error
        return {
            key: tensors.decode(key, TensorProto.FromString(result))
            for key, result in zip(outputs, results, strict=True)
        }

    def _copy(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The placeholders for serialized inputs and the serialized outputs, as sessions know them."""
        with _building:
            if self._made is None:
                with self._session.graph.as_default():
                    self._made = self._build(self._session.graph)
                tf_internals.extend(self._session)
            return self._made

    def _build(self, graph: tf.Graph) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs = {key: graph.get_tensor_by_name(info.name) for key, info in self._definition.inputs.items()}
        outputs = {key: graph.get_tensor_by_name(info.name) for key, info in self._definition.outputs.items()}
        sent = {key: tf.compat.v1.placeholder(tf.string, []) for key in inputs}
        parsed = {tensor.name: tf.io.parse_tensor(sent[key], tensor.dtype) for key, tensor in inputs.items()}
        copied = _copied(graph, parsed, list(outputs.values()))
        answers = dict(zip(outputs, map(tf.io.serialize_tensor, copied), strict=True))
        return (
            {key: tf_internals.output(tensor) for key, tensor in sent.items()},
            {key: tf_internals.output(tensor) for key, tensor in answers.items()},
        )


def _copied(graph: tf.Graph, replaced: Mapping[str, tf.Tensor], outputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """``outputs`` computed from ``replaced`` instead of the tensors of these names; all other nodes stay shared."""
    sources = {graph.get_tensor_by_name(name).op for name in replaced}
    moved = _downstream(sources)
    definition = tf.compat.v1.GraphDef(versions=graph.graph_def_versions)
    inputs = dict(replaced)
    for operation in moved:
        node = definition.node.add()
        node.CopyFrom(operation.node_def)
        node.attr.pop("_class", None)
        for tensor in operation.inputs:
            if tensor.op not in moved:
                inputs.setdefault(tensor.name, tensor)
        del node.input[:]
        node.input.extend(tensor.name for tensor in operation.inputs)
        node.input.extend(f"^{before.name}" for before in operation.control_inputs if before in moved)
    wanted = [tensor.name for tensor in outputs if tensor.op in moved]
    made = iter(tf.graph_util.import_graph_def(definition, inputs, return_elements=wanted, name=SCOPE) or ())
    return [
        next(made) if tensor.op in moved else replaced.get(tensor.name, tensor)
        for tensor in outputs
    ]  # fmt: skip


def _downstream(sources: set[tf.Operation]) -> set[tf.Operation]:
    """Everything that is computed from these, without them."""
    found: set[tf.Operation] = set()
    waiting = [consumer for source in sources for tensor in source.outputs for consumer in tensor.consumers()]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [consumer for tensor in operation.outputs for consumer in tensor.consumers()]
    return found


def _renamed(error: tf.errors.OpError) -> tf.errors.OpError:
    """With the names of the original nodes."""
    return type(error)(error.node_def, error.op, _COPY.sub("{{node ", error.message))
