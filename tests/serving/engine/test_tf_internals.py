"""Where TensorFlow's private names are missing or answer otherwise, the server answers the same by public ones."""

import os
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python import client, saved_model
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.lib.io import _pywrap_record_io
from tensorflow.python.util import _pywrap_util_port

from serving.engine import tf_internals
from serving.engine.batch_parameters import Limits
from serving.engine.program import Program
from serving.errors import Code, ServingError
from serving.wire import tensors
from tests import toy_policy

CACHED = (tf_internals.sessions_run_directly, tf_internals._records_are_read_directly, tf_internals.timeout_options)


@pytest.fixture(autouse=True)
def fresh():
    """Each test tries the private names for itself."""
    for one in CACHED:
        one.cache_clear()
    yield
    for one in CACHED:
        one.cache_clear()


def sessions(patch, **changed):
    """Change what the server sees; TensorFlow's own ``Session.run`` calls the same names."""
    names = {name: getattr(pywrap_tf_session, name) for name in ("TF_SessionRun_wrapper", "TF_NewBufferFromString")}
    seen = {name: value for name, value in {**names, **changed}.items() if value is not None}
    patch.setattr(client, "pywrap_tf_session", types.SimpleNamespace(**seen))


def lying_run(session, options, feeds, *rest, real=pywrap_tf_session.TF_SessionRun_wrapper):
    return [np.asarray(one, np.float64) if np.asarray(one).dtype.kind == "f" else one
            for one in real(session, options, feeds, *rest)]  # fmt: skip


class LyingRecords:
    def __init__(self, file, compression):
        self.rest = iter([b"one"])

    def __iter__(self):
        return self.rest


GONE = {
    "the session's run": lambda patch: sessions(patch, TF_SessionRun_wrapper=None),
    "a run of other numbers": lambda patch: sessions(patch, TF_SessionRun_wrapper=lying_run),
    "buffers": lambda patch: sessions(patch, TF_NewBufferFromString=None),
    "record files": lambda patch: patch.delattr(_pywrap_record_io, "RecordIterator"),
    "records": lambda patch: patch.setattr(_pywrap_record_io, "RecordIterator", LyingRecords),
    "the loader": lambda patch: patch.setattr(saved_model, "loader_impl", types.SimpleNamespace()),
    "a step of the loader": lambda patch: patch.setattr(
        saved_model, "loader_impl", types.SimpleNamespace(SavedModelLoader=object)
    ),
}


def everything(exported, foreign):
    """Answers of every kind: numbers, texts, chosen outputs, time limits, more dimensions than numpy has."""
    policy, other = Program(exported, Limits()), Program(foreign, Limits())
    found = {"records": policy.warmup_records}
    for name in ("act", "initial_memory", "step", "adapt"):
        found[name] = policy.signatures[name].run(toy_policy.example_inputs(name, rows=3))
    found["limit"] = other.signatures["serving_default"].run({"x": np.ones((2, 2), np.float32)}, timeout_ms=60_000)
    found["texts"] = other.signatures["texts"].run({"s": np.array([b"a", b"\xff"], object)}, ("s",))
    proto = tf.make_tensor_proto(np.ones(2, np.float32))
    proto.tensor_shape.CopyFrom(tf.TensorShape([1] * 69 + [2]).as_proto())
    wide = other.signatures["serving_default"].run({"x": tensors.decode("x", proto)})
    found["wide"] = {
        key: np.frombuffer(tensors.encode(value).tensor_content, np.float32) for key, value in wide.items()
    }
    return found


@pytest.mark.parametrize("gone", GONE)
def test_answers_are_equal(exported, foreign, monkeypatch, gone):
    expected = everything(exported, foreign)
    assert tf_internals.sessions_run_directly() and tf_internals._records_are_read_directly()
    for one in CACHED:
        one.cache_clear()
    GONE[gone](monkeypatch)
    answers = everything(exported, foreign)
    sessions = gone in ("record files", "records", "the loader", "a step of the loader")
    assert tf_internals.sessions_run_directly() is sessions
    assert tf_internals._records_are_read_directly() is not gone.startswith("record")
    assert answers.pop("records") == expected.pop("records") > 0
    for name, outputs in expected.items():
        assert answers[name].keys() == outputs.keys()
        for key, value in outputs.items():
            np.testing.assert_array_equal(answers[name][key], value, err_msg=f"{name}/{key}")
            assert getattr(answers[name][key], "dtype", None) == getattr(value, "dtype", None)


@pytest.mark.parametrize("directly", [True, False])
def test_refusals_have_the_same_codes(exported, monkeypatch, directly):
    if not directly:
        GONE["the session's run"](monkeypatch)
    program = Program(exported, Limits())
    with pytest.raises(ServingError) as refused:
        program.signatures["act"].run({"observations": np.zeros((1, 3), np.float32)})
    assert refused.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("directly", [True, False])
def test_a_broken_record_file_is_refused(tmp_path, monkeypatch, directly):
    if not directly:
        GONE["record files"](monkeypatch)
    (tmp_path / "records").write_bytes(os.urandom(64))
    with pytest.raises(tf.errors.DataLossError):
        list(tf_internals.records(tmp_path / "records"))


def test_onednn_is_what_the_environment_says_where_tensorflow_says_nothing(monkeypatch):
    monkeypatch.delattr(_pywrap_util_port, "IsMklEnabled")
    assert tf_internals.uses_onednn(asked=True) is True and tf_internals.uses_onednn(asked=False) is False
