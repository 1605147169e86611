"""How many adapted policies are kept, how much of the disk they take, and for how long."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from metazoo.artefact import lineage, locks, store
from serving.errors import Code, ServingError
from serving.logs import event
from serving.models.sources import DirectoryCache
from serving.options import Retention

log = logging.getLogger(__name__)


class Clock:
    """Wall-clock time that does not jump when somebody sets the clock."""

    def __init__(self) -> None:
        self._began, self._monotonic = time.time(), time.monotonic()

    def __call__(self) -> float:
        return self._began + time.monotonic() - self._monotonic


class _Contents(NamedTuple):
    """Of a base path."""

    versions: Mapping[int, Path]
    others: list[Path]  # what publishers are at work on or have left; all, if it is retired


class Used(NamedTuple):
    """Of the room for adapted policies."""

    policies: int
    disk_bytes: int


SURE: Final = 0.8
"""Up to this share of the room nobody need count anew."""


class Keeper:
    """Looks after the directory of adapted policies."""

    def __init__(
        self, directory: Path, retention: Retention, clock: Callable[[], float] | None = None, polled: bool = False
    ):
        """``polled``: a TF Serving reads the files too, and reports to nobody: they stay for a while when they are
        needed no more. Other servers of ours find out that a version is gone."""
        self._directory, self._retention, self._clock = directory, retention, clock or Clock()
        self._grace_seconds = retention.grace_seconds if polled else 0.0
        self._contents = DirectoryCache(_contents)
        self._used: Used | None = None
        self._sizes: dict[Path, int] = {}  # of version directories, which never change

    @contextlib.contextmanager
    def room(self, target: str, needed_bytes: int) -> Iterator[None]:
        """Around publishing another version: nobody else takes the room meanwhile.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, as ``check_room``. OSError: nothing can be written.
        """
        with locks.held(self._directory, ""):
            self.check_room(target, needed_bytes)
            yield

    def check_room(self, target: str, needed_bytes: int) -> None:
        """Refuse another version if it would exceed the limits.

        Raises:
            ServingError: RESOURCE_EXHAUSTED.
        """
        limits = self._retention
        new = not (self._directory / target).is_dir()
        if self._is_far_from_full(new, needed_bytes):
            return
        used = self.count()
        if limits.policies is not None and new and used.policies >= limits.policies:
            text = f"There are {used.policies} adapted policies, as many as this server keeps: delete some"
            raise ServingError(Code.RESOURCE_EXHAUSTED, text)
        if limits.disk_bytes is not None and used.disk_bytes + needed_bytes > limits.disk_bytes:
            text = f"The adapted policies take {used.disk_bytes} of {limits.disk_bytes} bytes of disk: delete some"
            raise ServingError(Code.RESOURCE_EXHAUSTED, text)
        self._used = Used(used.policies + new, used.disk_bytes + needed_bytes)

    def _is_far_from_full(self, new: bool, needed_bytes: int) -> bool:
        """Whether there is room beyond doubt, by what was counted last and published since; notes what is coming.

        Counting looks at every policy, so it is done when house is kept, and for each request only in the last fifth
        of the room: other servers on the store publish too.
        """
        limits, used = self._retention, self._used
        if used is None:
            return limits.policies is None and limits.disk_bytes is None
        coming = Used(used.policies + new, used.disk_bytes + needed_bytes)
        far = (limits.policies is None or coming.policies <= SURE * limits.policies) and (
            limits.disk_bytes is None or coming.disk_bytes <= SURE * limits.disk_bytes
        )
        if far:
            self._used = coming
        return far

    def count(self) -> "Used":
        """Look at everything, and remember it."""
        self._used = Used(len(self._policies()), 0 if self._retention.disk_bytes is None else self.used_bytes())
        return self._used

    def used_bytes(self) -> int:
        """What all versions of all adapted policies take, and what killed publishers have left."""
        sizes: dict[Path, int] = {}
        total = sum(map(size_of, store.unfinished(self._directory)))
        for policy in self._policies():
            with contextlib.suppress(OSError):
                contents = self._contents(policy)
                for path in contents.versions.values():
                    sizes[path] = self._sizes.get(path) or size_of(path)
                total += sum(map(size_of, contents.others))
        self._sizes = sizes
        return total + sum(sizes.values())

    def expired(self) -> list[str]:
        """The names of policies whose newest version is too old, by the time it was published."""
        if self._retention.expire_seconds is None:
            return []
        oldest, names = self._clock() - self._retention.expire_seconds, []
        for policy in self._policies():
            with contextlib.suppress(OSError):  # somebody else deletes it
                found = self._contents(policy).versions
                if found and max(path.stat().st_mtime for path in found.values()) < oldest:
                    names.append(policy.name)
        return names

    def delete(self, name: str, reason: str) -> None:
        """Delete a policy with all its versions, within ``lineage.changing``. That another server was faster is
        fine."""
        end = store.retire if self._grace_seconds else store.delete_model
        with contextlib.suppress(FileNotFoundError):
            end(self._directory / name)
            event(log, logging.INFO, "adapted policy deleted", model=name, reason=reason)

    def prune(self, name: str) -> None:
        """Delete old versions of a policy, within ``lineage.changing`` and when the newest is live here."""
        try:
            store.prune(self._directory / name, lineage.KEPT_VERSIONS, self._grace_seconds)
        except OSError as error:  # the new version stands; the next one will prune too
            event(log, logging.WARNING, "old versions could not be deleted", model=name, error=error)

    def sweep(self) -> None:
        """Delete what had to stay for a while, and what killed processes have left; count the rest."""
        store.sweep(self._directory)
        for path in self._directory.glob(f"{locks.PREFIX}?*"):
            self._alone(
                path.name.removeprefix(locks.PREFIX), lambda: None
            )  # whoever gives a lock back deletes its file
        for base, age in store.retired(self._directory).items():
            if age >= self._retention.grace_seconds:
                lineage.discard(self._directory, base.name)
        for policy in self._policies():
            with contextlib.suppress(OSError):  # somebody else deletes it
                contents = self._contents(policy)
                if contents.others:
                    store.sweep(policy)
                if len(contents.versions) > lineage.KEPT_VERSIONS:
                    self._alone(policy.name, partial(self.prune, policy.name))
        self.count()

    def _alone(self, name: str, work: Callable[[], None]) -> None:
        """Do it if nobody else changes the policy just now."""
        with contextlib.suppress(OSError), lineage.changing(self._directory, name, wait=0.0):
            work()

    def _policies(self) -> list[Path]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._directory) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        return []


def size_of(directory: Path) -> int:
    """The bytes of all files below a directory, as far as nobody deletes them meanwhile."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _contents(base: Path) -> _Contents:
    found = store.versions(base)
    return _Contents(found, store.unfinished(base) if found else list(base.iterdir()))
