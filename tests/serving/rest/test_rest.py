"""The REST API against the tables of TF Serving's behaviour: answers, numbers, errors, paths."""

import gzip
import json

import numpy as np
import pytest
import tensorflow as tf

from serving.errors import Code, ServingError
from tests import toy_policy

FOREIGN = "/v1/models/foreign:predict"


def predict(rest, body, path=FOREIGN):
    status, answer = rest("POST", path, body)
    assert status == 200, answer
    return json.loads(answer)


def test_act_equals_the_saved_model(rest, exported):
    inputs = toy_policy.example_inputs("act", rows=4)["observations"]
    expected = tf.saved_model.load(str(exported)).signatures["act"](observations=tf.constant(inputs))
    body = {"instances": inputs.astype(float).tolist()}
    for version in ("", "/versions/1"):
        rows = predict(rest, body, f"/v1/models/toy{version}:predict")["predictions"]
        np.testing.assert_allclose([row["logits"] for row in rows], expected["logits"], rtol=1e-6)
        np.testing.assert_array_equal([row["actions"] for row in rows], expected["actions"])


def test_every_signature_answers(rest):
    for name in ("act", "initial_memory", "step", "adapt"):
        inputs = toy_policy.example_inputs(name, rows=2)
        body = {"signature_name": name, "inputs": {key: value.tolist() for key, value in inputs.items()}}
        assert predict(rest, body, "/v1/models/toy:predict")["outputs"]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [1, 2.0, 5]}, {"predictions": [2.5, 3.0, 4.5]}),
        ({"instances": [[1, 2], [3, 4]]}, {"predictions": [[2.5, 3.0], [3.5, 4.0]]}),
        ({"instances": [{"x": [1]}, {"x": [2]}]}, {"predictions": [[2.5], [3.0]]}),
        ({"inputs": [1, 2]}, {"outputs": [2.5, 3.0]}),
        ({"inputs": 2}, {"outputs": 3.0}),
        ({"inputs": []}, {"outputs": []}),
        ({"inputs": [[], []]}, {"outputs": [[], []]}),
        ({"inputs": {"x": [2], "more": "ignored"}}, {"outputs": [3.0]}),
        ({"inputs": [2], "unknown": 1, "signature_name": "serving_default"}, {"outputs": [3.0]}),
        (
            {"signature_name": "two", "instances": [{"a": 1, "b": 2}, {"b": 3, "a": 1.5}]},
            {"predictions": [{"b": 2, "sum": 3.0}, {"b": 3, "sum": 4.5}]},
        ),
        (
            {"signature_name": "two", "inputs": {"a": [[1.0], [2.0]], "b": [1]}},
            {"outputs": {"b": [1], "sum": [[2.0], [3.0]]}},
        ),
        (
            {"signature_name": "kinds", "inputs": {"i": [9223372036854775807], "d": 0.1, "t": [[True, False]]}},
            {"outputs": {"i": [9223372036854775807], "d": 0.1, "t": [[True, False]]}},
        ),
        ({"signature_name": "small", "inputs": [300, -1]}, {"outputs": [44, 255]}),
        (
            {"signature_name": "unsigned", "inputs": {"v": [2**32 - 1], "w": [2**64 - 1, 0]}},
            {"outputs": {"v": [2**32 - 1], "w": [2**64 - 1, 0]}},
        ),
        ({"signature_name": "uneven", "inputs": [1]}, {"outputs": {"x": [1.0], "y": [1.0, 1.0]}}),
        (
            {"signature_name": "texts", "instances": ["a\u00e9\"", {"b64": "YQ"}, {"b64": "YQ=="}]},
            {"predictions": [
                {"s": 'a\u00e9"', "s_bytes": {"b64": "YcOpIg=="}},
                {"s": "a", "s_bytes": {"b64": "YQ=="}}, {"s": "a", "s_bytes": {"b64": "YQ=="}},
            ]},
        ),
    ],
)  # fmt: skip
def test_answers(rest, body, answer):
    assert predict(rest, body) == answer


def test_layout_is_that_of_rapidjson(rest):
    _, answer = rest("POST", FOREIGN, {"instances": [1, 2]})
    assert answer == b'{\n    "predictions": [2.5, 3.0\n    ]\n}'
    _, answer = rest("POST", FOREIGN, {"inputs": [[1, 2]]})
    assert answer == (b'{\n    "outputs": [\n        [\n            2.5,\n            3.0\n        ]\n    ]\n}')
    _, answer = rest("POST", FOREIGN, {"signature_name": "two", "instances": [{"a": [1], "b": [2]}]})
    assert answer == (
        b'{\n    "predictions": [\n        {\n            "b": [2],\n            "sum": [3.0]\n        }\n    ]\n}'
    )


def test_numbers(rest):
    body = {"signature_name": "two", "inputs": {"b": 0, "a": [0.1, 1 / 3, 1e6, 123456.0, 1e-5, -0.0, 3e38, 16777217]}}
    _, answer = rest("POST", FOREIGN, body)
    text = answer.decode().split('"sum": [')[1]
    numbers = [token.strip(" \n],}") for token in text.split(",")]
    assert numbers == ["0.1", "0.333333343", "1e+06", "123456.0", "1e-05", "0.0", "3e+38", "16777216.0"]


def test_doubles_have_17_digits(rest):
    body = {"signature_name": "kinds", "inputs": {"i": 1, "t": True, "d": [1 / 3, 0.1]}}
    assert b"0.33333333333333331" in rest("POST", FOREIGN, body)[1]


def test_nan_and_infinity_both_ways_and_bytes_after_the_document(rest):
    status, answer = rest("POST", FOREIGN, b'{"inputs": [NaN, Infinity, -Infinity, 1e39]} trailing')
    assert status == 200
    tokens = answer.decode().split("[")[1].split("]")[0].replace(" ", "").replace("\n", "")
    assert tokens == "NaN,Infinity,-Infinity,Infinity"
    assert predict(rest, b'{"inputs": [1' + b"0" * 40 + b"]}")["outputs"] == [float("inf")]


ROW0 = "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{x}", "JSON Parse error: "),
        ([1], "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": [1], "instances": [1]}, "expecting only one of 'inputs' or 'instances' keys to exist"),
        ({"instances": {"x": 1}}, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [[1], [1, 2]]}, "Expecting tensor size: 1 but got: 2"),
        ({"instances": [[[1, 2]], [[1], [2]]]}, "Expecting shape [1,2] but got: [2,1]"),
        ({"instances": [[[1], [2, 3]]]}, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ({"instances": ["1"]}, ROW0 + 'JSON Value: "1" Type: String is not of expected type: float'),
        ({"instances": [True]}, ROW0 + "JSON Value: true Type: True is not of expected type: float"),
        ({"instances": [None]}, ROW0 + "JSON Value: null Type: Null is not of expected type: float"),
        ({"inputs": [1, "2"]}, 'JSON Value: "2" Type: String is not of expected type: float'),
        (
            {"signature_name": "two", "inputs": {"a": 1, "b": 1.0}},
            "JSON Value: 1.0 Type: Number is not of expected type: int32",
        ),
        (
            {"signature_name": "two", "inputs": {"a": 1, "b": 2147483648}},
            "JSON Value: 2147483648 Type: Number is not of expected type: int32",
        ),
        ({"instances": [{"z": 1}]}, "does not have named input: z"),
        ({"signature_name": "two", "instances": [{"a": 1}]}, "keys must be equal to: a,b"),
        ({"signature_name": "two", "inputs": {"a": 1}}, "Missing named input: b in 'inputs' object."),
        ({"signature_name": "two", "instances": [1]}, "instances is a plain list, "),
        ({"signature_name": "two", "inputs": [1]}, "inputs is a plain value/list, "),
        ({"instances": [{"x": 1}, 2]}, "Expecting object but got list at item 1 of input list"),
        ({"instances": [2, {"x": 1}]}, "Expecting value/list but got object at item 1 of input list"),
        ({"signature_name": "texts", "instances": [{"b64": "*"}]}, "Unable to base64 decode"),
        ({"signature_name": 3, "instances": [1]}, "'signature_name' key must be a string value."),
        (
            {"signature_name": "none", "instances": [1]},
            'Serving signature name: "none" not found in signature def',
        ),
        ({"signature_name": "scalar", "instances": [1]}, "has no shape information"),
        ({"signature_name": "uneven", "instances": [1]}, "Tensor name: y has inconsistent batch size: 2 expecting: 1"),
        (
            {"signature_name": "unsigned", "inputs": {"v": 2**32, "w": 0}},
            "JSON Value: 4294967296 Type: Number is not of expected type: uint32",
        ),
        (
            {"signature_name": "unsigned", "inputs": {"v": 0, "w": -1}},
            "JSON Value: -1 Type: Number is not of expected type: uint64",
        ),
        ({"signature_name": "two", "instances": [{"a": 1, "b": 1, "z": 1}]}, "does not have named input: z"),
        ({"signature_name": "complex", "inputs": [1]}, "Failed to write JSON value for tensor type: complex64"),
        ({"signature_name": "two", "instances": [{"a": [1, 2], "b": [1, 2, 3]}]}, "Incompatible shapes"),
        ({"signature_name": "product", "inputs": [[1.0, 2.0]]}, "Matrix size-incompatible"),
        ({"signature_name": "to_half", "inputs": [1.0]}, "Failed to write JSON value for tensor type: half"),
        ({"signature_name": "half", "instances": [1.0]}, "Conversion of JSON Value: 1.0 to type: half"),
    ],
)
def test_bad_bodies_are_400(rest, body, text):
    status, message = rest.error("POST", FOREIGN, body)
    assert status == 400 and text in message


def test_unsupported_types_are_501_in_columnar_format(rest):
    status, message = rest.error("POST", FOREIGN, {"signature_name": "half", "inputs": [1.0]})
    assert (status, message) == (501, "Conversion of JSON Value: 1.0 to type: half")
    status, message = rest.error("POST", FOREIGN, {"signature_name": "words", "inputs": [1]})
    assert (status, message) == (501, "Conversion of JSON Value: 1 to type: uint16")


def test_the_model_is_looked_up_before_the_values_are_read(rest):
    assert rest.error("POST", "/v1/models/none:predict", {"instances": "x"})[0] == 404
    assert rest.error("POST", "/v1/models/none:predict", {})[0] == 404
    assert rest.error("POST", "/v1/models/none:predict", {"signature_name": 3})[0] == 400
    assert rest.error("POST", "/v1/models/none:predict", b"{")[0] == 400


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1/models/none:predict", 404, "Servable not found for request: Latest(none)"),
        ("/v1/models/foreign/versions/9:predict", 404, "Servable not found for request: Specific(foreign, 9)"),
        ("/v1/models/foreign/labels/new:predict", 400, "Unrecognized servable version label: new"),
    ],
)
def test_unknown_models(rest, path, status, text):
    assert rest.error("POST", path, {"instances": [1]}) == (status, text)


MALFORMED = [
    ("GET", "/v1/models/foreign:predict"),
    ("POST", "/v1/models/foreign"),
    ("PUT", "/v1/models/foreign"),
    ("DELETE", "/v1/models/foreign"),
    ("POST", "/v1/models/foreign:guess"),
    ("POST", "/v1/models/foreign:PREDICT"),
    ("POST", "/v1/models/foreign/versions/x:predict"),
    ("POST", "/v1/models/foreign/versions/1/labels/a:predict"),
    ("POST", "/v1/models/foreign:predict?x=1"),
    ("GET", "/v1/nothing"),
]


@pytest.mark.parametrize(("method", "path"), MALFORMED)
def test_malformed_requests_are_400_never_405(rest, method, path):
    assert rest.error(method, path, b"{}") == (400, f"Malformed request: {method} {path}")


def test_other_paths(rest):
    assert rest.error("GET", "/v1/models") == (400, "Missing model name in request.")
    status, body = rest("GET", "/elsewhere")
    assert status == 404 and b"<HTML>" in body
    assert rest("GET", f"/v1/models/foreign/versions/{2**63}") == (400, b"")
    assert rest("POST", "/V1/Models/foreign:predict", {"instances": [1]})[0] == 200
    assert rest("POST", "/v1/models/%66oreign:predict", {"instances": [1]})[0] == 200
    assert rest("HEAD", "/v1/models/foreign") == (400, b"")
    assert rest("OPTIONS", FOREIGN)[0] == 400
    assert rest("OPTIONS", FOREIGN, headers={"Origin": "http://a.example"})[0] == 200


def test_status(rest):
    status, body = rest("GET", "/v1/models/foreign")
    ok = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert status == 200 and json.loads(body) == {"model_version_status": [ok]}
    for place in ("/versions/3", "/labels/ignored"):
        assert json.loads(rest("GET", "/v1/models/foreign" + place)[1]) == {"model_version_status": [ok]}
    assert rest.error("GET", "/v1/models/none") == (404, "Could not find any versions of model none")
    expected = (404, "Could not find version 9 of model foreign")
    assert rest.error("GET", "/v1/models/foreign/versions/9") == expected


def test_metadata_is_the_proto_json(rest):
    status, body = rest("GET", "/v1/models/toy/metadata")
    document = json.loads(body)
    assert status == 200
    assert document["model_spec"] == {"name": "toy", "signature_name": "", "version": "1"}
    definitions = document["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "act", "step", "adapt", "initial_memory", "__saved_model_init_op"} <= set(definitions)
    act = definitions["act"]
    assert act["method_name"] == "tensorflow/serving/predict" and act["defaults"] == {}
    assert act["inputs"]["observations"] == {
        "dtype": "DT_FLOAT",
        "name": act["inputs"]["observations"]["name"],
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "4", "name": ""}], "unknown_rank": False},
    }
    assert rest.error("GET", "/v1/models/none/metadata")[0] == 404


def test_keep_alive_gzip_and_chunks(rest):
    assert rest.error("POST", FOREIGN, b"{")[0] == 400
    socket = rest.connection.sock
    packed = gzip.compress(b'{"instances": [1]}')
    assert rest("POST", FOREIGN, packed, {"Content-Encoding": "gzip"})[0] == 200
    assert rest("POST", FOREIGN, packed[:-4], {"Content-Encoding": "gzip"})[0] == 400
    assert rest("POST", FOREIGN, iter([b'{"inst', b'ances": [1]}']))[0] == 200
    assert rest("POST", FOREIGN, {"instances": [1]}, {"Content-Type": "text/whatever"})[0] == 200
    assert rest.connection.sock is socket  # one connection served all of this


def test_offers_of_http_2_are_ignored(rest):
    """Java's client makes one with every request."""
    headers = {"Connection": "Upgrade, HTTP2-Settings", "UPGRADE": "h2c", "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA"}
    for _ in range(3):
        assert rest("POST", FOREIGN, {"instances": [1]}, headers) == (200, b'{\n    "predictions": [2.5\n    ]\n}')
    text = "\r\nupgrade: a\r\n\r\nupgrade: b"
    body = {"signature_name": "texts", "inputs": [text]}
    assert json.loads(rest("POST", FOREIGN, body, headers)[1])["outputs"]["s"] == [text]


def test_large_bodies_take_the_thread_pool_and_answer_the_same(rest):
    values = np.arange(20000, dtype=np.float32)
    rows = predict(rest, {"instances": values.tolist()})["predictions"]
    np.testing.assert_allclose(rows, 0.5 * values + 2)


def test_deep_nesting_is_refused(rest):
    assert rest("POST", FOREIGN, b'{"instances": ' + b"[" * 100000)[0] == 400


def test_statuses_are_tf_servings():
    statuses = {code.name: ServingError(code, "").http_status for code in Code}
    expected = {200: "OK", 400: "INVALID_ARGUMENT FAILED_PRECONDITION OUT_OF_RANGE", 401: "UNAUTHENTICATED"}
    expected |= {403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS ABORTED", 429: "RESOURCE_EXHAUSTED"}
    expected |= {499: "CANCELLED", 500: "UNKNOWN INTERNAL DATA_LOSS", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE"}
    expected |= {504: "DEADLINE_EXCEEDED"}
    assert statuses == {name: status for status, names in expected.items() for name in names.split()}


def test_a_fault_of_the_server_is_a_json_500(server, http_of, monkeypatch):
    def fail(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr(server.manager, "lookup", fail)
    expected = (500, "RuntimeError: boom")
    assert http_of(server).error("POST", "/v1/models/toy:predict", {"instances": [1]}) == expected
