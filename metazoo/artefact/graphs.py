"""What the graph of a SavedModel does when it is served: which functions can run, and who reads the policy's memory.

Everything is read from the ``MetaGraphDef`` of ``saved_model.pb``. A module's functions that no signature calls are in
it too; a server never runs them, so they are nobody's business.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from metazoo.artefact.signatures import MEMORY_VARIABLE

CALLS: Final = ("StatefulPartitionedCall", "PartitionedCall")
"""Operations whose output ``k`` is what their function ``f`` returns as number ``k``."""
INIT_SIGNATURE: Final = "__saved_model_init_op"
INIT_COLLECTIONS: Final = ("saved_model_main_op", "legacy_init_op")
HARMLESS: Final = frozenset(
    (*CALLS, "VarHandleOp", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape")
    + ("VarIsInitializedOp", "While", "If", "Case", "Assert", "Print", "PrintV2", "Placeholder")
    + ("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "Multinomial", "RandomShuffle")
)
"""Stateful operations that leave nothing behind which another request could meet."""


def reachable(meta_graph: Any, loading: bool = True) -> tuple[list[Any], list[Any]]:
    """The nodes and functions that requests can run, and with ``loading`` also initialising and restoring."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    functions = {one.signature.name: one for one in meta_graph.graph_def.library.function}
    found: dict[str, Any] = {}
    names = list(_roots(meta_graph, loading))
    while names:
        name = _node_of(names.pop())
        if name in nodes and name not in found:
            found[name] = nodes[name]
            names += nodes[name].input
    used: dict[str, Any] = {}
    called = list(chain.from_iterable(_called(node, functions) for node in found.values()))
    while called:
        name = called.pop()
        if name in functions and name not in used:
            used[name] = functions[name]
            called += chain.from_iterable(_called(node, functions) for node in functions[name].node_def)
    return list(found.values()), list(used.values())


def memory_readers(meta_graph: Any) -> frozenset[str] | None:
    """The signatures whose answers depend on the policy's own memory variable.

    None if requests may leave something behind (a variable assigned, a table), or if files besides the variables decide
    what is computed: such a graph serves one policy alone.
    """
    if meta_graph.asset_file_def or not _leaves_nothing(meta_graph):
        return None
    flow, memory = _Flow(meta_graph), _variable_name(meta_graph, MEMORY_VARIABLE)
    handles = {
        node.name
        for node in meta_graph.graph_def.node
        if node.op == "VarHandleOp" and memory in (node.name, node.attr["shared_name"].s.decode())
    }
    return frozenset(
        name
        for name, definition in meta_graph.signature_def.items()
        if name != INIT_SIGNATURE and handles & flow.sources(info.name for info in definition.outputs.values())
    )


def same_function(meta_graph: Any, one: str, other: str) -> bool:
    """Whether two signatures give the same outputs of the same function."""
    flow, definitions = _Flow(meta_graph), meta_graph.signature_def
    if one not in definitions or other not in definitions:
        return False
    outputs = [definitions[name].outputs for name in (one, other)]
    return outputs[0].keys() == outputs[1].keys() and all(
        flow.origin(outputs[0][key].name) == flow.origin(outputs[1][key].name) for key in outputs[0]
    )


def _leaves_nothing(meta_graph: Any) -> bool:
    from tensorflow.python.framework import op_def_registry

    nodes, functions = reachable(meta_graph, loading=False)
    known = {function.signature.name for function in functions}
    for op in {node.op for node in chain(nodes, *(function.node_def for function in functions))} - known:
        definition = op_def_registry.get(op)
        if definition is None or (definition.is_stateful and op not in HARMLESS):
            return False
    return True


class _Flow:
    """Where values come from, along the data edges of a graph and of the functions that it calls."""

    def __init__(self, meta_graph: Any):
        self._nodes = {node.name: node for node in meta_graph.graph_def.node}
        self._functions = {one.signature.name: one for one in meta_graph.graph_def.library.function}
        self._of_functions: dict[str, list[frozenset[int]]] = {}

    def sources(self, tensors: Iterable[str]) -> set[str]:
        """The nodes of the graph that the tensors are made from."""
        found, seen, todo = set(), set(), list(tensors)
        while todo:
            tensor = todo.pop()
            if tensor in seen or tensor.startswith("^"):
                continue
            seen.add(tensor)
            name, _, number = tensor.partition(":")
            if node := self._nodes.get(name):
                found.add(name)
                todo += self._needed(node, int(number or 0))
        return found

    def origin(self, tensor: str) -> tuple[Any, ...]:
        """The innermost function that returns a tensor of the graph, and as which; the wrappers of two signatures of
        one function have the same."""
        name, _, number = tensor.partition(":")
        node, place = self._nodes.get(name), int(number or 0)
        if node is None:
            return (tensor,)
        inner: tuple[Any, ...] = (name, place)
        variables = tuple(self._nodes[_node_of(given)].op == "VarHandleOp" and given for given in node.input)
        while node is not None and node.op in CALLS:
            function = self._functions[node.attr["f"].func.name]
            inner = (function.signature.name, place, variables)
            returned = function.ret[function.signature.output_arg[place].name]
            node, place = self._behind_identities(function, returned)
        return inner

    def _behind_identities(self, function: Any, returned: str) -> tuple[Any, int]:
        """What a function returns, if it is the answer of another call; else None."""
        inside = {node.name: node for node in function.node_def}
        name, place = _node_of(returned), int(returned.rpartition(":")[2]) if ":" in returned else 0
        while name in inside and inside[name].op == "Identity":
            returned = inside[name].input[0]
            name, place = _node_of(returned), int(returned.rpartition(":")[2]) if ":" in returned else 0
        node = inside.get(name)
        return (node, place) if node is not None and node.op in CALLS else (None, place)

    def _needed(self, node: Any, output: int) -> list[str]:
        """The inputs that an output of a node is made from: all, where only running it could tell."""
        given = [one for one in node.input if not one.startswith("^")]
        if node.op in CALLS and node.attr["f"].func.name in self._functions:
            return [given[index] for index in self._arguments(node.attr["f"].func.name)[output]]
        return given

    def _arguments(self, name: str) -> list[frozenset[int]]:
        """For each value that a function returns, the arguments that it is made from."""
        if name not in self._of_functions:
            function = self._functions[name]
            everything = frozenset(range(len(function.signature.input_arg)))
            self._of_functions[name] = [everything] * len(function.signature.output_arg)  # if it calls itself
            inside = {node.name: node for node in function.node_def}
            places = {argument.name: index for index, argument in enumerate(function.signature.input_arg)}
            returned = [function.ret[one.name] for one in function.signature.output_arg]
            self._of_functions[name] = [self._inside(inside, places, one) for one in returned]
        return self._of_functions[name]

    def _inside(self, nodes: Mapping[str, Any], places: Mapping[str, int], returned: str) -> frozenset[int]:
        found, seen, todo = set(), set(), [returned]
        while todo:
            tensor = todo.pop()
            if tensor in seen or tensor.startswith("^"):
                continue
            seen.add(tensor)
            name, *place = tensor.split(":")
            if name in places and not place:
                found.add(places[name])
            elif node := nodes.get(name):
                todo += self._needed(node, int(place[-1]) if place else 0)
        return frozenset(found)


def _roots(meta_graph: Any, loading: bool) -> Iterator[str]:
    for name, definition in meta_graph.signature_def.items():
        if name != INIT_SIGNATURE or loading:
            for info in chain(definition.inputs.values(), definition.outputs.values()):
                yield from _tensors_of(info)
    if loading:
        yield from (meta_graph.saver_def.restore_op_name, meta_graph.saver_def.filename_tensor_name)
        yield from (asset.tensor_info.name for asset in meta_graph.asset_file_def)
        yield from chain.from_iterable(
            meta_graph.collection_def[name].node_list.value
            for name in INIT_COLLECTIONS
            if name in meta_graph.collection_def
        )


def _tensors_of(info: Any) -> Iterator[str]:
    yield info.name
    sparse = info.coo_sparse
    yield from (sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name)
    for component in info.composite_tensor.components:
        yield from _tensors_of(component)


def _called(node: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    """The functions that a node names: as its operation, or in its attributes."""
    if node.op in functions:
        yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (one.name for one in value.list.func)


def _node_of(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _variable_name(meta_graph: Any, attribute: str) -> str:
    """What the graph calls the variable that the saved object has as this attribute; empty if it has none."""
    objects = meta_graph.object_graph_def.nodes
    children = objects[0].children if objects else ()
    found = [objects[child.node_id] for child in children if child.local_name == attribute]
    return found[0].variable.name if found else ""
