"""The files of one version directory: metadata, checksums, variables.

TensorFlow is imported inside the functions that need it; importing this module is cheap.
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from metazoo.artefact import whole
from metazoo.artefact.signatures import CHECKSUMS_FILE, MEMORY_CHECKPOINT_KEY, METADATA_FILE
from metazoo.artefact.whole import PART, PathLike

_NEXT: Final = ".next"
"""Ends the name of checksums that are about to replace those in force."""


class StoreError(Exception):
    """A base path or version directory is unusable; the message is one sentence for the user."""


class CorruptedError(StoreError):
    """A file of a version directory is missing or is not what its checksum says."""


def read_metadata(version_dir: PathLike) -> dict[str, Any] | None:
    """The policy's ``metazoo.json``; None for a SavedModel that is not ours.

    Raises:
        CorruptedError: the file is not a JSON object.
    """
    path = Path(version_dir, METADATA_FILE)
    try:
        metadata = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise CorruptedError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise CorruptedError(f"{path} must hold a JSON object")
    return metadata


def write_metadata(version_dir: PathLike, metadata: Mapping[str, Any]) -> None:
    """Write ``metazoo.json``. Infinite or NaN numbers are refused by ``json`` (``ValueError``)."""
    path = Path(version_dir, METADATA_FILE)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(_as_json(metadata))


def replace_metadata(version_dir: PathLike, metadata: Mapping[str, Any]) -> None:
    """Put other metadata into a finished version, with checksums that hold whenever this is killed.

    The next checksums are in place before the metadata is replaced, and replace those in force after it, so at every
    moment the files agree with one of the two; ``verify`` takes either.

    Raises:
        CorruptedError: a file is not what it was when it was published. ValueError: NaN or infinity in the metadata.
    """
    verify(version_dir)  # finishes what a killed call left, and gives changed files no new checksums
    content = _as_json(metadata)
    checksums = {name: sha256(path) for name, path in _checked(version_dir)}
    checksums[METADATA_FILE] = hashlib.sha256(content).hexdigest()
    path, current = Path(version_dir, METADATA_FILE), Path(version_dir, CHECKSUMS_FILE)
    whole.write_whole(Path(f"{current}{_NEXT}"), _as_lines(checksums))
    whole.write_whole(path, content)
    whole.replace(f"{current}{_NEXT}", current)
    for left in current.parent.glob(f"*{PART}"):
        left.unlink()
    whole.fsync(current.parent)


def write_checksums(version_dir: PathLike) -> None:
    """Write the SHA-256 of every file of the directory to ``signatures.CHECKSUMS_FILE`` (``sha256sum -c`` reads it)."""
    target = Path(version_dir, CHECKSUMS_FILE)
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(_as_lines({name: sha256(path) for name, path in _checked(version_dir)}))


def verify(version_dir: PathLike) -> bool:
    """Check the files against their checksums. False where there are none to check against.

    Raises:
        CorruptedError: names the first file that is missing or changed.
    """
    current = Path(version_dir, CHECKSUMS_FILE)
    upcoming = Path(f"{current}{_NEXT}")
    try:
        return _verify(version_dir, current)
    except CorruptedError:
        if not upcoming.is_file():
            return _verify(version_dir, current)  # somebody may have replaced both since
        _verify(version_dir, upcoming)  # somebody was killed, or is at work, between the files and their checksums
        with contextlib.suppress(OSError):  # a reader that may not write reads them again next time
            whole.replace(upcoming, current)
        return True


def _verify(version_dir: PathLike, checksums: Path) -> bool:
    try:
        text = checksums.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return False
    except UnicodeDecodeError as error:
        raise CorruptedError(f"{version_dir} is corrupted: {CHECKSUMS_FILE} is not text") from error
    for line in text.splitlines():
        expected, separator, name = line.partition("  ")
        if not separator or len(expected) != 64 or ".." in Path(name).parts or Path(name).is_absolute():
            raise CorruptedError(f"{version_dir} is corrupted: {CHECKSUMS_FILE} has the line {line[:100]!r}")
        try:
            actual = sha256(Path(version_dir, name))
        except OSError as error:
            raise CorruptedError(f"{version_dir} is corrupted: {name} is missing or unreadable") from error
        if actual != expected:
            found, wanted = f"{actual[:12]}...", f"{expected[:12]}..."
            raise CorruptedError(f"{version_dir} is corrupted: {name} has SHA-256 {found} where {wanted} was published")
    return True


def write_checkpoint(prefix: PathLike, tensors: Mapping[str, Any]) -> None:
    """Write ``tensors`` by checkpoint key to ``prefix.index`` and ``prefix.data-00000-of-00001``.

    Raises:
        OSError: the disk is full or not writable, with the ``errno`` that says which.
    """
    import tensorflow as tf

    names = sorted(tensors)  # the format wants sorted keys
    try:
        with tf.device("/cpu:0"), tf.init_scope():
            values = [tf.constant(tensors[name]) for name in names]
            tf.raw_ops.SaveV2(
                prefix=os.fspath(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values
            )
    except tf.errors.OpError as error:
        reasons = {
            tf.errors.ResourceExhaustedError: errno.ENOSPC,
            tf.errors.PermissionDeniedError: errno.EACCES,
            tf.errors.NotFoundError: errno.ENOENT,
        }
        number = reasons.get(type(error), errno.EIO)
        detail = str(error.message).splitlines()[0].partition(" [Op:")[0]
        raise OSError(number, f"the variables cannot be written: {detail}", os.fspath(prefix)) from error


def read_checkpoint(version_dir: PathLike) -> dict[str, Any]:
    """Every tensor of a policy's checkpoint by key, its memory among them.

    Raises:
        StoreError: no checkpoint, or one without a memory. CorruptedError: it cannot be read.
    """
    import tensorflow as tf

    prefix = Path(version_dir, "variables", "variables")
    if not Path(f"{prefix}.index").is_file():
        raise StoreError(f"{version_dir} has no variables/variables.index, so it is not a complete SavedModel")
    try:
        reader = tf.train.load_checkpoint(os.fspath(prefix))
        tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    except (tf.errors.OpError, RuntimeError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise CorruptedError(f"the checkpoint {prefix} cannot be read: {reason}") from error
    if MEMORY_CHECKPOINT_KEY not in tensors:
        raise StoreError(
            f"{version_dir} has no variable {MEMORY_CHECKPOINT_KEY}, so it is not a policy of this project"
        )
    return tensors


def sha256(path: PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(directory: PathLike) -> list[tuple[str, Path]]:
    """Every finished file below ``directory`` by its path there, in order; not what a killed process left."""
    root = Path(directory)
    found = ((path.relative_to(root).as_posix(), path) for path in root.rglob("*") if path.is_file())
    return sorted((name, path) for name, path in found if not name.endswith((PART, _NEXT)))


def _checked(directory: PathLike) -> list[tuple[str, Path]]:
    """The files that checksums cover: all but themselves."""
    return [(name, path) for name, path in files(directory) if name != CHECKSUMS_FILE]


def _as_json(metadata: Mapping[str, Any]) -> bytes:
    return (json.dumps(metadata, indent=2, allow_nan=False) + "\n").encode()


def _as_lines(checksums: Mapping[str, str]) -> bytes:
    return "".join(f"{digest}  {name}\n" for name, digest in checksums.items()).encode()
