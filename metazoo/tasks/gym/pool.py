"""Worker processes with rows of environments, seen from the parent: started, timed, restarted, never left behind.

A worker that dies is started again and brought to where it was: environments are seeded, so replaying the actions of
its episodes restores them, and results do not depend on whether it happened. One that does not answer in time is ended,
and the error names what it was doing.
"""

import contextlib
import logging
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, final

import cloudpickle
import gymnasium as gym
import numpy as np

from metazoo.artefact.spaces import CollectionError
from metazoo.cores import cores
from metazoo.tasks.gym.board import Board, Layout
from metazoo.tasks.gym.rows import Recipe, SteppedRows, describe_task, rows_for
from metazoo.tasks.gym.worker import Channel

_log = logging.getLogger(__name__)
STARTING_SECONDS = 120.0
"""Python, NumPy and Gymnasium are imported, on a busy machine."""
CLOSING_SECONDS = 2.0
SPINNING_SECONDS = 0.005
"""How long processes that have a core each look for a message before they sleep: a policy's step, and more."""

Tasks = Sequence[Mapping[str, Any]]


@final
class Pool:
    """``count`` workers that share the rows of one board, with this process if it is to ``join`` in.

    Raises (from every method):
        CollectionError: an environment did something unusable, or did not answer within ``time_limit`` seconds; names
            it, its task and the step. The pool is closed then.
    """

    def __init__(self, recipe: Recipe, layout: Layout, count: int, time_limit: float, join: bool = False):
        if os.name != "posix":
            raise CollectionError("worker processes need Linux or macOS; use workers=0, which steps in this process")
        self._recipe, self._layout, self._time_limit = recipe, layout, time_limit
        self._memory = _anonymous_file(layout.size)
        self.board = Board.on(mmap.mmap(self._memory, layout.size), layout)
        self._spin = SPINNING_SECONDS if join and count < cores() else 0.0
        spec = gym.registry.get(recipe.make) if isinstance(recipe.make, str) else None
        self._setup = sys.path, cloudpickle.dumps((recipe, layout, spec, self._spin))
        self._workers: list[_Worker] = []
        self._history: list[tuple[np.ndarray, np.ndarray]] = []
        self._own = rows_for(recipe) if join else None
        self._part = self.board.part(0, 0)
        self.close = weakref.finalize(self, _shut_down, self._workers, self._memory, self._own)  # also at Python's end
        for number in range(count):
            self._workers.append(_Worker(number, self._memory, self._spin))
        self._attempt([(worker, self._setup, STARTING_SECONDS) for worker in self._workers])

    @property
    def processes(self) -> list[int]:
        """The workers' process ids."""
        return [worker.process.pid for worker in self._workers]

    def begin(self, tasks: Tasks, seeds: np.ndarray) -> None:
        """Begin an episode in the first ``len(tasks)`` rows of the board."""
        self._history.clear()
        shares = len(self._workers) + (self._own is not None)
        edges = np.linspace(0, len(tasks), shares + 1).round().astype(int).tolist()
        for worker, start, stop in zip(self._workers, edges, edges[1:], strict=False):
            worker.begin = (start, stop, tasks[start:stop], seeds[start:stop].tolist())
        busy = [worker for worker in self._workers if worker.begin[0] < worker.begin[1]]
        first = edges[len(self._workers)]
        self._part = self.board.part(first, len(tasks))
        mine = self._part, tasks[first:], seeds[first:].tolist()
        meanwhile = partial(self._own.begin, *mine) if self._own and first < len(tasks) else None
        self._attempt([(worker, worker.begin, self._time_limit) for worker in busy], meanwhile)

    def step(self) -> None:
        """Move the board's playing rows by its actions."""
        busy = [worker for worker in self._workers if self.board.playing[slice(*worker.begin[:2])].any()]
        meanwhile = partial(self._own.step, self._part) if self._own and self._part.playing.any() else None
        self._attempt([(worker, None, self._time_limit) for worker in busy], meanwhile)
        self._history.append((self.board.actions.copy(), self.board.playing.copy()))

    def _attempt(self, orders: list[tuple["_Worker", Any, float]], meanwhile: Callable[[], None] | None = None) -> None:
        """Give every worker its order, do what is to be done ``meanwhile``, then wait for all.

        The dead are restarted, once for each order.
        """
        try:
            for worker, message, _ in orders:
                with contextlib.suppress(OSError):  # a dead worker is found when its answer is awaited
                    worker.channel.send(message)
            if meanwhile:
                meanwhile()
            for worker, message, seconds in orders:
                try:
                    self._await(worker, seconds)
                except OSError:
                    self._bring_back(worker, message)
        except BaseException:  # Ctrl-C too: answers that nobody waited for would be taken for later ones
            self.close()
            raise

    def _await(self, worker: "_Worker", seconds: float) -> None:
        try:
            sentence = worker.channel.receive(seconds)
        except TimeoutError:
            raise CollectionError(
                f"{self._about(worker)} did not answer within {seconds:g} seconds and was ended"
            ) from None
        if sentence is not None:
            raise CollectionError(sentence)

    def _bring_back(self, worker: "_Worker", message: Any) -> None:
        status = worker.end()
        _log.warning(
            "%s died with exit status %s; it is started again and replays its episodes.", self._about(worker), status
        )
        try:
            self._restart(worker, message)
        except OSError:
            status = worker.end()
            raise CollectionError(f"{self._about(worker)} died twice, with exit status {status}") from None

    def _restart(self, worker: "_Worker", message: Any) -> None:
        """A new process in the place of a dead one, brought to where that was. Raises OSError if it dies again."""
        now = self.board.actions.copy(), self.board.playing.copy()
        worker.start(self._memory)
        orders: list[tuple[Any, float]] = [(self._setup, STARTING_SECONDS)]
        orders += [] if message is self._setup else [(worker.begin, self._time_limit)]
        for order, seconds in orders:
            worker.channel.send(order)
            self._await(worker, seconds)
        part = slice(*worker.begin[:2])
        for actions, playing in [*self._history, now] if message is None else []:
            self.board.actions[part], self.board.playing[part] = actions[part], playing[part]
            worker.channel.send(None)
            self._await(worker, self._time_limit)

    def _about(self, worker: "_Worker") -> str:
        """The worker and what it is doing, as errors name it."""
        start, stop, tasks, _ = worker.begin
        doing = "starting"
        if tasks:
            row = min(int(self.board.current[start]), stop - start - 1)
            doing = (
                f"at step {len(self._history)} of {len(tasks)} episodes, in the one with {describe_task(tasks[row])}"
            )
        return f"worker {worker.number} of {self._recipe.name} ({doing})"


@final
class _Worker:
    """One process, the rows it has (``begin``: first, last + 1, their tasks and seeds), and the line to it."""

    def __init__(self, number: int, memory: int, spin: float):
        self.number, self.spin = number, spin
        self.begin: tuple[int, int, Tasks, list[int]] = (0, 0, (), [])
        self.start(memory)

    def start(self, memory: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "metazoo.tasks.gym.worker", *map(str, (theirs.fileno(), memory, os.getpid()))],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what environments print must not get between what the parent does
                pass_fds=(theirs.fileno(), memory),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self.channel = Channel(ours, self.spin)

    def end(self, patience: float = 0.0) -> int:
        """Ends the process: politely by closing the line, after ``patience`` seconds by force. Its exit status."""
        self.channel.close()
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _shut_down(workers: list[_Worker], memory: int, own: SteppedRows | None) -> None:
    for worker in workers:
        worker.channel.close()
    for number, worker in enumerate(workers):
        worker.end(0.0 if number else CLOSING_SECONDS)
    os.close(memory)
    if own:
        own.close()


def _anonymous_file(size: int) -> int:
    """A file descriptor of ``size`` bytes of memory that has no name, so nothing is left when all users are gone."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("metazoo")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor
