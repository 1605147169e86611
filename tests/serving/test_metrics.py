"""Prometheus metrics by TF Serving's names."""

import re
import shutil
import time

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving import metrics
from serving.metrics import Metrics
from serving.options import Options
from serving.server import Server
from serving.wire import tensors
from tests import toy_policy

PATH = "/monitoring/prometheus/metrics"


@pytest.fixture
def monitored(models):
    with Server(models, poll_seconds=0, options=Options(metrics_path=PATH)) as running:
        yield running


def samples(text):
    """Name with labels → value."""
    return {name: float(value) for name, value in re.findall(r"^([^#\s][^ ]*) (\S+)$", text, re.MULTILINE)}


def test_requests_are_counted(monitored, http_of):
    rest = http_of(monitored)
    for _ in range(3):
        rest("POST", "/v1/models/toy:predict", {"instances": [[1, 2, 3, 4]]})
    rest("POST", "/v1/models/toy:predict", {"instances": []})
    rest("GET", "/v1/models/toy")
    rest("GET", "/v1/models/none")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    tensors.encode(toy_policy.example_inputs("act")["observations"], request.inputs["observations"])
    with grpc.insecure_channel(monitored.grpc_target) as channel:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)
    status, body = rest("GET", PATH)
    text = body.decode()
    assert status == 200 and rest.headers["content-type"].startswith("text/plain")
    got = samples(text)
    assert got[':tensorflow:serving:request_count{model_name="toy",status="OK"}'] == 5
    assert got[':tensorflow:serving:request_count{model_name="toy",status="INVALID_ARGUMENT"}'] == 1
    assert got[':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"}'] == 1 and '"none"' not in text
    latency = ':tensorflow:serving:request_latency_%s{model_name="toy",API="%s",entrypoint="%s"%s}'
    assert got[latency % ("count", "predict", "REST", "")] == 3
    assert got[latency % ("bucket", "predict", "REST", ',le="+Inf"')] == 3
    assert got[latency % ("count", "Predict", "GRPC", "")] == 1
    assert got[':tensorflow:serving:runtime_latency_count{model_name="toy",API="Predict",runtime="TF1"}'] == 4
    assert "# TYPE :tensorflow:serving:request_count counter" in text
    assert "# TYPE :tensorflow:serving:request_latency histogram" in text
    loads = [value for name, value in got.items() if name.startswith(":tensorflow:cc:saved_model:load_attempt_count")]
    assert loads == [1]
    (path,) = (name for name in got if name.startswith(":tensorflow:serving:model_warmup_records_read"))
    assert got[path] == 5 and '/toy/1",status="OK"' in path
    assert got[path.replace("records_read", "latency_count")] == 1
    (latency,) = (name for name in got if name.startswith(":tensorflow:cc:saved_model:load_latency"))
    assert got[latency] > 0 and latency.endswith('/toy/1"}')  # in all, in microseconds
    assert "# TYPE :tensorflow:cc:saved_model:load_latency counter" in text


def test_off_unless_asked_for(shared, http_of):
    assert http_of(shared)("GET", PATH)[0] == 404


def test_buckets_are_cumulative_and_labels_escaped():
    one = Metrics()
    for value in (5, 15, 1e12):
        one.observe(metrics.REQUEST_LATENCY, value, 'a"\n', "predict", "REST")
    lines = [line for line in one.text().splitlines() if "_bucket" in line]
    assert len(lines) == 34
    assert [int(line.rsplit(" ", 1)[1]) for line in (lines[0], lines[1], lines[-2], lines[-1])] == [1, 2, 2, 3]
    assert 'le="10"' in lines[0] and 'le="18"' in lines[1] and 'le="+Inf"' in lines[-1]
    assert 'model_name="a\\"\\n"' in lines[0]


def test_models_that_are_not_served_have_no_series_of_their_own(monitored, http_of):
    rest = http_of(monitored)

    def ask():
        for name in map(str, range(20)):
            rest("POST", f"/v1/models/{name}:predict", {"instances": [1]})
            rest("POST", f"/v1/models/{name}:classify", {"examples": [{}]})
            rest("GET", f"/v1/models/{name}")
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "nobody"
        with grpc.insecure_channel(monitored.grpc_target) as channel, pytest.raises(grpc.RpcError):
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)

    ask()
    before = samples(rest("GET", PATH)[1].decode())
    ask()
    after = samples(rest("GET", PATH)[1].decode())
    assert after.keys() == before.keys()
    unknown = ':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"}'
    assert after[unknown] == 2 * before[unknown] == 122


def publish_use_and_delete(server, rest, count):
    """Policies that are adapted, asked over both transports, stepped once more and deleted; the metrics in between."""
    fields = {key: value.tolist() for key, value in toy_policy.example_inputs("adapt").items() if key != "memory"}
    episodes = {key: value[0] for key, value in fields.items()}
    name, path = "toy-{}".format, "/zoo/v1/policies/"
    observations = toy_policy.example_inputs("act")["observations"]
    for number in range(count):
        assert rest("POST", f"{path}toy:adapt", {"task": str(number), "episodes": episodes})[0] == 200
        assert rest("POST", f"/v1/models/{name(number)}:predict", {"instances": observations.tolist()})[0] == 200
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for number in range(count):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name(number)
            tensors.encode(observations, request.inputs["observations"])
            stub.Predict(request, timeout=10)
    assert rest("POST", f"{path}{name(0)}:adapt", {"episodes": episodes})[0] == 200  # version 1 is unloaded
    between = rest("GET", PATH)[1]
    for number in range(count):
        assert rest("DELETE", path + name(number))[0] == 200
    return between.decode()


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_deleted_policies_leave_no_series(models, tmp_path, http_of, count):
    with Server(models, tmp_path / "adapted", poll_seconds=0.2, options=Options(metrics_path=PATH)) as server:
        rest = http_of(server)
        publish_use_and_delete(server, rest, 1)  # what there is once
        before = rest("GET", PATH)[1]
        between = publish_use_and_delete(server, rest, count)
        assert all(f'"toy-{number}"' in between for number in range(count))
        assert "/toy-0/2" in between and "/toy-0/1" not in between
        started = time.perf_counter()
        after = rest("GET", PATH)[1]
        assert time.perf_counter() - started < 0.1
        print(f"{count} policies: {len(before)} bytes before, {len(between)} with them, {len(after)} after")
        assert len(after) < 1.1 * len(before) and b"toy-" not in after


def test_a_scrape_writes_only_what_changed():
    """A thousand live policies: 14 MB took 7.9 s in the event loop."""
    one = Metrics()
    for number in range(1000):
        one.count(metrics.REQUEST_COUNT, f"toy-{number}", "OK")
        one.observe(metrics.REQUEST_LATENCY, 1, f"toy-{number}", "predict", "REST")
        one.observe(metrics.RUNTIME_LATENCY, 1, f"toy-{number}", "Predict", "TF1")
    assert len(one.text()) > 5e6

    def seconds():
        started = time.perf_counter()
        text = one.text()
        assert text.count("# TYPE") == 3
        return time.perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.1


def test_series_of_versions_that_are_removed_from_disk_end(models, monitored, http_of):
    (models / "broken" / "1").mkdir(parents=True)
    monitored.manager.refresh()
    rest = http_of(monitored)
    assert "/broken/1" in rest("GET", PATH)[1].decode()
    shutil.rmtree(models / "broken")
    shutil.rmtree(models / "toy")
    monitored.manager.refresh()
    text = rest("GET", PATH)[1].decode()
    assert "/broken/1" not in text and "/toy/1" not in text and '"toy"' not in text
