"""What there is to serve: models and versions on disk, by TF Serving's rules (TF_SERVING §5)."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from metazoo.artefact import store


class VersionPolicy(NamedTuple):
    """``latest`` newest versions, or exactly ``specific``, or (``latest`` None and no ``specific``) all."""

    latest: int | None = 1
    specific: tuple[int, ...] = ()

    def choose(self, available: list[int]) -> list[int]:
        if self.specific:
            return [number for number in available if number in self.specific]
        return available if self.latest is None else sorted(available)[-max(self.latest, 1) :]


class ModelConfig(NamedTuple):
    """One served model."""

    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = {}


Sources = Callable[[], Mapping[str, ModelConfig]]
"""Gives the models to serve, at each poll. May raise OSError: then this poll changes nothing."""

Source = Callable[[str], ModelConfig | None]
"""Gives the model of a name, as ``Sources`` would, at a cost that does not grow with the others."""

Versions = Callable[[Path], Mapping[int, Path]]
"""Lists the versions under a base path; ``store.versions`` or something that gives the same."""

SETTLED_NS: Final = 2 * 10**9
Listed = TypeVar("Listed")


class DirectoryCache(Generic[Listed]):
    """What ``listing`` says of directories, asked again only if one changed: a thousand are polled in few ms."""

    def __init__(self, listing: Callable[[Path], Listed]) -> None:
        self._listing = listing
        self._known: dict[Path, tuple[int, bool, Listed]] = {}

    def __call__(self, base_path: Path) -> Listed:
        changed = os.stat(base_path).st_mtime_ns
        known = self._known.get(base_path)
        if known is not None and known[0] == changed and known[1]:
            return known[2]
        # Two changes within one tick of the file system's clock share a time: believe it only when it is old.
        settled = time.time_ns() - changed > SETTLED_NS
        found = self._listing(base_path)
        self._known[base_path] = changed, settled, found
        return found


class VersionCache(DirectoryCache[Mapping[int, Path]]):
    """``store.versions``, remembered."""

    def __init__(self) -> None:
        super().__init__(store.versions)


def find(
    name: str, *directories: str | os.PathLike[str] | None, versions: Versions = store.versions
) -> ModelConfig | None:
    """What ``scan`` finds of this name, without looking at the others.

    Raises:
        OSError: a directory is missing.
    """
    for directory in [given for given in directories if given]:
        os.stat(directory)
        path = Path(directory, name)
        if path.parent == Path(directory) and not name.startswith(".") and path.is_dir():
            with contextlib.suppress(FileNotFoundError):  # deleted since
                if versions(path):
                    return ModelConfig(path)
    return None


def scan(*directories: str | os.PathLike[str] | None, versions: Versions = store.versions) -> dict[str, ModelConfig]:
    """Every ``DIR/<name>`` that holds version directories; of equal names the first directory's wins.

    Raises:
        OSError: a directory is missing.
    """
    found: dict[str, ModelConfig] = {}
    for directory in [given for given in directories if given]:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        for name in names:
            path = Path(directory, name)
            with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
                if name not in found and versions(path):
                    found[name] = ModelConfig(path)
    return found
