"""One error class for both transports: it carries the gRPC code, and from that the HTTP status.

The mapping is TF Serving's own (``model_servers/http_rest_api_util``), so a client cannot tell the servers apart.
"""

from enum import Enum, IntEnum
from typing import Final


class Code(Enum):
    """The gRPC status codes, by name and number."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS: Final = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
"""Every other code is 500."""

MAX_DETAILS: Final = 1024
"""gRPC details beyond this are cut, as TF Serving does, so that they fit into a header."""


QUEUE_FULL: Final = "The batch scheduling queue to which this task was submitted is full"
TOO_LATE: Final = "The deadline passed before the request was computed"


class State(IntEnum):
    """``GetModelStatusResponse.ModelVersionStatus.State``."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class ServingError(Exception):
    """A request cannot be answered. ``message`` is for the client, ``code`` decides the transport's status."""

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def http_status(self) -> int:
        return HTTP_STATUS.get(self.code, 500)

    @property
    def grpc_details(self) -> str:
        return cut_details(self.message)


class BodyTooLargeError(ServingError):
    """Answered 413, which no gRPC code stands for."""

    def __init__(self, limit: int):
        super().__init__(Code.INVALID_ARGUMENT, f"The body is larger than {limit} bytes")

    @property
    def http_status(self) -> int:
        return 413


class PortInUseError(Exception):
    """The server cannot listen where it was told to; the message is one sentence."""


def cut_details(message: str) -> str:
    """Bytes are counted, as in C++; half a character at the cut is left out."""
    given = message.encode("utf-8", "replace")
    if len(given) <= MAX_DETAILS:
        return message
    return given[:MAX_DETAILS].decode("utf-8", "ignore") + "...TRUNCATED"


def invalid(message: str) -> ServingError:
    """The most frequent refusal."""
    return ServingError(Code.INVALID_ARGUMENT, message)
