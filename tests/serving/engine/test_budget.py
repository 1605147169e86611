"""Tensors count against a limit before they are made; oneDNN, which aborts the process, is off."""

import os
import subprocess
import sys

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, prediction_service_pb2_grpc

from serving.client.grpc import AdaptationStub
from serving.engine.budget import Budget
from serving.errors import ServingError
from serving.options import Options, Quota
from serving.rpc.adaptation import MESSAGES
from serving.server import Server
from serving.wire import tensors
from tests.serving.conftest import copy_version
from tests.serving.rpc.test_rpc import proto_of, refused, request_of

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory, exported, foreign):
    models = tmp_path_factory.mktemp("budget")
    copy_version(foreign, models / "foreign" / "1")
    copy_version(exported, models / "toy" / "1")
    quota = Quota(tensor_bytes=MEGABYTE)
    with Server(models, models / "adapted", poll_seconds=0, options=Options(quota=quota)) as running:
        yield running


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc_target) as opened:
        yield opened


HUGE = {
    "one value": proto_of(types_pb2.DT_FLOAT, [1_900_000_000], float_val=[1]),
    "no value": proto_of(types_pb2.DT_FLOAT, [1_900_000_000]),
    "a string": proto_of(types_pb2.DT_STRING, [1_000_000], string_val=[b"x"]),
    "a long string": proto_of(types_pb2.DT_STRING, [2_000], string_val=[b"x" * 1000]),
}


@pytest.mark.parametrize("proto", HUGE.values(), ids=HUGE)
def test_a_small_message_cannot_ask_for_much_memory(channel, proto):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    name, signature = ("x", "") if proto.dtype == types_pb2.DT_FLOAT else ("s", "wide")
    code, details = refused(stub.Predict, request_of("foreign", {name: proto}, signature))
    assert code == "RESOURCE_EXHAUSTED"
    assert details.startswith("The tensors of the request take ") and "at most 1048576" in details


def test_inputs_are_counted_together_and_adaptation_too(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    half = proto_of(types_pb2.DT_FLOAT, [150_000], float_val=[1])
    assert stub.Predict(request_of("foreign", {"x": half}), timeout=10).outputs["y"].tensor_shape.dim[0].size == 150_000
    other = proto_of(types_pb2.DT_INT32, [150_000], int_val=[1])
    code, _ = refused(stub.Predict, request_of("foreign", {"a": half, "b": other}, "two"))
    assert code == "RESOURCE_EXHAUSTED"
    request = MESSAGES["AdaptRequest"](policy="toy", task="t")
    request.episodes["rewards"].ParseFromString(HUGE["one value"].SerializeToString())
    assert refused(AdaptationStub(channel).Adapt, request)[0] == "RESOURCE_EXHAUSTED"


def test_a_large_message_may_have_large_tensors(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    array = np.arange(500_000, dtype=np.float32)
    answer = stub.Predict(request_of("foreign", {"x": tf.make_tensor_proto(array)}), timeout=30)
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), 0.5 * array + 2)


def test_a_context_counts_for_every_example(channel):
    given = input_pb2.Input()
    given.example_list_with_context.context.features.feature["x"].bytes_list.value.append(b"x" * 10_000)
    for _ in range(1_000):
        given.example_list_with_context.examples.add()
    request = classification_pb2.ClassificationRequest(input=given)
    request.model_spec.name = "foreign"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    assert refused(stub.Classify, request)[0] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("value", ["1", '""', "[]"])
def test_values_of_json_count_before_they_are_parsed(server, http_of, value):
    rest = http_of(server)
    many = ",".join([value] * 100_000)
    status, message = rest.error("POST", "/v1/models/foreign:predict", f'{{"inputs": [{many}]}}'.encode())
    assert status == 429 and "at most 1048576" in message
    body = f'{{"task": "t", "episodes": {{"rewards": [{many}]}}}}'.encode()
    assert rest.error("POST", "/zoo/v1/policies/toy:adapt", body)[0] == 429


def test_all_requests_together_have_a_limit():
    budget = Budget(request_bytes=100, all_bytes=150)
    with budget.request() as first, budget.request() as second:
        first.take(100)
        with pytest.raises(ServingError) as caught:
            second.take(60)
        assert caught.value.code.name == "UNAVAILABLE"
        second.take(50)
    with budget.request() as third:
        third.take(100)  # what the others took is free again


def test_large_answers_are_written_in_little_memory():
    """Python's numbers take ten times the room of numpy's, so not all of them are made at once."""
    import tracemalloc

    array = np.zeros(2_000_000, np.int64)
    tracemalloc.start()
    proto = tensors.encode(array)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(proto.int64_val) == array.size and peak < 8 * MEGABYTE


CONVOLUTION = """
import os, sys
import serving.server
import numpy as np, tensorflow as tf
print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
from serving.server import Server

class Net(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def run(self, x):
        return {"y": tf.nn.conv2d(x, tf.ones([3, 3, 3, 4]), 1, "VALID")}

net = Net()
tf.saved_model.save(net, sys.argv[1] + "/m/1", signatures=net.run)
from serving.client.client import Client
with Server(sys.argv[1]) as server:
    client = Client(server.url)
    for shape in ((8, 8, 3), (3,), (1, 8, 8, 3, 1)):
        try:
            client.predict("m", {"x": np.ones(shape, np.float32)})
        except Exception as error:
            print(type(error).__name__, str(error).splitlines()[0])
    print(client.predict("m", {"x": np.ones((1, 8, 8, 3), np.float32)}, outputs=("y",))["y"].shape)
"""


def without_the_variable():
    return {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}


def test_malformed_convolutions_end_no_server(tmp_path):
    command = [sys.executable, "-c", CONVOLUTION, str(tmp_path)]
    done = subprocess.run(command, env=without_the_variable(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    first, *refusals, last = done.stdout.splitlines()
    assert first == "0" and len(refusals) == 3 and last == "(1, 6, 6, 4)"
    assert all(line.startswith("ServingError") for line in refusals)


def test_a_server_says_that_onednn_is_on(tmp_path, monkeypatch, caplog, exported):
    from serving.engine import without_onednn

    copy_version(exported, tmp_path / "toy" / "1")
    monkeypatch.setattr(without_onednn, "is_on", lambda: True)
    with caplog.at_level("WARNING"), Server(tmp_path, poll_seconds=0):
        assert any("oneDNN is on" in record.getMessage() for record in caplog.records)


def test_the_command_switches_onednn_off_before_tensorflow_is_imported():
    code = (
        "import os, sys\n"
        "from metazoo.cli import support\n"
        "def loaded(): print(os.environ.get('TF_ENABLE_ONEDNN_OPTS')); raise SystemExit(0)\n"
        "support.load_tensorflow = loaded\n"
        "assert 'tensorflow' not in sys.modules\n"
        "from metazoo.cli.serve import serve\n"
        "serve(engine='embedded')\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=without_the_variable(), capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "0", done.stderr[-2000:]
