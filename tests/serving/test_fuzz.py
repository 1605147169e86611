"""Whatever a client sends, it gets an answer that TF Serving could give: never a 500, never silence."""

import json
import random
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metazoo.artefact import store
from serving.adapting.request import from_body
from serving.errors import ServingError
from serving.server import Server
from serving.wire import codec
from serving.wire.json_values import read_values
from tests import toy_policy
from tests.serving.adapting.test_adapter import POLICIES, as_npz, recorded
from tests.serving.test_server import BODY

FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just({"b64": "YQ=="}),
    st.integers(-3, 3), st.sampled_from([2**31, -(2**63), 2**64, 1e308, 10**400]),
)  # fmt: skip
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2))
names = st.sampled_from(["x", "a", "b", "s", "i", "d", "t", "u", "h", "z"])
objects = st.dictionaries(names, values, max_size=3)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "signature_name": st.sampled_from(["serving_default", "two", "texts", "kinds", "small", "half", "none", 3]),
        "instances": st.lists(values | objects, max_size=3) | values,
        "inputs": objects | values,
        "examples": st.lists(objects, max_size=2),
    },
)
verbs = st.sampled_from(["predict", "classify", "regress"])
FINE = {200, 400, 404, 501}


@FUZZ
@given(body=bodies, verb=verbs)
def test_structured_bodies(rest, body, verb):
    status, answer = rest("POST", f"/v1/models/foreign:{verb}", json.dumps(body).encode())
    assert status in FINE, answer
    if status != 200:
        assert list(json.loads(answer.decode(errors="replace"))) == ["error"]


@FUZZ
@given(body=st.binary(max_size=60))
@example(body=b'{"inputs": "\xff\xfe"}')
@example(body=b'{"inputs": "\\ud800"}')
@example(body=b'{"signature_name": "texts", "inputs": ["\\ud800"]}')
@example(body=b'{"\xff": 1}')
@example(body=b"[" * 5000)
@example(body=b'{"inputs": ' + b"9" * 5000 + b"}")
def test_any_bytes(rest, body):
    assert rest("POST", "/v1/models/foreign:predict", body)[0] in FINE
    assert rest("POST", "/zoo/v1/policies/toy:adapt?task=a", body)[0] in FINE


@FUZZ
@given(
    value=values,
    dtype=st.sampled_from(["float", "double", "int8", "int32", "int64", "uint8", "uint32", "uint64", "bool", "string"]),
)
def test_the_fast_path_is_the_slow_path(value, dtype):
    """Conversion by whole arrays gives what walking value by value gives, or leaves the case to it."""
    fast = codec.dense_array(value, dtype)
    try:
        slow = read_values(value, dtype).tensor("x", dtype)
    except (ServingError, OverflowError):
        assert fast is None
        return
    if fast is not None:
        assert fast.dtype == slow.dtype and fast.shape == slow.shape
        np.testing.assert_array_equal(fast, slow)


@FUZZ
@given(
    path=st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), max_size=40).map(
        lambda tail: "/v1/" + tail
    ),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]),
)
def test_any_path(rest, path, method):
    assert rest(method, path, b"")[0] in FINE


def test_two_servers_and_publishers_on_one_store(models, tmp_path, http_of):
    """Both servers adapt the same task at the same time: every version is whole, and both serve the newest."""
    inputs = toy_policy.example_inputs("adapt")
    inputs.pop("memory")
    episodes = {name: value[0].tolist() for name, value in inputs.items()}
    adapted, failures = tmp_path / "adapted", []

    def adapt(server):
        for _ in range(10):
            try:
                body = json.dumps({"task": "t", "episodes": episodes}).encode()
                server.adapter.adapt(from_body("toy", body, None, None, 10**6))
            except Exception as error:  # noqa: BLE001
                failures.append(error)

    with Server(models, adapted, poll_seconds=0.05) as one, Server(models, adapted, poll_seconds=0.05) as two:
        threads = [threading.Thread(target=adapt, args=(server,)) for server in (one, two) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for server in (one, two):
            server.manager.refresh()
            assert server.manager.lookup("toy-t").version == max(store.versions(adapted / "toy-t"))
    assert not failures
    found = store.versions(adapted / "toy-t")
    assert max(found) == 40 and all(store.verify(path) for path in found.values())


@pytest.mark.parametrize("name", ["..", "%2e%2e", "toy%2f..%2ftoy", "."])
def test_names_cannot_leave_the_store(server, http_of, name):
    rest = http_of(server)
    assert rest("DELETE", f"/zoo/v1/policies/{name}")[0] in (400, 404)
    assert rest("POST", f"/zoo/v1/policies/{name}:adapt?task=a", b"{}")[0] in (400, 404)
    assert server.manager.names() == ["toy"]


@pytest.mark.parametrize("count", [700, pytest.param(10_000, marks=pytest.mark.slow)])
def test_malformed_bodies_are_refused_and_nothing_else(server, http_of, count):
    """Good requests with random damage, one after the other on one connection."""
    rest, rng = http_of(server), random.Random(0)
    _, inputs = recorded(1, 3)
    episodes = json.dumps({"task": "a", "episodes": {key: value[0].tolist() for key, value in inputs.items()}}).encode()
    good = [
        ("/v1/models/toy:predict", json.dumps(BODY).encode()),
        (
            "/v1/models/toy:predict",
            json.dumps({"inputs": {"observations": [[0.5] * 4]}, "signature_name": "act"}).encode(),
        ),
        ("/v1/models/toy:classify", b'{"examples": [{"x": [1.5, 2], "name": "b", "raw": {"b64": "YQ=="}}]}'),
        (f"{POLICIES}/toy:adapt?task=a", episodes),
        (f"{POLICIES}/toy:adapt?task=a", as_npz(**inputs)),
    ]
    tokens = [
        b"null",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"{}",
        b"[]",
        b'"',
        b"[" * 50,
        b"\xff",
        b"\x00",
        b"9" * 40,
        b"true",
    ]
    seen = set()
    for _ in range(count):
        path, body = rng.choice(good)
        body = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(body) + 1)
            kind = rng.randrange(4)
            if kind == 0:
                body[place : place + rng.randint(1, 30)] = b""
            elif kind == 1:
                body[place:place] = rng.choice(tokens)
            elif kind == 2:
                body[place : place + 1] = bytes([rng.randrange(256)])
            else:
                body[place:place] = body[rng.randrange(len(body) + 1) :][:20]
        status, answer = rest("POST", path, bytes(body))
        seen.add(status)
        assert status in (200, 400, 413, 429), (status, path, bytes(body)[:300], answer)
        assert status == 200 or list(json.loads(answer.decode(errors="replace"))) == [
            "error"
        ]  # it quotes bytes as they are
    assert {200, 400} <= seen  # some damage does no harm
    assert server.manager.is_available("toy")
