"""Ports to listen on."""

import socket

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
