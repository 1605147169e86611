"""Trainings side by side, each in a process of its own with its share of the cores: ``metazoo train --jobs``.

Two trainings with a core each are done sooner than one after the other on two cores: hardly any of a training's work
can be shared among threads.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from typing import NamedTuple

from metazoo.cores import cores

THREADS = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"
PROGRAM = sys.executable, "-c", "from metazoo.cli import main; main()"


class Job(NamedTuple):
    """A call of ``metazoo``, and what its lines of output begin with."""

    name: str
    arguments: Sequence[str]


class Ended(NamedTuple):
    """Which job ended, with which exit code, and what it said last."""

    number: int
    code: int
    last: str


def side_by_side(jobs: Sequence[Job], most: int) -> Generator[Ended, None, None]:
    """Runs the jobs in their order, at most ``most`` at once, and gives each as it ends.

    What they print goes to standard error, every line with its job's name. A first Ctrl-C is passed on to the running
    jobs, which save what they have, and no further one is begun; a second one is passed on too, and they stop at once.
    If the generator is closed early, the running jobs are interrupted and waited for.
    """
    waiting, running = list(enumerate(jobs)), dict[int, subprocess.Popen]()
    ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
    share = {name: str(max(1, cores() // most)) for name in THREADS}
    try:
        while waiting or running:
            try:
                while waiting and len(running) < most:
                    number, job = waiting.pop(0)
                    running[number] = _begin(number, job, share, ended)
                done = ended.get()
            except KeyboardInterrupt:
                waiting.clear()
                _interrupt(running)
                continue
            del running[done.number]
            yield done
    finally:
        _interrupt(running)
        while running:
            del running[ended.get().number]


def _begin(number: int, job: Job, share: dict[str, str], ended: "queue.SimpleQueue[Ended]") -> subprocess.Popen:
    """Starts a job, out of reach of the terminal's Ctrl-C, which would otherwise come twice; and a thread that reads.

    Where this process dies, a job ends at the next line that it prints.
    """
    process = subprocess.Popen(
        [*PROGRAM, *job.arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, **share, "PYTHONUNBUFFERED": "1"},
    )

    def read() -> None:
        last = ""
        for line in process.stdout or ():
            if line := line.strip():
                last = line
                print(f"{job.name}: {line}", file=sys.stderr, flush=True)
        ended.put(Ended(number, process.wait(), last))

    threading.Thread(target=read, daemon=True).start()
    return process


def _interrupt(running: dict[int, subprocess.Popen]) -> None:
    for process in running.values():
        process.send_signal(signal.SIGINT)
