"""Repeated measurements by the wall clock, on given processor cores."""

import os
import time
from collections.abc import Callable
from typing import Any, Final

SECONDS: Final = 6.0
"""How long a measurement repeats what it times."""

_CORES: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []


def cores() -> int:
    """How many this process was started on."""
    return len(_CORES) or os.cpu_count() or 1


def stay_on(cores: int) -> None:
    """Keep this process, and those it starts, on that many cores: the last that it was started on."""
    if _CORES:
        os.sched_setaffinity(0, _CORES[-cores:])


def take_turns(*actions: Callable[[], Any], seconds: float = SECONDS, least: int = 5) -> list[list[float]]:
    """Times of each action in seconds, ``least`` or more of each, for about ``seconds`` in all.

    They take turns, so that whatever else the machine does slows all of them alike.
    """
    times: list[list[float]] = [[] for _ in actions]
    end = time.perf_counter() + seconds
    while len(times[-1]) < least or time.perf_counter() < end:
        for action, taken in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            taken.append(time.perf_counter() - start)
    return times
