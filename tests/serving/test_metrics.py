"""Prometheus metrics by TF Serving's names."""

import re

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
    assert got[':tensorflow:serving:request_count{model_name="none",status="NOT_FOUND"}'] == 1
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


def test_series_are_bounded(monkeypatch):
    monkeypatch.setattr(metrics, "MAX_SERIES", 3)
    one = Metrics()
    for number in range(9):
        one.count(metrics.REQUEST_COUNT, str(number), "OK")
        one.observe(metrics.REQUEST_LATENCY, 1, str(number), "predict", "REST")
    assert one.text().count("request_count{") == 3 and one.text().count("latency_count{") == 3
