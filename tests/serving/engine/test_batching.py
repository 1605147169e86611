"""Concurrent calls share batches, and nobody can tell but by the clock."""

import asyncio
import threading
import time

import numpy as np
import pytest

from serving.engine import merging
from serving.engine.batch_parameters import Limits
from serving.engine.batching import QUEUE_FULL, Batcher
from serving.errors import Code, ServingError, invalid


class Double:
    """Doubles ``x [B, ...]``; refuses a batch with a negative value; notes the batches; can be held up."""

    def __init__(self):
        self.batches, self.threads, self.go, self.entered = [], [], threading.Event(), threading.Semaphore(0)
        self.go.set()

    def __call__(self, feeds, outputs, timeout_ms):
        self.batches.append(merging.row_count(feeds))
        self.threads.append(threading.get_ident())
        self.entered.release()
        assert self.go.wait(20)
        if np.any(feeds["x"] < 0):
            raise invalid("negative")
        answer = {"y": 2 * feeds["x"], "z": feeds["x"] + 1}
        return {name: answer[name] for name in outputs}


class Caller(threading.Thread):
    """One call in a thread of its own; ``result`` is what came of it."""

    def __init__(self, batcher, x, outputs=("y",), timeout_ms=0):
        super().__init__(daemon=True)
        self.arguments, self.batcher = ({"x": np.asarray(x, np.float32)}, outputs, timeout_ms), batcher
        self.start()

    def run(self):
        try:
            self.result = self.batcher(*self.arguments)
        except ServingError as error:
            self.result = error

    def joined(self):
        self.join(20)
        assert not self.is_alive()
        return self.result


def held_up(limits=None, merges=True):
    """A batcher whose only slot is taken by a call that waits for ``double.go``."""
    double = Double()
    double.go.clear()
    batcher = Batcher(double, limits or Limits(threads=1), merges)
    first = Caller(batcher, [[1.0]])
    assert double.entered.acquire(timeout=20)
    return double, batcher, first


def queue(batcher, *calls):
    """Callers that queue in this order."""
    callers = []
    for call in calls:
        before = len(batcher._queue)
        callers.append(Caller(batcher, *call))
        limit = time.monotonic() + 20
        while len(batcher._queue) == before:
            assert time.monotonic() < limit
            time.sleep(0.001)
    return callers


def test_a_lone_call_runs_at_once_in_its_own_thread():
    double = Double()
    answer = Batcher(double, Limits(), merges=True)({"x": np.ones((2, 3))}, ("y",), 0)
    np.testing.assert_array_equal(answer["y"], np.full((2, 3), 2))
    assert double.batches == [2] and double.threads == [threading.get_ident()]


def test_calls_that_queued_meanwhile_are_one_batch():
    double, batcher, first = held_up()
    callers = queue(batcher, ([[2.0], [3.0]],), ([[4.0]], ("z", "y")), ([[5.0]], ("z",)))
    double.go.set()
    np.testing.assert_array_equal(first.joined()["y"], [[2]])
    results = [{name: array.tolist() for name, array in caller.joined().items()} for caller in callers]
    assert results == [{"y": [[4], [6]]}, {"z": [[5]], "y": [[8]]}, {"z": [[6]]}]
    assert double.batches == [1, 4]
    assert double.threads[1] == callers[0].ident  # led by the one who waited longest


def test_only_equal_shapes_and_dtypes_meet_in_a_batch():
    double, batcher, _ = held_up()
    callers = queue(batcher, ([[2.0]],), ([[3.0, 4.0]],), (2.0,), ([[5.0]],), (np.zeros((0, 1)),))
    double.go.set()
    assert callers[2].joined()["y"].tolist() == 4
    assert callers[0].joined()["y"].tolist() == [[4]] and callers[3].joined()["y"].tolist() == [[10]]
    assert callers[1].joined()["y"].tolist() == [[6, 8]]
    assert callers[4].joined()["y"].shape == (0, 1)


def test_batches_are_not_larger_than_allowed():
    double, batcher, _ = held_up(Limits(threads=1, max_rows=3))
    callers = queue(batcher, ([[1.0], [1.0]],), ([[2.0], [2.0]],), ([[3.0]],), ([[4.0]] * 5,))
    double.go.set()
    assert [len(caller.joined()["y"]) for caller in callers] == [2, 2, 1, 5]
    assert double.batches == [1, 3, 2, 5]  # the third call filled up the first batch; the last is larger alone


def test_a_bad_call_in_a_batch_fails_alone():
    double, batcher, _ = held_up()
    callers = queue(batcher, ([[1.0]],), ([[-1.0]],), ([[3.0]],))
    double.go.set()
    first, bad, last = (caller.joined() for caller in callers)
    assert (first["y"].item(), last["y"].item(), bad.message) == (2, 6, "negative")
    assert double.batches == [1, 3, 1, 1, 1]


def test_calls_that_may_not_share_a_batch_do_not():
    double, batcher, _ = held_up(merges=False)
    callers = queue(batcher, ([[1.0]],), ([[2.0]],))
    double.go.set()
    assert [caller.joined()["y"].item() for caller in callers] == [2, 4]
    assert double.batches == [1, 1, 1]


def test_a_full_queue_refuses_at_once():
    double, batcher, _ = held_up(Limits(threads=1, max_queued_rows=3))
    callers = queue(batcher, ([[1.0]] * 2,), ([[1.0]],))
    with pytest.raises(ServingError, match=QUEUE_FULL) as caught:
        batcher({"x": np.ones((1, 1))}, ("y",), 0)
    assert caught.value.code is Code.UNAVAILABLE and caught.value.http_status == 503
    double.go.set()
    assert [len(caller.joined()["y"]) for caller in callers] == [2, 1]
    assert batcher({"x": np.ones((1, 1))}, ("y",), 0)["y"].item() == 2
    assert not batcher._queue and batcher._queued_rows == batcher._running == 0


def test_sixty_four_clients_of_256_rows_are_not_refused_by_default():
    double, batcher, _ = held_up(Limits(threads=1))
    callers = queue(batcher, *[([[float(number)]] * 256,) for number in range(64)])
    double.go.set()
    assert [caller.joined()["y"][-1].item() for caller in callers] == [2.0 * number for number in range(64)]


def test_a_call_past_its_deadline_is_not_computed():
    double, batcher, first = held_up()
    late, fine = queue(batcher, ([[1.0]], ("y",), 500), ([[2.0]], ("y",), 20_000))
    refused = late.joined()  # while the slot is still taken
    assert refused.code is Code.DEADLINE_EXCEEDED
    double.go.set()
    assert fine.joined()["y"].item() == 4 and first.joined()["y"].item() == 2
    assert double.batches == [1, 1]


def test_a_leader_that_gave_up_passes_its_slot_on():
    """The slot is given to the caller who waits longest at the very moment its deadline passes."""
    double, batcher, _ = held_up()
    leader, other = queue(batcher, ([[1.0]], ("y",), 1000), ([[2.0]],))
    batcher._queue[0].wake = lambda: None  # it is woken too late
    double.go.set()
    assert leader.joined().code is Code.DEADLINE_EXCEEDED
    assert other.joined()["y"].item() == 4
    assert batcher._running == 0


def test_calls_of_one_turn_of_an_event_loop_are_one_batch():
    double = Double()
    batcher = Batcher(double, Limits(threads=1), merges=True)

    async def main():
        calls = [batcher.start({"x": np.full((1, 2), number, np.float32)}, ("y",), 0) for number in range(9)]
        bad = batcher.start({"x": np.full((1, 2), -1, np.float32)}, ("y",), 0)
        return await asyncio.gather(*calls, bad, return_exceptions=True)

    *answers, bad = asyncio.run(main())
    assert [answer["y"][0, 0] for answer in answers] == [2 * number for number in range(9)]
    assert bad.message == "negative"
    assert double.batches == [10] + [1] * 10 and set(double.threads) == {threading.get_ident()}


def test_slow_batches_leave_the_event_loop():
    double = Double()
    batcher = Batcher(double, Limits(threads=1), merges=True)
    batcher._seconds = 1.0

    async def main():
        await batcher.start({"x": np.ones((1, 1))}, ("y",), 0)
        return threading.get_ident()

    assert asyncio.run(main()) not in double.threads


def test_event_loop_and_threads_share_the_queue():
    """A thread holds the slot; what the loop queued meanwhile is one batch when the slot is free."""
    double, batcher, first = held_up()

    async def main():
        calls = [asyncio.ensure_future(batcher.start({"x": np.full((1, 1), n)}, ("y",), 0)) for n in (1.0, 2.0)]
        while len(batcher._queue) < 2:
            await asyncio.sleep(0.001)
        double.go.set()
        return [answer["y"].item() for answer in await asyncio.gather(*calls)]

    assert asyncio.run(main()) == [2, 4]
    assert double.batches == [1, 2]
    first.joined()


def test_many_callers_all_get_their_own_answer():
    double, rng = Double(), np.random.default_rng(0)
    batcher = Batcher(double, Limits(threads=2, max_rows=16), merges=True)
    wrong, sizes = [], rng.integers(1, 6, (12, 60))

    def call(thread, number, rows):
        x = np.full((rows, 2), 1000 * thread + number, np.float32)
        bad = (thread + number) % 7 == 0
        return (-x if bad and number else x), bad and number > 0

    def check(x, bad, answer):
        good = isinstance(answer, ServingError) if bad else np.array_equal(answer["y"], 2 * x)
        if not good:
            wrong.append((x, answer))

    def blocking(thread):
        for number, rows in enumerate(sizes[thread]):
            x, bad = call(thread, number, rows)
            try:
                check(x, bad, batcher({"x": x}, ("y",), 30_000))
            except ServingError as error:
                check(x, bad, error)

    async def one(thread):
        for number, rows in enumerate(sizes[thread]):
            x, bad = call(thread, number, rows)
            try:
                check(x, bad, await batcher.start({"x": x}, ("y",), 30_000))
            except ServingError as error:
                check(x, bad, error)

    async def looping():
        await asyncio.gather(*(one(thread) for thread in range(6, 12)))

    threads = [threading.Thread(target=blocking, args=(thread,)) for thread in range(6)]
    threads.append(threading.Thread(target=lambda: asyncio.run(looping())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong
    assert not batcher._queue and batcher._queued_rows == batcher._running == 0


def test_a_fault_of_ours_does_not_leave_anybody_waiting():
    def broken(feeds, outputs, timeout_ms):
        raise ZeroDivisionError

    batcher = Batcher(broken, Limits(threads=1), merges=True)
    with pytest.raises(ZeroDivisionError):
        batcher({"x": np.ones((1, 1))}, ("y",), 0)
    assert batcher._running == 0
