"""``act`` and ``step`` as ONNX models: one operation of a traced signature after another, by the table below.

ONNX runtimes multiply no unsigned words of 32 bits, which the generator of random numbers consists of. Here they are
integers of 64 bits whose upper half is cleared after every sum and product. Needs the package ``onnx``.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import tensorflow as tf

from metazoo.edge.errors import ConversionError
from metazoo.edge.replacements import parts_of_slice

OPSET: Final = 18
"""The first with bitwise operations."""
WORD: Final = 0xFFFFFFFF
RENAMED: Final = {"memory": "next_memory"}
SAME: Final = {
    "AddV2": "Add", "BiasAdd": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Minimum": "Min", "Maximum": "Max",
    "Neg": "Neg", "Abs": "Abs", "Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt", "Tanh": "Tanh", "Sigmoid": "Sigmoid",
    "Relu": "Relu", "Identity": "Identity", "AddN": "Sum", "SelectV2": "Where", "Greater": "Greater", "Less": "Less",
    "GreaterEqual": "GreaterOrEqual", "LessEqual": "LessOrEqual", "Equal": "Equal", "LogicalAnd": "And",
    "BitwiseXor": "BitwiseXor",
}  # fmt: skip
SHAPED: Final = ("Reshape", "Squeeze", "ExpandDims")


class Graph:
    """An ONNX graph that grows: nodes and constants by name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The name of the output of a new node; a list of names if there are several."""
        from onnx import helper

        names = [f"v{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = None) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def shaped(self, value: str, shape: Any) -> str:
        return self.add("Reshape", value, self.constant(list(shape), np.int64), allowzero=1)

    def word(self, value: str) -> str:
        """The lower 32 bits."""
        return self.add("BitwiseAnd", value, self.constant(WORD, np.int64))


def to_onnx(function: Any, about: dict[str, str]) -> bytes:
    """The model of a concrete function with fixed shapes; ``about`` are texts for its metadata.

    In ONNX an output cannot have an input's name: the memory that comes out is ``RENAMED``.

    Raises:
        ConversionError: an operation has no place in the table; ONNX is not installed.
    """
    try:
        from onnx import helper
    except ImportError as error:
        raise ConversionError("ONNX needs the package onnx: pip install onnx.") from error
    graph, values = Graph(), {}
    for operation in function.graph.get_operations():
        if operation.type == "Placeholder":
            values[operation.outputs[0].name] = operation.name
            continue
        made = _converted(graph, operation, [values[one.name] for one in operation.inputs])
        values.update(zip([one.name for one in operation.outputs], made, strict=True))
    outputs = {}
    for name, tensor in function.structured_outputs.items():
        name = RENAMED.get(name, name)
        graph.nodes.append(helper.make_node("Identity", [values[tensor.name]], [name]))
        outputs[name] = _information(name, tensor)
    inputs = [_information(tensor.name.partition(":")[0], tensor) for tensor in function.inputs]
    read = {name for node in graph.nodes for name in node.input}
    constants = [one for one in graph.constants if one.name in read]
    body = helper.make_graph(graph.nodes, "policy", inputs, list(outputs.values()), constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="metazoo")
    model.ir_version = 9
    helper.set_model_props(model, about)
    return model.SerializeToString()


def _information(name: str, tensor: Any) -> Any:
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype.as_numpy_dtype))
    return helper.make_tensor_value_info(name, kind, list(tensor.shape))


def _converted(graph: Graph, operation: Any, inputs: list[str]) -> list[str]:
    if operation.type == "Const":
        value = np.asarray(tf.make_ndarray(operation.get_attr("value")))
        return [graph.constant(value.astype(np.int64) if value.dtype == np.uint32 else value)]
    if operation.type in SHAPED:
        return [graph.shaped(inputs[0], operation.outputs[0].shape)]
    if operation.type in SAME:
        made = graph.add(SAME[operation.type], *inputs)
        wraps = operation.outputs[0].dtype == tf.uint32 and operation.type in ("AddV2", "Mul")
        return [graph.word(made) if wraps else made]
    if operation.type not in OTHERS:
        raise ConversionError(f"the operation {operation.type} has no place in ONNX's table.")
    made = OTHERS[operation.type](graph, operation, *inputs)
    return made if isinstance(made, list) else [made]


def _known(operation: Any, place: int) -> np.ndarray:
    """An input that is a constant. Raises ConversionError."""
    value = tf.get_static_value(operation.inputs[place])
    if value is None:
        raise ConversionError(f"the operation {operation.type} has an input that is not known before it runs.")
    return np.asarray(value)


def _turned(graph: Graph, value: str, rank: int, turn: bool) -> str:
    order = [*range(rank - 2), rank - 1, rank - 2]
    return graph.add("Transpose", value, perm=order) if turn else value


def _product(graph: Graph, operation: Any, one: str, other: str) -> str:
    flags = ("transpose_a", "transpose_b") if operation.type == "MatMul" else ("adj_x", "adj_y")
    sides = zip((one, other), operation.inputs, flags, strict=True)
    turned = [_turned(graph, name, len(tensor.shape), operation.get_attr(flag)) for name, tensor, flag in sides]
    return graph.add("MatMul", *turned)


def _slice(graph: Graph, operation: Any, values: str, *rest: str) -> str:
    shape = operation.inputs[0].shape
    kept = parts_of_slice(operation.node_def, len(shape), *(_known(operation, place) for place in (1, 2, 3)))
    ranges = [part.indices(size) for part, size in zip(kept, shape, strict=False)]
    starts, ends, steps = (list(one) for one in zip(*ranges, strict=True))
    ends = [end if end >= 0 else -(2**31) for end in ends]
    arguments = [graph.constant(one, np.int64) for one in (starts, ends, range(len(ranges)), steps)]
    return graph.shaped(graph.add("Slice", values, *arguments), operation.outputs[0].shape)


def _cast(graph: Graph, operation: Any, value: str) -> str:
    from onnx import helper

    dtype = operation.outputs[0].dtype
    kept = np.dtype(np.int64 if dtype == tf.uint32 else dtype.as_numpy_dtype)
    made = graph.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(kept))
    return graph.word(made) if dtype == tf.uint32 else made


def _split(graph: Graph, operation: Any, value: str, axis: int) -> list[str]:
    sizes = graph.constant([one.shape[axis] for one in operation.outputs], np.int64)
    made = graph.add("Split", value, sizes, outputs=len(operation.outputs), axis=axis)
    return made if isinstance(made, list) else [made]


def _best(graph: Graph, operation: Any, value: str, _: str) -> str:
    found = graph.add("ArgMax", value, axis=int(_known(operation, 1)), keepdims=0)
    return _cast(graph, operation, found)


def _one_hot(graph: Graph, operation: Any, labels: str, *_: str) -> str:
    from onnx import TensorProto

    depth, on, off = (_known(operation, place) for place in (1, 2, 3))
    wide = graph.add("Cast", labels, to=TensorProto.INT64)
    values = graph.constant([float(off), float(on)], np.float32)
    return graph.add("OneHot", wide, graph.constant([int(depth)], np.int64), values, axis=operation.get_attr("axis"))


def _sum(graph: Graph, operation: Any, value: str, _: str) -> str:
    axes = graph.constant(np.atleast_1d(_known(operation, 1)), np.int64)
    return graph.add("ReduceSum", value, axes, keepdims=int(operation.get_attr("keep_dims")))


def _stack(graph: Graph, operation: Any, *values: str) -> str:
    axis, shape = operation.get_attr("axis"), list(operation.outputs[0].shape)
    shape[axis] = 1
    return graph.add("Concat", *(graph.shaped(one, shape) for one in values), axis=axis)


def _squared_difference(graph: Graph, operation: Any, one: str, other: str) -> str:
    difference = graph.add("Sub", one, other)
    return graph.add("Mul", difference, difference)


OTHERS: Final[dict[str, Callable[..., Any]]] = {
    "MatMul": _product,
    "BatchMatMulV2": _product,
    "StridedSlice": _slice,
    "Cast": _cast,
    "Bitcast": _cast,
    "RightShift": lambda graph, one, word, _: graph.add(
        "Div", word, graph.constant(2 ** int(_known(one, 1)), np.int64)
    ),
    "Split": lambda graph, one, _, value: _split(graph, one, value, int(_known(one, 0))),
    "SplitV": lambda graph, one, value, *_: _split(graph, one, value, int(_known(one, 2))),
    "ArgMax": _best,
    "OneHot": _one_hot,
    "Sum": _sum,
    "Pack": _stack,
    "SquaredDifference": _squared_difference,
    "GatherV2": lambda graph, one, values, places, _: graph.add("Gather", values, places, axis=int(_known(one, 2))),
    "Cumsum": lambda graph, one, value, _: graph.add("CumSum", value, graph.constant(_known(one, 1), np.int64)),
    "ConcatV2": lambda graph, one, *all_: graph.add("Concat", *all_[:-1], axis=int(_known(one, len(all_) - 1))),
    "Transpose": lambda graph, one, value, _: graph.add("Transpose", value, perm=_known(one, 1).tolist()),
    "BroadcastTo": lambda graph, one, value, _: graph.add("Expand", value, graph.constant(_known(one, 1), np.int64)),
    "Tile": lambda graph, one, value, _: graph.add("Tile", value, graph.constant(_known(one, 1), np.int64)),
    "Softmax": lambda graph, one, value: graph.add("Softmax", value, axis=-1),
    "LogSoftmax": lambda graph, one, value: graph.add("LogSoftmax", value, axis=-1),
}
