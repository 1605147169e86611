"""A place for families of users: a directory that is the current one, whose modules are forgotten afterwards."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metazoo.tasks import own

SHORT = {"horizon": 4}
"""Arguments of the starting family with which a training takes seconds."""


@contextmanager
def working_in(directory: Path) -> Iterator[Path]:
    """The current directory, with its modules and what the process was told of families undone afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(own, "_GIVEN", {})
        before = set(sys.modules)
        yield directory
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(directory)):
                del sys.modules[name]
