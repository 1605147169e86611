"""Twenty visitors at a time: nobody is turned away, and whoever only wants actions hardly notices them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from metazoo.artefact.places import savedmodels_directory
from tests.command import COMMAND, environment
from tests.gallery.traffic import ACTING, POLICIES, VISITORS, ask

ROUNDS, SECONDS = 5, 3.0
SLOWER = 1.5


class Actor:
    """``tests.gallery.traffic`` in a process of its own."""

    def __init__(self, kind, address):
        command = [sys.executable, "-m", "tests.gallery.traffic", kind, address]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, **pipes, env=environment())

    def do(self, what):
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def served(tmp_path):
    """The address of ``metazoo serve`` for a few policies, with its gallery, as a user starts it."""
    (tmp_path / "models").mkdir()
    for name in {ACTING, *POLICIES}:
        os.symlink(savedmodels_directory() / name, tmp_path / "models" / name)
    command = [*COMMAND, "serve", "--models", tmp_path / "models", "--adapted", tmp_path / "adapted"]
    command += ["--rest-port", 0, "--grpc-port", 0]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([*map(str, command)], **pipes, env=environment()) as process:
        try:
            said = ""
            while not (found := re.search(r"http://[\w.]+:\d+", said)):
                said += process.stdout.readline()
            yield found[0]
            process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()


@pytest.mark.slow
def test_twenty_visitors_fail_nothing_and_slow_nobody_down(tmp_path):
    """With and without them by turns, so that whatever else the machine does falls on both."""
    with served(tmp_path) as address, contextlib.ExitStack() as open_:
        for name in POLICIES:  # compiled before, as for all but the first visitor
            assert ask(address, "POST", "/gallery/play", json.dumps({"policy": name, "seed": 0})) == 200
        load, visitors = Actor("load", address), Actor("visitors", address)
        open_.callback(load.close)
        open_.callback(visitors.close)
        load.do(2.0)
        ratios, answers = [], 0
        for _ in range(ROUNDS):
            alone = load.do(SECONDS)
            visitors.do("on")
            beside = load.do(SECONDS)
            said = visitors.do("off")
            assert set(said) == {"200"}, said
            answers += said["200"]
            ratios.append(beside[1] / alone[1])
            print(f"p50, p99 in ms: alone {np.round(alone, 2)}, beside {VISITORS} visitors {np.round(beside, 2)}")
        print(f"ratios of p99 {np.round(ratios, 2)}, median {np.median(ratios):.2f}, {answers} answers")
        assert answers >= 5 * VISITORS * ROUNDS
        assert np.median(ratios) <= SLOWER
