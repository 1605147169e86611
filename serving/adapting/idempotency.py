"""Requests with an idempotency key are done once, however often they are sent (retries after a lost answer)."""

import contextlib
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import msgspec

from metazoo.artefact import locks
from metazoo.artefact.whole import write_whole
from serving.errors import Code, ServingError

REMEMBERED: Final = 10_000
FOLDER: Final = ".requests"

Answer = dict[str, Any]


class Idempotency:
    """Remembers the answers to the latest keyed requests. Thread-safe.

    With a ``directory``, the store of adapted policies, so do all servers on it together, and after a restart: an
    answer stands in a file there, under the hash of its key, and whoever works on a request holds the key's lock.
    """

    def __init__(self, remembered: int = REMEMBERED, directory: Path | None = None):
        self._remembered, self._lock = remembered, threading.Lock()
        self._answers: OrderedDict[str, tuple[str, Future[Answer]]] = OrderedDict()
        self._folder = None if directory is None else directory / FOLDER

    def once(self, key: str | None, digest: str, work: Callable[[], Answer]) -> Answer:
        """Do ``work``, or give what it gave before; whoever asks while it is being done waits. Errors are forgotten.

        Raises:
            ServingError: ALREADY_EXISTS if the key came with another request.
            OSError: nothing can be written in the store.
        """
        if key is None:
            return work()
        with self._lock:
            known, future = self._answers.get(key, (digest, None))
            if known != digest:
                raise used(key)
            mine = future is None
            if future is None:
                future = Future()
                self._answers[key] = digest, future
                while len(self._answers) > self._remembered:
                    self._answers.popitem(last=False)
        if not mine:
            return {**future.result(), "replayed": True}
        try:
            answer = self._once_on_the_store(key, digest, work)
        except BaseException as error:
            with self._lock:
                self._answers.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(answer)
        return answer

    def sweep(self) -> None:
        """Forget the oldest answers on the store, and locks that killed servers have left."""
        if self._folder is None or not self._folder.is_dir():
            return
        names = {path.name: path for path in self._folder.iterdir()}
        for name in [name.removeprefix(locks.PREFIX) for name in names if name.startswith(locks.PREFIX)]:
            with contextlib.suppress(OSError), locks.held(self._folder, name, wait=0.0):
                pass  # giving it back deletes the file
        answers = [path for name, path in names.items() if not name.startswith(locks.PREFIX)]
        surplus = len(answers) - self._remembered
        with contextlib.suppress(OSError):  # another server does the same
            for path in sorted(answers, key=lambda path: path.stat().st_mtime)[: max(0, surplus)]:
                path.unlink()

    def _once_on_the_store(self, key: str, digest: str, work: Callable[[], Answer]) -> Answer:
        if self._folder is None:
            return work()
        self._folder.mkdir(exist_ok=True)
        path = self._folder / hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        with locks.held(self._folder, path.name):
            known = _read(path)
            if known is not None and known["digest"] != digest:
                raise used(key)
            if known is not None:
                return {**known["answer"], "timings": {}, "replayed": True}
            answer = work()
            with contextlib.suppress(OSError):  # a full disk: the published version has the key too
                write_whole(path, msgspec.json.encode({"digest": digest, "answer": answer}))
            return answer


def _read(path: Path) -> dict[str, Any] | None:
    """What was remembered; None for nothing, and for half a file."""
    try:
        return msgspec.json.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def used(key: str) -> ServingError:
    return ServingError(Code.ALREADY_EXISTS, f"The Idempotency-Key {key!r} was used for another request")
