"""Trainings side by side, each in a process of its own with its share of the cores: ``metazoo train --jobs``.

Two trainings with a core each are done sooner than one after the other on two cores: hardly any of a training's work
can be shared among threads.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple, Self, final

from metazoo.cores import core_numbers

THREADS = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"
PROGRAM = "from metazoo.training.jobs import enter; enter(); from metazoo.cli.main import main; main()"
REASON = "metazoo: "
"""What the program's last line begins with where it fails."""
INTERRUPTED = 130
ASKING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
WATCH_SECONDS = 0.5


class Job(NamedTuple):
    """A call of ``metazoo``, and what its lines of output begin with."""

    name: str
    arguments: Sequence[str]


class Ended(NamedTuple):
    """Which job ended, with which exit code (that of a signal negative), and why it failed, if it said so."""

    number: int
    code: int
    reason: str


@final
class Jobs:
    """Runs jobs in their order, at most ``most`` at once; iterating gives each as it ends.

    As a context it listens for Ctrl-C, SIGTERM and SIGHUP: the first is passed on to the running jobs, which save what
    they have, and the others are not begun (exit code 130); so is the second, which ends them at once; a third kills
    them. Left early, it asks them to end and waits for them. Their output goes to standard error, every line after its
    job's name.
    """

    def __init__(self, jobs: Sequence[Job], most: int):
        self._jobs, self._waiting = jobs, deque(range(len(jobs)))
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._shares = _shares(max(1, min(most, len(jobs))))
        self._share_of: dict[int, list[int]] = {}
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._asked, self._writing = 0, threading.Lock()
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        with contextlib.suppress(ValueError):  # not in the main thread: signals are not ours to handle
            for number in ASKING:
                self._handlers[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        if not self._asked:
            self._ask()
        while self._running:
            self._next()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def __iter__(self) -> Iterator[Ended]:
        while self._waiting or self._running:
            while self._waiting and self._shares and not self._asked:
                self._begin(self._waiting.popleft())
            if self._asked:
                yield from (Ended(number, INTERRUPTED, "") for number in self._waiting)
                self._waiting.clear()
            if self._running:
                yield self._next()

    def _next(self) -> Ended:
        ended = self._ended.get()
        del self._running[ended.number]
        self._shares.append(self._share_of.pop(ended.number))
        return ended

    def _ask(self, number: int | None = None, frame: FrameType | None = None) -> None:
        self._asked += 1
        for process in list(self._running.values()):
            process.send_signal(signal.SIGINT if self._asked < 3 else signal.SIGKILL)

    def _begin(self, number: int) -> None:
        """Starts a job in a session of its own: the terminal's Ctrl-C would come twice. A thread reads what it says."""
        asked, share = self._asked, self._shares.pop(0)
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(os.getpid()), ",".join(map(str, share)), *self._jobs[number].arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**dict.fromkeys(THREADS, str(len(share))), **os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._running[number], self._share_of[number] = process, share
        if self._asked > asked:  # while it was being started
            process.send_signal(signal.SIGINT)
        threading.Thread(target=self._read, args=(number, process), daemon=True).start()

    def _read(self, number: int, process: subprocess.Popen[str]) -> None:
        reason = ""
        for line in process.stdout or ():
            if line := line.strip():
                reason = line.removeprefix(REASON) if line.startswith(REASON) else reason
                # a closed standard error is no reason to let the pipe fill up
                with self._writing, contextlib.suppress(OSError, ValueError):
                    sys.stderr.write(f"{self._jobs[number].name}: {line}\n")
                    sys.stderr.flush()
        self._ended.put(Ended(number, process.wait(), reason))


def enter() -> None:
    """In a job's process, before all else: takes the parent's number and the share of the cores from ``sys.argv``.

    Where the parent dies, the job is interrupted as if by Ctrl-C: it saves and ends, instead of going on unseen while
    the same run is resumed elsewhere.
    """
    parent, share = int(sys.argv.pop(1)), sys.argv.pop(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs started with & inherit a deaf one
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, map(int, share.split(",")))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # nobody reads them, so writing would fail
        os.dup2(nowhere, stream)
    os.kill(os.getpid(), signal.SIGINT)


def _shares(number: int) -> list[list[int]]:
    """The cores in so many parts of about one size; with fewer cores than parts, one each in turn."""
    every = core_numbers()
    if len(every) < number:
        return [[every[part % len(every)]] for part in range(number)]
    cuts = [round(part * len(every) / number) for part in range(number + 1)]
    return [every[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False)]
