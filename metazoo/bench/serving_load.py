"""Load on a running server: one and sixteen connections, single rows and batches of 256.

The clients do as little as they can (requests made beforehand, answers read but not understood), because they share
the server's core. Every answer's status is checked.
"""

import json
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from metazoo.bench import timing

CONNECTIONS: Final = 16
ROWS: Final = 256
WARM: Final = 50
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def rows(url: str, target: str, policy: str, observation: np.ndarray) -> list[dict[str, Any]]:
    """Latencies and rates of ``act`` over REST and gRPC. ``observation``: one, as the environment gives it."""
    rest, grpc = RestCaller(url, policy), GrpcCaller(target, policy)
    return [*api_rows("rest", rest, rest_load, observation), *api_rows("grpc", grpc, grpc_load, observation)]


def api_rows(api: str, caller: Any, load: Callable[..., Any], observation: np.ndarray) -> list[dict[str, Any]]:
    """Latencies and rates of one caller, which is closed then. ``load``: ``rest_load`` or ``grpc_load``."""
    measured = []
    for size in (1, ROWS):
        ask = caller.prepared(np.repeat(observation[None], size, 0))
        for _ in range(WARM):
            ask()
        times = timing.take_turns(ask, seconds=timing.SECONDS / 2, least=100)[0]
        what = f"{api}/act-1" if size == 1 else f"{api}/act-1x{size}"
        measured.append(_row(what, f"{caller.policy}, 1 connection, {size} rows a request", times, sum(times), size))
    times, seconds = load(caller, observation[None], timing.SECONDS / 2)
    config = f"{caller.policy}, {CONNECTIONS} connections, 1 row a request"
    measured.append(_row(f"{api}/act-{CONNECTIONS}", config, times, seconds, 1))
    caller.close()
    return measured


def adapt_rows(client: Any, policy: str, episodes: Any, observation: np.ndarray) -> list[dict[str, Any]]:
    """Adapting over REST: the whole request, the signature alone as the server times it, and the time until the
    published policy has answered its first request."""
    whole, signature, live = [], [], []

    def ask() -> None:
        start = time.perf_counter()
        answer = client.adapt_to(policy, episodes, "bench")
        whole.append(time.perf_counter() - start)
        signature.append(answer["timings"]["adapt_ms"] / 1e3)
        client.predict(answer["model"], {"observations": observation[None]}, "act")
        live.append(time.perf_counter() - start)

    ask()
    for times in (whole, signature, live):
        times.clear()
    timing.take_turns(ask, least=50)
    config = "{} episodes of {} steps, one inner step".format(*episodes.rewards.shape[1:])
    named = {"adapt/rest": whole, "adapt/signature": signature, "adapt/live": live}
    return [_row(what, f"{policy}, {config}", times, sum(times), 1) for what, times in named.items()]


def _row(what: str, config: str, times: list[float], seconds: float, size: int) -> dict[str, Any]:
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return {
        "what": what,
        "config": config,
        "threads": 1,
        "requests_per_s": round(len(times) / seconds),
        "actions_per_s": round(size * len(times) / seconds),
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
    }


class RestCaller:
    """Requests over plain sockets."""

    def __init__(self, url: str, policy: str):
        parts = urlsplit(url)
        self._address, self.policy = (parts.hostname or "", parts.port or 80), policy
        self._opened: list[socket.socket] = []

    def connect(self) -> socket.socket:
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._opened.append(connection)
        return connection

    def request(self, batch: np.ndarray) -> bytes:
        body = json.dumps({"signature_name": "act", "instances": batch.tolist()}).encode()
        head = f"POST /v1/models/{self.policy}:predict HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def prepared(self, batch: np.ndarray) -> Any:
        connection, request = self.connect(), self.request(batch)

        def ask() -> None:
            connection.sendall(request)
            read_answer(connection)

        return ask

    def close(self) -> None:
        for connection in self._opened:
            connection.close()


class GrpcCaller:
    """Requests over one channel."""

    def __init__(self, target: str, policy: str):
        import grpc
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self._channel, self.policy = grpc.insecure_channel(target), policy
        self._request_type = predict_pb2.PredictRequest
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def prepared(self, batch: np.ndarray) -> Any:
        from serving.wire.tensors import encode

        request = self._request_type()
        request.model_spec.name, request.model_spec.signature_name = self.policy, "act"
        encode(batch, request.inputs["observations"])
        return lambda: self._stub.Predict(request, timeout=60)

    def close(self) -> None:
        self._channel.close()


def read_answer(connection: socket.socket) -> None:
    """Read one answer to its end. Raises RuntimeError if it is a refusal."""
    data = connection.recv(1 << 20)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += connection.recv(1 << 20)
    length = _LENGTH.search(data, 0, end)
    if b" 200 " not in data[:20] or length is None:
        raise RuntimeError(f"the server answered {data[:300]!r}")
    missing = int(length[1]) + end + 4 - len(data)
    while missing > 0:
        missing -= len(connection.recv(1 << 20))


def rest_load(caller: RestCaller, batch: np.ndarray, seconds: float) -> tuple[list[float], float]:
    """``CONNECTIONS`` connections that ask again at once: times of all answers, and how long it took."""
    request, began, times = caller.request(batch), {}, []
    with selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            opened = caller.connect()
            selector.register(opened, selectors.EVENT_READ)
            opened.sendall(request)
            began[opened] = time.perf_counter()
        start = now = time.perf_counter()
        while now < start + seconds:
            for key, _ in selector.select():
                connection: Any = key.fileobj
                read_answer(connection)
                now = time.perf_counter()
                times.append(now - began[connection])
                began[connection] = now
                connection.sendall(request)
    return times, now - start


def grpc_load(caller: GrpcCaller, batch: np.ndarray, seconds: float) -> tuple[list[float], float]:
    """The same from ``CONNECTIONS`` threads over one channel."""
    ask, times, start = caller.prepared(batch), [], time.perf_counter()

    def run() -> None:
        while time.perf_counter() < start + seconds:
            began = time.perf_counter()
            ask()
            times.append(time.perf_counter() - began)

    threads = [threading.Thread(target=run) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, time.perf_counter() - start
