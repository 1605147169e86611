"""A LiteRT model in fewer bytes: the same operations on the same numbers.

The converter gives every tensor a long name and a buffer of its own, also where there is nothing in it or the same
numbers stand elsewhere, and writes out what only repeats a smaller tensor. For a policy of a few thousand weights that
is half of the file.
"""

import math
from typing import Any, Final

import numpy as np

REPEATS: Final = 512
"""Constants from so many numbers on are written once and repeated when the model is loaded."""


def compact(content: bytes) -> bytes:
    """The model without what nobody reads: names of inner tensors, empty and double buffers, repeated numbers."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for graph in model.subgraphs[: len(model.signatureDefs)]:
        _repeat_when_loaded(model, graph, schema)
    _share_buffers(model)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = tensor.shapeSignature = None
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
    model.description = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _share_buffers(model: Any) -> None:
    """One buffer for equal contents, none for others; the first one is for tensors that hold nothing."""
    kept, places = [model.buffers[0]], {b"": 0}

    def shared(old: int) -> int:
        data = model.buffers[old].data
        content = b"" if data is None else bytes(bytearray(data))
        if content not in places:
            places[content] = len(kept)
            kept.append(model.buffers[old])
        return places[content]

    model.metadata = [one for one in model.metadata or [] if one.name == b"min_runtime_version"]
    for one in [*model.metadata, *(tensor for graph in model.subgraphs for tensor in graph.tensors)]:
        one.buffer = shared(one.buffer)
    model.buffers = kept


def _repeat_when_loaded(model: Any, graph: Any, schema: Any) -> None:
    """Replaces constants that are the same along an axis by a smaller one and BROADCAST_TO."""
    read = {place for one in graph.operators for place in one.inputs}
    for place in sorted(read):
        tensor = graph.tensors[place] if place >= 0 else None
        if tensor is None or tensor.type != schema.TensorType.FLOAT32 or tensor.isVariable:
            continue
        data = model.buffers[tensor.buffer].data
        if data is None or math.prod(tensor.shape) < REPEATS or len(tensor.shape) > 5:
            continue
        values = np.frombuffer(bytes(bytearray(data)), np.float32).reshape(tensor.shape)
        small = _distinct(values)
        if small.size < values.size:
            _broadcast(model, graph, schema, place, small)


def _distinct(values: np.ndarray) -> np.ndarray:
    """One slice of every axis along which nothing changes."""
    for axis in range(values.ndim):
        first = values.take([0], axis)
        if np.array_equal(np.broadcast_to(first, values.shape), values):
            values = first
    return values


def _broadcast(model: Any, graph: Any, schema: Any, place: int, small: np.ndarray) -> None:
    whole = graph.tensors[place]
    source = _constant(model, graph, schema, small, schema.TensorType.FLOAT32)
    shape = _constant(model, graph, schema, np.array(whole.shape, np.int32), schema.TensorType.INT32)
    whole.buffer = 0
    operator = schema.OperatorT()
    operator.opcodeIndex = _code(model, schema, schema.BuiltinOperator.BROADCAST_TO)
    operator.inputs, operator.outputs = [source, shape], [place]
    operator.builtinOptionsType = schema.BuiltinOptions.BroadcastToOptions
    operator.builtinOptions = schema.BroadcastToOptionsT()
    graph.operators.insert(0, operator)


def _constant(model: Any, graph: Any, schema: Any, values: np.ndarray, kind: int) -> int:
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.shape, tensor.type, tensor.buffer = list(values.shape), kind, len(model.buffers) - 1
    tensor.hasRank = True
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _code(model: Any, schema: Any, builtin: int) -> int:
    for place, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return place
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, 2
    code.deprecatedBuiltinCode = min(builtin, 127)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
