"""How many adapted policies are kept, how much of the disk they take, and for how long."""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from metazoo.artefact import store
from serving.errors import Code, ServingError
from serving.logs import event
from serving.models.sources import VersionCache
from serving.options import Retention

log = logging.getLogger(__name__)


class Clock:
    """Wall-clock time that does not jump when somebody sets the clock."""

    def __init__(self) -> None:
        self._began, self._monotonic = time.time(), time.monotonic()

    def __call__(self) -> float:
        return self._began + time.monotonic() - self._monotonic


class Keeper:
    """Looks after the directory of adapted policies."""

    def __init__(self, directory: Path, retention: Retention, clock: Callable[[], float] | None = None):
        self._directory, self._retention, self._clock = directory, retention, clock or Clock()
        self._versions = VersionCache()
        self._sizes: dict[Path, int] = {}  # of version directories, which never change

    def check_room(self, target: str, needed_bytes: int) -> None:
        """Refuse another version if it would exceed the limits.

        Raises:
            ServingError: RESOURCE_EXHAUSTED.
        """
        limits, policies = self._retention, self._policies()
        new = target not in {path.name for path in policies}
        if limits.policies is not None and new and len(policies) >= limits.policies:
            text = f"There are {len(policies)} adapted policies, as many as this server keeps: delete some"
            raise ServingError(Code.RESOURCE_EXHAUSTED, text)
        if limits.disk_bytes is not None:
            used = self.used_bytes()
            if used + needed_bytes > limits.disk_bytes:
                text = f"The adapted policies take {used} of {limits.disk_bytes} bytes of disk: delete some"
                raise ServingError(Code.RESOURCE_EXHAUSTED, text)

    def used_bytes(self) -> int:
        """What all versions of all adapted policies take."""
        sizes: dict[Path, int] = {}
        for policy in self._policies():
            with contextlib.suppress(OSError):
                for path in self._versions(policy).values():
                    sizes[path] = self._sizes.get(path) or size_of(path)
        self._sizes = sizes
        return sum(sizes.values())

    def expired(self) -> list[str]:
        """The names of policies whose newest version is too old, by the time it was published."""
        if self._retention.expire_seconds is None:
            return []
        oldest, names = self._clock() - self._retention.expire_seconds, []
        for policy in self._policies():
            with contextlib.suppress(OSError):  # somebody else deletes it
                found = self._versions(policy)
                if found and max(path.stat().st_mtime for path in found.values()) < oldest:
                    names.append(policy.name)
        return names

    def delete(self, name: str, reason: str) -> None:
        """Delete a policy with all its versions. That another server was faster is fine."""
        with contextlib.suppress(FileNotFoundError):
            store.delete_model(self._directory / name)
            event(log, logging.INFO, "adapted policy deleted", model=name, reason=reason)

    def _policies(self) -> list[Path]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._directory) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        return []


def size_of(directory: Path) -> int:
    """The bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
