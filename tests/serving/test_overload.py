"""Too much, too large, too slow, too late: refused at once, and nothing piles up."""

import gzip
import json
import logging
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving import logs
from serving.batch_parameters import Limits
from serving.batching import QUEUE_FULL
from serving.door import Door
from serving.errors import ServingError
from serving.options import Options, Quota
from serving.overload import BoundedExecutor
from serving.server import Server
from tests import toy_policy
from tests.serving.test_rpc import request_of
from tests.serving.test_server import wait_until

BODY = {"instances": [[0.1, 0.2, 0.3, 0.4]]}


@pytest.fixture
def narrow(models):
    """A server with small limits."""
    quota = Quota(body_bytes=20_000, bytes_under_way=60_000, requests=30, waiting=2, client_seconds=0.5)
    options = Options(quota=quota, batching=Limits(threads=1, max_queued_rows=4))
    with Server(models, poll_seconds=0, options=options) as running:
        yield running


@pytest.fixture
def jam(narrow):
    """Takes the only slot of the signature ``act`` until it is set; the other requests queue behind it."""
    batcher = narrow.manager.lookup("toy").signatures["serving_default"]._runner
    go, real, entered = threading.Event(), batcher._call, threading.Event()

    def slow(feeds, outputs, timeout_ms):
        entered.set()
        assert go.wait(30)
        return real(feeds, outputs, timeout_ms)

    batcher._call, batcher._seconds = slow, 1.0
    runner = threading.Thread(target=batcher, args=(toy_policy.example_inputs("act"), ("actions",), 0))
    runner.start()
    assert entered.wait(20)
    yield go, batcher
    go.set()
    runner.join(20)


def asking(rest, statuses):
    """A thread, not yet started, that notes the status of one request."""
    return threading.Thread(target=lambda: statuses.append(rest("POST", "/v1/models/toy:predict", BODY)[0]))


def test_a_full_queue_is_503(narrow, jam, http_of):
    go, batcher = jam
    statuses, threads = [], []
    for number in range(4):
        rest = http_of(narrow)
        ask = threading.Thread(
            target=lambda rest=rest: statuses.append(rest("POST", "/v1/models/toy:predict", BODY)[0])
        )
        ask.start()
        threads.append(ask)
        wait_until(lambda number=number: len(batcher._queue) > number)
    started = time.monotonic()
    assert http_of(narrow).error("POST", "/v1/models/toy:predict", BODY) == (503, QUEUE_FULL)
    assert time.monotonic() - started < 5 and not statuses
    assert http_of(narrow)("GET", "/v1/models/toy")[0] == 200  # the event loop is free
    go.set()
    for ask in threads:
        ask.join(20)
    assert statuses == [200] * 4


def test_grpc_calls_beyond_the_queue_are_unavailable(narrow, jam):
    go, batcher = jam
    request = request_of("toy", toy_policy.example_inputs("act"))
    with grpc.insecure_channel(narrow.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        kept = [stub.Predict.future(request, timeout=60) for _ in range(4)]
        wait_until(lambda: len(batcher._queue) == 4)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=20)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, QUEUE_FULL)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request_of("toy", toy_policy.example_inputs("act", rows=5)), timeout=0.2)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        go.set()
        assert all(future.result(20).outputs for future in kept)


def test_a_deadline_that_passed_in_the_queue_is_not_computed(narrow, jam):
    go, batcher = jam
    rows = []
    real = batcher._call
    batcher._call = lambda feeds, *rest: rows.append(len(feeds["observations"])) or real(feeds, *rest)
    with grpc.insecure_channel(narrow.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request_of("toy", toy_policy.example_inputs("act", rows=2)), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: not batcher._queue)
        go.set()
        assert stub.Predict(request_of("toy", toy_policy.example_inputs("act", rows=3)), timeout=20).outputs
    assert rows == [3]


def test_the_executor_refuses_what_would_wait_behind_too_much():
    executor, go, started = BoundedExecutor(1, 2, "test"), threading.Event(), threading.Event()

    def work():
        executor.check()
        started.set()
        return go.wait(20)

    first = executor.submit(work)
    assert started.wait(20)
    waiting, refused = [executor.submit(work) for _ in range(2)], executor.submit(work)
    with pytest.raises(ServingError, match=QUEUE_FULL) as caught:
        refused.result(20)  # while the others still wait
    assert caught.value.http_status == 503 and not first.done()
    go.set()
    assert [one.result(20) for one in (first, *waiting)] == [True] * 3
    executor.shutdown()


def test_calls_past_their_deadline_do_not_enter():
    class Context:
        def time_remaining(self):
            return -0.1

        def abort(self, code, details):
            raise RuntimeError(code)

    executor = BoundedExecutor(1, 1, "test")
    with pytest.raises(RuntimeError, match="DEADLINE_EXCEEDED"), Door(executor, None)(Context()):
        pytest.fail("it was worked on")
    executor.shutdown()


def test_bodies_are_limited(narrow, http_of):
    rest = http_of(narrow)
    large = b'{"instances": [[0.1, 0.2, 0.3, 0.4]]}' + b" " * 20_000
    status, body = rest("POST", "/v1/models/toy:predict", large)
    assert (status, json.loads(body)["error"]) == (413, "The body is larger than 20000 bytes")
    assert rest("POST", "/v1/models/toy:predict", iter([b" " * 9000] * 5))[0] == 413  # chunked
    bomb = gzip.compress(b" " * 10**7)
    assert rest("POST", "/v1/models/toy:predict", bomb, {"Content-Encoding": "gzip"})[0] == 413
    assert rest("POST", "/v1/models/toy:predict", BODY)[0] == 200


def test_bodies_under_way_are_limited_together(narrow, http_of):
    """Four bodies of which each is small enough; the last bytes of none are sent."""
    head = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 19999\r\n\r\n"
    opened = []
    try:
        for _ in range(4):
            opened.append(socket.create_connection(("127.0.0.1", narrow.rest_port), timeout=20))
            opened[-1].sendall(head)
            time.sleep(0.05)  # so that the server meets header and body apart
            opened[-1].sendall(b" " * 19_000)
        assert b"503" in opened[-1].recv(1000).splitlines()[0]
        assert http_of(narrow)("POST", "/v1/models/toy:predict", BODY)[0] == 200
    finally:
        for one in opened:
            one.close()


def test_slow_clients_are_hung_up_on(narrow, http_of):
    """Connections that say nothing, half a header, or half a body, and those that never end their headers."""
    starts = [b"", b"POST /v1/models/toy:pre", b"GET / HTTP/1.1\r\nHost: a\r\n"]
    starts.append(b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
    opened = [socket.create_connection(("127.0.0.1", narrow.rest_port), timeout=20) for _ in range(40)]
    try:
        for number, one in enumerate(opened):
            one.sendall(starts[number % 4])
        rest = http_of(narrow)
        assert rest("POST", "/v1/models/toy:predict", BODY)[0] == 200  # the others are not held up
        for one in opened:
            assert one.recv(1000) == b""
    finally:
        for one in opened:
            one.close()
    assert rest("POST", "/v1/models/toy:predict", BODY)[0] == 200
    with socket.create_connection(("127.0.0.1", narrow.rest_port), timeout=20) as endless, pytest.raises(OSError):
        endless.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(2000):
            endless.sendall(b"X-Header: " + b"x" * 1000 + b"\r\n")
            time.sleep(0.0005)


def test_a_slow_but_steady_client_is_served(narrow):
    body = json.dumps(BODY).encode()
    body += b" " * (19_000 - len(body))
    head = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", narrow.rest_port), timeout=20) as connection:
        connection.sendall(head)
        began, sent = time.monotonic(), 0
        while sent < len(body):  # 30 KB/s for longer than client_seconds
            time.sleep(0.02)
            due = int(30_000 * (time.monotonic() - began))
            connection.sendall(body[sent:due])
            sent = max(sent, min(due, len(body)))
        assert b"200" in connection.recv(1000).splitlines()[0]


# --- logs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def captured(capsys):
    """Restores the loggers."""
    kept = {name: vars(logging.getLogger(name)).copy() for name in logs.NAMES}
    yield capsys
    for name, state in kept.items():
        log = logging.getLogger(name)
        log.handlers, log.propagate, log.level = state["handlers"], state["propagate"], state["level"]


def test_events_are_lines_of_json(captured):
    logs.configure("json", "info")
    log = logging.getLogger("serving.somewhere")
    logs.event(log, logging.INFO, "version is available", model='a"b', version=3)
    logs.event(log, logging.DEBUG, "too small a matter")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it failed")
    first, second = map(json.loads, captured.readouterr().err.splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {"level": "info", "message": "version is available", "model": 'a"b', "version": 3}
    assert second["level"] == "error" and "ValueError: why" in second["traceback"]


def test_events_are_lines_of_text(captured):
    logs.configure("text", "warning")
    log = logging.getLogger("serving.somewhere")
    logs.event(log, logging.WARNING, "it\nfailed", model="a b", count=2, error="\n")
    assert captured.readouterr().err.split(" ", 1)[1] == 'WARNING it failed model="a b" count=2 error="\\n"\n'
    with pytest.raises(ValueError, match="log format is 'xml'"):
        logs.configure("xml")
    with pytest.raises(ValueError, match="log level is 'loud'"):
        logs.configure("text", "loud")


def test_a_server_tells_what_it_loads(models, captured):
    logs.configure("json")
    with Server(models, poll_seconds=0):
        pass
    lines = [json.loads(line) for line in captured.readouterr().err.splitlines() if line.startswith("{")]
    assert {"message": "version is available", "model": "toy", "version": 1}.items() <= lines[0].items()
    assert [line["message"] for line in lines[1:]] == ["serving", "stopping"]


def test_shutting_down_drains(models, http_of):
    """Requests that wait in a queue when the server is told to stop are answered; new ones are not taken."""
    server = Server(models, poll_seconds=0, options=Options(batching=Limits(threads=1))).start()
    batcher = server.manager.lookup("toy").signatures["serving_default"]._runner
    real, entered = batcher._call, threading.Event()

    def slow(*arguments):
        entered.set()
        time.sleep(0.4)
        return real(*arguments)

    batcher._call, batcher._seconds = slow, 1.0
    statuses = []
    threads = [asking(http_of(server), statuses) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(20)
    wait_until(lambda: len(batcher._queue) >= 1)
    server.stop()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * 3
    assert np.all([not thread.is_alive() for thread in threads])
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.rest_port), timeout=2)
