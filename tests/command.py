"""The program ``metazoo`` in a process of its own, as a person runs it: nothing of the tests' process helps it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "metazoo.cli")


def environment(**changes: Any) -> dict[str, str]:
    """This process's variables without those that its tests set for TensorFlow's silence."""
    quiet = ("TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES", "MPLBACKEND", "METAZOO_HUB")
    kept = {name: value for name, value in os.environ.items() if name not in quiet}
    return {**kept, "PYTHONPATH": str(ROOT), **{name: str(value) for name, value in changes.items()}}


def metazoo(*words: Any, text: bool = True, timeout: float = 800, **variables: Any) -> subprocess.CompletedProcess:
    """The finished call, with what it printed; ``variables`` are set in its environment."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        capture_output=True,
        text=text,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env=environment(**variables),
        check=False,
    )
