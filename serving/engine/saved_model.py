"""A SavedModel on disk → a v1 session and its signatures, by the path the C++ server takes (TF_SERVING §9, §10).

``tf.saved_model.load`` would hide two faults that stop a model working in TF Serving; this loader has the same faults
as C++, and what the session cannot notice (XLA, Python ops) is found by reading the graph.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from metazoo.artefact import graphs, store
from serving.engine import tf_internals
from serving.errors import Code, ServingError

TAG: Final = "serve"
PYTHON_OPS: Final = ("EagerPyFunc", "PyFunc", "PyFuncStateless")
INIT_SIGNATURE: Final = "__saved_model_init_op"

# Operations run in the calling thread: no hand-over between threads, which for small models is most of the time.
_SESSION_CONFIG: Final = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=-1, intra_op_parallelism_threads=1)


class Loaded(NamedTuple):
    """An open session and the graph's description, taken from ``saved_model.pb`` itself."""

    session: tf.compat.v1.Session
    meta_graph: meta_graph_pb2.MetaGraphDef


def load(path: str | os.PathLike[str]) -> Loaded:
    """Load a version directory.

    Raises:
        ServingError: no SavedModel there, no ``serve`` tag, ops a server cannot run, or whatever TensorFlow says.
    """
    meta_graph = read_meta_graph(path)
    check_ops(meta_graph)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=_SESSION_CONFIG)
    try:
        tf_internals.restore(session, path, TAG)
    except tf.errors.OpError as error:
        session.close()
        raise ServingError(Code(error.error_code), error.message) from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        session.close()
        raise ServingError(Code.INTERNAL, f"Failed to load {path}: {error}") from error
    return Loaded(session, meta_graph)


def verify(path: str | os.PathLike[str]) -> None:
    """Refuse a version whose files are not what its checksums say."""
    try:
        store.verify(path)
    except store.CorruptedError as error:
        raise ServingError(Code.DATA_LOSS, str(error)) from error


def read_meta_graph(path: str | os.PathLike[str]) -> meta_graph_pb2.MetaGraphDef:
    """The ``serve`` graph of ``saved_model.pb``."""
    file = Path(path, "saved_model.pb")
    if not file.is_file():
        raise ServingError(
            Code.NOT_FOUND,
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
            f"`saved_model.pb`)\nSpecified file path: {path}",
        )
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(file.read_bytes())
    except DecodeError as error:
        raise ServingError(Code.DATA_LOSS, f"Can't parse {file} as binary proto") from error
    for meta_graph in saved.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == {TAG}:
            return meta_graph
    raise ServingError(
        Code.NOT_FOUND,
        f"Could not find meta graph def matching supplied tags: {{ {TAG} }}. To inspect available tag-sets in the "
        "SavedModel, please use the SavedModel CLI: `saved_model_cli`",
    )


def check_ops(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
    """Refuse graphs that load but cannot run in TF Serving: forced XLA, and calls back into Python.

    What no signature calls never runs, there and here.
    """
    nodes, functions = graphs.reachable(meta_graph)
    for function in functions:
        if function.attr["_XlaMustCompile"].b if "_XlaMustCompile" in function.attr else False:
            raise _unservable(f"function {function.signature.name} demands XLA compilation (jit_compile=True)")
    for node in [*nodes, *(node for function in functions for node in function.node_def)]:
        if node.op in PYTHON_OPS:
            raise _unservable(f"node {node.name} calls back into Python ({node.op})")
        if "_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b:
            raise _unservable(f"node {node.name} demands XLA compilation (jit_compile=True)")


def _unservable(reason: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"The SavedModel cannot be served by TF Serving: {reason}")
