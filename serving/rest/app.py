"""HTTP in front of the data plane: TF Serving's ``/v1/`` and the zoo's own ``/zoo/v1/``.

A bare ASGI application: TF Serving decides by regular expressions and answers every mistake with 400, so a router
would be in the way, and each layer between socket and session costs more than the policy itself.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, unquote, unquote_to_bytes

import msgspec

from serving.adapting.adapter import Adapter
from serving.adapting.request import from_body
from serving.errors import ServingError, invalid
from serving.handlers import DataPlane
from serving.options import Options, Site
from serving.overload import BoundedExecutor, refusal
from serving.rest import openapi, pages
from serving.rest.http_body import Bodies
from serving.security import check_token
from serving.wire.json_parser import NotQuickError
from serving.wire.json_writer import error_json

Answer = tuple[int, bytes, bytes]
"""HTTP status, content type, body."""

log = logging.getLogger(__name__)

JSON: Final = b"application/json"
INT64_MAX: Final = 2**63 - 1

SEND_SECONDS: Final = 60.0
"""A client that does not read its answer for so long is hung up on."""
QUICK_BYTES: Final = 64 * 1024
"""Bodies up to this size are parsed in the event loop: a thread would cost more than the work."""

_WHERE = r"([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_VERB = re.compile(rf"(?i)/v1/models/{_WHERE}:(predict|classify|regress)", re.ASCII)
_MODEL = re.compile(r"(?i)/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?", re.ASCII)
_POLICY = re.compile(r"/zoo/v1/policies/([^/:?]+)(:adapt)?(?:\?(.*))?")
NO_BODY_KIND: Final = b"text/html; charset=ISO-8859-1"


class RestApp:
    """The ASGI application."""

    def __init__(self, plane: DataPlane, adapter: Adapter, executor: BoundedExecutor, options: Options):
        self._plane, self._adapter, self._executor, self._options = plane, adapter, executor, options
        self._verbs = {"predict": plane.predict_json, "classify": plane.classify_json, "regress": plane.regress_json}
        self._bodies, self._under_way = Bodies(options.quota), 0

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if (site := self._options.site) is not None and self._is_pages(site, scope["raw_path"]):
            await site(scope, receive, send)
            return
        self._under_way += 1
        held = 0
        try:
            try:
                if self._under_way > self._options.quota.requests:
                    raise refusal()
                body, held = await self._bodies.read(scope, receive)
                status, kind, answer = await self._answer(scope, body)
            except ServingError as error:
                status, kind, answer = error.http_status, JSON, error_json(error.message)
            headers = [(b"content-type", kind), (b"content-length", b"%d" % len(answer))]
            if status == 413 and any(name == b"expect" for name, _ in scope["headers"]):
                headers.append((b"connection", b"close"))  # whether the body comes now is up to the client
            await send({"type": "http.response.start", "status": status, "headers": headers})
            last = {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer}
            if len(answer) <= QUICK_BYTES:
                await send(last)
            else:
                async with asyncio.timeout(SEND_SECONDS):
                    await send(last)
        finally:
            self._bodies.release(held)
            self._under_way -= 1

    def _is_pages(self, site: Site, path: bytes) -> bool:
        """Whether the site answers; the API and the metrics are never its."""
        ours = path[:4].lower() == b"/v1/" or path.startswith(b"/zoo/")
        return (
            not ours and path.decode("latin-1") != self._options.metrics_path and site.handles(path.partition(b"?")[0])
        )

    async def _answer(self, scope: dict[str, Any], body: bytes) -> Answer:
        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode("latin-1")
        if method not in pages.METHODS:
            return 501, pages.KIND, pages.page(501)
        if not pages.is_valid(path) and not path.startswith("/zoo/"):
            return 400, pages.KIND, pages.page(400)
        try:
            if path == self._options.metrics_path:
                return 200, b"text/plain", await asyncio.to_thread(lambda: self._plane.metrics.text().encode())
            if path[:4].lower() == "/v1/":
                return await self._serve(method, path, scope, body)
            if path == openapi.PATH and method == "GET":
                return 200, JSON, openapi.document_json()
            if path.startswith("/zoo/v1/"):
                if method != "GET":
                    check_token(self._options.token, dict(scope["headers"]).get(b"authorization"))
                key = dict(scope["headers"]).get(b"idempotency-key")
                work = partial(self._adaptation, method, path, body, key)
                return 200, JSON, await self._in_thread(work, body)
            return 404, pages.KIND, pages.page(404)
        except ServingError:
            raise
        except Exception as error:  # a fault of ours: the client still gets an answer in the one form it expects
            log.exception("%s %s failed", method, path)
            return 500, JSON, error_json(f"{type(error).__name__}: {error}")

    async def _serve(self, method: str, path: str, scope: dict[str, Any], body: bytes) -> Answer:
        if method == "POST" and (match := _VERB.fullmatch(path)):
            return await self._verb(match, path, body)
        if method == "GET":
            return self._describe(path)
        if method == "OPTIONS":
            origin = dict(scope["headers"]).get(b"origin", b"")
            return (200 if re.match(rb"https?://", origin) else 400), NO_BODY_KIND, b""
        raise invalid(f"Malformed request: {method} {path}")

    async def _verb(self, match: re.Match[str], path: str, body: bytes) -> Answer:
        name, version, label, verb = match.groups()
        run = self._verbs.get(verb)
        if run is None:  # compared in lower case, although the path matches in any
            raise invalid(f"Malformed request: POST {path}")
        number = int(version) if version else None
        if number is not None and number > INT64_MAX:
            return 400, JSON, b""
        name, label = _decoded(name), _decoded(label) if label else None
        if verb == "predict" and len(body) <= QUICK_BYTES:
            with suppress(NotQuickError), self._plane.metrics.request(name, verb, "REST"):
                return 200, JSON, await self._plane.predict_json_async(name, number, label, body)
        return 200, JSON, await self._in_thread(partial(self._counted, run, verb, name, number, label, body), body)

    async def _in_thread(self, work: Callable[[], bytes], body: bytes) -> bytes:
        def unless_overloaded() -> bytes:
            self._executor.check()
            with self._plane.budget.request() as allowance:
                if len(body) > QUICK_BYTES:
                    allowance.take_json(body)
                return work()

        return await asyncio.wrap_future(self._executor.submit(unless_overloaded))

    def _counted(self, run: Callable[..., bytes], verb: str, name: str, *rest: Any) -> bytes:
        with self._plane.metrics.request(name, verb, "REST"):
            return run(name, *rest)

    def _describe(self, path: str) -> Answer:
        match = _MODEL.fullmatch(path)
        if match is None:
            raise invalid(f"Malformed request: GET {path}")
        name, version, label, resource = match.groups()
        number = int(version) if version else None
        if number is not None and number > INT64_MAX:
            return 400, JSON, b""
        if name is None:
            raise invalid("Missing model name in request.")
        name = _decoded(name)
        if resource != "metadata":  # compared in lower case, although the path matches in any; a label is ignored here
            return 200, JSON, self._counted(self._plane.status_json, "GetModelStatus", name, number)
        run = self._plane.metadata_json
        return 200, JSON, self._counted(run, "GetModelMetadata", name, number, _decoded(label) if label else None)

    def _adaptation(self, method: str, path: str, body: bytes, key: bytes | None) -> bytes:
        match = _POLICY.fullmatch(path)
        if method == "GET" and path == "/zoo/v1/policies":
            answer = self._adapter.list()
        elif match is None:
            raise invalid(f"Malformed request: {method} {path}")
        else:
            name, verb, query = unquote(match[1]), match[2], parse_qs(match[3] or "")
            if method == "POST" and verb:
                asked = ("task", "off_policy", "warm_start")
                task_name, insist, warm = (query.get(name, [None])[0] for name in asked)
                limit, given = self._options.quota.body_bytes, None if key is None else key.decode("latin-1")
                request = from_body(name, body, task_name, given, limit, insist, warm)
                answer = self._adapter.adapt(request)
            elif method == "GET" and not verb:
                answer = self._adapter.get(name)
            elif method == "DELETE" and not verb:
                answer = self._adapter.delete(name)
            else:
                raise invalid(f"Malformed request: {method} {path}")
        return msgspec.json.encode(answer)


def _decoded(part: str) -> str:
    """A part of a path; bytes that are not UTF-8 are carried along."""
    return unquote_to_bytes(part).decode("utf-8", "surrogateescape")
