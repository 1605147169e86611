"""The gRPC API, through the official stubs."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.errors import ServingError
from serving.wire import tensors
from tests import toy_policy


@pytest.fixture(scope="module")
def channel(shared):
    with grpc.insecure_channel(shared.grpc_target) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(name, inputs, signature="", version=None, label=None, output_filter=()):
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(value if isinstance(value, TensorProto) else tf.make_tensor_proto(value))
    return request


def refused(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    return caught.value.code().name, caught.value.details()


def test_answers_are_in_typed_fields(stub):
    inputs = toy_policy.example_inputs("act", rows=3)
    response = stub.Predict(request_of("toy", inputs), timeout=10)
    logits = response.outputs["logits"]
    assert len(logits.float_val) == 6 and not logits.tensor_content
    assert len(response.outputs["actions"].int_val) == 3
    assert response.model_spec.name == "toy" and response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 1 and response.model_spec.version_label == ""


def test_every_signature_equals_tensorflows_own_answer(stub, exported):
    loaded = tf.saved_model.load(str(exported))
    for name in ("act", "initial_memory", "step", "adapt"):
        inputs = toy_policy.example_inputs(name, rows=2)
        expected = loaded.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        response = stub.Predict(request_of("toy", inputs, name), timeout=10)
        assert set(response.outputs) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(tf.make_ndarray(response.outputs[key]), value, rtol=1e-5, atol=1e-6)


def test_output_filter(stub):
    inputs = toy_policy.example_inputs("act")
    response = stub.Predict(request_of("toy", inputs, output_filter=["logits"]), timeout=10)
    assert list(response.outputs) == ["logits"]
    code, details = refused(stub.Predict, request_of("toy", inputs, output_filter=["q"]))
    expected = "output tensor alias not found in signature: q Outputs expected to be in the set {actions,logits}."
    assert (code, details) == ("INVALID_ARGUMENT", expected)
    again = refused(stub.Predict, request_of("toy", inputs, output_filter=["logits", "logits"]))
    assert again == ("INVALID_ARGUMENT", "duplicate output tensor alias: logits")


def test_inputs_in_typed_fields_are_padded_with_the_last_value(stub):
    proto = TensorProto(dtype=tf.float32.as_datatype_enum, float_val=[1.0, 2.0])
    proto.tensor_shape.dim.add(size=4)
    response = stub.Predict(request_of("foreign", {"x": proto}), timeout=10)
    assert list(response.outputs["y"].float_val) == [2.5, 3.0, 3.0, 3.0]


SPEC_ERRORS = [
    (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    (request_of("", {}), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    (request_of("none", {}), "NOT_FOUND", "Servable not found for request: Latest(none)"),
    (request_of("foreign", {}, version=9), "NOT_FOUND", "Servable not found for request: Specific(foreign, 9)"),
    (request_of("foreign", {}, label="l"), "INVALID_ARGUMENT", "Unrecognized servable version label: l"),
    (request_of("foreign", {}, "s"), "FAILED_PRECONDITION", 'Serving signature key "s" not found.'),
    (
        request_of("foreign", {"a": 1.0}, "two"),
        "INVALID_ARGUMENT",
        "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. Missing but required: {b}.",
    ),
    (
        request_of("foreign", {"z": 1.0}),
        "INVALID_ARGUMENT",
        "Signature input alias: x(feed name: ",
    ),
    (
        request_of("foreign", {"x": tf.make_tensor_proto([1.0], tf.float64)}),
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but double is provided",
    ),
]


@pytest.mark.parametrize(("request_", "code", "details"), SPEC_ERRORS)
def test_refusals(stub, request_, code, details):
    got_code, got_details = refused(stub.Predict, request_)
    assert got_code == code and details in got_details


def test_undecodable_tensor(stub):
    proto = tf.make_tensor_proto([1.0, 2.0])
    proto.tensor_content = proto.tensor_content[:3]
    answer = refused(stub.Predict, request_of("foreign", {"x": proto}))
    assert answer == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_long_details_are_cut(stub):
    _, details = refused(stub.Predict, request_of("foreign", {"i" * 3000: 1.0}, "two"))
    assert details.startswith("input size does not match signature: 1!=2 len({iii")
    assert len(details) == 1024 + len("...TRUNCATED") and details.endswith("i...TRUNCATED")


def test_messages_beyond_four_megabytes(shared):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    values = np.zeros(2_000_000, np.float32)
    with grpc.insecure_channel(shared.grpc_target, options=options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request_of("foreign", {"x": values}), timeout=60)
    assert len(response.outputs["y"].float_val) == len(values)


def test_metadata(stub, exported):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "toy"
    response = stub.GetModelMetadata(request, timeout=10)
    definitions = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(definitions)
    assert definitions.signature_def["act"].inputs["observations"].dtype == tf.float32.as_datatype_enum
    assert response.model_spec.version.value == 1
    for fields in ([], ["signature_def", "other"]):
        bad = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        bad.model_spec.name = "toy"
        assert refused(stub.GetModelMetadata, bad)[0] == "INVALID_ARGUMENT"


def test_status(channel):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "foreign"
    (line,) = stub.GetModelStatus(request, timeout=10).model_version_status
    assert (line.version, line.state, line.status.error_code) == (3, 30, 0)
    request.model_spec.version.value = 9
    expected = ("NOT_FOUND", "Could not find version 9 of model foreign")
    assert refused(stub.GetModelStatus, request) == expected
    request.model_spec.name = "none"
    assert refused(stub.GetModelStatus, request)[0] == "NOT_FOUND"


def test_health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service="tensorflow.serving.PredictionService"), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


ARRAYS = [
    np.arange(6, dtype=kind).reshape(2, 3)
    for kind in ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "c8", "c16")
] + [np.array([[True, False]]), np.array([b"a", b"\xff"], object), np.zeros((0, 3), np.float32), np.float32(3)[()]]


@pytest.mark.parametrize("array", [np.asarray(array) for array in ARRAYS], ids=lambda array: array.dtype.str)
def test_tensors_survive_both_encodings(array):
    for proto in (tensors.encode(array), tf.make_tensor_proto(array)):
        again = tensors.decode("x", proto)
        assert again.dtype == array.dtype
        np.testing.assert_array_equal(again, array)
    np.testing.assert_array_equal(tf.make_ndarray(tensors.encode(array)), array)


def proto_of(number, shape=(), **fields):
    proto = TensorProto(dtype=number, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


FLOAT, STRING, HALF = types_pb2.DT_FLOAT, types_pb2.DT_STRING, types_pb2.DT_HALF


@pytest.mark.parametrize(
    "proto",
    [
        proto_of(FLOAT, [2**40]),
        proto_of(FLOAT, [2**40, 2**40, 0]),
        proto_of(FLOAT, [-1], float_val=[1]),
        proto_of(FLOAT, [1] * 255, float_val=[1]),
        proto_of(FLOAT, [2], tensor_content=b"1234"),
        proto_of(0),
        proto_of(99, [1]),
        proto_of(types_pb2.DT_FLOAT_REF, [1], float_val=[1]),
        proto_of(STRING, [2], tensor_content=b"\1\1a"),
        proto_of(STRING, [2], tensor_content=b"\1\1abc"),
        proto_of(STRING, [2], tensor_content=b"\1"),
        proto_of(STRING, [1], tensor_content=b"\xff\xff\xff\xff\xff\x01"),
    ],
    ids=lambda proto: str(proto).replace("\n", " ")[:60],
)
def test_impossible_tensors_are_refused(proto):
    with pytest.raises(ServingError, match="tensor parsing error: x"):
        tensors.decode("x", proto)


UNKNOWN_RANK = TensorProto(dtype=FLOAT, float_val=[7])
UNKNOWN_RANK.tensor_shape.unknown_rank = True


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (proto_of(FLOAT, [2], float_val=[1, 2, 3]), [1, 2]),
        (proto_of(FLOAT, float_val=[1, 2, 3]), 1),
        (proto_of(FLOAT, [3], float_val=[1, 2]), [1, 2, 2]),
        (proto_of(FLOAT, [2]), [0, 0]),
        (proto_of(FLOAT, [2], int_val=[1, 2]), [0, 0]),
        (proto_of(FLOAT, [0, 2**40], tensor_content=b"whatever"), np.zeros((0, 2**40))),
        (UNKNOWN_RANK, 7),
        (proto_of(STRING, [2], tensor_content=b"\1\2abb"), [b"a", b"bb"]),
        (proto_of(STRING, [1], tensor_content=b"\xac\x02" + b"x" * 300), [b"x" * 300]),
        (proto_of(STRING, [2, 1], string_val=[b"a"]), [[b"a"], [b"a"]]),
        (proto_of(STRING, [2]), [b"", b""]),
        (proto_of(HALF, [2], half_val=[15360, 15360 + 2**16]), [1, 1]),
        (proto_of(types_pb2.DT_INT8, [2], int_val=[257, -1]), [1, -1]),
        (proto_of(types_pb2.DT_COMPLEX64, [2], scomplex_val=[1, 2, 3]), [1 + 2j, 1 + 2j]),
        (proto_of(types_pb2.DT_BOOL, [3], bool_val=[True]), [True] * 3),
    ],
    ids=lambda value: str(value).replace("\n", " ")[:60],
)
def test_tensors_are_read_as_cpp_does(proto, expected):
    again = tensors.decode("x", proto)
    assert again.shape == np.shape(expected) and again.tolist() == np.asarray(expected).tolist()


@pytest.mark.parametrize("dims", [65, 254])
def test_tensors_of_more_dimensions_than_numpy_has(stub, dims):
    for signature, number, field, value in (
        ("serving_default", FLOAT, "float_val", 4.0), ("wide", STRING, "string_val", b"a"),
    ):  # fmt: skip
        name, output = ("x", "y") if signature == "serving_default" else ("s", "s")
        sent = proto_of(number, [1] * dims, **{field: [value]})
        answer = stub.Predict(request_of("foreign", {name: sent}, signature), timeout=30).outputs[output]
        assert [dim.size for dim in answer.tensor_shape.dim] == [1] * dims
        assert list(getattr(answer, field)) == [4.0 if number == FLOAT else b"a"]


def test_graphs_refuse_tensors_of_many_dimensions_as_they_refuse_others(stub):
    code, details = refused(stub.Predict, request_of("foreign", {"x": proto_of(FLOAT, [1] * 70)}, "sums"))
    few = refused(stub.Predict, request_of("foreign", {"x": proto_of(FLOAT, [1] * 3)}, "sums"))
    assert (code, details.replace("[" + ",".join("1" * 70) + "]", "[1,1,1]")) == few


def test_what_cannot_be_an_input(stub):
    proto = proto_of(types_pb2.DT_VARIANT, [1])
    expected = "Expects arg[0] to be float but variant is provided"
    assert refused(stub.Predict, request_of("foreign", {"x": proto})) == ("INVALID_ARGUMENT", expected)
    proto = proto_of(types_pb2.DT_RESOURCE, [1])
    proto.resource_handle_val.add(hash_code=7, name="n", maybe_type_name="t")
    code, details = refused(stub.Predict, request_of("foreign", {"x": proto}))
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("Invalid resource type hash code: 7(name: n type: t). Perhaps a resource tensor was")
    code, details = refused(stub.Predict, request_of("foreign", {}, "__saved_model_init_op"))
    assert (code, details) == ("OUT_OF_RANGE", "Node 'NoOp' (type: 'NoOp', num of outputs: 0) does not have output 0")


def test_scalar_strings_are_answered(stub):
    answer = stub.Predict(request_of("foreign", {"s": np.array(b"abc", object)}, "wide"), timeout=10).outputs["s"]
    assert list(answer.string_val) == [b"abc"] and not answer.tensor_shape.dim


def test_matrices_that_do_not_fit_are_refused_in_the_words_of_onednn(stub):
    node = "\n\t [[{{node PartitionedCall"
    for shape, text in (([3], "In[0] ndims must be >= 2"), ([2, 2], "Matrix size-incompatible: In[0]: [2,2], In[1]: ")):
        code, details = refused(stub.Predict, request_of("foreign", {"x": proto_of(FLOAT, shape)}, "product"))
        assert code == "INVALID_ARGUMENT" and details.startswith(text), details
        assert node in details and details.endswith("/PartitionedCall/MatMul}}]]") and "function_node" not in details
