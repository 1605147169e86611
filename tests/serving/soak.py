"""Mixed load for a long time, with policies published meanwhile: ``python -m tests.serving.soak --minutes 30``.

Prints one JSON document: requests by kind, failures, resident memory and open descriptors over time, and the slowest
1 % of the answers. The server is a process of its own, so that only it is measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from metazoo import savedmodels_directory
from serving.client import Client
from serving.errors import ServingError

POLICY = "maml_cartpole"
TASKS = 20
SETTLING = 1 / 6
"""Of the time: memory is compared from there on (the first 5 of 30 minutes)."""


@contextmanager
def served(models: Path, adapted: Path) -> Iterator[tuple[int, str, str]]:
    """The process id, the REST and the gRPC address of a server process."""
    command = [sys.executable, "-m", "metazoo.cli.main", "serve", "--rest-port", "0", "--grpc-port", "0"]
    command += ["--models", str(models), "--adapted", str(adapted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            rest, grpc = (server.stdout.readline().split()[1] for _ in range(2))
            threading.Thread(target=server.stdout.read, daemon=True).start()
            yield server.pid, rest, grpc
        finally:
            server.terminate()
            server.wait(60)


class Load:
    """Threads that ask without pause; counts what they got."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.seconds: list[float] = []
        self._stop, self._threads = threading.Event(), []  # type: ignore[var-annotated]

    def add(self, kind: str, ask: Callable[[int], Any], pause: float = 0.0) -> None:
        def run() -> None:
            number = 0
            while not self._stop.wait(pause):
                start = time.perf_counter()
                try:
                    ask(number)
                    self.counts[kind] += 1
                    self.seconds.append(time.perf_counter() - start)
                except Exception as error:  # noqa: BLE001
                    self.failures.append(f"{kind}: {type(error).__name__}: {error}")
                number += 1

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def soak(seconds: float, publish_every: float = 2.0, models: Path | None = None) -> dict[str, Any]:
    """Run the load. ``publish_every``: seconds between adaptations."""
    with (
        tempfile.TemporaryDirectory() as directory,
        served(models or savedmodels_directory(), Path(directory)) as (pid, rest, grpc),
    ):
        clients = [Client(rest), Client(f"grpc://{grpc}"), Client(rest), Client(rest)]
        episodes = recorded(clients[0])
        row = np.zeros((1, 4), np.float32)
        clients[0].adapt_to(POLICY, episodes, "t0")
        load = Load()

        def act(client: Client) -> Callable[[int], Any]:
            return lambda number: client.predict(POLICY, {"observations": row}, "act")

        def act_adapted(number: int) -> None:
            client = clients[number % 2]
            try:
                client.predict(f"{POLICY}-t{number % TASKS}", {"observations": np.repeat(row, 4, 0)}, "act")
            except ServingError as error:
                if error.code.name != "NOT_FOUND":  # not adapted yet
                    raise

        load.add("rest", act(clients[0]), 0.001)
        load.add("grpc", act(clients[1]), 0.001)
        load.add("adapted policies", act_adapted, 0.001)
        load.add("large", lambda n: clients[2].predict(POLICY, {"observations": np.repeat(row, 256, 0)}, "act"), 0.01)
        load.add("status", lambda number: (clients[2].status(POLICY), clients[1].status(POLICY)), 0.05)
        load.add("adapt", lambda n: clients[3].adapt_to(POLICY, episodes, f"t{n % TASKS}"), publish_every)
        samples = watch(pid, seconds)
        load.stop()
        for client in clients:
            client.close()
    return report(load, samples)


def recorded(client: Client) -> Any:
    import gymnasium as gym

    with gym.make("CartPole-v1") as env:
        return client.play(POLICY, env, 3, seed=0).episodes


def watch(pid: int, seconds: float) -> list[tuple[float, int, int]]:
    """(seconds since the start, resident bytes, open descriptors), some sixty times."""
    start, samples = time.monotonic(), []
    while (now := time.monotonic() - start) < seconds:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        samples.append((round(now, 1), resident, len(os.listdir(f"/proc/{pid}/fd"))))
        time.sleep(min(seconds / 60, 10.0))
    return samples


def report(load: Load, samples: list[tuple[float, int, int]]) -> dict[str, Any]:
    settled = samples[int(len(samples) * SETTLING) :]
    resident, descriptors = [one[1] for one in settled], [one[2] for one in settled]
    third = max(1, len(settled) // 3)
    return {
        "seconds": samples[-1][0],
        "requests": dict(load.counts),
        "failed": len(load.failures),
        "failures": load.failures[:5],
        "p50_ms": round(float(np.percentile(load.seconds, 50)) * 1e3, 3),
        "p99_ms": round(float(np.percentile(load.seconds, 99)) * 1e3, 3),
        "resident_mb": [round(value / 2**20, 1) for value in resident[:: max(1, len(resident) // 10)]],
        "resident_growth": round(float(np.mean(resident[-third:]) / np.mean(resident[:third]) - 1), 4),
        "descriptors": [min(descriptors), max(descriptors)],
        "descriptor_growth": int(np.median(descriptors[-third:]) - np.median(descriptors[:third])),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--publish-every", type=float, default=2.0)
    arguments = parser.parse_args()
    print(json.dumps(soak(arguments.minutes * 60, arguments.publish_every), indent=2))
