"""The client for event loops. Requests never block the loop; environments, which would, play in a thread."""

import asyncio
import ssl
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from yarl import URL

from metazoo.artefact import rewards, signatures
from metazoo.artefact.answers import read_observation
from metazoo.collect import Collected, Env, Episodes, load_episodes, space_from_metadata
from serving.client import messages
from serving.client.client import TIMEOUT_SECONDS, TRIES, Adaptation, Client
from serving.client.messages import Request
from serving.client.retrying import Pauses
from serving.errors import Code, ServingError


class AsyncClient:
    """As ``Client``, over REST (``http``, ``https``) or gRPC (``grpc``, ``grpcs``); for use in one event loop.

    ``async with AsyncClient(url) as client: await client.predict(...)``.
    """

    def __init__(
        self, url: str, timeout: float = TIMEOUT_SECONDS, token: str | None = None, ca: str | None = None,
        tries: int = TRIES,
    ):  # fmt: skip
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
            raise ValueError(f"url {url!r} is no address: need one like http://127.0.0.1:8501 or grpc://127.0.0.1:8500")
        self._blocking = partial(Client, url, timeout=timeout, token=token, ca=ca, tries=tries)
        self._timeout, self._tries = timeout, tries
        self._metadata: dict[str, dict[str, Any]] = {}
        self._rest = None if parts.scheme.startswith("grpc") else _RestConnections(url, token, ca)
        self._grpc = None if self._rest else _GrpcCalls(parts.netloc, token, ca, parts.scheme == "grpcs")

    async def predict(
        self, name: str, inputs: Mapping[str, np.ndarray], signature: str = signatures.SERVING_DEFAULT,
        outputs: tuple[str, ...] = (),
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """See ``Client.predict``."""
        if self._grpc is not None:
            grpc_calls = self._grpc
            return await self._tried(lambda: grpc_calls.predict(name, inputs, signature, outputs, self._timeout))
        return messages.predictions(await self._ask(messages.predict(name, inputs, signature)), outputs)

    async def adapt_to(
        self, name: str, episodes: Any, task: str | None = None, off_policy: bool = False
    ) -> dict[str, Any]:
        """See ``Client.adapt_to``."""
        if not isinstance(episodes, Episodes):
            episodes = load_episodes(episodes, await self._metadata_cached(name))
        arrays, key = episodes._asdict(), uuid.uuid4().hex
        if self._grpc is not None:
            calls = self._grpc
            answer = await self._tried(lambda: calls.adapt(name, task, arrays, key, self._timeout, off_policy))
        else:
            answer = await self._ask(messages.adapt(name, task, arrays, key, off_policy))
        rewards.say_all(answer)
        return answer

    async def policies(self) -> list[dict[str, Any]]:
        """See ``Client.policies``."""
        return await self._in_thread(lambda client: client.policies())

    async def metadata(self, name: str) -> dict[str, Any]:
        """See ``Client.metadata``."""
        return await self._in_thread(lambda client: client.metadata(name))

    async def _metadata_cached(self, name: str) -> dict[str, Any]:
        """See ``Client.metadata_cached``."""
        if name not in self._metadata:
            self._metadata[name] = await self.metadata(name)
        return self._metadata[name]

    async def status(self, name: str) -> list[dict[str, Any]]:
        """See ``Client.status``."""
        return await self._in_thread(lambda client: client.status(name))

    async def act(self, name: str, observation: Any) -> Any:
        """See ``Client.act``."""
        metadata = await self._metadata_cached(name)
        observations = read_observation(space_from_metadata(metadata["observation_space"]), observation)[None]
        actions = (await self.predict(name, {"observations": observations}, signatures.ACT))["actions"]
        return actions[0] if metadata["action_space"]["type"] == "Box" else actions[0].astype(np.int64)

    async def play(self, name: str, env: Env, episodes: int, seed: int, deterministic: bool = False) -> Collected:
        """See ``Client.play``."""
        return await self._in_thread(lambda client: client.play(name, env, episodes, seed, deterministic))

    async def adapt(self, name: str, env: Env, **settings: Any) -> Adaptation:
        """See ``Client.adapt``."""
        return await self._in_thread(lambda client: client.adapt(name, env, **settings))

    async def delete(self, name: str) -> None:
        """See ``Client.delete``."""
        await self._in_thread(lambda client: client.delete(name))

    async def close(self) -> None:
        """Close all connections."""
        if self._rest is not None:
            await self._rest.close()
        if self._grpc is not None:
            await self._grpc.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _in_thread(self, work: Callable[[Client], Any]) -> Any:
        def run() -> Any:
            client = self._blocking()
            try:
                return work(client)
            finally:
                client.close()

        return await asyncio.to_thread(run)

    async def _ask(self, request: Request) -> Any:
        connections = self._rest
        assert connections is not None

        async def ask() -> Any:
            try:
                async with asyncio.timeout(self._timeout):
                    return messages.read(*await connections.exchange(request))
            except TimeoutError as error:
                raise ServingError(Code.DEADLINE_EXCEEDED, f"no answer within {self._timeout:g} s") from error

        return await self._tried(ask)

    async def _tried(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        pauses = Pauses(self._tries)
        while True:
            try:
                return await ask()
            except ServingError as error:
                await asyncio.sleep(pauses.after(error))


class _RestConnections:
    """HTTP over kept connections, as many as there are requests at a time."""

    def __init__(self, url: str, token: str | None, ca: str | None):
        parts = urlsplit(url)
        self._where = f"{parts.scheme}://{parts.netloc}"
        self._context = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, request: Request) -> tuple[int, bytes]:
        """The status and the body of the answer."""
        try:
            return await self._send(request)
        except aiohttp.ClientConnectorCertificateError as error:
            text = f"{self._where} shows a certificate that is not trusted: {error.certificate_error}"
            raise ServingError(Code.PERMISSION_DENIED, text) from error
        except aiohttp.ClientConnectorError as error:
            raise ServingError(Code.UNAVAILABLE, f"There is no server at {self._where}: {error.os_error}") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ServingError(Code.UNAVAILABLE, f"The server closed the connection: {error!r}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(self, request: Request) -> tuple[int, bytes]:
        """A connection that the server closed meanwhile is opened again, once."""
        try:
            return await self._send_once(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._send_once(request)

    async def _send_once(self, request: Request) -> tuple[int, bytes]:
        if self._session is None:  # only here is it certain that there is an event loop
            connector = aiohttp.TCPConnector(limit=0, ssl=self._context or True)
            forever = aiohttp.ClientTimeout(total=None)  # the caller keeps the time
            self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=forever)
        url, body = URL(self._where + request.path, encoded=True), BytesIO(request.body or b"")
        async with self._session.request(request.method, url, data=body, headers=request.headers) as answer:
            return answer.status, await answer.read()


class _GrpcCalls:
    """Calls over one asynchronous channel."""

    def __init__(self, target: str, token: str | None, ca: str | None, secure: bool):
        import grpc.aio

        from serving.client import grpc as client_grpc

        self._library, self._error = client_grpc, grpc.aio.AioRpcError
        self._token = [] if token is None else [("authorization", f"Bearer {token}")]
        self._channel = client_grpc.open_channel(grpc.aio, target, ca, secure)
        self._predict = client_grpc.PredictionStub(self._channel).Predict
        self._adapt = client_grpc.AdaptationStub(self._channel).Adapt

    async def predict(
        self, name: str, inputs: Mapping[str, Any], signature: str, outputs: tuple[str, ...], timeout: float
    ) -> dict[str, np.ndarray]:
        request = self._library.predict_request(name, inputs, signature, outputs)
        return self._library.decode(await self._call(self._predict, request, timeout))

    async def adapt(
        self,
        name: str,
        task_name: str | None,
        arrays: Mapping[str, np.ndarray],
        key: str,
        timeout: float,
        off_policy: bool,
    ) -> dict[str, Any]:
        request, metadata = self._library.adapt_request(name, task_name, arrays, off_policy), ("idempotency-key", key)
        return self._library.adapt_answer(await self._call(self._adapt, request, timeout, metadata))

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, call: Callable[..., Any], request: Any, timeout: float, *metadata: tuple[str, str]) -> Any:
        try:
            return await call(request, timeout=timeout, metadata=[*self._token, *metadata])
        except self._error as error:
            raise self._library.refusal(error) from error
