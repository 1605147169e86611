"""What a server can be told beyond directories and ports."""

import math
import os
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from serving import ports
from serving.engine.batch_parameters import Limits

GIGABYTE: Final = 2**30
DAY_SECONDS: Final = 86_400.0


class Site(Protocol):
    """An ASGI application that answers some paths of the REST port, none of them under ``/v1/`` or ``/zoo/``."""

    def handles(self, path: bytes) -> bool:
        """Whether it answers this path, as it stands in the request, without its query."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, as ASGI has it."""


@dataclass(frozen=True)
class Quota:
    """What requests may take.

    Args:
        body_bytes: of one request, unpacked.
        bytes_under_way: of all bodies that are received or worked on at a time; and as many of their tensors.
        tensor_bytes: of the tensors of one request, decoded; larger if the request itself is.
        requests: under way at a time over REST; the next one is answered 503.
        waiting: requests that wait for a thread, for each of REST and gRPC; the next one is answered 503, UNAVAILABLE.
        client_seconds: how long a client may take to send a request, besides a second for every 16 KiB.
        transitions: time steps in the episodes of one adaptation, padding included.
    """

    body_bytes: int = 256 * 2**20
    bytes_under_way: int = 2 * GIGABYTE
    tensor_bytes: int = 256 * 2**20
    requests: int = 4096
    waiting: int = 512
    client_seconds: float = 30.0
    transitions: int = 1_000_000


@dataclass(frozen=True)
class Retention:
    """What is kept of adapted policies; None: without limit.

    Args:
        policies, disk_bytes: how many, and how much of the disk they may take; what would exceed it is refused.
        expire_seconds: a policy that was not adapted again for so long is deleted.
        grace_seconds: how long files outlive their use where a TF Serving reads them and reports to nobody: one that
            polls ``Options.models_config``.
    """

    policies: int | None = 10_000
    disk_bytes: int | None = 10 * GIGABYTE
    expire_seconds: float | None = None
    grace_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("policies", "disk_bytes", "expire_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:  # nan is neither
                raise ValueError(f"{name} is {value}: it must be positive, and finite")
        if not 0 <= self.grace_seconds < math.inf:
            raise ValueError(f"grace_seconds is {self.grace_seconds}: it must be 0 or more, and finite")


@dataclass(frozen=True)
class Options:
    """Settings of ``Server``, all optional.

    Args:
        metrics_path: where the REST port answers with Prometheus metrics; None: nowhere, as TF Serving.
        batching: how concurrent calls are put together; ``batch_parameters.read_file`` reads TF Serving's file.
        token: what adapting, deleting and reloading ask for as ``Authorization: Bearer TOKEN``; None: nothing.
        insecure: listening beyond this machine without a token is allowed.
        tls_cert, tls_key: PEM files; with them both ports speak TLS only.
        quota: what requests may take.
        retention: what is kept of adapted policies.
        models_config: a file that is kept as TF Serving's list of what is served here, for one that polls it.
        model_config_poll_seconds: how often a ``model_config_file`` is read again; 0: never, as TF Serving.
        site: pages beside the API; None: there are none, as with TF Serving.
    """

    metrics_path: str | None = None
    batching: Limits = field(default_factory=Limits)
    token: str | None = None
    insecure: bool = False
    tls_cert: str | os.PathLike[str] | None = None
    tls_key: str | os.PathLike[str] | None = None
    quota: Quota = field(default_factory=Quota)
    retention: Retention = field(default_factory=Retention)
    models_config: str | os.PathLike[str] | None = None
    model_config_poll_seconds: float = 0.0
    site: Site | None = None

    def __post_init__(self) -> None:
        ports.check_metrics_path(self.metrics_path)
        if not 0 <= self.model_config_poll_seconds < float("inf"):
            raise ValueError(
                f"model_config_poll_seconds is {self.model_config_poll_seconds}: it must be 0 or a number of seconds"
            )
