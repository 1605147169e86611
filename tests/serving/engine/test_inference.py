"""Classify, regress and multi-inference over both transports, on a model that parses tf.Examples."""

import json
import re
import shutil

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.engine import warmup
from serving.errors import ServingError
from serving.server import Server
from serving.wire.examples import parse_examples

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


class Scorer(tf.Module):
    """score = 0.5 * x + 2, x a float feature with default 0; classes low and high."""

    def endpoints(self):
        spec = tf.TensorSpec([None], tf.string, name="inputs")

        def score(inputs):
            features = {"x": tf.io.FixedLenFeature([], tf.float32, 0.0)}
            return 0.5 * tf.io.parse_example(inputs, features)["x"] + 2.0

        def classify(inputs):
            value = score(inputs)
            classes = tf.tile([["low", "high"]], [tf.size(value), 1])
            return {"classes": classes, "scores": tf.stack([-value, value], 1)}

        functions = {
            "regress": lambda inputs: {"outputs": score(inputs)},
            "column": lambda inputs: {"outputs": score(inputs)[:, None]},
            "classify": classify,
            "scores": lambda inputs: {"scores": classify(inputs)["scores"]},
            "flat": lambda inputs: {"scores": score(inputs)},
            "wide": lambda inputs: {"outputs": classify(inputs)["scores"]},
            "other": lambda inputs: {"y": score(inputs)},
        }
        endpoints = {name: tf.function(function, input_signature=[spec]) for name, function in functions.items()}
        two = [tf.TensorSpec([None], tf.string, name=name) for name in ("inputs", "more")]
        endpoints["two"] = tf.function(lambda inputs, more: {"outputs": score(inputs)}, input_signature=two)
        return endpoints


def export_shared_input(path):
    """score and classes of one placeholder, as TF 1 exports have it and MultiInference asks for it."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = v1.placeholder(tf.string, [None], "examples")
        value = 0.5 * v1.parse_example(inputs, {"x": v1.FixedLenFeature([], tf.float32, 0.0)})["x"] + 2.0
        scores = tf.stack([-value, value], 1)
        classes = tf.tile([["low", "high"]], [tf.size(value), 1])
        numbers = tf.zeros_like(classes, tf.int32)
        outputs = {
            "regress": (REGRESS, {"outputs": value}),
            "classify": (CLASSIFY, {"classes": classes, "scores": scores}),
            "uneven": (CLASSIFY, {"classes": classes[:, :1], "scores": scores}),
            "numbers": (CLASSIFY, {"classes": numbers}),
            "doubles": (CLASSIFY, {"scores": tf.cast(scores, tf.float64)}),
            "integers": (REGRESS, {"outputs": tf.cast(value, tf.int64)}),
            "short": (REGRESS, {"outputs": value[:0]}),
        }
        build, info = v1.saved_model.build_signature_def, v1.saved_model.build_tensor_info
        definitions = {
            name: build({"inputs": info(inputs)}, {key: info(tensor) for key, tensor in tensors.items()}, method)
            for name, (method, tensors) in outputs.items()
        }
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=definitions)
        builder.save()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("inference")
    module = Scorer()
    tf.saved_model.save(module, str(root / "saved"), signatures=module.endpoints())
    (root / "models" / "m").mkdir(parents=True)
    shutil.move(root / "saved", root / "models" / "m" / "1")
    export_shared_input(root / "models" / "shared" / "1")
    with Server(root / "models", poll_seconds=0) as running:
        yield running


@pytest.fixture
def rest(server, http_of):
    return http_of(server)


@pytest.fixture
def stub(server):
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def test_rest_regress(rest):
    body = {"signature_name": "regress", "examples": [{"x": 1.0}, {"x": [3.0]}, {}]}
    status, answer = rest("POST", "/v1/models/m:regress", body)
    assert (status, answer) == (200, b'{\n    "results": [2.5, 3.5, 2.0]\n}')
    body = {"signature_name": "column", "context": {"x": 5.0}, "examples": [{}, {"x": 1.0}]}
    assert json.loads(rest("POST", "/v1/models/m/versions/1:regress", body)[1]) == {"results": [4.5, 2.5]}


def test_rest_classify(rest):
    body = {"signature_name": "classify", "examples": [{"x": 1.0}, {"x": 2.0}]}
    status, answer = rest("POST", "/v1/models/m:classify", body)
    expected = b'{\n    "results": [[["low", -2.5], ["high", 2.5]], [["low", -3.0], ["high", 3.0]]\n    ]\n}'
    assert (status, answer) == (200, expected)
    body["signature_name"] = "scores"
    assert json.loads(rest("POST", "/v1/models/m:classify", body)[1])["results"][0] == [["", -2.5], ["", 2.5]]


@pytest.mark.parametrize(
    ("verb", "body", "text"),
    [
        ("regress", {"signature_name": "regress"}, "key 'examples' is expected and was not found"),
        ("regress", {"signature_name": "regress", "examples": {}}, "Expecting 'examples' value to be an list/array"),
        ("regress", {"signature_name": "regress", "examples": []}, "'examples' value is an empty array"),
        ("regress", {"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ("regress", {"examples": [{"x": [1.0, 1]}]}, "Unexpected element type in feature: x expecting type: float"),
        ("regress", {"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ("regress", {"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ("regress", {"examples": [{"x": 2**63}]}, "Feature: x has uint64_t element. Only int64_t is supported."),
        ("regress", {"examples": [{}]}, "No signature was found with the name: serving_default"),
        ("classify", {"signature_name": "none", "examples": [{}]}, "No signature was found with the name: none"),
        ("regress", {"signature_name": "two", "examples": [{}]}, "Expected one input Tensor."),
        ("regress", {"signature_name": "classify", "examples": [{}]}, "Expected one output Tensor."),
        ("regress", {"signature_name": "other", "examples": [{}]}, "No regression outputs found in SignatureDef"),
        ("classify", {"signature_name": "other", "examples": [{}]}, 'at least one of "classes" or "scores"'),
        ("classify", {"signature_name": "flat", "examples": [{}]}, "[batch_size num_classes] but got [1]"),
        ("regress", {"signature_name": "wide", "examples": [{}]}, "or [batch_size, 1] but got [1,2]"),
        ("regress", {"signature_name": "regress", "examples": [{"x": 1}]}, "Data types don't match"),
    ],
)
def test_rest_refusals(rest, verb, body, text):
    status, message = rest.error("POST", f"/v1/models/m:{verb}", body)
    assert status == 400 and text in message


def test_json_values_become_features():
    body = {"examples": [{"f": [1.5, 2.5], "i": [1, True], "s": ["a", {"b64": "YQ"}], "none": []}]}
    name, parsed = parse_examples(json.dumps(body).encode())
    feature = parsed.example_list.examples[0].features.feature
    assert name == ""
    assert list(feature["f"].float_list.value) == [1.5, 2.5]
    assert list(feature["i"].int64_list.value) == [1, 1]
    assert list(feature["s"].bytes_list.value) == [b"a", b"a"]
    assert feature["none"].WhichOneof("kind") is None


def examples(*values):
    given = input_pb2.Input()
    for value in values:
        given.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return given


def test_grpc_regress_and_classify(stub):
    request = regression_pb2.RegressionRequest(input=examples(1, 3))
    request.model_spec.name, request.model_spec.signature_name = "m", "regress"
    response = stub.Regress(request, timeout=10)
    assert [item.value for item in response.result.regressions] == [2.5, 3.5]
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (1, "regress")
    request = classification_pb2.ClassificationRequest(input=examples(1))
    request.model_spec.name, request.model_spec.signature_name = "m", "classify"
    (row,) = stub.Classify(request, timeout=10).result.classifications
    assert [(item.label, item.score) for item in row.classes] == [("low", -2.5), ("high", 2.5)]
    request.input.Clear()
    with pytest.raises(grpc.RpcError, match="Input is empty"):
        stub.Classify(request, timeout=10)


@pytest.mark.parametrize(
    ("call", "signature", "text"),
    [
        ("Classify", "numbers", "Expected classes Tensor of DT_STRING. Got: DT_INT32"),
        ("Classify", "doubles", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("Classify", "uneven", "Tensors class and score should match in dim_size(1). Got 1 vs. 2"),
        ("Regress", "integers", "Expected output Tensor of DT_FLOAT.  Got: DT_INT64"),
        ("Regress", "short", "Input batch size did not match output batch size: 2 vs. 0"),
        ("Regress", "classify", "Expected one output Tensor."),
    ],
)
def test_outputs_that_do_not_fit_are_named_as_tf_serving_does(stub, call, signature, text):
    kind = classification_pb2.ClassificationRequest if call == "Classify" else regression_pb2.RegressionRequest
    request = kind(input=examples(1, 2))
    request.model_spec.name, request.model_spec.signature_name = "shared", signature
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, call)(request, timeout=10)
    assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", text)


def multi(*tasks, values=(1,), model="shared"):
    request = inference_pb2.MultiInferenceRequest(input=examples(*values))
    for name, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, name
    return request


def test_multi_inference(stub):
    response = stub.MultiInference(multi(("regress", REGRESS), ("classify", CLASSIFY), values=(1, 3)), timeout=10)
    assert [item.value for item in response.results[0].regression_result.regressions] == [2.5, 3.5]
    assert len(response.results[1].classification_result.classifications) == 2
    assert response.results[1].model_spec.signature_name == "classify"
    assert response.results[1].model_spec.version.value == 1


BOTH = ("regress", REGRESS), ("classify", CLASSIFY)


def changed(request, index, **spec):
    for key, value in spec.items():
        setattr(request.tasks[index].model_spec, key, value)
    return request


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (multi(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (changed(multi(*BOTH), 0, name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (changed(multi(*BOTH), 1, name=""), "INVALID_ARGUMENT", "Found ModelSpec with an empty model name."),
        (
            changed(multi(*BOTH), 1, name="m"),
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (multi(*BOTH, model="m"), "INVALID_ARGUMENT", "Input tensor must be the same for all Signatures."),
        (multi(BOTH[0], BOTH[0]), "INVALID_ARGUMENT", "Duplicate evaluation of signature: regress"),
        (multi(("none", REGRESS)), "INVALID_ARGUMENT", "Requested signature not found in model graph: none"),
        (multi(("regress", "x")), "UNIMPLEMENTED", "Unsupported signature method_name: x"),
        (multi(("classify", REGRESS)), "INVALID_ARGUMENT", "Expected one output Tensor."),
        (multi(*BOTH, values=()), "INVALID_ARGUMENT", "Input is empty."),
        (multi(("regress", "x"), values=()), "UNIMPLEMENTED", "Unsupported signature method_name: x"),
    ],
)
def test_multi_inference_refusals(stub, request_, code, text):
    with pytest.raises(grpc.RpcError) as caught:
        stub.MultiInference(request_, timeout=10)
    assert (caught.value.code().name, caught.value.details()) == (code, text)


def test_examples_are_counted(server, stub, rest):
    """REST and gRPC, one kind and several."""

    def read():
        text = server.plane.metrics.text()
        names = (
            'example_count_total{model="m"}',
            'example_counts_count{model="m"}',
            'example_counts_bucket{model="m",le="4"}',
        )
        names += ('runtime_latency_count{model_name="m",API="MultiInference",runtime="TF1"}',)
        found = [re.findall(f"{re.escape(name)} (\\d+)", text) for name in names]
        return np.array([int(one[0]) if one else 0 for one in found])

    before = read()
    rest("POST", "/v1/models/m:regress", {"signature_name": "regress", "examples": [{"x": 1.0}] * 5})
    stub.MultiInference(multi(("regress", REGRESS), values=(1, 3), model="m"), timeout=10)
    assert (read() - before).tolist() == [7, 2, 1, 1]


def test_warmup_records_of_every_kind(server, tmp_path):
    """They are replayed; a kind that cannot be is UNIMPLEMENTED, one that fails fails the load."""
    signatures = server.manager.lookup("m").signatures
    (tmp_path / "assets.extra").mkdir()
    file = tmp_path / "assets.extra" / "tf_serving_warmup_requests"

    def write(*logs):
        with tf.io.TFRecordWriter(str(file)) as writer:
            for log in logs:
                writer.write(log.SerializeToString())

    good = [prediction_log_pb2.PredictionLog() for _ in range(3)]
    for request, name in ((good[0].classify_log.request, "classify"), (good[1].regress_log.request, "regress")):
        request.model_spec.signature_name = name
        request.input.CopyFrom(examples(1))
    good[2].multi_inference_log.request.CopyFrom(multi(("regress", REGRESS), model="m"))
    write(*good)
    warmup.run(tmp_path, signatures)
    good[0].classify_log.request.model_spec.signature_name = "none"
    write(good[0])
    with pytest.raises(ServingError, match="No signature was found with the name: none"):
        warmup.run(tmp_path, signatures)
    bad = prediction_log_pb2.PredictionLog()
    bad.session_run_log.SetInParent()
    write(bad)
    with pytest.raises(ServingError, match="Unsupported log_type for warmup: session_run_log"):
        warmup.run(tmp_path, signatures)
    write(*[good[1]] * 1001)
    with pytest.raises(ServingError, match="exceeds the maximum"):
        warmup.run(tmp_path, signatures)
