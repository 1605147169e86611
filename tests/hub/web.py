"""A real HTTP server of a directory, whose answers can be made to go wrong."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Fault = Callable[["Handler", bytes, int], None]
"""Answers instead of the server: (the handler, what it would have sent, how often this path was asked for before)."""


class Web:
    """``faults`` by the end of a path; ``asked`` counts the requests for every path."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.faults: dict[str, Fault] = {}
        self.asked: Counter[str] = Counter()
        self.address = ""
        self._server: Any = None
        self._port = 0

    def start(self) -> None:
        """Listens; again on the same port after ``stop``."""
        handler = type("BoundHandler", (Handler,), {"web": self})
        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self.address = f"http://127.0.0.1:{self._port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.web.directory / self.path.lstrip("/")
        before = self.web.asked[self.path]
        self.web.asked[self.path] += 1
        if not path.is_file():
            self.answer(404, b"nothing here")
            return
        for end, fault in self.web.faults.items():
            if self.path.endswith(end):
                fault(self, path.read_bytes(), before)
                return
        self.answer(200, path.read_bytes())

    def answer(self, status: int, content: bytes, length: int | None = None, **headers: str) -> None:
        """Sends ``content``, saying that it has ``length`` bytes."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)
        self.close_connection = length is not None or self.close_connection

    def log_message(self, *_: Any) -> None:
        pass


def other_content(handler: Handler, content: bytes, before: int) -> None:
    """As long as it should be, but another file."""
    handler.answer(200, bytes(byte ^ 1 for byte in content))


def cut_off(handler: Handler, content: bytes, before: int) -> None:
    """Half of what was announced."""
    handler.answer(200, content[: len(content) // 2], length=len(content))


def shortened(handler: Handler, content: bytes, before: int) -> None:
    """Half of it, as if that were all."""
    handler.answer(200, content[: len(content) // 2])


def endless(handler: Handler, content: bytes, before: int) -> None:
    """Goes on for as long as anybody listens."""
    handler.answer(200, content, length=10**12)
    with contextlib.suppress(ConnectionError):
        while True:
            handler.wfile.write(bytes(2**16))


def dripping(handler: Handler, content: bytes, before: int) -> None:
    """Slow, but it arrives."""
    handler.answer(200, b"", length=len(content))
    for start in range(0, len(content), 1 + len(content) // 20):
        handler.wfile.write(content[start : start + 1 + len(content) // 20])
        handler.wfile.flush()
        time.sleep(0.02)


def silent(handler: Handler, content: bytes, before: int) -> None:
    """Accepts the request, and then nothing."""
    handler.answer(200, content[:10], length=len(content))
    time.sleep(3)


def first_time(fault: Fault) -> Fault:
    """The fault once, and then as it should be."""
    return lambda handler, content, before: handler.answer(200, content) if before else fault(handler, content, before)


def status(number: int) -> Fault:
    return lambda handler, content, before: handler.answer(number, b"no")


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[Web]:
    web = Web(directory)
    web.start()
    try:
        yield web
    finally:
        web.stop()
