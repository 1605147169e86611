"""``index.json`` at the base of a zoo: its policies, and the SHA-256 and size of every file that belongs to them.

What comes from elsewhere is checked before a byte of it is used: names and paths are a narrow set of characters, none
leads out of the policy's directory, sizes are bounded. Hashes tie the files to the index; whoever writes the index is
trusted (docs/hub.md).
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from metazoo.artefact import device_file, signatures, store, whole
from metazoo.hub import listing
from metazoo.words import count

FILE: Final = "index.json"
FORMAT: Final = 1
MAX_INDEX_BYTES: Final = 16 * 2**20
MAX_FILE_BYTES: Final = 2**30
MAX_FILES: Final = 1000
"""Of one policy; far more than a SavedModel has."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}", re.ASCII)
_BESIDE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\.(md|png|svg|json)", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TEXT: Final = re.compile(r"[\w .,()×²°+/-]{0,80}")
_SUMMARY: Final = tuple(listing.summary({}))


class BadIndexError(Exception):
    """An index that cannot be used; the message is one sentence for the user."""


class File(NamedTuple):
    """What a file must be."""

    sha256: str
    bytes: int


class Policy(NamedTuple):
    """The newest version of one policy: its files by their path below ``<base>/<name>``, and a line about it."""

    version: int
    files: dict[str, File]
    summary: dict[str, Any]
    device: File | None = None
    """``<name>.tflite`` beside the version, for devices: fetched only where it is asked for."""

    @property
    def bytes(self) -> int:
        return _size(self.files)

    @property
    def version_files(self) -> dict[str, File]:
        """The files of the version directory, by their path in it."""
        inside = f"{self.version}/"
        return {path.removeprefix(inside): file for path, file in self.files.items() if path.startswith(inside)}

    @property
    def files_beside(self) -> dict[str, File]:
        """The model card and its pictures."""
        return {path: file for path, file in self.files.items() if "/" not in path}


Index = dict[str, Policy]


def is_name(name: str) -> bool:
    """Whether a policy may be called so."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """The name, if a policy may have it. Raises ValueError."""
    if not is_name(name):
        raise ValueError(f"the policy's name is {name!r}; it must be letters, digits, '.', '_' and '-'.")
    return name


def parse(content: bytes, where: str) -> Index:
    """The policies that an index names.

    Raises:
        BadIndexError: it is not an index, one of a newer format, or it names a file outside of its policy.
    """
    try:
        document = json.loads(content)
        if not isinstance(document, dict) or not isinstance(document.get("policies"), dict):
            raise ValueError("it holds no policies")
        if document.get("format") != FORMAT:
            raise ValueError(f"its format is {document.get('format')!r} and this metazoo reads {FORMAT}")
        return {check_name(name): _policy(name, entry) for name, entry in document["policies"].items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise BadIndexError(f"the index {where} cannot be used: {reason}.") from error


def build(directory: Path) -> Index:
    """The policies of a models directory, from its files."""
    return {name: of_version(version) for name, version in listing.policies(directory).items()}


def of_version(version: Path) -> Policy:
    """The entry of one version directory and what stands beside it."""
    files = {f"{version.name}/{name}": file for name, file in files_of(version).items()}
    for path in sorted(version.parent.iterdir()):
        if path.is_file() and _BESIDE.fullmatch(path.name):
            files[path.name] = file_of(path)
    made = device_file.beside(version)
    device = None if made is None else file_of(made)
    return Policy(int(version.name), files, listing.summary(store.read_metadata(version) or {}), device)


def files_of(directory: Path) -> dict[str, File]:
    """Every finished file below a directory by its path."""
    return {name: file_of(path) for name, path in store.files(directory)}


def file_of(path: Path) -> File:
    """What a file is."""
    return File(store.sha256(path), path.stat().st_size)


def write(directory: Path) -> Index:
    """Writes ``directory/index.json`` from what is there; of several that do, the last to write has seen it all."""
    while True:
        found = build(directory)
        whole.write_whole(directory / FILE, as_json(found))
        if build(directory) == found:
            return found


def as_json(index: Index) -> bytes:
    """The text of ``index.json``."""
    policies = {
        name: {
            "version": policy.version,
            **policy.summary,
            "files": {path: file._asdict() for path, file in policy.files.items()},
            **({} if policy.device is None else {"device": policy.device._asdict()}),
        }
        for name, policy in sorted(index.items())
    }
    return (json.dumps({"format": FORMAT, "policies": policies}, indent=1, allow_nan=False) + "\n").encode()


def rows(index: Index) -> list[dict[str, Any]]:
    """The policies as ``listing.table`` takes them."""
    return [
        {"name": name, "version": policy.version, **policy.summary, "bytes": _size(policy.version_files)}
        for name, policy in sorted(index.items())
    ]


def _size(files: Mapping[str, File]) -> int:
    return sum(file.bytes for file in files.values())


def _policy(name: str, entry: Mapping[str, Any]) -> Policy:
    version, listed = entry["version"], entry["files"]
    if type(version) is not int or not 0 < version <= store.INT64_MAX:
        raise ValueError(f"{name} has the version {version!r}, which is not a positive number")
    if not isinstance(listed, dict) or len(listed) > MAX_FILES:
        raise ValueError(f"the files of {name} are not an object of at most {MAX_FILES}")
    files = {_path(name, version, path): _file(name, path, said) for path, said in listed.items()}
    for needed in ("saved_model.pb", signatures.METADATA_FILE):
        if f"{version}/{needed}" not in files:
            raise ValueError(f"{name} has no file {version}/{needed}")
    device = _file(name, f"{name}{device_file.SUFFIX}", entry["device"]) if "device" in entry else None
    return Policy(version, files, {key: _plain(entry.get(key)) for key in _SUMMARY}, device)


def _path(name: str, version: int, path: str) -> str:
    """The path, if it leads into the version directory or to a file beside it."""
    parts = path.split("/")
    inside = len(parts) > 1 and parts[0] == str(version) and all(_PART.fullmatch(part) for part in parts)
    if not (inside or _BESIDE.fullmatch(path)):
        raise ValueError(f"{name} names the file {path[:100]!r}, which is not inside the policy's directory")
    return path


def _file(name: str, path: str, said: Mapping[str, Any]) -> File:
    digest, size = said["sha256"], said["bytes"]
    if not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise ValueError(f"{name}'s file {path} has the SHA-256 {str(digest)[:80]!r}, which is none")
    if type(size) is not int or not 0 <= size <= MAX_FILE_BYTES:
        raise ValueError(f"{name}'s file {path} has {size!r} bytes; at most {MAX_FILE_BYTES} are allowed")
    return File(digest, size)


def _plain(value: Any) -> Any:
    """A number or harmless text; anything else is left out: it would be printed on somebody's terminal."""
    harmless = isinstance(value, int | float) or (isinstance(value, str) and _TEXT.fullmatch(value))
    return value if harmless else None


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(f"{argument}/{FILE}: {count(len(write(Path(argument))), 'policy')}")
