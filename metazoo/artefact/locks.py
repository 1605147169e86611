"""Locks that threads and processes share through a directory, and marks of who is at work in one.

They are ``flock`` locks: the system gives them back when their holder ends, killed ones included, so a lock file that
is left means nothing. Whoever waits asks again and again, so that no process is favoured.
"""

import contextlib
import fcntl
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

WAIT_SECONDS: Final = 30.0
PREFIX: Final = ".lock-"
"""Begins the name of a lock's file. Not a number and not a policy's name, so no server takes it for either."""
_PAUSE_SECONDS: Final = 0.002


@contextlib.contextmanager
def held(directory: str | os.PathLike[str], name: str, shared: bool = False, wait: float = WAIT_SECONDS) -> Iterator:
    """Hold the lock ``name`` of a directory, alone or (``shared``) with others that share it. Not for nesting.

    Raises:
        TimeoutError: somebody else held it for ``wait`` seconds.
        OSError: the directory is missing, or nothing can be written there.
    """
    path = Path(directory, f"{PREFIX}{name}")
    descriptor = _take(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, time.monotonic() + wait)
    try:
        yield
    finally:
        _give_back(path, descriptor)


def at_work(directory: str | os.PathLike[str]) -> int | None:
    """Mark a directory of one's own as worked on, until the descriptor is closed. None: somebody else has marked it.

    Raises:
        OSError: it is gone, or the file system has no locks.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _take(path: Path, kind: int, until: float) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _wait_for(descriptor, kind, until, path)
            if _is_still(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who held it before has deleted the file: others lock another one by now


def _wait_for(descriptor: int, kind: int, until: float, path: Path) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                what = path.name.removeprefix(PREFIX) or "the directory"
                raise TimeoutError(f"{what} has been changed by somebody else for too long: try again") from None
            time.sleep(random.uniform(0.5, 1.5) * _PAUSE_SECONDS)


def _give_back(path: Path, descriptor: int) -> None:
    """Delete the file if nobody shares the lock, then let go. A fork of this process may hold the descriptor too."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(path, descriptor):
            path.unlink()
    except OSError:  # others share it, or it cannot be deleted: it does no harm
        pass
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
