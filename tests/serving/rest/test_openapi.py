"""The OpenAPI document says what the server does."""

import json
import re
import shutil
import subprocess

import jsonschema
import pytest

from serving.rest import app as rest
from serving.rest import openapi
from tests import toy_policy
from tests.serving.adapting.test_adapter import POLICIES, as_json, as_npz, recorded
from tests.serving.test_server import BODY

DOCUMENT = json.loads(openapi.document_json())
FILLED = {"model": "toy", "version": "1", "label": "a", "policy": "toy-a"}


def operations():
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def check(method, path, status, body):
    """An answer against the document."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    if "content" not in responses[str(status)]:
        assert status == 400 and "{version}" in path
        return
    schema = responses[str(status)]["content"]["application/json"]["schema"]
    jsonschema.validate(json.loads(body), {**schema, "components": DOCUMENT["components"]})


def test_the_document_is_served_and_holds_together(shared, http_of):
    status, body = http_of(shared)("GET", openapi.PATH)
    assert status == 200 and json.loads(body) == DOCUMENT and DOCUMENT["openapi"] == "3.1.0"
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names) == 19
    for name in re.findall(r"#/components/schemas/(\w+)", json.dumps(DOCUMENT)):
        jsonschema.Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])
    for _, path, operation in operations():
        given = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert given == set(re.findall(r"{(\w+)}", path))


def test_every_operation_is_a_route(server, http_of):
    """And every route is an operation: the patterns of the application match the paths, one each."""
    connection = http_of(server)
    for method, path, _ in operations():
        status, body = connection(method, path.format(**FILLED), b"{}" if method == "POST" else None)
        assert status == 200 or b"Malformed request" not in body, (method, path)
        check(method, path, status, body)
    paths = [path.format(**FILLED) for path in DOCUMENT["paths"] if path != "/zoo/v1/policies"]
    patterns = (rest._VERB, rest._MODEL, rest._POLICY)
    matched = [[bool(pattern.fullmatch(path)) for pattern in patterns] for path in paths]
    assert all(any(row) for row in matched) and [sum(column) for column in zip(*matched, strict=True)] == [9, 6, 2]


def test_good_answers_are_as_described(server, http_of):
    connection, inputs = http_of(server), recorded()[1]
    key = {"Idempotency-Key": "k"}
    adapt = f"{POLICIES}/{{policy}}:adapt"
    body = json.dumps({"task": "a", "episodes": as_json(inputs)})
    assert set(json.loads(body)["episodes"]) == set(
        DOCUMENT["components"]["schemas"]["Adapt"]["properties"]["episodes"]["required"]
    )
    for sent in (body, as_npz(**inputs), as_npz(**inputs)):  # the last one is a replay
        status, answer = connection("POST", f"{POLICIES}/toy:adapt?task=a", sent, key if sent is not body else {})
        assert status == 200
        check("POST", adapt, status, answer)
    for method, path, sent in (
        ("POST", "/v1/models/{model}:predict", json.dumps(BODY)),
        ("POST", "/v1/models/{model}/versions/{version}:predict", json.dumps({"inputs": BODY["instances"]})),
        ("GET", "/v1/models/{model}", None),
        ("GET", "/v1/models/{model}/metadata", None),
        ("GET", POLICIES, None),
        ("GET", f"{POLICIES}/{{policy}}", None),
        ("DELETE", f"{POLICIES}/{{policy}}", None),
    ):
        status, answer = connection(method, path.format(**FILLED), sent)
        assert status == 200, answer
        check(method, path, status, answer)


TOOL = shutil.which("schemathesis")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(TOOL is None, reason="schemathesis (4) is not on the PATH; it cannot be installed beside TF-Agents")
def test_schemathesis_finds_no_fault(server, http_of, tmp_path):
    """Generated requests, right and wrong ones, to every operation, half of them to policies that exist: no fault, and
    no answer that the document does not describe."""
    names = '["toy", "toy-a", "none", "%2e%2e"]'
    (tmp_path / "schemathesis.toml").write_text(f'[parameters]\n"path.model" = {names}\n"path.policy" = {names}\n')
    assert http_of(server)("POST", f"{POLICIES}/toy:adapt?task=a", as_npz(**recorded()[1]))[0] == 200
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [TOOL, "run", server.url + openapi.PATH, "--checks", checks, "--max-examples", "1000", "--seed", "1"]
    command += ["--phases", "examples,coverage,fuzzing", "--mode", "all", "--continue-on-failure", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1700)
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-6000:]
    (generated,) = re.findall(r"(\d+) generated", done.stdout)
    assert int(generated) >= 10_000
    rows = toy_policy.example_inputs("act")["observations"].tolist()
    assert http_of(server)("POST", "/v1/models/toy:predict", json.dumps({"instances": rows}))[0] == 200
