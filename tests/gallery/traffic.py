"""``python -m tests.gallery.traffic visitors|load ADDRESS``: visitors of a gallery, and a client that wants actions.

Each runs in a process of its own, so that neither holds the server's interpreter or the other's. They do what lines of
their standard input say, and answer each with a line of JSON.
"""

import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np

VISITORS = 20
POLICIES = "maml_cartpole_goal", "rl2_navigation", "rl2_bandit_k5_n100"
ACTING = "maml_cartpole"
LOOKING_SECONDS = 2.0
ACT = json.dumps({"signature_name": "act", "instances": [[0.01, 0.02, 0.03, 0.04]]})


def ask(address: str, method: str, path: str, body: str | None = None) -> int:
    """One request on a connection of its own; the answer's status."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=120)
    connection.request(method, path, body)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


class Visitors:
    """Twenty of them, each a thread: ``on`` lets them come, ``off`` waits until the last one has what it asked for."""

    def __init__(self, address: str):
        self._address, self._idle = address, threading.Semaphore(0)
        self._open, self._closed = threading.Event(), threading.Event()
        os.nice(19)  # visitors are other machines: what they compute must not be the server's loss
        self._answers: list[int] = []
        for number in range(VISITORS):
            threading.Thread(target=self._visit, args=(number,), daemon=True).start()

    def do(self, what: str) -> Any:
        if what == "on":
            self._closed.clear()
            self._open.set()
            return {}
        self._open.clear()
        self._closed.set()
        for _ in range(VISITORS):
            self._idle.acquire()
        answers, self._answers = self._answers, []
        return {str(status): answers.count(status) for status in set(answers)}

    def _visit(self, number: int) -> None:
        """What a browser asks for, as often as a person in a hurry: the page, the list, a policy, a play."""
        name = POLICIES[number % len(POLICIES)]
        while self._open.wait():
            while self._open.is_set():
                for path in ("/", "/gallery/page/style.css", "/gallery/policies", f"/gallery/policies/{name}"):
                    self._answers.append(ask(self._address, "GET", path))
                body = json.dumps({"policy": name, "task": None, "seed": number})
                self._answers.append(ask(self._address, "POST", "/gallery/play", body))
                self._closed.wait(LOOKING_SECONDS)
            self._idle.release()


class Load:
    """Requests to act, one after another on one connection, for as many seconds as it is told."""

    def __init__(self, address: str):
        place = urlsplit(address)
        self._connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)

    def do(self, seconds: str) -> Any:
        taken, end = [], time.perf_counter() + float(seconds)
        while time.perf_counter() < end:
            start = time.perf_counter()
            self._connection.request("POST", f"/v1/models/{ACTING}:predict", ACT)
            response = self._connection.getresponse()
            response.read()
            taken.append(1e3 * (time.perf_counter() - start))
            if response.status != 200:
                raise SystemExit(f"the server answered {response.status}")
            time.sleep(0.002)
        return [float(value) for value in np.percentile(taken, (50, 99))]


if __name__ == "__main__":
    kinds: dict[str, Callable[[str], Any]] = {"visitors": Visitors, "load": Load}
    actor = kinds[sys.argv[1]](sys.argv[2])
    for line in sys.stdin:
        print(json.dumps(actor.do(line.strip())), flush=True)
