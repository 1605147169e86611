"""What TensorFlow says when a graph cannot be run, in the words it uses inside TF Serving.

TF Serving runs with oneDNN where the processor allows, and there ``MatMul`` is a kernel of oneDNN: it complains in
other words than the plain one, and as the node of the inlined graph. This server runs without oneDNN, which aborts the
process on some convolutions; so it says here what oneDNN would.
"""

import re
import weakref
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import tensorflow as tf
from tensorflow.core.framework import node_def_pb2

_NDIMS: Final = re.compile(
    r"In\[0\] and In\[1\] (?:has different ndims: \[(?P<shape>[\d,]*)\] vs\. \[[\d,]*\]|ndims must be == 2: \d+)(?=\n)"
)
_WHERE: Final = re.compile(r"\{\{function_node (?P<function>[^}]+)\}\}\{\{node (?P<node>[^}]+)\}\}")
_ONEDNN_OPS: Final = ("MatMul",)


def as_served(message: str, graph: tf.Graph) -> str:
    """``message``, or what oneDNN would have said."""
    where = _WHERE.search(message)
    if where is None:
        return _ndims_text(message) if _is_at_matmul(message, graph) else message
    paths = _paths(graph).get((where["function"], where["node"]))
    if paths is None:
        return message
    return _ndims_text(message[: where.start()] + f"{{{{node {paths}}}}}" + message[where.end() :])


def _ndims_text(message: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        is_matrix = match["shape"] is not None and match["shape"].count(",") == 1
        return f"In[{int(is_matrix)}] ndims must be >= 2"

    return _NDIMS.sub(replaced, message, count=1)


def _is_at_matmul(message: str, graph: tf.Graph) -> bool:
    """Whether the node that failed is one of the graph itself, not of a function, and a ``MatMul``."""
    match = re.search(r"\[\[\{\{node ([^}]+)\}\}", message)
    try:
        return match is not None and graph.get_operation_by_name(match[1]).type in _ONEDNN_OPS
    except (KeyError, ValueError):
        return False


_known: "weakref.WeakKeyDictionary[tf.Graph, dict[tuple[str, str], str]]" = weakref.WeakKeyDictionary()


def _paths(graph: tf.Graph) -> dict[tuple[str, str], str]:
    """(function, node) → name of the node once all calls are inlined, for what oneDNN computes."""
    if graph not in _known:
        definition = graph.as_graph_def()
        functions = {function.signature.name: list(function.node_def) for function in definition.library.function}
        _known[graph] = {
            (place.function, place.node): f"{place.prefix}{place.node}"
            for place in _places("", "", definition.node, functions)
            if place.function and place.op in _ONEDNN_OPS
        }
    return _known[graph]


class _Place(NamedTuple):
    prefix: str
    function: str
    node: str
    op: str


def _places(
    prefix: str, function: str, nodes: Iterable[node_def_pb2.NodeDef],
    functions: dict[str, list[node_def_pb2.NodeDef]],
) -> Iterator[_Place]:  # fmt: skip
    for node in nodes:
        yield _Place(prefix, function, node.name, node.op)
        called = node.attr["f"].func.name if node.op in ("PartitionedCall", "StatefulPartitionedCall") else ""
        if called in functions:
            yield from _places(f"{prefix}{node.name}/", called, functions[called], functions)
