"""The kinds of REST answers in which a server of our own would differ from TF Serving, each by hand-made cases."""

import gzip
import json
import socket

import pytest

from tests.serving.rest.test_rest import FOREIGN, predict


def error(text: str) -> bytes:
    return b'{\n    "error": ' + json.dumps(text, ensure_ascii=False).encode() + b"\n}"


def page(status: int, reason: str) -> bytes:
    head = f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD>"
    return f"{head}<BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n".encode()


def raw(server, request: bytes) -> bytes:
    """All that comes back until the server hangs up, or is silent for a while."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=5) as connection:
        connection.sendall(request)
        got = b""
        try:
            while chunk := connection.recv(65536):
                got += chunk
                connection.settimeout(0.5)
        except TimeoutError:
            got += b"<still open>"
        return got


def test_errors_have_the_writers_layout(rest):
    assert rest("GET", "/v1/models") == (400, error("Missing model name in request."))


def test_errors_quote_bytes_as_they_are(rest):
    status, answer = rest("POST", "/v1/models/%E9:predict", {"instances": [1]})
    assert (status, answer) == (404, b'{\n    "error": "Servable not found for request: Latest(\xe9)"\n}')
    assert rest("GET", "/v1/models/%00")[1] == b'{\n    "error": "Could not find any versions of model \\u0000"\n}'


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"signature_name": "wide", "inputs": "a\x7f"}, b'{\n    "outputs": "a\x7f"\n}'),
        ({"signature_name": "wide", "inputs": {"b64": "/w"}}, b'{\n    "outputs": "\xff"\n}'),
        ({"signature_name": "wide", "instances": [{"b64": " Y Q =\n="}]}, b'{\n    "predictions": ["a"\n    ]\n}'),
        ({"signature_name": "raw", "inputs": "a"}, b'{\n    "outputs": {\n        "b64": "YQ=="\n    }\n}'),
        (
            {"signature_name": "raw", "instances": [["a"]]},
            b'{\n    "predictions": [[{\n                "b64": "YQ=="\n            }]\n    ]\n}',
        ),
        ({"signature_name": "float16", "instances": [[]]}, b'{\n    "predictions": [[]\n    ]\n}'),
    ],
)
def test_scalar_strings_bytes_and_halves_without_values(rest, body, answer):
    assert rest("POST", FOREIGN, body) == (200, answer)


@pytest.mark.parametrize("dimensions", [63, 64, 65, 100, 253])
def test_more_dimensions_than_numpy_has(rest, dimensions):
    value: object = [1.0, 2.0]
    for _ in range(dimensions - 1):
        value = [value]
    answer = rest("POST", FOREIGN, {"instances": [value]})[1]
    assert answer == b'{\n    "predictions": [' + b"[" * dimensions + b"2.5, 3.0" + b"]" * dimensions + b"\n    ]\n}"
    columns = rest("POST", FOREIGN, {"inputs": value})[1].decode()
    assert "".join(columns.split()) == '{"outputs":' + "[" * dimensions + "2.5,3.0" + "]" * dimensions + "}"


def test_too_many_dimensions_and_any_depth(rest):
    for depth in (255, 5000, 100_000):
        body = b'{"inputs": ' + b"[" * depth + b"1" + b"]" * depth + b"}"
        assert rest("POST", FOREIGN, body) == (400, error("tensor parsing error: x"))
    body = b'{"inputs": ' + b"[" * 5000 + b'"a"' + b"]" * 5000 + b"}"
    assert b"is not of expected type: float" in rest("POST", FOREIGN, body)[1]


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (b'{"instances": [{"x": 1, "x": 4}, {"x": 2, "x": 5}]}', [2.5, 4.0]),  # the surplus at the end is cut off
        (b'{"instances": [4], "instances": "no list"}', [4.0]),
        (b'\xef\xbb\xbf{"instances": [4]}', [4.0]),
        (b'{"instances": [Inf, -Infinity]}', [float("inf"), float("-inf")]),
    ],
)
def test_json_beyond_the_standard(rest, body, outputs):
    assert predict(rest, body)["predictions"] == outputs


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"instances": [1e400]}', "JSON Parse error: Number too big to be stored in double. at offset: 15"),
        (b'{"inputs": 1' + b"0" * 400 + b"}", "JSON Parse error: Number too big to be stored in double. at offset: 11"),
        (b'{"instances": [01]}', "JSON Parse error: Missing a comma or ']' after an array element. at offset: 16"),
        (b"NaN", "JSON Value:  Is not object"),
        (b'{"inputs": {"x": "a", "x": 1}}', 'JSON Value: "a" Type: String is not of expected type: float'),
        (
            b'{"inputs": [{"x": 1e-7, "x": 18446744073709551616}]}',
            'JSON Value: {\n    "x": 1e-7,\n    "x": 18446744073709553000.0\n} '
            "Type: Object is not of expected type: float",
        ),
        (
            b'{"signature_name": [[1.50, {"a": null}], []]}',
            'JSON Value: {\n    "signature_name": [[1.5, {\n                "a": null\n            }], []]\n} '
            "not formatted correctly. 'signature_name' key must be a string value.",
        ),
        (
            b'{"instances": [{"x\\u0000": 1, "y\\u0000z": 1}]}',
            "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: y",
        ),
        (b'{"signature_name": "texts", "inputs": {"b64": "aGVsbG8=="}}', "Unable to base64 decode"),
        (b'{"signature_name": "texts", "inputs": {"b64": "a-_b"}}', "Unable to base64 decode"),
    ],
)
def test_refused_bodies(rest, body, text):
    assert rest("POST", FOREIGN, body) == (400, error(text))


def test_bodies_that_take_long_to_read_do_not_hold_up_the_others(rest, monkeypatch):
    monkeypatch.setattr("serving.wire.json_parser.QUICK_BYTES", 10)
    assert rest("POST", FOREIGN, b'{"instances": [Inf, NaN]}')[1] == b'{\n    "predictions": [Infinity, NaN\n    ]\n}'
    assert rest("POST", FOREIGN, b'{"instances": [Inf')[0] == 400


def test_a_large_request_makes_no_larger_error(rest):
    body = json.dumps({"instances": {"x": [["y" * 100] * 100] * 200}}).encode()
    status, answer = rest("POST", FOREIGN, body)
    assert status == 400 and len(body) > 2_000_000 and len(answer) < 1_000
    assert answer.endswith(b" Expecting 'instances' to be an list/array\"\n}")


@pytest.mark.parametrize(
    "target", ["%zz", "%2", "a b", "a\xe9", 'a"b', "a^b", "a|b", "a[b]", "a{b}", "a`b", "a\\b", "a?b=<"]
)
def test_paths_that_are_no_paths(shared, target):
    got = raw(shared, f"GET /v1/models/{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 400 ") and page(400, "Bad Request") in got


@pytest.mark.parametrize("rest_of_it", ["?x=1", "#", "?x#y"])
def test_queries_and_fragments_are_parts_of_the_path(shared, rest_of_it):
    for target, answer in (
        (f"{FOREIGN}{rest_of_it}", error(f"Malformed request: GET {FOREIGN}{rest_of_it}")),
        (f"/v1/models/foreign{rest_of_it}", error(f"Could not find any versions of model foreign{rest_of_it}")),
    ):
        assert raw(shared, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).endswith(answer + b"<still open>")


@pytest.mark.parametrize("path", ["/v1/models/foreign", "/foo"])
@pytest.mark.parametrize("method", ["TRACE", "FOO", "get", "PROPFIND"])
def test_methods_that_are_none(shared, method, path):
    got = raw(shared, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 501 ") and page(501, "Not Implemented") in got


def test_other_methods_and_paths(rest):
    assert rest("GET", "/foo") == (404, page(404, "Not Found")) == rest("OPTIONS", "/foo")
    assert rest.headers["content-type"] == "text/html"
    assert rest("OPTIONS", FOREIGN) == (400, b"")
    assert rest.headers["content-type"] == "text/html; charset=ISO-8859-1"
    assert rest("OPTIONS", FOREIGN, headers={"Origin": "https://a"}) == (200, b"")
    assert rest("PATCH", FOREIGN, b"{}") == (400, error(f"Malformed request: PATCH {FOREIGN}"))


@pytest.mark.parametrize("path", ["/v1/models/versions/1", "/v1/models/labels/x", "/v1/models/labels/x/metadata"])
def test_the_name_may_be_missing(rest, path):
    assert rest("GET", path) == (400, error("Missing model name in request."))


def test_metadata_is_spelled_in_lower_case(rest):
    assert b"model_version_status" in rest("GET", "/v1/models/foreign/METADATA")[1]
    assert b"signature_def" in rest("GET", "/V1/MODELS/foreign/versions/03/metadata")[1]
    assert rest("GET", "/v1/models/metadata") == (404, error("Could not find any versions of model metadata"))


def test_content_encodings(rest):
    body = b'{"instances": [1]}'
    for encoding in ("deflate", "br", "identity"):  # not looked at
        assert rest("POST", FOREIGN, body, {"Content-Encoding": encoding})[0] == 200
    assert rest("POST", FOREIGN, gzip.compress(body), {"Content-Encoding": "x-gzip, identity"})[0] == 200
    empty = (400, error("JSON Parse error: The document is empty"))
    for bad in (body, gzip.compress(body)[:-4], b""):
        assert rest("POST", FOREIGN, bad, {"Content-Encoding": "gzip"}) == empty


def test_dates(rest):
    rest("GET", "/v1/models/foreign")
    assert rest.headers["date"].endswith(" GMT") and len(rest.headers.get_all("date")) == 1


def test_http_1_0_keeps_the_connection_if_asked_to(shared):
    asked = raw(shared, b"GET /v1/models/foreign HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"connection: keep-alive\r\n" in asked and asked.endswith(b"<still open>")
    other = raw(shared, b"GET /v1/models/foreign HTTP/1.0\r\n\r\n")
    assert b"connection: keep-alive" not in other and not other.endswith(b"<still open>")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([[1.0, 2.0]], "Matrix size-incompatible: In[0]: [1,2], In[1]: [3,2]"),
        ([1.0], "In[0] ndims must be >= 2"),
        ([[[1.0]]], "In[0] ndims must be >= 2"),
    ],
)
def test_products_are_refused_in_onednns_words(rest, value, text):
    status, answer = rest("POST", FOREIGN, {"signature_name": "product", "inputs": value})
    said = json.loads(answer)["error"]
    assert status == 400 and said.startswith(f"{text}\n\t [[{{{{node ") and said.endswith("PartitionedCall/MatMul}}]]")


def test_one_wide_input_beside_others_and_twice(rest):
    deep = json.loads("[" * 70 + "1.0" + "]" * 70)
    for _ in range(2):
        _, answer = rest("POST", FOREIGN, {"signature_name": "two", "inputs": {"a": deep, "b": [1, 2]}})
        assert "".join(answer.decode().split()) == (
            '{"outputs":{"b":[1,2],"sum":' + "[" * 70 + "2.0,3.0" + "]" * 70 + "}}"
        )


def test_errors_of_wide_calls_are_the_sessions_own(rest):
    deep = json.loads("[" * 70 + "1.0, 2.0" + "]" * 70)
    status, answer = rest("POST", FOREIGN, {"signature_name": "two", "inputs": {"a": deep, "b": [1, 2, 3]}})
    assert status == 400 and b"Incompatible shapes: [1,1," in answer and b"Detected at node" not in answer
