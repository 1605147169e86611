"""HTTP connections that clients must make use of: whoever sends too slowly, or on and on, is hung up on."""

import asyncio
import re
import sys
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.rest.pages import page

BYTES_PER_SECOND: Final = 16 * 1024
"""Slower senders have ``client_seconds`` in all."""
MAX_HEADER_BYTES: Final = 64 * 1024
"""Request line and headers."""
FORGOTTEN_BYTES: Final = 2**30
"""Of a body whose request was refused already: read and forgotten, because most clients read the answer only when they
have sent everything. Closing the connection before that would reset it, and they would never see why."""
LINGER_SECONDS: Final = 2.0
"""So long what comes is forgotten after that, with our side closed: time to read the answer."""

_UPGRADE: Final = re.compile(rb"(?i)(\r\n)(upgrade *:)")


def without_upgrade(data: bytes) -> bytes:
    """Bytes that begin in headers, with none of these named ``Upgrade``.

    Java's client, and ``curl --http2``, offer HTTP/2 with every request. Servers may ignore it, as TF Serving does, but
    httptools would take the body for the other protocol.
    """
    headers, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(rb"\1x-\2", headers) + end + body


def _left_out(target: bytes, query: bytes) -> bytes:
    """What ASGI has no place for, and what for TF Serving is part of the path: a query's mark without a query, and a
    fragment."""
    target, mark, fragment = target.partition(b"#")
    return (b"?" if target.endswith(b"?") and not query else b"") + mark + fragment


def protocol(client_seconds: float) -> type[HttpToolsProtocol]:  # noqa: C901
    """uvicorn's protocol with limits to the time in which a request must arrive, and to what is read in vain."""

    class PatientProtocol(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _under_way = _in_headers = True  # a new connection owes us a request
        _received = _forgotten = 0
        _lingering = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(client_seconds, self._time_is_up)

        def on_message_begin(self) -> None:
            self._under_way = self._in_headers = True
            self._forgotten = 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_headers = False
            super().on_headers_complete()
            where = "query_string" if self.scope["query_string"] else "raw_path"
            self.scope[where] += _left_out(self.url, self.scope["query_string"])  # type: ignore[literal-required]
            if self.parser.get_http_version() == "1.0" and self.parser.should_keep_alive():  # uvicorn would hang up
                self.cycle.keep_alive = True
                self.cycle.default_headers = [*self.cycle.default_headers, (b"connection", b"keep-alive")]

        def on_message_complete(self) -> None:
            self._under_way = False
            super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            if self._lingering:
                return
            self._received += len(data)
            if b"pgrade" in data[:MAX_HEADER_BYTES] and (self._in_headers or not self._under_way):
                data = without_upgrade(data)
            if self._under_way and not self._in_headers and self.cycle.response_complete:
                self._forgotten += len(data)
            super().data_received(data)
            if not self._under_way:
                self._received = 0
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                return
            if self._timer is None:
                self._timer = self.loop.call_later(client_seconds, self._time_is_up)
            if self._forgotten > FORGOTTEN_BYTES:
                self._linger()
            elif self._in_headers and self._received > MAX_HEADER_BYTES:
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _linger(self) -> None:
            """Close in two steps, for a client that has its answer and sends on: a reset could overtake the answer."""
            self._lingering = True
            if self.transport.can_write_eof():
                self.transport.write_eof()
                self.loop.call_later(LINGER_SECONDS, self.transport.close)
            else:  # TLS
                self.transport.close()

        def send_400_response(self, msg: str) -> None:
            """What TF Serving's HTTP library answers to what is not HTTP, or no method it knows."""
            unknown = isinstance(sys.exception(), httptools.HttpParserInvalidMethodError)
            status = 501 if unknown or self.parser.get_method() == b"CONNECT" else 400
            body = page(status)
            headers = b"content-type: text/html\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + headers + body)
            self.transport.close()

        def _time_is_up(self) -> None:
            """Hang up, unless enough has come since the timer was set, or we are the ones who do not read."""
            self._timer = None
            if self._received >= BYTES_PER_SECOND * client_seconds or self.flow.read_paused:
                self._received = 0
                self._timer = self.loop.call_later(client_seconds, self._time_is_up)
            else:
                self.transport.close()

    return PatientProtocol
