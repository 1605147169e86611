"""Ports and paths to answer on, checked early, and the signals that end whoever listens there."""

import re
import signal
import socket
import threading
from collections.abc import Callable
from typing import Final

from serving.errors import PortInUseError

METRICS_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+/?", re.ASCII)
OWN_PATHS: Final = re.compile(r"(?i)/(zoo/)?v1(/|$)")


def bind(host: str, port: int, api: str) -> socket.socket:
    """A socket bound to ``host:port`` (0: a free one). ``api``: who is to listen there, for the message.

    Raises:
        PortInUseError: the port is taken, or the address is not ours.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise PortInUseError(f"cannot listen for {api} on {host}:{port}: {reason}") from error
    return listener


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Have SIGINT, SIGTERM and SIGHUP (the terminal is gone) call ``stop`` in a thread. A SIGHUP that was ignored
    before, as under ``nohup``, stays so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: threading.Thread(target=stop).start())


def check_metrics_path(path: str | None) -> None:
    """Raise ValueError for what no request can ask for, and for paths of the APIs. None: there are no metrics."""
    if path is None:
        return
    if not METRICS_PATH.fullmatch(path):
        raise ValueError(
            f"the metrics path is {path!r:.100}: it must begin with / and hold letters, digits and . _ ~ - / only"
        )
    if OWN_PATHS.match(path):
        raise ValueError(f"the metrics path is {path!r:.100}: what begins so is answered by the API, take another one")
