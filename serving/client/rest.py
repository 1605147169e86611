"""REST connections of a client: kept open, one for each thread."""

import http.client
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from serving.client import messages
from serving.client.messages import Request
from serving.client.retrying import Pauses
from serving.errors import Code, ServingError


class RestTransport:
    """What a server can be asked over REST. Thread-safe."""

    def __init__(self, url: str, timeout: float, tries: int, token: str | None = None, ca: str | None = None):
        """``ca``: a PEM file of the authority, or the certificate itself, that https servers must show."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url {url!r} is not a REST address: need one like http://127.0.0.1:8501")
        self._secure = parts.scheme == "https"
        self._address = parts.hostname, parts.port or (443 if self._secure else 80)
        self._context = ssl.create_default_context(cafile=ca) if self._secure else None
        self._where, self._timeout, self._tries = f"{parts.scheme}://{parts.netloc}", timeout, tries
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._local = threading.local()

    def predict(
        self, name: str, inputs: Mapping[str, np.ndarray], signature: str, outputs: tuple[str, ...]
    ) -> dict[str, np.ndarray]:
        return messages.predictions(self._ask(messages.predict(name, inputs, signature)), outputs)

    def status(self, name: str) -> list[dict[str, Any]]:
        return self._ask(messages.status(name))["model_version_status"]

    def policies(self) -> list[dict[str, Any]]:
        return self._ask(messages.policies())["policies"]

    def policy(self, name: str) -> dict[str, Any]:
        return self._ask(messages.policy(name))

    def adapt(
        self, name: str, task_name: str | None, arrays: Mapping[str, np.ndarray], key: str, off_policy: bool = False,
        warm_start: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        return self._ask(messages.adapt(name, task_name, arrays, key, off_policy, warm_start))

    def keep(
        self, name: str, memory: np.ndarray | None, before: np.ndarray, after: np.ndarray, key: str
    ) -> dict[str, Any]:
        return self._ask(messages.keep(name, memory, before, after, key))

    def delete(self, name: str) -> None:
        self._ask(messages.delete(name))

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _ask(self, request: Request) -> Any:
        pauses, tried = Pauses(self._tries), False
        while True:
            try:
                return messages.read(*self._exchange(request))
            except ServingError as error:
                if tried and request.method == "DELETE" and error.code is Code.NOT_FOUND:
                    return {}  # an earlier try did it
                time.sleep(pauses.after(error))
                tried = True

    def _exchange(self, request: Request) -> tuple[int, bytes]:
        """One request over this thread's kept connection; a connection the server closed meanwhile is reopened."""
        connection = getattr(self._local, "connection", None)
        reused = connection is not None
        if connection is None:
            connection = self._connection()
        self._local.connection = None  # put back only if the exchange ends well
        try:
            connection.request(request.method, request.path, request.body, {**self._headers, **request.headers})
            response = connection.getresponse()
            answer = response.status, response.read()
        except (http.client.HTTPException, ConnectionResetError, BrokenPipeError) as error:
            connection.close()
            if reused:
                return self._exchange(request)
            raise ServingError(Code.UNAVAILABLE, f"The server closed the connection: {error!r}") from error
        except TimeoutError as error:
            connection.close()
            text = f"{self._where} did not answer within {self._timeout:g} s"
            raise ServingError(Code.DEADLINE_EXCEEDED, text) from error
        except ssl.SSLCertVerificationError as error:
            connection.close()
            text = f"{self._where} shows a certificate that is not trusted: {error.verify_message}"
            raise ServingError(Code.PERMISSION_DENIED, text) from error
        except OSError as error:
            connection.close()
            raise ServingError(Code.UNAVAILABLE, f"There is no server at {self._where}: {error}") from error
        self._local.connection = connection
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(*self._address, timeout=self._timeout, context=self._context)
        return http.client.HTTPConnection(*self._address, timeout=self._timeout)
