"""A child process that is kept running: started again when it ends by itself, ended when we end."""

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from serving.logs import event

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
HEALTHY_SECONDS: Final = 60.0
"""A process that ran for so long is started again after the first pause."""
GRACE_SECONDS: Final = 10.0


class Supervisor:
    """Runs ``command``; its output goes where ours goes. ``prepare`` is called before each start."""

    def __init__(
        self, command: Sequence[str], first_pause: float = FIRST_PAUSE, prepare: Callable[[], None] = lambda: None
    ):
        self.command, self._first_pause, self._prepare = list(command), first_pause, prepare
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._stopping, self._restarting = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises OSError if the command cannot be started at all."""
        self._spawn()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of the running process; None between two of them."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def restart(self) -> None:
        """End the process; another one is started at once."""
        self._restarting.set()
        self._end(self._process)

    def stop(self) -> None:
        """End the process: politely, then by force. Safe to call twice."""
        with self._lock:  # no new process is being started
            self._stopping.set()
            process = self._process
        self._end(process)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _end(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            event(log, logging.WARNING, "the process did not end, it is killed", pid=process.pid)
            process.kill()
            process.wait()

    def _spawn(self) -> None:
        self._prepare()
        with self._lock:
            if not self._stopping.is_set():
                self._process = subprocess.Popen(self.command)
                event(log, logging.INFO, "process started", program=self.command[0], pid=self._process.pid)

    def _watch(self) -> None:
        pause = self._first_pause
        while self._process is not None:
            started = time.monotonic()
            code = self._process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > HEALTHY_SECONDS or self._restarting.is_set():
                pause = self._first_pause
            if self._restarting.is_set():
                self._restarting.clear()
            else:
                fields = {"program": self.command[0], "exit_code": code, "again_after_seconds": pause}
                event(log, logging.ERROR, "process ended by itself", **fields)
                if self._stopping.wait(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE)
            self.restarts += 1
            try:
                self._spawn()
            except OSError as error:  # the binary is being replaced: the ended process is waited for again, at once
                event(log, logging.ERROR, "process could not be started", error=error)
