"""Publishers that are killed: ``python -m tests.serving.kill_publisher PARENT BASE KILLS`` forks one for each kill.

Every child publishes the version ``PARENT`` to ``BASE`` and kills itself with SIGKILL at a random point: half of them
at a random call into the file system, half at a random moment, which strikes inside TensorFlow's writing too. The
parent, which only imports, checks the store after each. Prints, as JSON, at how many points it was whole.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from metazoo.artefact import store

WATCHED = ("open", "os.", "shutil.", "tempfile.")


def publish(parent: Path, base: Path) -> None:
    memory = store.read_memory(parent)
    store.publish(parent, base, np.full_like(memory, 0.5), {"name": base.name})
    store.prune(base, 2)


def in_child(work) -> int:
    """The status of a forked process that does ``work``."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at_call(parent: Path, base: Path, number: int) -> None:
    seen = 0

    def count(event: str, _: tuple) -> None:
        nonlocal seen
        seen += event.startswith(WATCHED)
        if seen == number:
            kill()

    sys.addaudithook(count)
    publish(parent, base)


def killed_after(parent: Path, base: Path, seconds: float) -> None:
    threading.Thread(target=lambda: (time.sleep(seconds), kill()), daemon=True).start()
    publish(parent, base)


def calls_and_seconds(parent: Path, base: Path) -> tuple[int, float]:
    """How many calls into the file system one publishing makes, and how long it takes."""
    reader, writer = os.pipe()

    def measure() -> None:
        seen = 0

        def count(event: str, _: tuple) -> None:
            nonlocal seen
            seen += event.startswith(WATCHED)

        sys.addaudithook(count)
        start = time.perf_counter()
        publish(parent, base)
        os.write(writer, json.dumps([seen, time.perf_counter() - start]).encode())

    assert in_child(measure) == 0
    seen, seconds = json.loads(os.read(reader, 1000))
    return seen, seconds


def main() -> None:
    import tensorflow  # noqa: F401  # imported once, here, and used by the children only: its threads do not survive fork

    parent, base, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(0)
    calls, seconds = calls_and_seconds(parent, base)
    killed = whole = 0
    for number in range(kills):
        newest = max(store.versions(base))
        moment, call = (
            rng.uniform(0, seconds),
            rng.randint(1, calls),
        )  # drawn here: what a child draws is not remembered
        if number % 2:
            status = in_child(lambda moment=moment: killed_after(parent, base, moment))
        else:
            status = in_child(lambda call=call: killed_at_call(parent, base, call))
        killed += os.WIFSIGNALED(status)
        found = store.versions(base)
        if max(found) >= newest and all(store.verify(path) for path in found.values()):
            whole += 1
    left = len(list(base.glob(".unfinished-*")))
    for path in base.glob(".unfinished-*"):
        os.utime(path, (1, 1))
    assert in_child(lambda: publish(parent, base)) == 0  # what crashed publishers left does not stop the next
    print(json.dumps({"killed": killed, "whole": whole, "calls": calls, "left": left,
                      "left_after_the_next": len(list(base.glob(".unfinished-*")))}))  # fmt: skip


if __name__ == "__main__":
    main()
