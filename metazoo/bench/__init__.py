"""``metazoo bench``: speed on one processor core.

Every measurement runs in a process of its own, pinned to one core, so that nothing of the caller's is measured with
it, and single-threaded, but for those whose names say otherwise. What is compared is measured in the same process, in
turns.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from metazoo.bench import edge, families, learners, serving

Row = dict[str, Any]


class Group(NamedTuple):
    """Measurements of one kind: their names, and how to make one, which may give several rows."""

    names: Callable[[], Iterable[str]]
    measure: Callable[..., list[Row]]


GROUPS: Final = {
    "learners": Group(lambda: learners.LEARNERS, learners.measure),
    "families": Group(families.names, families.measure),
    "serving": Group(lambda: ["serving"], serving.measure),
    "edge": Group(lambda: edge.POLICIES, edge.measure),
}


def run(what: str = "all") -> list[Row]:
    """Measure a group (or ``all``) in subprocesses pinned to one core.

    Returns:
        Rows ``{"what", "config", "threads"}`` with ``env_steps_per_s``, or ``requests_per_s``, ``p50_ms``, ``p99_ms``;
        of devices also ``tensorflow_p50_ms``, ``ratio``, and of their start ``bytes`` and MB.

    Raises:
        ValueError: an unknown group.
        RuntimeError: a measurement failed; the message ends with the last line of its standard error.
    """
    if what not in (*GROUPS, "all"):
        raise ValueError(f"there is no benchmark {what!r}; choose {', '.join(GROUPS)} or all.")
    wanted = [group for group in GROUPS if what in (group, "all")]
    return [row for group in wanted for name in GROUPS[group].names() for row in _in_subprocess(group, name)]


def run_family(reference: str, arguments: Mapping[str, Any]) -> list[Row]:
    """Measure a family of the user's own, ``module:object`` or ``file.py:object``, as ``run`` does those of the zoo.

    Raises:
        RuntimeError: as ``run``.
    """
    return _in_subprocess("families", reference, json.dumps(dict(arguments)))


def _in_subprocess(group: str, name: str, *more: str) -> list[Row]:
    environment = {
        **os.environ,
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    command = [sys.executable, "-m", "metazoo.bench", group, name, *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the benchmark {name} failed: {(done.stderr.splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
