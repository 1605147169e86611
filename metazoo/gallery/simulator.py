"""The worker process as the server has it: started when it is needed, asked one thing at a time, never waited for
long."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, final

WAITING: Final = 64
"""Requests that wait; the next one is refused."""
SECONDS: Final = 120.0
"""An answer that takes longer is given up, and the process with it."""
IDLE_SECONDS: Final = 900.0
"""After so long without a request the process gives its memory back."""
QUIET: Final = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
"""One core at most, and no word of it."""

Answer = tuple[int, bytes]
"""HTTP's status, and a JSON document."""


class BusyError(Exception):
    """Too many wait already."""


@final
class Simulator:
    """Asks ``metazoo.gallery.worker``. All methods may be called from any thread; after ``close`` nothing starts."""

    def __init__(self, waiting: int = WAITING, seconds: float = SECONDS, idle_seconds: float = IDLE_SECONDS):
        self._waiting, self._seconds, self._idle_seconds, self._pending = waiting, seconds, idle_seconds, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gallery")
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._closed, self._starting = threading.Lock(), False, False

    async def ask(self, request: Mapping[str, Any]) -> Answer:
        """What the worker answers; it is started if it does not run, and again if it was lost.

        Raises:
            BusyError: more than ``waiting`` requests wait.
        """
        if self._pending >= self._waiting:
            raise BusyError
        self._pending += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(self._asked, dict(request)))
        finally:
            self._pending -= 1

    def start(self) -> None:
        """Begin to start the worker and what it imports, without waiting for it."""
        if self._process is None and not self._starting:
            self._starting = True
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._thread.submit(self._asked, {"job": "prepare"})

    def close(self) -> None:
        """End the worker; whoever waits for it is told that it is gone."""
        self._closed = True
        self._stop()
        self._thread.shutdown(cancel_futures=True)
        self._stop()

    def _asked(self, request: dict[str, Any]) -> Answer:
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(self._seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        status, _, document = line.rstrip(b"\n").partition(b" ")
        if not document:  # it was killed, by us or by somebody else
            self._stop()
            return 503, json.dumps({"error": "The simulator ended before it answered: try again."}).encode()
        return int(status), document

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            self._starting = False
            if self._process is None or self._process.poll() is not None:
                if self._closed:
                    raise BusyError
                command = [sys.executable, "-P", "-m", "metazoo.gallery.worker", str(self._idle_seconds)]
                paths = os.pathsep.join([path for path in sys.path if path])
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, **QUIET, "PYTHONPATH": paths},
                    start_new_session=True,  # Ctrl-C is the server's, which ends this in its own time
                )
            return self._process

    def _stop(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()
            process.wait()
