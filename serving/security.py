"""Who may change what is served, and where the server may listen."""

import hmac
import ipaddress
import ssl
from pathlib import Path
from typing import Final

import grpc

from serving.errors import Code, ServingError
from serving.options import Options

LEAST_TOKEN: Final = 16
"""Characters: shorter tokens can be guessed."""


def read_token(path: Path) -> str:
    """The token in a file, which holds nothing else.

    Raises:
        FileNotFoundError, ValueError: no such file; no token, or one that is too short.
    """
    token = path.read_text(encoding="utf-8").strip()
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{path} holds no token: need one line of at least {LEAST_TOKEN} printable characters")
    return token


def check_binding(host: str, options: Options) -> None:
    """Refuse to listen beyond this machine while anybody could adapt, delete and reload.

    Raises:
        ValueError
    """
    if options.token is None and not options.insecure and not _is_loopback(host):
        raise ValueError(
            f"host is {host}, where others could change what is served: give a token (--token-file), or say that "
            "this is wanted (--insecure)"
        )


def check_token(token: str | None, authorization: str | bytes | None) -> None:
    """Refuse a request whose ``Authorization`` is not ``Bearer`` (in any case) and the token. None asks for nothing.

    Raises:
        ServingError: UNAUTHENTICATED.
    """
    if token is None:
        return
    given = authorization.encode("latin-1", "replace") if isinstance(authorization, str) else authorization or b""
    scheme, _, credentials = given.partition(b" ")
    if not hmac.compare_digest(credentials.strip(b" "), token.encode()) or scheme.lower() != b"bearer":
        raise ServingError(Code.UNAUTHENTICATED, "This needs the header Authorization: Bearer and the server's token")


def check_tls(options: Options) -> None:
    """Raise ValueError or FileNotFoundError if the TLS files are not a certificate and its key."""
    if (options.tls_cert is None) != (options.tls_key is None):
        given, missing = ("tls_cert", "tls_key") if options.tls_cert is not None else ("tls_key", "tls_cert")
        raise ValueError(f"{given} is given without {missing}: TLS needs both")
    if options.tls_cert is None or options.tls_key is None:
        return
    for file in (options.tls_cert, options.tls_key):
        if not Path(file).is_file():
            raise FileNotFoundError(f"there is no file {file}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_cert, options.tls_key)
    except ssl.SSLError as error:
        raise ValueError(
            f"{options.tls_cert} and {options.tls_key} are not a certificate and its key: {error}"
        ) from error


def grpc_credentials(options: Options) -> grpc.ServerCredentials | None:
    """For the gRPC port; None without TLS."""
    if options.tls_cert is None or options.tls_key is None:
        return None
    return grpc.ssl_server_credentials([(Path(options.tls_key).read_bytes(), Path(options.tls_cert).read_bytes())])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
