"""TF Serving's batching parameters: read, refused, and followed."""

import numpy as np
import pytest

from serving.engine import batch_parameters
from serving.engine.batch_parameters import Limits
from serving.engine.batching import Batcher
from serving.errors import Code, ServingError
from tests.serving.engine.test_batching import Caller, Double


def limits_of(tmp_path, text):
    (tmp_path / "batching.config").write_text(text)
    return batch_parameters.read_file(tmp_path / "batching.config")


def test_the_parameters_file_is_honoured(tmp_path):
    limits = limits_of(
        tmp_path,
        "max_batch_size { value: 128 } batch_timeout_micros { value: 1500 } max_enqueued_batches { value: 7 } "
        "num_batch_threads { value: 3 } allowed_batch_sizes: 32 allowed_batch_sizes: 128 "
        'pad_variable_length_inputs: false thread_pool_name { value: "pool" }',
    )
    assert limits == Limits(128, 896, 3, 0.0015, (32, 128), strict=True)
    assert batch_parameters.read_file(None) == Limits(1000, 10_000, strict=True)  # ten batches of 1,000
    assert limits_of(tmp_path, "enable_large_batch_splitting { value: true }").large


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 3", "Invalid protobuf file"),
        ("unheard_of: 3", "Invalid protobuf file"),
        ("max_batch_size { value: 0 }", "max_batch_size is 0 in .*: it must be at least 1"),
        ("num_batch_threads { value: -1 }", "num_batch_threads is -1"),
        ("allowed_batch_sizes: 4", "the last must be max_batch_size, 1000"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [4, 2]", "must increase"),
        ("pad_variable_length_inputs: true", "pad with mask = 0"),
    ],
)
def test_bad_parameters_are_refused(tmp_path, text, message):
    with pytest.raises(ServingError, match=message) as caught:
        limits_of(tmp_path, text)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_strict_batching_pads_and_refuses_as_tf_serving_does():
    double = Double()
    batcher = Batcher(double, Limits(threads=1, max_rows=4, allowed_rows=(2, 4), strict=True), merges=True)
    assert batcher({"x": np.array([[1.0], [2.0], [3.0]])}, ("y",), 0)["y"].tolist() == [[2], [4], [6]]
    assert batcher({"x": np.array([[1.0]])}, ("y",), 0)["y"].tolist() == [[2]]
    assert double.batches == [4, 2]
    for x, message in (
        (np.ones((5, 1)), "Task size 5 is larger than maximum input batch size 4"),
        (np.ones(()), "at l"),
    ):
        with pytest.raises(ServingError, match=message):
            batcher({"x": x}, ("y",), 0)
    with pytest.raises(ServingError, match="equal 0th-dimension size"):
        batcher({"x": np.ones(2), "w": np.ones(3)}, ("y",), 0)


@pytest.mark.parametrize(("output", "message"), [(np.float32(1), "has 0 dimensions"), (np.ones(7), "does not equal")])
def test_strict_batching_wants_rows_in_every_output(output, message):
    batcher = Batcher(lambda *_: {"y": np.asarray(output)}, Limits(strict=True), merges=True)
    with pytest.raises(ServingError, match=message) as caught:
        batcher({"x": np.ones((2, 1))}, ("y",), 0)
    assert caught.value.code is Code.FAILED_PRECONDITION


def test_a_batch_waits_to_be_filled_if_told_to():
    double = Double()
    batcher = Batcher(double, Limits(threads=1, max_rows=3, wait_seconds=20.0, strict=True), merges=True)
    callers = [Caller(batcher, [[float(number)]]) for number in range(3)]
    assert [caller.joined()["y"].item() for caller in callers] == [0, 2, 4]
    assert double.batches == [3]  # full long before the 20 seconds
