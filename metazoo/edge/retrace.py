"""A signature of a SavedModel, traced again with fixed shapes: the same operations, without those that LiteRT lacks.

The graph of the signature is read node by node. What depends on shapes alone becomes a constant, so most of what makes
a graph flexible disappears. Loops of one turn are unrolled, tensor lists become plain tensors, and operations that
LiteRT has no builtin for are made of others (``replacements``). Nothing is learned anew: the policy's own graph is the
only source, so an export of any learner can be traced.
"""

from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo.edge import loops, replacements
from metazoo.edge.errors import ConversionError

CALLS: Final = ("PartitionedCall", "StatefulPartitionedCall")
LOOPS: Final = ("While", "StatelessWhile")
PASS: Final = ("Identity", "StopGradient", "PreventGradient", "PlaceholderWithDefault", "ReadVariableOp")


class _Reference(NamedTuple):
    """An output of a node, or (``node`` is an argument's name) an argument."""

    node: str
    output: str
    place: int


class Graph:
    """The functions of a graph, and how to run one on values: numpy arrays are constants, tensors are traced."""

    def __init__(self, functions: Mapping[str, Any]):
        self._functions = dict(functions)
        self._orders: dict[str, list[str]] = {}

    def call(self, name: str, arguments: Sequence[Any]) -> list[Any]:
        """The outputs of the function ``name``. Raises ConversionError."""
        function = self._functions[name]
        names = [argument.name for argument in function.signature.input_arg]
        values: dict[str, dict[str, list[Any]]] = {
            name: {"": [value]} for name, value in zip(names, arguments, strict=True)
        }
        nodes = {node.name: node for node in function.node_def}
        for node in (nodes[one] for one in self._order(name, nodes)):
            inputs = [_value(values, _reference(one)) for one in node.input if not one.startswith("^")]
            values[node.name] = _by_name(node, self._run(node, inputs), self._functions)
        return [_value(values, _reference(function.ret[one.name])) for one in function.signature.output_arg]

    def _order(self, name: str, nodes: Mapping[str, Any]) -> list[str]:
        """The nodes that the outputs are made from, each after its inputs; what only checks something is left out."""
        if name not in self._orders:
            function = self._functions[name]
            found: dict[str, set[str]] = {}
            todo = [_reference(one).node for one in function.ret.values()]
            while todo:
                node = todo.pop()
                if node in nodes and node not in found:
                    found[node] = {_reference(one).node for one in nodes[node].input if not one.startswith("^")}
                    todo += found[node]
            self._orders[name] = [one for one in TopologicalSorter(found).static_order() if one in nodes]
        return self._orders[name]

    def _run(self, node: Any, inputs: list[Any]) -> list[Any]:
        if node.op == "Const":
            return [np.asarray(tf.make_ndarray(node.attr["value"].tensor))]
        if node.op in PASS or node.op == "IdentityN":
            return inputs
        if node.op in CALLS:
            return self.call(node.attr["f"].func.name, inputs)
        if node.op in self._functions:
            return self.call(node.op, inputs)
        if node.op in LOOPS:
            cond, body = (self._function(node.attr[part].func.name) for part in ("cond", "body"))
            return loops.loop(cond, body, inputs)
        if node.op in loops.LISTS:
            return [loops.LISTS[node.op](node, *inputs)]
        try:
            return operation(node, inputs)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise ConversionError(f"the operation {node.op} ({node.name}) cannot be traced: {error}") from error

    def _function(self, name: str) -> Callable[..., list[Any]]:
        return lambda *arguments: self.call(name, arguments)


def operation(node: Any, inputs: list[Any]) -> list[Any]:
    """One operation: computed now if all inputs are constants, else its equivalent, else the operation itself."""
    shaped = replacements.of_shapes(node, inputs)
    if shaped is not None:
        return [shaped]
    if all(isinstance(value, np.ndarray) for value in inputs):
        return _computed(node, inputs)
    replaced = replacements.REPLACEMENTS.get(node.op)
    return replaced(node, *inputs) if replaced else _traced(node, inputs)


def _computed(node: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What TensorFlow's own operation makes of constants."""
    from tensorflow.python.eager import context, execute

    count = sum(_lengths(one, node) for one in _definition(node).output_arg)
    attributes = [part for name in node.attr for part in (name, _attribute(node.attr[name])) if name[0] != "_"]
    with tf.init_scope():
        tensors = [tf.constant(value) for value in inputs]
        outputs = execute.execute(node.op.encode(), count, tensors, tuple(attributes), context.context())
        return [np.asarray(value) for value in outputs]


def _traced(node: Any, inputs: list[Any]) -> list[Any]:
    """TensorFlow's own operation in the graph that is being traced."""
    attributes = {name: value for name, value in node.attr.items() if name[0] != "_"}
    tensors = [tf.convert_to_tensor(value) for value in inputs]
    made = tf.compat.v1.get_default_graph().create_op(node.op, tensors, attrs=attributes)
    return list(made.outputs)


def _attribute(value: Any) -> Any:
    """As ``execute`` takes it."""
    kind = value.WhichOneof("value")
    if kind == "list":
        fields = (value.list.i, value.list.f, value.list.b, value.list.s, value.list.type)
        return next((list(field) for field in fields if field), [])
    return getattr(value, kind)


def _lengths(argument: Any, node: Any) -> int:
    """How many tensors an argument of an operation is."""
    if argument.number_attr:
        return node.attr[argument.number_attr].i
    if argument.type_list_attr:
        return len(node.attr[argument.type_list_attr].list.type)
    return 1


def _definition(node: Any) -> Any:
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(node.op)


def _by_name(node: Any, outputs: list[Any], functions: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The outputs as functions refer to them: by the name in the operation's definition, and their place in it."""
    definition = functions[node.op].signature if node.op in functions else _definition(node)
    named, rest = {}, list(outputs)
    for argument in definition.output_arg:
        count = _lengths(argument, node)
        named[argument.name], rest = rest[:count], rest[count:]
    return named


def _reference(text: str) -> _Reference:
    node, _, rest = text.partition(":")
    output, _, place = rest.partition(":")
    return _Reference(node, output, int(place or 0))


def _value(values: Mapping[str, Mapping[str, list[Any]]], reference: _Reference) -> Any:
    return values[reference.node][reference.output][reference.place]
