"""On what a training ran: versions of packages, and the processor."""

import platform
from importlib.metadata import version
from pathlib import Path

from metazoo.cores import cores

PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")


def versions(more: tuple[str, ...] = ()) -> dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{package: version(package) for package in (*PACKAGES, *more)}}


def hardware() -> str:
    """Cores that this process may use, and the processor's name where the system tells."""
    names = [line.partition(":")[2].strip() for line in _processors() if line.startswith("model name")]
    return f"{cores()} core(s), {', '.join([platform.machine(), *names[:1]])}, no GPU"


def _processors() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
