"""Too much, too large, too slow, too late: refused at once, and nothing piles up."""

import asyncio
import gzip
import http.client
import json
import logging
import select
import socket
import threading
import time

import aiohttp
import grpc
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving import logs
from serving.engine.batch_parameters import Limits
from serving.errors import QUEUE_FULL, ServingError
from serving.options import Options, Quota
from serving.overload import BoundedExecutor
from serving.rpc.door import Door
from serving.server import Server
from tests import toy_policy
from tests.serving.rpc.test_rpc import request_of
from tests.serving.test_server import wait_until

BODY = {"instances": [[0.1, 0.2, 0.3, 0.4]]}


@pytest.fixture
def narrow(models):
    """A server with small limits, but patient."""
    quota = Quota(body_bytes=20_000, bytes_under_way=60_000, requests=30, waiting=2)
    options = Options(quota=quota, batching=Limits(threads=1, max_queued_rows=4))
    with Server(models, poll_seconds=0, options=options) as running:
        yield running


@pytest.fixture
def impatient(models):
    """A server whose clients have two seconds."""
    with Server(models, poll_seconds=0, options=Options(quota=Quota(client_seconds=2.0))) as running:
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
        grpc.channel_ready_future(channel).result(20)
        late = stub.Predict.future(request_of("toy", toy_policy.example_inputs("act", rows=2)), timeout=1)
        wait_until(lambda: batcher._queue or late.done())
        with pytest.raises(grpc.RpcError) as caught:
            late.result(20)
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


def test_many_clients_of_many_rows_are_all_answered(server):
    """64 × 256 rows at once, which the real TF Serving answers."""
    body = json.dumps({"instances": BODY["instances"] * 256}).encode()

    async def ask(session):
        async with session.post(f"{server.url}/v1/models/toy:predict", data=body) as answer:
            return answer.status, len((await answer.json())["predictions"])

    async def main():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return [answer for _ in range(3) for answer in await asyncio.gather(*(ask(session) for _ in range(64)))]

    assert asyncio.run(main()) == [(200, 256)] * 192


POST = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: a\r\n"


def connect(server):
    return socket.create_connection(("127.0.0.1", server.rest_port), timeout=20)


def answer_on(connection):
    """Status, headers and body of the next answer, or an OSError if the connection was reset."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.headers, response.read()


@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_too_much_can_read_why(narrow, chunked):
    """The answer is read after megabytes more have been sent, as most clients do it; then the connection goes on."""
    body = b" " * 4_000_000
    if chunked:
        request = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connect(narrow) as connection:
        for _ in range(5):
            connection.sendall(request)
            status, _, answer = answer_on(connection)
            assert (status, json.loads(answer)["error"]) == (413, "The body is larger than 20000 bytes")


def test_who_asks_before_sending_too_much_is_told_no(narrow):
    with connect(narrow) as connection:
        connection.sendall(POST + b"Content-Length: 20001\r\nExpect: 100-continue\r\n\r\n")
        status, headers, _ = answer_on(connection)
        assert (status, headers["connection"], connection.recv(100)) == (413, "close", b"")
    with connect(narrow) as connection:
        body = json.dumps(BODY).encode()
        connection.sendall(POST + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answer_on(connection)[0] == 200


def test_a_body_of_hundreds_of_megabytes_is_forgotten_to_its_end(narrow):
    """Sent whole before anything is read, and the connection goes on."""
    size, piece = 200 * 2**20, b" " * 2**20
    with connect(narrow) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            connection.sendall(piece)
        assert answer_on(connection)[0] == 413
        body = json.dumps(BODY).encode()
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert answer_on(connection)[0] == 200


def test_who_never_stops_sending_can_read_why_before_the_connection_ends(narrow, monkeypatch):
    monkeypatch.setattr("serving.rest.slow_clients.FORGOTTEN_BYTES", 10**6)
    with connect(narrow) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(40):
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        assert answer_on(connection)[0] == 413
        assert connection.recv(100) == b""


def test_who_never_stops_sending_is_hung_up_on(narrow, monkeypatch):
    monkeypatch.setattr("serving.rest.slow_clients.FORGOTTEN_BYTES", 10**6)
    monkeypatch.setattr("serving.rest.slow_clients.LINGER_SECONDS", 0.1)
    with connect(narrow) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(OSError):
            for _ in range(10_000):
                connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


def test_bodies_under_way_are_limited_together(narrow, http_of):
    """Four bodies of which each is small enough; the last bytes of none are sent."""
    head = POST + b"Content-Length: 19999\r\n\r\n"
    opened = []
    try:
        for _ in range(4):
            opened.append(connect(narrow))
            opened[-1].sendall(head + b" " * 19_000)
        ready, _, _ = select.select(opened, [], [], 20)  # it is the last unless they were overtaken on their way
        assert len(ready) == 1 and answer_on(ready[0])[0] == 503
        assert http_of(narrow)("POST", "/v1/models/toy:predict", BODY)[0] == 200
    finally:
        for one in opened:
            one.close()


def test_slow_clients_are_hung_up_on(impatient, http_of):
    """Connections that say nothing, half a header, or half a body, and those that never end their headers."""
    starts = [
        b"",
        b"POST /v1/models/toy:pre",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        POST + b"Content-Length: 1000\r\n\r\nabc",
    ]
    opened = [connect(impatient) for _ in range(40)]
    try:
        for number, one in enumerate(opened):
            one.sendall(starts[number % 4])
        rest = http_of(impatient)
        assert rest("POST", "/v1/models/toy:predict", BODY)[0] == 200  # the others are not held up
        for one in opened:
            assert one.recv(1000) == b""
    finally:
        for one in opened:
            one.close()
    assert rest("POST", "/v1/models/toy:predict", BODY)[0] == 200
    with connect(impatient) as endless, pytest.raises(OSError):
        endless.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(2000):
            endless.sendall(b"X-Header: " + b"x" * 1000 + b"\r\n")
            time.sleep(0.0005)


def test_a_slow_but_steady_client_is_served(impatient):
    """It sends 80 KB/s, five times as fast as it must, for longer than it would have for a small request."""
    body = json.dumps(BODY).encode()
    body += b" " * (200_000 - len(body))
    with connect(impatient) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        began, sent = time.monotonic(), 0
        while sent < len(body):
            time.sleep(0.02)
            due = int(80_000 * (time.monotonic() - began))
            connection.sendall(body[sent:due])
            sent = max(sent, min(due, len(body)))
        assert answer_on(connection)[0] == 200


# --- logs --------------------------------------------------------------------------------------------------------


def test_events_are_lines_of_json(capsys):
    logs.configure("json", "info")
    log = logging.getLogger("serving.somewhere")
    logs.event(log, logging.INFO, "version is available", model='a"b', version=3)
    logs.event(log, logging.DEBUG, "too small a matter")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {"level": "info", "message": "version is available", "model": 'a"b', "version": 3}
    assert second["level"] == "error" and "ValueError: why" in second["traceback"]


def test_events_are_lines_of_text(capsys):
    logs.configure("text", "warning")
    log = logging.getLogger("serving.somewhere")
    logs.event(log, logging.WARNING, "it\nfailed", model="a b", count=2, error="\n")
    assert capsys.readouterr().err.split(" ", 1)[1] == 'WARNING it failed model="a b" count=2 error="\\n"\n'
    with pytest.raises(ValueError, match="log format is 'xml'"):
        logs.configure("xml")
    with pytest.raises(ValueError, match="log level is 'loud'"):
        logs.configure("text", "loud")


def test_a_server_tells_what_it_loads(models, capsys):
    logs.configure("json")
    with Server(models, poll_seconds=0):
        pass
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert {"message": "version is available", "model": "toy", "version": 1}.items() <= lines[0].items()
    assert [line["message"] for line in lines[1:]] == ["serving", "stopping"]


def test_shutting_down_drains(models, http_of):
    """Requests that wait in a queue when the server is told to stop are answered; new ones are not taken."""
    server = Server(models, poll_seconds=0, options=Options(batching=Limits(threads=1))).start()
    batcher = server.manager.lookup("toy").signatures["serving_default"]._runner
    real, go = batcher._call, threading.Event()

    def slow(*arguments):
        assert go.wait(30)
        return real(*arguments)

    batcher._call, batcher._seconds = slow, 1.0
    statuses = []
    threads = [asking(http_of(server), statuses) for _ in range(3)]
    stopping = threading.Thread(target=server.stop)
    for thread in threads:
        thread.start()
    wait_until(lambda: len(batcher._queue) == 2)
    stopping.start()
    wait_until(lambda: server._rest.should_exit)
    go.set()
    for thread in (*threads, stopping):
        thread.join(20)
        assert not thread.is_alive()
    assert statuses == [200] * 3
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.rest_port), timeout=2)
