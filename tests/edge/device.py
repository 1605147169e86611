"""A device: an environment of Python's with ai-edge-litert, NumPy and Gymnasium alone, and what runs in it."""

import importlib.metadata
import subprocess
import sys
import venv
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ("ai-edge-litert", "numpy", "gymnasium")


def make(directory: Path) -> Path:
    """The Python program of an empty environment with ``INSTALLED``, by links to the files of this one."""
    venv.create(directory, with_pip=False, symlinks=True)
    (site,) = directory.glob("lib/python*/site-packages")
    for name in _with_what_they_need(INSTALLED):
        distribution = importlib.metadata.distribution(name)
        for top in sorted(
            {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
        ):
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
    return directory / "bin" / "python"


def run(python: Path, code: str, *arguments: object, path: Path | None = None, fails: bool = False) -> str:
    """What a program prints there, with ``path`` alone on its path; its standard error, if it ``fails``."""
    environment = {"PYTHONPATH": "" if path is None else str(path), "PATH": ""}
    command = [str(python), "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert bool(done.returncode) == fails, done.stderr
    return done.stderr if fails else done.stdout


def _with_what_they_need(names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                todo.append(needed.name)
    return found


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
