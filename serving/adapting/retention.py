"""How many adapted policies are kept, how much of the disk they take, and for how long."""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from metazoo.artefact import store
from serving.errors import Code, ServingError
from serving.logs import event
from serving.models.sources import VersionCache
from serving.options import Retention

log = logging.getLogger(__name__)

KEPT_VERSIONS: Final = 2
"""Old versions of an adapted policy are pruned to this many: the one in use and the one being replaced."""


class Clock:
    """Wall-clock time that does not jump when somebody sets the clock."""

    def __init__(self) -> None:
        self._began, self._monotonic = time.time(), time.monotonic()

    def __call__(self) -> float:
        return self._began + time.monotonic() - self._monotonic


class Keeper:
    """Looks after the directory of adapted policies."""

    def __init__(
        self, directory: Path, retention: Retention, clock: Callable[[], float] | None = None, polled: bool = False
    ):
        """``polled``: a TF Serving reads the files too, and reports to nobody: they stay for a while when they are
        needed no more."""
        self._directory, self._retention, self._clock = directory, retention, clock or Clock()
        self._grace_seconds = retention.grace_seconds if polled else 0.0
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
        end = store.retire if self._grace_seconds else store.delete_model
        with contextlib.suppress(FileNotFoundError):
            end(self._directory / name)
            event(log, logging.INFO, "adapted policy deleted", model=name, reason=reason)

    def prune(self, name: str) -> None:
        """Delete old versions of a policy."""
        store.prune(self._directory / name, KEPT_VERSIONS, self._grace_seconds)

    def sweep(self) -> None:
        """Delete what had to stay for a while."""
        store.discard_retired(self._directory, self._grace_seconds)
        for policy in self._policies() if self._grace_seconds else []:
            with contextlib.suppress(OSError):  # somebody else deletes it
                if len(self._versions(policy)) > KEPT_VERSIONS:
                    self.prune(policy.name)

    def _policies(self) -> list[Path]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._directory) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        return []


def size_of(directory: Path) -> int:
    """The bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
