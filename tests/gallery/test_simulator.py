"""The process that plays: it answers, it is replaced when it dies, and it never outlives the server."""

import asyncio
import json
import os
import time

import pytest

from metazoo.artefact.places import savedmodels_directory
from metazoo.artefact.store import latest
from metazoo.gallery.simulator import BusyError, Simulator

VERSION = str(latest(savedmodels_directory() / "maml_cartpole"))


@pytest.fixture(scope="module")
def simulator():
    made = Simulator(waiting=3)
    yield made
    made.close()


def ask(simulator, *requests):
    async def all_of_them():
        return await asyncio.gather(*(simulator.ask(one) for one in requests), return_exceptions=True)

    return asyncio.run(all_of_them())


def is_running(process):
    return process.poll() is None


@pytest.mark.slow  # TensorFlow once more; the tests in a browser ask for the same
def test_it_answers_and_says_what_is_wrong_with_a_request(simulator):
    (answer,) = ask(simulator, {"job": "describe", "version": VERSION})
    assert answer[0] == 200
    assert json.loads(answer[1])["family"] == "cartpole"
    (answer,) = ask(simulator, {"job": "describe", "version": "/nowhere"})
    assert answer[0] == 400
    assert "/nowhere" in json.loads(answer[1])["error"]


def test_what_it_cannot_do_is_an_error_and_it_goes_on(simulator):
    for _ in range(2):
        (answer,) = ask(simulator, {"job": "dance"})
        assert (answer[0], json.loads(answer[1])["error"]) == (500, "KeyError: 'dance'")


def test_it_works_behind_everything_else(simulator):
    assert os.getpriority(os.PRIO_PROCESS, simulator._process.pid) == 10


def test_more_than_may_wait_are_refused_at_once(simulator):
    answers = ask(simulator, *[{"job": "dance"}] * 5)
    assert [isinstance(one, BusyError) for one in answers] == [False] * 3 + [True] * 2


def test_who_kills_it_gets_another(simulator):
    simulator._process.kill()
    simulator._process.wait()
    (answer,) = ask(simulator, {"job": "dance"})
    assert answer[0] == 500  # by the next one: this was asked of a process that lives


def test_what_takes_too_long_is_given_up():
    made = Simulator(seconds=0.3)
    try:
        start = time.monotonic()
        (answer,) = ask(made, {"job": "describe", "version": VERSION})  # it has not even imported TensorFlow by then
        assert time.monotonic() - start < 5
        assert answer[0] == 503
        assert made._process is None
    finally:
        made.close()


def test_when_nobody_asks_any_more_it_ends_and_another_comes_when_somebody_does():
    made = Simulator(idle_seconds=0.05)
    try:
        assert ask(made, {"job": "dance"})[0][0] == 500
        first = made._process
        assert first.wait(20) == 0
        assert ask(made, {"job": "dance"})[0][0] == 500
        assert made._process is not first
    finally:
        made.close()


def test_closing_ends_it():
    made = Simulator()
    made.start()
    while made._process is None:
        time.sleep(0.01)
    process = made._process
    made.close()
    assert not is_running(process)
    with pytest.raises(RuntimeError):
        asyncio.run(made.ask({"job": "dance"}))
