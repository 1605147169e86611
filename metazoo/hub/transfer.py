"""Downloading policies and publishing them for others: ``metazoo download``, ``metazoo push``, ``metazoo.load(name)``.

A download is whole or it is not there: files are checked against the index, put together under a name that nobody
reads, and renamed into place. Nothing that comes is executed or unpickled here; what loading a SavedModel of somebody
else means is said in docs/hub.md.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from metazoo.artefact import device_file, store, whole
from metazoo.artefact.places import cache_directory, savedmodels_directory
from metazoo.hub import front, index, listing, sources
from metazoo.hub.index import Index, Policy
from metazoo.hub.sources import HubError, Source
from metazoo.words import meant

HUB: Final = "METAZOO_HUB"
"""The environment variable with the address of the zoo that names are looked up in, after those that came along."""


def find(name: str | os.PathLike[str]) -> Path:
    """The version directory of a policy; downloads it if need be.

    ``name`` is a directory, or a name among the policies that came along, that were downloaded, or (by ``METAZOO_HUB``)
    that can be, or an address: ``hf://ORG/REPO/NAME``, ``https://…/NAME``.

    Raises:
        ValueError: there is none; the message names those that are near.
        HubError: it cannot be downloaded.
    """
    text = os.fspath(name)
    if "://" in text:
        source, last = sources.split(text)
        return download(last, source)
    try:
        return listing.find(text, savedmodels_directory())
    except ValueError:
        if (found := _downloaded(text)) is not None:
            return found
        hub = os.environ.get(HUB)
        if not hub or os.sep in text:
            raise
        return download(index.check_name(text), sources.parse(hub))


def default_source() -> Source:
    """The zoo of ``METAZOO_HUB``, or the policies that came along."""
    return sources.parse(os.environ.get(HUB) or savedmodels_directory())


def download(
    name: str,
    source: Source,
    directory: Path | None = None,
    show_progress: Callable[[str, int], contextlib.AbstractContextManager] | None = None,
) -> Path:
    """The version directory of a policy from a source, in ``directory/name``; without a directory in the cache.

    What is there already is not fetched again. In the cache a version that the source has changed is replaced.

    Raises:
        ValueError: the source has no such policy, or ``directory`` has another one under its name and version.
        HubError: the source cannot be reached, or sends something else than its index says.
        OSError: the disk is full or not writable.
    """
    policy = _found(name, source)
    cached = directory is None
    base = (_cache_of(source) if directory is None else Path(directory)) / name
    with _progress(source, show_progress, name, policy.bytes):
        return _install(source, f"{name}/", policy, base, replace=cached)


def download_device(
    name: str,
    source: Source,
    directory: Path,
    show_progress: Callable[[str, int], contextlib.AbstractContextManager] | None = None,
) -> Path:
    """``directory/NAME.tflite``, the one file that a device needs of a policy. A file of that name is replaced.

    Raises:
        ValueError: the source has no such policy, or no such file of it.
        HubError: the source cannot be reached, or sends something else than its index says.
        OSError: the disk is full or not writable.
    """
    expected, file = _found(name, source).device, f"{name}{device_file.SUFFIX}"
    if expected is None:
        raise ValueError(f"{source.address} has no {file}; download the policy, and metazoo export makes it.")
    directory.mkdir(parents=True, exist_ok=True)
    with _progress(source, show_progress, name, expected.bytes), whole.aside(directory / file) as part:
        _copy(source.file(f"{name}/{file}", expected), part, expected, source)
    return directory / file


def _found(name: str, source: Source) -> Policy:
    """A policy of a source. Raises ValueError."""
    policies = source.index()
    if name not in policies:
        shown = f"metazoo list --from {source.address} shows what it has"
        raise ValueError(f"there is no policy {name!r} at {source.address}; {meant(name, policies, shown)}")
    return policies[name]


def push(names: Iterable[str], address: str | os.PathLike[str], replays: Mapping[Path, Path] | None = None) -> Index:
    """Adds policies, given by name or directory, to the zoo at an address; returns its index as it is now.

    A version that is there already is not changed: what others have downloaded stays what it is. The zoo's own README
    has the index of its policies, unless somebody else wrote one. ``replays``: films of policies at play by their
    version directory; else ``replay.mp4`` or ``replay.gif`` beside the versions. That of the first stands at the root.

    Raises:
        ValueError: no such policy or address, or another policy has its name and version there.
        store.CorruptedError: a file of a policy does not match its checksum.
        HubError: the repository does not take it.
    """
    target = sources.parse(address)
    versions = {}
    for name in names:
        version = find(name)
        store.verify(version)
        versions[index.check_name(_name_of(version))] = version
    films = {name: (replays or {}).get(version) or front.replay_beside(version) for name, version in versions.items()}
    shown = {name: film for name, film in films.items() if film is not None}
    if isinstance(target, sources.Directory):
        return _push_to_directory(versions, shown, target.path)
    if isinstance(target, sources.HuggingFace):
        return _push_to_hugging_face(versions, shown, target)
    raise ValueError(f"--to is {target.address}; policies are pushed to a directory or to hf://ORG/REPO.")


def _push_to_directory(versions: Mapping[str, Path], films: Mapping[str, Path], directory: Path) -> Index:
    for name, version in versions.items():
        origin = sources.Directory(version.parent)
        _install(origin, "", index.of_version(version), directory / name, replace=False)
        if (device := device_file.beside(version)) is not None:
            whole.write_whole(directory / name / f"{name}{device_file.SUFFIX}", device.read_bytes())
    for path, film in _places(films).items():
        whole.write_whole(directory / path, film.read_bytes())
    found, page = index.write(directory), directory / front.README
    if front.is_ours(page.read_bytes() if page.is_file() else None):
        replay = next((name for name in front.REPLAYS if (directory / name).is_file()), None)
        whole.write_whole(page, front.readme(found, str(directory), replay))
    return found


def _places(films: Mapping[str, Path]) -> dict[str, Path]:
    """Where films go: beside each policy's versions, and the first one to the root."""
    beside = {f"{name}/replay{film.suffix}": film for name, film in films.items()}
    return beside | {f"replay{film.suffix}": film for film in list(films.values())[:1]}


def _push_to_hugging_face(
    versions: Mapping[str, Path], films: Mapping[str, Path], target: sources.HuggingFace
) -> Index:
    """One commit with the files and the new index, on top of the one whose index was read."""
    hub = sources.hugging_face()
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.create_repo(target.repository, exist_ok=True)
        head = api.repo_info(target.repository, revision=target.revision).sha
        before = sources.HuggingFace(target.repository, head)
        there, page = _index_at(before), before.content(front.README)
        pushed = {name: index.of_version(version) for name, version in versions.items()}
        additions = []
        for name, policy in pushed.items():
            _refuse_another(there.get(name), policy, f"{target.address}/{name}")
            parent = versions[name].parent
            additions += [hub.CommitOperationAdd(f"{name}/{path}", parent / path) for path in policy.files]
            if policy.device is not None:
                file = f"{name}{device_file.SUFFIX}"
                additions.append(hub.CommitOperationAdd(f"{name}/{file}", parent / file))
        merged = {**there, **pushed}
        additions.append(hub.CommitOperationAdd(index.FILE, index.as_json(merged)))
        places = _places(films)
        additions += [hub.CommitOperationAdd(path, film) for path, film in places.items()]
        if front.is_ours(page):
            replay = next((name for name in front.REPLAYS if name in places or before.has(name)), None)
            additions.append(hub.CommitOperationAdd(front.README, front.readme(merged, target.address, replay)))
        message = f"Add {', '.join(pushed)}"
        options = {"revision": target.revision, "parent_commit": head, "commit_message": message}
        api.create_commit(target.repository, additions, **options)
    except (ValueError, HubError):
        raise
    except Exception as error:  # its transport's own errors, which differ between versions
        raise HubError(f"nothing was pushed to {target.address}: {sources.first_line(error)}") from error
    return merged


def _index_at(source: sources.HuggingFace) -> Index:
    """The repository's index; empty where it has none yet."""
    return source.index() if source.has(index.FILE) else {}


def _refuse_another(there: Policy | None, ours: Policy, where: str) -> None:
    if there is not None and there.version == ours.version and there.version_files != ours.version_files:
        raise ValueError(f"{where} has another version {ours.version}; push a higher one, versions are never changed.")


def _install(source: Source, prefix: str, policy: Policy, base: Path, replace: bool) -> Path:
    """``base/<version>`` with what belongs beside it. Files come from ``source``, below ``prefix``."""
    target = base / str(policy.version)
    if not _is(target, policy):
        if target.exists() and not replace:
            raise ValueError(f"{target} is another policy than {source.address} has; versions are never overwritten.")
        files = {path: source.file(f"{prefix}{path}", expected) for path, expected in policy.files.items()}
        base.mkdir(parents=True, exist_ok=True)
        with store.temporary(base) as work:
            for path, expected in policy.version_files.items():
                _copy(files[f"{policy.version}/{path}"], work / path, expected, source)
            store.verify(work)
            whole.flush(work)
            _rename(work, target, policy, replace)
    for path, expected in policy.files_beside.items():
        if not (base / path).is_file() or index.file_of(base / path) != expected:
            content = source.file(f"{prefix}{path}", expected)
            with whole.aside(base / path) as part:
                _copy(content, part, expected, source)
    return target


def _is(target: Path, policy: Policy) -> bool:
    """Whether a directory holds the policy's version, and nothing else."""
    return target.is_dir() and index.files_of(target) == policy.version_files


def _copy(origin: Path, target: Path, expected: index.File, source: Source) -> None:
    """Copies a file and checks the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(origin, target)
    if index.file_of(target) != expected:
        target.unlink()
        raise HubError(f"{source.address}: {target.name} is not the file that the index names.")


def _rename(work: Path, target: Path, policy: Policy, replace: bool) -> None:
    """Puts the finished directory in its place, unless another process was faster."""
    try:
        whole.put(work, target)
    except OSError:
        if _is(target, policy):
            return
        if not replace:
            raise ValueError(f"{target} was made by somebody else meanwhile; versions are never overwritten.") from None
        store.delete_version(target)
        whole.put(work, target)


def _cache_of(source: Source) -> Path:
    return cache_directory() / "policies" / source.key


def _downloaded(name: str) -> Path | None:
    """The newest version of this name in the cache. Raises ValueError if several zoos have one."""
    if not index.is_name(name):
        return None
    found = [base for base in cache_directory().glob(f"policies/*/{name}") if base.is_dir()]
    if len(found) > 1:
        raise ValueError(f"{name} was downloaded from several zoos; give its address, such as https://…/{name}.")
    versions = store.versions(found[0]) if found else {}
    return versions[max(versions)] if versions else None


def _name_of(version: Path) -> str:
    """A policy is called as the directory that holds its versions."""
    if not version.name.isdigit():
        raise ValueError(f"{version} is no version directory: its name must be a number.")
    return version.resolve().parent.name


@contextlib.contextmanager
def _progress(source: Source, show: Any, name: str, size: int) -> Iterator[None]:
    if show is None:
        yield
        return
    with show(name, size) as advance:
        source.progress = advance
        yield
