"""Files and directories that are whole or not there: written aside, flushed to the disk, renamed into place.

Nothing else in the project renames (a test says so). Importing this is cheap.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PathLike = str | os.PathLike[str]

PART: Final = ".part"
"""Ends the name of a file that is still being written."""


@contextlib.contextmanager
def aside(path: PathLike) -> Iterator[Path]:
    """A path beside ``path`` to write to, which then takes its place; after an exception ``path`` is as it was.

    Readers see the old content or the new one, whenever this is killed, and several may write at once.
    """
    part = Path(f"{path}.{uuid.uuid4().hex[:8]}{PART}")
    try:
        yield part
        fsync(part)
        replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_whole(path: PathLike, content: bytes | str) -> None:
    """Write a file so that readers see the old content or the new one. Text is written in UTF-8.

    Raises:
        OSError: it cannot be written; ``path`` is as it was.
    """
    with aside(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def replace(part: PathLike, path: PathLike) -> None:
    """Give a finished file the name ``path``, whatever file has it now. The name is on the disk on return."""
    os.replace(part, path)
    fsync(Path(path).parent)


def put(work: PathLike, target: PathLike) -> None:
    """Give a finished directory the name ``target``. The name is on the disk on return.

    Raises:
        OSError: there is a file of that name, or a directory that is not empty.
    """
    os.rename(work, target)
    fsync(Path(target).parent)


def hide(path: PathLike, hidden: PathLike) -> None:
    """Take a directory out of sight in one moment, for it to be deleted.

    Raises:
        FileNotFoundError: it is not there.
    """
    os.rename(path, hidden)


def flush(directory: PathLike) -> None:
    """fsync every file and directory below ``directory``, and itself."""
    for root, _, names in os.walk(directory):
        for name in names:
            fsync(os.path.join(root, name))
        fsync(root)


def fsync(path: PathLike) -> None:
    """Return when a file's content, or a directory's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
