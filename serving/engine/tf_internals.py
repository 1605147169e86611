"""Every private name of TensorFlow that the server uses, each with a public way that answers the same.

The private ways are there for speed (a session's public call spends 60 µs on conversions) or because they do what
the C++ server does. On first use each is tried against the public way; where it is missing or behaves otherwise, as
another version of TensorFlow may have it, the public way is taken. Two things then differ: inputs of a wrong shape
are refused in the words of TensorFlow's Python, and a SavedModel whose variables are missing does not load.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from serving.logs import event

log = logging.getLogger(__name__)

Run = Callable[[Any, Mapping[Any, Any], Sequence[Any]], list[Any]]
"""(options or None, handle → array, handles) → arrays; handles are those of ``output``."""


def output(tensor: tf.Tensor) -> Any:
    """The handle of a graph's tensor for ``runner``'s calls."""
    return tensor._as_tf_output() if sessions_run_directly() else tensor.name


@cache
def timeout_options(timeout_ms: int) -> Any:
    """Options for ``runner``'s calls. Made once for each time limit, of which there are some hundred, never freed."""
    options = config_pb2.RunOptions(timeout_in_ms=timeout_ms)
    return _buffer(options) if sessions_run_directly() else options


def runner(session: tf.compat.v1.Session) -> Run:
    """Runs the session; it lives as long as what is returned.

    Raises:
        tf.errors.OpError: by the call: what the runtime says. TypeError: an array that no tensor can hold.
    """
    return _direct(session) if sessions_run_directly() else _public(session)


def extend(session: tf.compat.v1.Session) -> None:
    """Show a session what was added to its graph."""
    with session.graph.as_default():
        nothing = tf.no_op()
    session.run(nothing)


@cache
def sessions_run_directly() -> bool:
    """Whether a session's C API answers as ``Session.run`` does: numbers, texts, time limits and errors."""
    return _works("sessions", _direct_runs_agree)


def _direct(session: tf.compat.v1.Session) -> Run:
    from tensorflow.python.client import pywrap_tf_session

    run = pywrap_tf_session.TF_SessionRun_wrapper

    def call(options: Any, feeds: Mapping[Any, Any], fetches: Sequence[Any]) -> list[Any]:
        return run(session._session, options, feeds, fetches, [], None)  # the handle is valid while the session lives

    return call


def _public(session: tf.compat.v1.Session) -> Run:
    def call(options: Any, feeds: Mapping[Any, Any], fetches: Sequence[Any]) -> list[Any]:
        try:
            return session.run(list(fetches), dict(feeds), options=options)
        except ValueError as error:  # a shape that the graph does not take: C++ says so from inside
            raise tf.errors.InvalidArgumentError(None, None, str(error)) from error

    return call


def _buffer(options: config_pb2.RunOptions) -> Any:
    from tensorflow.python.client import pywrap_tf_session

    return pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())


def _direct_runs_agree() -> bool:
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        number, text = (tf.compat.v1.placeholder(dtype, [None]) for dtype in (tf.float32, tf.string))
        given = [np.array([1.0, 3.0], np.float32), np.array([b"a", b""], object)]
        made = [number * 2.0, tf.strings.join([text, text]), tf.strings.reduce_join(text)]
        sent, wanted = [one.name for one in (number, text)], [one.name for one in made]
        public = _public(session)(None, dict(zip(sent, given, strict=True)), wanted)
        outputs, fetches = [one._as_tf_output() for one in (number, text)], [one._as_tf_output() for one in made]
        run, limit = _direct(session), _buffer(config_pb2.RunOptions(timeout_in_ms=60_000))
        direct = run(limit, dict(zip(outputs, given, strict=True)), fetches)
        same = all(map(_same, direct, public))
        return same and _error_code(lambda: run(None, {}, fetches)) == tf.errors.INVALID_ARGUMENT  # nothing is fed


def _same(one: Any, other: Any) -> bool:
    first, second = np.asarray(one), np.asarray(other)
    return type(one) is type(other) and first.dtype == second.dtype and first.tolist() == second.tolist()


def _error_code(call: Callable[[], Any]) -> int | None:
    try:
        call()
    except tf.errors.OpError as error:
        return error.error_code
    return None


def restore(session: tf.compat.v1.Session, path: str | os.PathLike[str], tag: str) -> None:
    """Load a SavedModel into an empty session, as C++ does: one whose variables are missing loads all the same.

    Raises:
        tf.errors.OpError, OSError, RuntimeError, ValueError, KeyError: what TensorFlow says.
    """
    directory = os.fspath(path)
    loader = _loader(directory)
    if loader is None:
        tf.compat.v1.saved_model.load(session, [tag], directory)
        return
    with session.graph.as_default():
        saver, _ = loader.load_graph(session.graph, [tag])
        if Path(path, "variables", "variables.index").exists():
            loader.restore_variables(session, saver)
        loader.run_init_ops(session, [tag])


def _loader(directory: str) -> Any:
    try:
        from tensorflow.python.saved_model import loader_impl
    except ImportError:
        return None
    loader = getattr(loader_impl, "SavedModelLoader", None)
    steps = ("load_graph", "restore_variables", "run_init_ops")
    return loader(directory) if loader and all(hasattr(loader, step) for step in steps) else None


def records(file: str | os.PathLike[str]) -> Iterator[bytes]:
    """The records of a TFRecord file.

    Raises:
        tf.errors.OpError: it cannot be read.
    """
    if _records_are_read_directly():
        return _direct_records(os.fspath(file))
    return iter(tf.data.TFRecordDataset(os.fspath(file)).as_numpy_iterator())


def _direct_records(file: str) -> Iterator[bytes]:
    from tensorflow.python.lib.io._pywrap_record_io import RecordIterator

    return iter(RecordIterator(file, ""))


@cache
def _records_are_read_directly() -> bool:
    return _works("record files", _direct_records_agree)


def _direct_records_agree() -> bool:
    written = [b"one", b"", b"\x00three"]
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "records")
        with tf.io.TFRecordWriter(file) as writer:
            for record in written:
                writer.write(record)
        return list(_direct_records(file)) == written


def uses_onednn(asked: bool) -> bool:
    """Whether TensorFlow's kernels are oneDNN's. ``asked``: what the environment says, where TensorFlow does not."""
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return asked


def _works(what: str, check: Callable[[], bool]) -> bool:
    try:
        works = check()
    except Exception as error:  # whatever a private name does in another version  # noqa: BLE001
        event(log, logging.INFO, "the public way is taken", of=what, because=str(error))
        return False
    if not works:
        event(log, logging.INFO, "the public way is taken", of=what, because="the private one answers otherwise")
    return works
