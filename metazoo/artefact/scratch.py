"""Directories that are being written or deleted: servers do not see them, and what a killed process left is swept."""

import contextlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from metazoo.artefact import locks, whole
from metazoo.artefact.whole import PathLike

STALE_SECONDS: Final = 3600.0
"""Unfinished directories older than this were left by a crash, even where a file system has no locks to tell by."""

_TEMPORARY_PREFIX: Final = ".unfinished-"  # not a number, so no server takes it for a version


@contextlib.contextmanager
def temporary(base: Path) -> Iterator[Path]:
    """A fresh directory under ``base`` that is gone afterwards, unless it was renamed. ``sweep`` spares it."""
    work, mark = _marked(base)
    try:
        work.chmod(0o755)  # mkdtemp makes it private; a server may run as another user
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if mark is not None:
            os.close(mark)


@contextlib.contextmanager
def whole_directory(target: PathLike) -> Iterator[Path]:
    """A directory to write to, which then is flushed and becomes ``target``; after an exception nothing is there.

    What writers of its parent left there when they were killed is deleted first.

    Raises:
        OSError: ``target`` is a file, or a directory that is not empty.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    with temporary(target.parent) as work:
        yield work
        whole.flush(work)
        whole.put(work, target)


def _marked(base: Path) -> tuple[Path, int | None]:
    while True:
        work = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=base))
        try:
            mark = locks.at_work(work)
        except FileNotFoundError:
            continue  # swept before it was marked
        except OSError:
            return work, None  # a file system without locks
        if mark is not None and work.is_dir():
            return work, mark
        if mark is not None:
            os.close(mark)


def unfinished(directory: PathLike) -> list[Path]:
    """What publishers and deleters are at work on in a directory, or have left there when they were killed."""
    return sorted(Path(directory).glob(f"{_TEMPORARY_PREFIX}*"))


def sweep(directory: PathLike, older_than: float = -math.inf) -> None:
    """Delete what killed publishers and deleters left in a directory (``older_than`` so many seconds), and no more."""
    for path in unfinished(directory):
        if age(path) > older_than:
            with contextlib.suppress(OSError):  # somebody else was faster
                _clear(path)


def _clear(path: Path) -> None:
    """Delete a directory that nobody is at work on; while that takes, nobody can begin to."""
    try:
        mark = locks.at_work(path)
    except FileNotFoundError:
        return
    except OSError:  # a file, or a file system without locks: only its age can tell
        mark = -1 if age(path) > STALE_SECONDS else None
    if mark is not None:
        shutil.rmtree(path, ignore_errors=True)
        if mark >= 0:
            os.close(mark)


def age(path: Path) -> float:
    """Seconds since it was written; of what is gone, 0."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
