"""Bodies of HTTP requests: read within limits, and unpacked."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

from serving.errors import BodyTooLargeError, Code, ServingError, invalid
from serving.options import Quota
from serving.overload import refusal


class Bodies:
    """Reads bodies; knows how many bytes of them are under way. Used by one event loop."""

    def __init__(self, quota: Quota):
        self._quota = quota
        self._under_way = 0

    async def read(self, scope: dict[str, Any], receive: Callable[..., Any]) -> tuple[bytes, int]:
        """The unpacked body, and what to give to ``release`` once it was worked on.

        Raises:
            ServingError: too large, too many bytes under way, not valid gzip, or the client went away.
        """
        packed = False
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._quota.body_bytes:
                raise BodyTooLargeError(self._quota.body_bytes)  # before `Expect: 100-continue` is answered
            packed |= name == b"content-encoding" and b"gzip" in value
        chunks: list[bytes] = []
        held, more = 0, True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ServingError(Code.CANCELLED, "The client went away")
                chunks.append(message.get("body", b""))
                held += self._hold(len(chunks[-1]), held)
                more = message.get("more_body", False)
            body = b"".join(chunks)
            if packed:
                unpack = gunzip if scope["raw_path"].startswith(b"/zoo/") else gunzip_or_nothing
                body = await asyncio.get_running_loop().run_in_executor(None, unpack, body, self._quota.body_bytes)
                held += self._hold(len(body), 0)
        except BaseException:
            self.release(held)
            raise
        return body, held

    def release(self, held: int) -> None:
        self._under_way -= held

    def _hold(self, size: int, already: int) -> int:
        """Take room for ``size`` more bytes of a body of which ``already`` came."""
        if already + size > self._quota.body_bytes:
            raise BodyTooLargeError(self._quota.body_bytes)
        if self._under_way + size > self._quota.bytes_under_way:
            raise refusal()
        self._under_way += size
        return size


def gunzip(body: bytes, limit: int) -> bytes:
    """Unpacked; a bomb is not unpacked to the end.

    Raises:
        ServingError: not valid gzip, or larger than ``limit``.
    """
    try:
        unpacker = zlib.decompressobj(wbits=31)
        unpacked = unpacker.decompress(body, limit + 1)
        if len(unpacked) > limit:
            raise BodyTooLargeError(limit)
        if not unpacker.eof:
            raise gzip.BadGzipFile("it ends too early")
        return unpacked
    except (zlib.error, gzip.BadGzipFile) as error:
        raise invalid(f"The body is not valid gzip: {error}") from error


def gunzip_or_nothing(body: bytes, limit: int) -> bytes:
    """For TF Serving's own API, where what cannot be unpacked counts as an empty body."""
    try:
        return gunzip(body, limit)
    except BodyTooLargeError:
        raise
    except ServingError:
        return b""
