"""Workers on Ray: begun, asked, and replaced where they die or hang.

A call is a function of its arguments, so whoever answers it, and however often it is asked, the answer is the same. A
worker that dies leaves its calls to the others, and a new one takes its place when the cluster has room for it.
"""

import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import cloudpickle
import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayTaskError

from metazoo import progress
from metazoo.distributed.actor import Worker
from metazoo.words import count

LOST: tuple[type[Exception], ...] = (RayActorError, ObjectLostError, GetTimeoutError)
"""What Ray says of a call whose worker, or whose answer, is gone."""
PATIENCE = 1800.0
"""Seconds in which a worker must begin, and answer what it has to compile first, on a busy machine."""
DEATHS = 20
"""So many workers in a row that die before any call is answered are no accident."""


class WorkersLostError(RuntimeError):
    """Workers die as soon as they are begun, or none can be begun."""


class Call(NamedTuple):
    """Which of the calls asked at once, and who was asked."""

    number: int
    worker: int


@final
class RayWorkers:
    """``most`` workers, each with ``threads`` cores of the cluster; as a context, they are gone afterwards.

    ``time_limit``: seconds after which a worker is replaced that does not answer what it has answered before.

    Raises (from ``ask``):
        WorkersLostError: see there. What the work itself raises comes as it was raised.
    """

    def __init__(self, recipe: Any, most: int, threads: int, time_limit: float):
        self._setup = cloudpickle.dumps(recipe), threads, os.getcwd()
        self._most, self._threads, self._time_limit = most, threads, time_limit
        self._actors: dict[int, Any] = {}
        self._beginning: dict[Any, int] = {}
        """What a new worker's first answer is awaited by → its number."""
        self._heard: dict[int, float] = {}
        self._method, self._known = "", set[tuple[int, str]]()
        """What is asked, and which workers have answered what: the first time they compile it."""
        self._deaths = 0

    def __enter__(self) -> "RayWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._actors):
            self._end(number)

    def put(self, value: Any) -> Any:
        return ray.put(value)

    def ask(self, method: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers in the calls' order; call ``i`` goes to the worker that had call ``i`` before, if it lives."""
        answers: dict[int, Any] = {}
        asked: dict[Any, Call] = {}
        waiting = list(range(len(calls)))
        self._method = method
        while len(answers) < len(calls):
            self._begin_missing()
            for worker, numbers in self._assigned(waiting, len(calls), asked).items():
                for number in numbers:
                    asked[self._actors[worker].ask.remote(method, numbers, *calls[number])] = Call(number, worker)
                self._heard.setdefault(worker, time.monotonic())
            waiting = [] if self._ready else waiting
            waiting += self._await(asked, answers)
        return [answers[number] for number in range(len(calls))]

    @property
    def _ready(self) -> list[int]:
        """The workers that can be asked."""
        return [number for number in self._actors if number not in self._beginning.values()]

    def _begin_missing(self) -> None:
        for number in range(self._most):
            if number not in self._actors:
                actor = Worker.options(num_cpus=self._threads).remote()
                self._actors[number] = actor
                self._beginning[actor.begin.remote(*self._setup)] = number
                self._heard[number] = time.monotonic()

    def _assigned(self, waiting: list[int], calls: int, asked: dict[Any, Call]) -> dict[int, list[int]]:
        """Which worker is asked for which calls: for its own; where theirs is not there, the one with the fewest."""
        ready, busy = self._ready, Counter(call.worker for call in asked.values())
        assigned: dict[int, list[int]] = {}
        for number in waiting if ready else ():
            own = number * self._most // calls
            worker = own if own in ready else min(ready, key=lambda one: (busy[one], one))
            busy[worker] += 1
            assigned.setdefault(worker, []).append(number)
        return assigned

    def _await(self, asked: dict[Any, Call], answers: dict[int, Any]) -> list[int]:
        """Waits for something to happen; the calls that must be asked again."""
        refs = [*asked, *self._beginning]
        last = min(map(self._limit_of, self._heard))  # whoever is asked, or begins, is there
        ready, _ = ray.wait(refs, num_returns=1, timeout=max(0.0, last - time.monotonic()))
        again: list[int] = []
        for ref in ready:
            if ref in self._beginning:
                self._begun(ref)
                continue
            call = asked.get(ref)
            if call is None:  # of a worker that was lost a moment ago
                continue
            try:
                answers[call.number] = ray.get(ref, timeout=self._time_limit)
            except LOST as error:
                again += self._lost(call.worker, asked, _why(error))
            except RayTaskError as error:
                raise error.cause from None
            else:
                del asked[ref]
                self._deaths = 0
                self._known.add((call.worker, self._method))
                self._heard[call.worker] = time.monotonic()
                if all(other.worker != call.worker for other in asked.values()):
                    self._heard.pop(call.worker, None)
        return again + self._late(asked)

    def _begun(self, ref: Any) -> None:
        number = self._beginning[ref]
        try:
            ray.get(ref)
        except LOST as error:
            self._lost(number, {}, _why(error))
            return
        except RayTaskError as error:
            raise error.cause from None
        del self._beginning[ref]
        self._heard.pop(number, None)

    def _late(self, asked: dict[Any, Call]) -> list[int]:
        """Replaces the workers that have not answered in time; their calls."""
        now, again = time.monotonic(), list[int]()
        for worker in [number for number in self._heard if now >= self._limit_of(number)]:
            if worker in self._beginning.values() and self._ready:
                self._heard[worker] = now  # the cluster has no room yet, and the others work
            elif worker in self._beginning.values():
                raise WorkersLostError(
                    f"no worker could be begun within {PATIENCE:g} seconds; the cluster has"
                    f" {ray.cluster_resources().get('CPU', 0):g} cores, and a worker needs {self._threads}."
                )
            else:
                again += self._lost(worker, asked, f"it did not answer within {self._time_limit:g} seconds")
        return again

    def _limit_of(self, worker: int) -> float:
        """By when it must answer."""
        seconds = self._time_limit if (worker, self._method) in self._known else max(PATIENCE, self._time_limit)
        return self._heard[worker] + seconds

    def _lost(self, worker: int, asked: dict[Any, Call], why: str) -> list[int]:
        """Ends a worker; the calls that it leaves behind."""
        self._deaths += 1
        left = [ref for ref, call in asked.items() if call.worker == worker]
        numbers = [asked.pop(ref).number for ref in left]
        self._end(worker)
        if self._deaths >= DEATHS:
            raise WorkersLostError(f"{count(self._deaths, 'worker')} in a row were lost; of the last: {why}.")
        progress.say(f"A worker was lost ({why}); what is computed again: {count(len(numbers), 'share')}.")
        return numbers

    def _end(self, number: int) -> None:
        ray.kill(self._actors.pop(number))
        self._heard.pop(number, None)
        self._known = {(worker, method) for worker, method in self._known if worker != number}
        self._beginning = {ref: other for ref, other in self._beginning.items() if other != number}


def _why(error: Exception) -> str:
    """Ray's reason, its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
