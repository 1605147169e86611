"""Standard output and error as they may be: closed, gone, full, or of an encoding that lacks a character."""

import codecs
import contextlib
import os
import sys
from typing import Final

LOOKS_LIKE: Final = {
    "→": "->", "←": "<-", "−": "-", "–": "-", "—": "-", "×": "x", "≥": ">=", "≤": "<=", "≈": "~", "·": "*",
    "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "█": "#", "━": "-", "─": "-", "│": "|", "°": " deg",
}  # fmt: skip
"""What stands for characters that an encoding lacks and that Unicode does not take apart."""
STAND_IN: Final = "metazoo.stand_in"


def prepare() -> None:
    """Makes both streams such that printing does not fail for their encoding or absence.

    A closed file descriptor is opened on the null device first: what is opened later would take its number, and a
    library that writes to standard error would write into the user's files.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    codecs.register_error(STAND_IN, _stand_in)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  as long as the process
        with contextlib.suppress(AttributeError, ValueError, OSError):  # a test's own stream
            getattr(sys, name).reconfigure(errors=STAND_IN)


def finish() -> None:
    """Writes what is still held back. Raises OSError where that fails: what was asked for has not arrived."""
    try:
        sys.stdout.flush()
    except OSError:
        abandon(sys.stdout.fileno())
        raise
    try:
        sys.stderr.flush()
    except OSError:
        abandon(sys.stderr.fileno())


def abandon(number: int) -> None:
    """Leads a stream that cannot be written to the null device, or the interpreter would fail on it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """An error handler of ``codecs``: characters as the encoding can show them, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_shown(one) for one in error.object[error.start : error.end]), error.end


def _shown(character: str) -> str:
    """In ASCII, which every encoding of a terminal has."""
    import unicodedata

    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return LOOKS_LIKE.get(character) or plain or "?"
