"""Where a command will write is looked at before its work begins: hours of it must not end at a missing directory."""

import os
from collections.abc import Sequence
from pathlib import Path


class PlaceError(ValueError):
    """A command cannot write where it was told to; nothing was computed yet."""


def directory(path: Path | None, option: str) -> None:
    """Raises PlaceError unless ``path`` is, or can become, a directory to write in. None is nothing to check."""
    if path is None:
        return
    there = next(one for one in (path.absolute(), *path.absolute().parents) if os.path.lexists(one))
    if not there.is_dir():
        raise PlaceError(f"{option} is {path}; it must be a directory, and {there} is none.")
    writable(there, f"{option} is {path}")


def file(path: Path | None, option: str, suffixes: Sequence[str]) -> None:
    """Raises PlaceError unless ``path`` is a file, with one of these endings (none: any), that can be written."""
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise PlaceError(f"{option} is {path}; its name must end in {' or '.join(suffixes)}.")
    if not path.absolute().parent.is_dir():
        raise PlaceError(f"{option} is {path}; there is no directory {path.absolute().parent}.")
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise PlaceError(f"{option} is {path}; it must be a file that can be written, and what is there is none.")
    if not path.exists():
        writable(path.absolute().parent, f"{option} is {path}")


def writable(there: Path, given: str) -> None:
    """Writes something into a directory and takes it away; raises PlaceError, beginning with ``given``, if it cannot.

    Rights alone do not tell of read-only disks and full ones.
    """
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".metazoo-") as trial:
            trial.write(b"x")
            trial.flush()
    except OSError as error:
        raise PlaceError(f"{given}; nothing can be written in {there}: {error.strerror or error}.") from None
