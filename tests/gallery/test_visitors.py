"""Twenty visitors at a time: nobody is turned away, and whoever only wants actions hardly notices them."""

import http.client
import json
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

VISITORS = 20
SECONDS = 8.0
POLICIES = "maml_cartpole_goal", "rl2_navigation", "rl2_bandit_k5_n100"
ACT = json.dumps({"signature_name": "act", "instances": [[0.01, 0.02, 0.03, 0.04]]})


def ask(address, method, path, body=None):
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=120)
    connection.request(method, path, body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def visit(address, number, ended, answers):
    """What a browser asks for, as often as a person in a hurry: the page, a policy, its task, plays."""
    name = POLICIES[number % len(POLICIES)]
    while not ended.is_set():
        for path in ("/", "/gallery/page/style.css", "/gallery/policies", f"/gallery/policies/{name}"):
            answers.append(ask(address, "GET", path)[0])
        body = json.dumps({"policy": name, "task": None, "seed": number})
        answers.append(ask(address, "POST", "/gallery/play", body)[0])
        ended.wait(2.0)  # looking at it


def latencies(address, seconds):
    """Milliseconds of requests to act, one after another on one connection."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        connection.request("POST", "/v1/models/maml_cartpole:predict", ACT)
        assert connection.getresponse().read()
        taken.append(1e3 * (time.perf_counter() - start))
        time.sleep(0.002)
    connection.close()
    return np.array(taken)


@pytest.mark.slow
def test_twenty_visitors_fail_nothing_and_slow_nobody_down(gallery):
    for name in POLICIES:  # compiled before, as for all but the first visitor
        assert ask(gallery, "POST", "/gallery/play", json.dumps({"policy": name, "seed": 0}))[0] == 200
    latencies(gallery, 2.0)
    alone = latencies(gallery, SECONDS)
    answers, ended = [], threading.Event()
    visitors = [threading.Thread(target=visit, args=(gallery, i, ended, answers)) for i in range(VISITORS)]
    for visitor in visitors:
        visitor.start()
    time.sleep(1.0)
    beside = latencies(gallery, SECONDS)
    ended.set()
    for visitor in visitors:
        visitor.join()
    before, after = (np.percentile(one, (50, 99)) for one in (alone, beside))
    print(f"p50, p99 in ms: alone {before.round(2)}, beside {VISITORS} visitors {after.round(2)}")
    assert set(answers) == {200} and len(answers) > 5 * VISITORS
    assert after[1] <= 1.5 * before[1]
