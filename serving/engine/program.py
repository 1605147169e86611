"""A loaded graph: a v1 session and its signatures as plain callables from numpy to numpy.

Policies that were adapted from one another have the same graph and differ in one variable, their memory; since the
signatures ``step`` and ``adapt`` take the memory as an input, one program serves them all (see ``servable.py``).
"""

import hashlib
import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from metazoo.artefact import graphs, signatures
from serving.engine import runtime_texts, saved_model, tf_internals, warmup
from serving.engine.batch_parameters import Limits
from serving.engine.batching import Batcher
from serving.engine.signature import DEFAULT_SIGNATURE, Call, Feeds, Outputs, Signature
from serving.engine.wide import WideCalls
from serving.errors import Code, ServingError, invalid
from serving.wire import tensors

BY_ROW = {*signatures.INPUTS, DEFAULT_SIGNATURE}
"""The signatures of which the contract says that rows do not depend on one another; of others nobody knows."""


class Program:
    """An open session. Immutable; closed when the last servable that uses it is gone."""

    def __init__(
        self, path: str | os.PathLike[str], limits: Limits, merges: bool = False, memory: np.ndarray | None = None
    ):
        """Load ``path`` and run its warm-up requests.

        Args:
            path: the version directory.
            limits: how concurrent calls of a signature are put together.
            merges: whether those of the contract may share a batch.
            memory: what its own memory variable holds.

        Raises:
            ServingError: whatever stops it from being served.
        """
        self.path, self.memory = Path(path), memory
        self._session, meta_graph = saved_model.load(path)
        self.signature_defs = _alone(meta_graph)
        self.memory_readers = None if memory is None else graphs.memory_readers(meta_graph)
        self.default_is_act = memory is not None and graphs.same_function(meta_graph, DEFAULT_SIGNATURE, signatures.ACT)
        self.signatures = {
            key: Signature(
                key,
                definition,
                Batcher(_session_call(self._session, definition), limits, merges and (key in BY_ROW or limits.strict)),
            )
            for key, definition in self.signature_defs.items()
        }
        started = time.perf_counter()
        self.warmup_records = warmup.run(path, self.signatures)
        self.warmup_seconds = time.perf_counter() - started


class ProgramCache:
    """The programs in use, by what they compute: the graph and every variable but the memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._programs: weakref.WeakValueDictionary[bytes, Program] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, path: str | os.PathLike[str], variables: Mapping[str, Any], memory: np.ndarray) -> Program:
        """The program of ``path``, shared if an equal one is loaded. ``variables``: all but the memory."""
        key = _fingerprint(path, variables)
        with self._lock:
            program = self._programs.get(key)
            if program is None:
                program = self._programs[key] = Program(path, self._limits, merges=True, memory=memory)
            elif program.memory_readers is None:  # it serves one policy alone
                program = Program(path, self._limits, merges=True, memory=memory)
            return program

    def __len__(self) -> int:
        return len(self._programs)


def _alone(meta_graph: meta_graph_pb2.MetaGraphDef) -> Mapping[str, meta_graph_pb2.SignatureDef]:
    """Copies of the signatures: the session keeps the graph, and nothing else needs the (large) function bodies."""
    slim = meta_graph_pb2.MetaGraphDef()
    for name, signature in meta_graph.signature_def.items():
        slim.signature_def[name].CopyFrom(signature)
    return slim.signature_def


def _fingerprint(path: str | os.PathLike[str], variables: Mapping[str, Any]) -> bytes:
    digest = hashlib.sha256()
    try:
        digest.update(Path(path, "saved_model.pb").read_bytes())
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"{path} has no readable saved_model.pb") from error
    for name in sorted(variables):
        value = np.asarray(variables[name])
        content = value.tobytes() if value.dtype != object else repr(value.tolist()).encode()
        digest.update(f"{name}:{value.dtype}:{value.shape}:{len(content)}:".encode() + content)
    return digest.digest()


def _session_call(session: tf.compat.v1.Session, definition: meta_graph_pb2.SignatureDef) -> Call:
    """A call straight into the session, without the conversions and checks of shapes that C++ does not make."""
    graph = session.graph
    try:
        feeds = {key: _output(graph, info.name) for key, info in definition.inputs.items()}
        fetches = {key: _output(graph, info.name) for key, info in definition.outputs.items()}
    except ServingError as error:
        return _refusing(error)
    run, every = tf_internals.runner(session), tuple(sorted(fetches))
    all_fetches = [fetches[key] for key in every]
    wide = WideCalls(session, definition)

    def call(values: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs:
        wanted = all_fetches if outputs == every else [fetches[key] for key in outputs]
        options = tf_internals.timeout_options(_rounded_up(timeout_ms)) if timeout_ms else None
        try:
            if any(isinstance(value, tensors.Wide) for value in values.values()):
                return wide.run(values, outputs, options)
            given = {feeds[key]: value for key, value in values.items()}
            results = run(options, given, wanted)
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), runtime_texts.as_served(error.message, graph)) from error
        except TypeError as error:  # an array that no tensor can hold
            raise invalid(str(error)) from error
        return {
            key: tensors.text(result) if isinstance(result, bytes) else result
            for key, result in zip(outputs, results, strict=True)
        }

    return call


def _output(graph: tf.Graph, name: str) -> Any:
    """A tensor of the graph as sessions know it; ``ServingError`` if there is none."""
    operation, _, index = name.partition(":")
    try:
        found = graph.get_operation_by_name(operation)
        if int(index or 0) < len(found.outputs):
            return tf_internals.output(found.outputs[int(index or 0)])
    except (KeyError, ValueError) as failure:
        message = f"The signature names a tensor that is not in the graph: {failure}"
        raise ServingError(Code.NOT_FOUND, message) from failure
    kind, count = found.type, len(found.outputs)
    text = f"Node '{operation}' (type: '{kind}', num of outputs: {count}) does not have output {int(index or 0)}"
    raise ServingError(Code.OUT_OF_RANGE, text)


def _refusing(error: ServingError) -> Call:
    def refuse(values: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs:
        raise ServingError(error.code, error.message)

    return refuse


def _rounded_up(timeout_ms: int) -> int:
    """To two digits: the session is the last to notice that time is up."""
    unit = 10 ** max(len(str(timeout_ms)) - 2, 0)
    return -(-timeout_ms // unit) * unit
