"""The gallery as an ASGI application: pages and pictures from this package, facts from disk, plays from a simulator.

It is mounted on a server (``serving.options.Options.site``), and answers ``/`` and ``/gallery/…`` alone. What computes
needs the server's token where there is one, comes from the page itself (``Origin``), is limited for each visitor, and
waits in a short queue; all of it happens in a process of its own, behind the server's work.
"""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple, final
from urllib.parse import parse_qs, unquote

from metazoo.artefact.logs.files import SUFFIXES
from metazoo.gallery.catalogue import Catalogue
from metazoo.gallery.limits import Allowance
from metazoo.gallery.simulator import BusyError, Simulator
from serving.errors import BodyTooLargeError, Code, ServingError, invalid
from serving.security import check_token

PREFIX: Final = "/gallery/"
PAGE: Final = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".json": b"application/json",
}
"""Kinds of the files in ``page``, all of which are given out."""
JSON: Final = PAGE[".json"]
ARRAYS: Final = b"application/octet-stream"
HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
PLAY_BYTES, FILE_BYTES = 16 * 1024, 64 * 2**20
"""Of a request to play, and of a file of episodes."""
FILES_AT_A_TIME: Final = 2
MAX_SEED: Final = 2**31 - 1
SEND_SECONDS: Final = 60.0
"""Who does not read an answer for so long is hung up on."""

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Answer(NamedTuple):
    """What goes back; ``tag`` is its ETag, where it is worth one."""

    status: int
    kind: bytes
    body: bytes
    tag: bytes = b""
    more: tuple[tuple[bytes, bytes], ...] = ()


@final
class Site:
    """The application; ``close`` ends its simulator."""

    def __init__(self, directories: Sequence[Path], token: str | None = None, simulator: Simulator | None = None):
        self._catalogue, self._token = Catalogue(directories), token
        self._simulator, self._allowance = simulator or Simulator(), Allowance()
        self._files = asyncio.Semaphore(FILES_AT_A_TIME)
        self._described: dict[str, bytes] = {}
        self._told: dict[str, tuple[Any, Answer]] = {}

    def handles(self, path: bytes) -> bool:
        """Whether a request's path is one of the gallery's; of all others the server goes on to say what it would."""
        return path == b"/" or path.startswith(PREFIX.encode())

    def close(self) -> None:
        self._simulator.close()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        try:
            answer = await self._answer(scope, headers, receive)
        except ServingError as error:
            answer = _json(error.http_status, {"error": error.message})
        if answer.tag and headers.get(b"if-none-match") == answer.tag:
            answer = Answer(304, answer.kind, b"", answer.tag)
        told = [(b"content-type", answer.kind), (b"content-length", b"%d" % len(answer.body)), *HEADERS, *answer.more]
        if answer.tag:
            told.append((b"etag", answer.tag))
        await send({"type": "http.response.start", "status": answer.status, "headers": told})
        body = b"" if scope["method"] == "HEAD" else answer.body
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], receive: Receive) -> Answer:
        method, path = scope["method"], unquote(scope["raw_path"].partition(b"?")[0].decode("latin-1"))
        if method == "POST":
            _same_origin(headers)
            return await self._computed(path, scope, headers, receive)
        if method not in ("GET", "HEAD"):
            raise invalid(f"{method} {path:.100} is no request of the gallery")
        if path == "/":
            return _page("index.html")
        kind, _, rest = path.removeprefix(PREFIX).partition("/")
        if kind == "page":
            return _page(rest)
        if kind == "policies" and not rest:
            if self._token is None:
                self._simulator.start()  # somebody is about to choose
            return self._listed(await asyncio.to_thread(self._catalogue.rows))
        if kind == "policies":
            return self._found(await asyncio.to_thread(self._catalogue.policy, rest), rest)
        if kind == "files":
            return await asyncio.to_thread(self._file, *rest.partition("/")[::2])
        if kind == "tasks":
            return await self._tasks(rest, scope, headers)
        raise _missing(path)

    def _listed(self, rows: list[dict[str, Any]]) -> Answer:
        return self._once("", rows, lambda: {"policies": rows, "token": bool(self._token)})

    def _found(self, document: Any, name: str) -> Answer:
        if document is None:
            raise ServingError(Code.NOT_FOUND, f"There is no policy {name!r:.100} in this gallery")
        return self._once(name, document, lambda: document)

    def _once(self, key: str, known: Any, document: Callable[[], Any]) -> Answer:
        """Encoded once as long as nothing changes: that takes as long as an action."""
        if key not in self._told or self._told[key][0] is not known:
            self._told[key] = known, _json(200, document())
        return self._told[key][1]

    async def _tasks(self, name: str, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Answer:
        """What a visitor may choose. Whoever asks is about to play: it is compiled meanwhile."""
        version = str(self._version(name))
        self._admit(scope, headers)
        if version not in self._described:
            status, document = await self._ask({"job": "describe", "version": version})
            if status != 200:
                return Answer(status, JSON, document)
            self._described[version] = document
            task = asyncio.create_task(self._warm(version))
            self._warming = task  # kept, or it could be collected
        return Answer(200, JSON, self._described[version])

    async def _warm(self, version: str) -> None:
        with suppress(ServingError):
            await self._ask({"job": "warm", "version": version})

    async def _computed(
        self, path: str, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], receive: Receive
    ) -> Answer:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if path == f"{PREFIX}play":
            self._admit(scope, headers)
            return Answer(*_with_kind(await self._ask(self._play(await _body(receive, PLAY_BYTES)))))
        if path in (f"{PREFIX}fit", f"{PREFIX}episodes"):
            self._admit(scope, headers)
            suffix = _suffix(query.get("file", ["episodes.npz"])[0])
            answer = self._fit if path.endswith("fit") else self._converted
            async with self._files:
                return await answer(await _body(receive, FILE_BYTES), suffix, query.get("policy", [None])[0])
        raise _missing(path)

    def _play(self, body: bytes) -> dict[str, Any]:
        try:
            document = json.loads(body)
            name, task, seed = document["policy"], document.get("task"), document.get("seed", 0)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise invalid(
                'The body must be JSON: {"policy": NAME, "task": {PARAMETER: VALUE} or null, "seed": N}'
            ) from (error)
        if type(seed) is not int or not 0 <= seed <= MAX_SEED:
            raise invalid(f"seed is {seed!r:.100}; it must be an integer from 0 to {MAX_SEED:,}")
        if task is not None and type(task) is not dict:
            raise invalid(f"task is {task!r:.100}; it must be an object of parameters, or null")
        return {"job": "play", "version": str(self._version(name)), "task": task, "seed": seed}

    async def _fit(self, body: bytes, suffix: str, name: str | None) -> Answer:
        versions = self._catalogue.versions().values() if name is None else [self._version(name)]
        with tempfile.NamedTemporaryFile(prefix="metazoo-", suffix=suffix) as file:
            await asyncio.to_thread(_filled, file, body)
            request = {"job": "fit", "file": file.name, "versions": [str(version) for version in versions]}
            return Answer(*_with_kind(await self._ask(request)))

    async def _converted(self, body: bytes, suffix: str, name: str | None) -> Answer:
        """The episodes as the server's ``:adapt`` takes them."""
        version = str(self._version(name))
        with (
            tempfile.NamedTemporaryFile(prefix="metazoo-", suffix=suffix) as file,
            tempfile.NamedTemporaryFile(prefix="metazoo-", suffix=".npz") as made,
        ):
            await asyncio.to_thread(_filled, file, body)
            request = {"job": "convert", "file": file.name, "version": version, "out": made.name}
            status, document = await self._ask(request)
            if status != 200:
                return Answer(status, JSON, document)
            return Answer(200, ARRAYS, await asyncio.to_thread(Path(made.name).read_bytes))

    async def _ask(self, request: Mapping[str, Any]) -> tuple[int, bytes]:
        try:
            return await self._simulator.ask(request)
        except BusyError as error:
            text = "Too many visitors want to play at the moment: try again in a few seconds"
            raise ServingError(Code.UNAVAILABLE, text) from error

    def _admit(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> None:
        """Refuse who has no token where one is needed, and who asks too often."""
        check_token(self._token, headers.get(b"authorization"))
        client = scope.get("client") or ("",)
        if not self._allowance.take(client[0]):
            raise ServingError(Code.RESOURCE_EXHAUSTED, "That is too often: try again in a few seconds")

    def _version(self, name: Any) -> Path:
        version = self._catalogue.versions().get(name) if isinstance(name, str) else None
        if version is None:
            raise ServingError(Code.NOT_FOUND, f"There is no policy {name!r:.100} in this gallery")
        return version

    def _file(self, name: str, file: str) -> Answer:
        found = self._catalogue.file(name, file)
        if found is None:
            raise _missing(f"{PREFIX}files/{name}/{file}")
        kind, path = found
        content = path.read_bytes()
        more = (
            ()
            if kind.startswith(b"image/")
            else ((b"content-disposition", b'attachment; filename="%s"' % file.encode()),)
        )
        return Answer(200, kind, content, _tag(content), more)


@cache
def _page(name: str) -> Answer:
    """A file of the package."""
    files = {one.name: one for one in resources.files("metazoo.gallery").joinpath("page").iterdir()}
    kind = PAGE.get(Path(name).suffix)
    if kind is None or name not in files:
        raise _missing(f"{PREFIX}page/{name}")
    content = files[name].read_bytes()
    return Answer(200, kind, content, _tag(content))


def _suffix(name: str) -> str:
    """The end of the name of a file, which says how it is read."""
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise invalid(f"the file's name is {name!r:.100}; it must end in {', '.join(SUFFIXES)}")
    return suffix


def _filled(file: Any, content: bytes) -> None:
    file.write(content)
    file.flush()


async def _body(receive: Receive, limit: int) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ServingError(Code.CANCELLED, "The client went away")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise BodyTooLargeError(limit)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _same_origin(headers: Mapping[bytes, bytes]) -> None:
    """Pages of other sites, open in the same browser, must not make this machine compute."""
    origin, host = headers.get(b"origin"), headers.get(b"host", b"")
    if origin is not None and origin.split(b"://")[-1] != host:
        raise ServingError(Code.PERMISSION_DENIED, "This comes from a page of another site")
    if headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
        raise ServingError(Code.PERMISSION_DENIED, "This comes from a page of another site")


def _json(status: int, document: Any) -> Answer:
    content = json.dumps(document, allow_nan=False).encode()
    return Answer(status, JSON, content, _tag(content) if status == 200 else b"")


def _with_kind(answer: tuple[int, bytes]) -> tuple[int, bytes, bytes]:
    return answer[0], JSON, answer[1]


def _missing(path: str) -> ServingError:
    return ServingError(Code.NOT_FOUND, f"There is nothing at {path:.200}")


def _tag(content: bytes) -> bytes:
    return b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()
