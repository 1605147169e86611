"""Ports: bound early, with one sentence when they are taken; and the signals that end whoever listens on them."""

import signal
import socket
import threading
from collections.abc import Callable

from serving.errors import PortInUseError


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
