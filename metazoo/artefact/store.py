"""Version directories of exported policies: list, read, check, publish, prune.

A *base path* holds the versions of one model, as TF Serving lays them out: ``<base>/<number>/saved_model.pb`` and so
on. An adapted policy has the same graph as the policy it came from, so publishing copies the graph and writes one
changed variable, in about 10 ms where a full save takes 400. A crash at any moment leaves either the old state or the
new one: a version is written under a name that no server reads, flushed to disk, and then renamed into place.

What is inside one version directory is in ``metazoo.artefact.version``. Importing either is cheap: TensorFlow is
imported inside the functions that need it.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from metazoo.artefact import whole
from metazoo.artefact.scratch import STALE_SECONDS, age, sweep, temporary, unfinished
from metazoo.artefact.signatures import MEMORY_CHECKPOINT_KEY, METADATA_FILE
from metazoo.artefact.version import (
    CorruptedError,
    StoreError,
    files,
    read_checkpoint,
    read_metadata,
    replace_metadata,
    sha256,
    verify,
    write_checkpoint,
    write_checksums,
    write_metadata,
)
from metazoo.artefact.whole import PathLike

__all__ = [
    "CorruptedError",
    "StoreError",
    "delete_model",
    "delete_version",
    "discard_retired",
    "files",
    "is_retired",
    "latest",
    "prune",
    "publish",
    "read_checkpoint",
    "read_memory",
    "read_metadata",
    "replace_metadata",
    "retire",
    "retired",
    "sha256",
    "sweep",
    "temporary",
    "unfinished",
    "unretire",
    "verify",
    "versions",
    "write_checkpoint",
    "write_checksums",
    "write_metadata",
]

INT64_MAX: Final = 2**63 - 1
_RETIRED: Final = ".retired"
_NUMBER: Final = re.compile(r"[+-]?\d+", re.ASCII)


def versions(base_path: PathLike) -> dict[int, Path]:
    """The versions under ``base_path`` by number, ascending, by TF Serving's rules.

    Any child (directory or file) whose whole name is a 64-bit integer counts: ``1``, ``00000123``, even ``-1``.
    Of two names for one number the first in sorted order wins. A retired model has none.

    Raises:
        FileNotFoundError: the base path does not exist.
    """
    names = sorted(os.listdir(base_path))
    return {} if _RETIRED in names else _numbered(base_path, names)


def _numbered(base_path: PathLike, names: Iterable[str]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for name in names:
        if _NUMBER.fullmatch(name) and -INT64_MAX - 1 <= int(name) <= INT64_MAX:
            found.setdefault(int(name), Path(base_path, name))
    return dict(sorted(found.items()))


def latest(base_path: PathLike) -> Path:
    """The directory of the highest version.

    Raises:
        StoreError: the base path is missing or holds no version.
    """
    try:
        found = versions(base_path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"there is no directory {base_path}") from error
    if not found:
        raise StoreError(f"{base_path} holds no version directory: need one named by a number, such as 1")
    return found[max(found)]


def read_memory(version_dir: PathLike) -> np.ndarray:
    """The policy's own memory ``[S]`` from its checkpoint.

    Raises:
        StoreError: the checkpoint is missing or holds no memory.
    """
    return read_checkpoint(version_dir)[MEMORY_CHECKPOINT_KEY]


def publish(
    parent_version_dir: PathLike,
    base_path: PathLike,
    memory: np.ndarray,
    metadata_updates: Mapping[str, Any],
    variables: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Publish a copy of a policy with another memory as the next version under ``base_path``.

    What an adapted policy is called, and who may replace whom, is decided in ``metazoo.artefact.lineage``.

    Args:
        parent_version_dir: an exported (or published) policy.
        base_path: created if missing.
        memory: ``[S]`` float32, finite; S as in the parent.
        metadata_updates: top-level keys of ``metazoo.json`` to replace.
        variables: other variables to replace, by checkpoint key, in the parent's shapes.

    Returns:
        The new version directory, complete and flushed to disk. Two publishers never get the same one.

    Raises:
        StoreError: the parent is no policy, or the memory has a wrong shape or a value that is not finite.
        OSError: the disk is full or not writable; nothing is left behind.
    """
    metadata = read_metadata(parent_version_dir)
    if metadata is None:
        raise StoreError(f"{parent_version_dir} has no {METADATA_FILE}, so it is not a policy that can be published")
    tensors = read_checkpoint(parent_version_dir)
    tensors |= variables or {}
    tensors[MEMORY_CHECKPOINT_KEY] = _checked_memory(memory, tensors[MEMORY_CHECKPOINT_KEY])
    base = Path(base_path)
    base.mkdir(parents=True, exist_ok=True)
    with temporary(base) as work:
        shutil.copyfile(Path(parent_version_dir, "saved_model.pb"), work / "saved_model.pb")
        for folder in ("assets", "assets.extra"):  # fingerprint.pb stays out: it hashes the parent's checkpoint
            if Path(parent_version_dir, folder).is_dir():
                shutil.copytree(Path(parent_version_dir, folder), work / folder)
        (work / "variables").mkdir()
        write_checkpoint(work / "variables" / "variables", tensors)
        write_metadata(work, {**metadata, **metadata_updates})
        write_checksums(work)
        whole.flush(work)
        return _rename_to_next(work, base)


def prune(base_path: PathLike, keep: int, grace_seconds: float = 0.0, live: int | None = None) -> list[Path]:
    """Delete all but the ``keep`` (≥ 1) highest versions, and what crashed publishers left. Returns what was deleted.

    A version is renamed to a non-version name before its files go, so that no server meets a half-deleted one. The
    real TF Serving stands still while it tries to load a version that is gone, so:

    Args:
        grace_seconds: a version also stays until the one after it is so old, for servers that report to nobody.
        live: the newest version that the server reports as available; it and all above it stay.

    Raises:
        StoreError: ``keep`` is below 1.
    """
    if keep < 1:
        raise StoreError(f"keep is {keep}: at least the newest version must stay")
    found = list(versions(base_path).items())
    old = [
        path
        for (number, path), (_, successor) in zip(found[:-keep], found[1:], strict=False)
        if (live is None or number < live) and age(successor) >= grace_seconds
    ]
    for path in old:
        delete_version(path)
    sweep(base_path, STALE_SECONDS)
    return old


def retire(base_path: PathLike) -> None:
    """Take a model off every list (it has no ``versions`` any more), and leave its files to those that still read
    them. ``delete_model`` or ``discard_retired`` ends it, publishing or ``unretire`` brings it back.

    Raises:
        FileNotFoundError: there is no such base path.
    """
    Path(base_path, _RETIRED).touch()


def unretire(base_path: PathLike) -> None:
    """Bring a retired model back, with the versions it had."""
    Path(base_path, _RETIRED).unlink(missing_ok=True)


def is_retired(base_path: PathLike) -> bool:
    """Whether a model was retired and not brought back since."""
    return Path(base_path, _RETIRED).exists()


def retired(directory: PathLike) -> dict[Path, float]:
    """The base paths under ``directory`` that were retired, and for how many seconds."""
    return {mark.parent: age(mark) for mark in Path(directory).glob(f"*/{_RETIRED}")}


def discard_retired(directory: PathLike, grace_seconds: float) -> list[Path]:
    """Delete the models that were retired at least so long ago. Returns their base paths."""
    old = [path for path, since in retired(directory).items() if since >= grace_seconds]
    for path in old:
        with contextlib.suppress(FileNotFoundError):  # somebody else was faster
            delete_model(path)
    return old


def delete_version(version_dir: PathLike) -> None:
    """Delete one version (a missing one is fine): out of sight first, then its files."""
    with contextlib.suppress(FileNotFoundError):
        _delete(Path(version_dir))


def delete_model(base_path: PathLike) -> None:
    """Delete a base path with all its versions: out of sight first, then its files.

    Raises:
        FileNotFoundError: there is none.
    """
    _delete(Path(base_path))


def _delete(path: Path) -> None:
    with temporary(path.parent) as hidden:
        whole.hide(path, hidden / "deleted")


def _checked_memory(memory: np.ndarray, parent: np.ndarray) -> np.ndarray:
    given = np.asarray(memory)
    if given.shape != parent.shape:
        raise StoreError(f"the memory has shape {list(given.shape)}: this policy needs {list(parent.shape)}")
    with np.errstate(over="ignore"):
        array = given.astype(parent.dtype)
    if not np.all(np.isfinite(array)):
        bad = int(np.argmin(np.isfinite(array)))
        raise StoreError(f"the memory holds {given[bad]} at {bad}: only finite {array.dtype} values can be published")
    return array


def _rename_to_next(work: Path, base: Path) -> Path:
    """Rename ``work`` to the next free version number.

    rename(2) refuses a target that is a non-empty directory, so of two publishers that chose the same number one
    gets an error and tries the next.
    """
    names = os.listdir(base)
    number = max([0, *_numbered(base, sorted(names))]) + 1  # a retired model's numbers are still in servers' minds
    if _RETIRED in names:
        retire(base)  # again, so that nobody finds it old enough to discard meanwhile
    while True:
        target = base / str(number)
        try:
            whole.put(work, target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            number += 1
        else:
            unretire(base)
            whole.fsync(base)
            return target
