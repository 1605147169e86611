"""The HTML that TF Serving's HTTP library answers with where a request never reaches the REST API."""

import re
from http import HTTPStatus
from typing import Final

KIND: Final = b"text/html"
METHODS: Final = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""All others are answered 501, for any path."""

_TARGET: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?#]|%[0-9A-Fa-f]{2})*")


def page(status: int) -> bytes:
    """The body of an answer without another one."""
    reason = HTTPStatus(status).phrase
    head = f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD>"
    return f"{head}<BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n".encode()


def is_valid(target: str) -> bool:
    """Whether a path, query and fragment hold only what RFC 3986 allows; all others are answered 400."""
    return _TARGET.fullmatch(target) is not None
