"""What is going on, on standard error: bars on a terminal, a line now and then elsewhere.

The work says its stages with ``stage``; nothing is shown unless a command has asked for it with ``shown``. Standard
library only, but for bars, which are Rich's.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

EVERY: Final = 10.0
"""Seconds between two lines where no terminal shows bars."""

Advance = Callable[[int], None]
"""Says that so many more are done."""


class Board(Protocol):
    """Where stages are shown."""

    def begin(self, what: str, total: int | None, done: int) -> Any:
        """A new stage, inside of those that have begun; what is returned names it."""

    def advance(self, stage: Any, count: int) -> None:
        """So many more of it are done."""

    def end(self, stage: Any) -> None:
        """It is over."""


_board: Board | None = None


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Within it, the stages of this process are shown."""
    global _board
    if _board is not None:
        yield
        return
    with _bars() if sys.stderr.isatty() else _Lines() as board:
        _board = board
        try:
            yield
        finally:
            _board = None


@contextlib.contextmanager
def stage(what: str, total: int | None = None, done: int = 0) -> Iterator[Advance]:
    """A part of the work, such as ``maml_cartpole, test tasks``, of which ``total`` are to be done."""
    board = _board
    if board is None:
        yield lambda count: None
        return
    begun = board.begin(what, total, done)
    try:
        yield lambda count: board.advance(begun, count)
    finally:
        board.end(begun)


def say(text: str) -> None:
    """A line on standard error, if anybody can hear it: work must not end because its terminal did."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


class _Stage:
    def __init__(self, what: str, total: int | None, done: int):
        self.what, self.total, self.done, self.before = what, total, done, done
        self.began = time.monotonic()

    def text(self) -> str:
        return self.what if self.total is None else f"{self.what} {self.done:,} of {self.total:,}"

    def left(self) -> str:
        """How long it will take, once something is done."""
        made, taken = self.done - self.before, time.monotonic() - self.began
        return f", {_clock(taken * (self.total - self.done) / made)} left" if self.total and made else ""


class _Lines(contextlib.AbstractContextManager[Board]):
    """Every ``EVERY`` seconds a line with the stages that are going on, from the outermost to the innermost."""

    def __init__(self) -> None:
        self._stages: list[_Stage] = []
        self._over, self._began = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def begin(self, what: str, total: int | None, done: int) -> _Stage:
        stage = _Stage(what, total, done)
        self._stages.append(stage)
        if len(self._stages) == 1:
            self._say(what)
        return stage

    def advance(self, stage: _Stage, count: int) -> None:
        stage.done += count

    def end(self, stage: _Stage) -> None:
        self._stages.remove(stage)

    def _tell(self) -> None:
        while not self._over.wait(EVERY):
            if stages := list(self._stages):
                outermost = next((one.left() for one in stages if one.left()), "")
                self._say(f"{', '.join(stage.text() for stage in stages)}{outermost}")

    def _say(self, text: str) -> None:
        say(f"{_clock(time.monotonic() - self._began)}  {text}")

    def __enter__(self) -> Board:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def _bars() -> Iterator[Board]:
    """Rich's bars, one for each stage; they are gone when the work is."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    options = {"console": Console(stderr=True), "transient": True, "redirect_stdout": False}
    with Progress(*columns, Left(), **options) as bars:  # type: ignore[arg-type]
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Any):
        self._bars = bars

    def begin(self, what: str, total: int | None, done: int) -> Any:
        return self._bars.add_task(what, total=total, completed=done)

    def advance(self, stage: Any, count: int) -> None:
        self._bars.advance(stage, count)

    def end(self, stage: Any) -> None:
        self._bars.remove_task(stage)


@contextlib.contextmanager
def native_log_hidden() -> Iterator[None]:
    """Nothing on standard error: what libraries write there past Python, whatever their log level is."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
