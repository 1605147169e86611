"""What every gRPC call passes before it is worked on, and how it is refused."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Final

import grpc

from serving.errors import TOO_LATE, Code, ServingError
from serving.overload import BoundedExecutor
from serving.security import check_token

log = logging.getLogger(__name__)

STATUS_BY_CODE: Final = {code: getattr(grpc.StatusCode, code.name) for code in Code}


class Door:
    """Refuses calls that are too many, too late, or without the token, and turns errors into gRPC statuses."""

    def __init__(self, executor: BoundedExecutor, token: str | None):
        self._executor, self._token = executor, token

    @contextlib.contextmanager
    def __call__(self, context: grpc.ServicerContext, changes: bool = False) -> Iterator[None]:
        """Around the work of a call. ``changes``: it needs the token."""
        try:
            self._executor.check()
            remaining = context.time_remaining()
            if remaining is not None and remaining <= 0:
                raise ServingError(Code.DEADLINE_EXCEEDED, TOO_LATE)
            if changes:
                check_token(self._token, dict(context.invocation_metadata()).get("authorization"))
            yield
            return
        except ServingError as error:
            refusal = error
        except Exception as error:  # a fault of ours
            log.exception("a request failed")
            refusal = ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
        context.abort(STATUS_BY_CODE[refusal.code], refusal.grpc_details)
