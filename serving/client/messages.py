"""What a client says over REST and how it reads the answers; no connection in here."""

import io
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
import numpy as np

from serving.errors import HTTP_STATUS, Code, ServingError

_CODES: Final = {
    **{status: code for code, status in reversed(HTTP_STATUS.items())},
    400: Code.INVALID_ARGUMENT, 409: Code.ALREADY_EXISTS, 413: Code.INVALID_ARGUMENT, 500: Code.INTERNAL,
}  # fmt: skip
POLICIES: Final = "/zoo/v1/policies"


class Request(NamedTuple):
    """An HTTP request."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = {}


def predict(name: str, inputs: Mapping[str, Any], signature: str) -> Request:
    columns = {key: np.asarray(value).tolist() for key, value in inputs.items()}
    document = {"signature_name": signature, "inputs": columns}
    try:
        body = json.dumps(document).encode() if _has_specials(inputs) else msgspec.json.encode(document)
    except TypeError as error:
        raise ServingError(Code.INVALID_ARGUMENT, f"The inputs cannot be sent as JSON: {error}") from error
    return Request("POST", f"/v1/models/{quote(name, safe='')}:predict", body)


def predictions(document: Any, outputs: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of an answer to ``predict``."""
    answer = document["outputs"]
    if not isinstance(answer, dict):  # the name of an only output is not sent
        return {outputs[0] if outputs else "output": np.asarray(answer)}
    return {key: np.asarray(answer[key]) for key in outputs or answer}


def status(name: str) -> Request:
    return Request("GET", f"/v1/models/{quote(name, safe='')}")


def policies() -> Request:
    return Request("GET", POLICIES)


def policy(name: str) -> Request:
    return Request("GET", f"{POLICIES}/{quote(name, safe='')}")


def adapt(
    name: str, task_name: str | None, arrays: Mapping[str, np.ndarray], key: str, off_policy: bool = False,
    warm_start: bool = False,
) -> Request:  # fmt: skip
    flags = {"off_policy": off_policy, "warm_start": warm_start}
    given = {"task": task_name, **{name: "true" if flag else None for name, flag in flags.items()}}
    query = urlencode({name: value for name, value in given.items() if value is not None}, quote_via=quote)
    path = f"{POLICIES}/{quote(name, safe='')}:adapt{'?' if query else ''}{query}"
    file = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(file, **named)
    return Request("POST", path, file.getvalue(), {"Idempotency-Key": key})


def keep(name: str, memory: np.ndarray | None, before: np.ndarray, after: np.ndarray, key: str) -> Request:
    document: dict[str, Any] = {"keep_better": {"before": before.tolist(), "after": after.tolist()}}
    if memory is not None:
        document["memory"] = memory.tolist()
    path = f"{POLICIES}/{quote(name, safe='')}:adapt"
    return Request("POST", path, msgspec.json.encode(document), {"Idempotency-Key": key})


def delete(name: str) -> Request:
    return Request("DELETE", f"{POLICIES}/{quote(name, safe='')}")


def read(status_code: int, body: bytes) -> Any:
    """The document of an answer.

    Raises:
        ServingError: it is a refusal, or no JSON.
    """
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError:
        try:
            document = json.loads(body)  # takes NaN and Infinity, which TF Serving writes
        except ValueError as error:
            text = f"The server answered {status_code} without JSON: {body[:200]!r}"
            raise ServingError(_CODES.get(status_code, Code.UNKNOWN), text) from error
    if status_code != 200:
        message = document.get("error", str(document)) if isinstance(document, dict) else str(document)
        raise ServingError(_CODES.get(status_code, Code.UNKNOWN), message)
    return document


def _has_specials(inputs: Mapping[str, Any]) -> bool:
    """NaN or infinity, which msgspec would write as null."""
    arrays = map(np.asarray, inputs.values())
    return any(array.dtype.kind == "f" and not np.all(np.isfinite(array)) for array in arrays)
