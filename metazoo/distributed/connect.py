"""A connection to a Ray cluster, or one of this machine's own."""

import contextlib
import importlib.util
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any, Final

from metazoo import progress
from metazoo.cores import cores

LOCAL: Final = "local"
"""The address that stands for a cluster that is begun here and ends with the command."""
AUTO: Final = "auto"
SECONDS: Final = 5.0
ATTEMPTS: Final = 4
SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}
"""Ray reports nothing to its makers and says nothing of graphics cards; its workers on this machine are the training
itself, no guests that give way to everything else."""
FORM: Final = "HOST:PORT of a head node, such as 10.0.0.7:6379, auto, or nothing for a cluster on this machine"


class ClusterError(ValueError):
    """There is no Ray, or no cluster where one was said to be; one sentence."""


def check(address: str) -> None:
    """Refuses an address at which nobody listens, before Ray tries for a minute.

    Raises:
        ClusterError: Ray is not installed, or nobody answers there.
    """
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("--ray needs the library Ray: pip install 'metazoo[ray]'.")
    if address in (LOCAL, AUTO):
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 2**16) or "/" in host:
        raise ClusterError(f"--ray is {address!r}; it must be {FORM}.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS) as there:
            speaks = _speaks_grpc(there)
    except OSError as error:
        reason = error.strerror or str(error) or "no answer"
        raise ClusterError(f"--ray is {address!r}, and no Ray cluster answers there ({reason}).") from None
    if not speaks:
        raise ClusterError(f"--ray is {address!r}, and what answers there is no Ray cluster; it must be {FORM}.")


def _speaks_grpc(there: socket.socket) -> bool:
    """Whether it answers HTTP/2's greeting with its settings, as a head node does; a dashboard's port does not.

    Ray would try for minutes. With its TLS (``RAY_USE_TLS``) it is believed.
    """
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return True
    there.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))  # and empty settings: RFC 9113
    frame = there.recv(9, socket.MSG_WAITALL)
    return len(frame) == 9 and frame[3] == 4  # the kind of frame that settings are


def cluster_cores() -> int:
    """How many cores the cluster has that this process is connected to."""
    import ray

    return int(ray.cluster_resources().get("CPU", 1))


@contextlib.contextmanager
def connected(address: str, workers: int = 1, threads: int = 1, heard: bool = False) -> Iterator[None]:
    """This process as a driver of the cluster at ``address``; a connection that is there already is used.

    ``heard``: what the cluster's processes print is printed here. A job of Ray's is told its cluster by
    ``RAY_ADDRESS``, which stands for ``local`` then.

    Raises:
        ClusterError: see ``check``; or what answers is no Ray cluster that this Ray can join.
    """
    check(address)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", LOCAL) if address == LOCAL else address
    here: dict[str, Any] = {}
    if address == LOCAL:
        here = {"num_cpus": max(cores(), workers * threads), "include_dashboard": False}
    _join(address, log_to_driver=heard, **here)
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str, **how: Any) -> None:
    """Ray's ``init``. Its half minute for the beginning of a cluster may not do on a busy machine: it has a few."""
    import ray

    for attempt in range(ATTEMPTS):
        try:
            with progress.native_log_hidden():  # where something answers that is no cluster, twenty lines
                ray.init(address=address, logging_level=logging.ERROR, **how)
        except Exception as error:  # Ray raises many kinds, even this one  # noqa: BLE001
            if "timed out during startup" in str(error) and attempt + 1 < ATTEMPTS:
                ray.shutdown()
                continue
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ClusterError(f"--ray is {address!r}, and Ray cannot join a cluster there: {reason}.") from None
        return
