"""Adapted policies: what they are called, whose they are, what was done to them, and who may change them when.

Decided here for every road that publishes one: the server's service, clients of a stock TF Serving through the store,
and ``Pretrained.publish``. What a policy was adapted from stands in its ``metazoo.json``, its *record* ``adapted``:

- ``from``, ``from_version``: the policy that its first step started from, which is no step of its own;
- ``task``, the name of the task it was adapted to: it is published as ``<from>-<task>``;
- ``steps``: its inner steps in all, since ``from``; ``episodes``: those that went into them, in all;
- ``last_episodes``: those that went into the latest step; ``diagnostics``: what that step measured (loss, kl);
- ``classes``: of a classifier, what its labels mean, in their order;
- ``kept``: whether it is what it was before or after adapting, where held-out episodes decided that, and the returns;
- ``warm_start``: whose memory its first step took over, and why; ``sketch``: how its task is recognised;
- ``request``: the key and the digest of the request that made the latest step, if it had a key.

A policy takes its *next step* when it is adapted under its own task (or none) and published where it stands; under
another task, or elsewhere, it becomes the ``from`` of a new policy. A next step starts from the newest version: reading
that, adapting and publishing happen under one lock of the policy's name, which threads and processes share (``step``).
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.artefact import locks, store

TASK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""What an adapted policy may be called: a directory of its own, in the store and nowhere else."""
KEPT_VERSIONS: Final = 2
"""Old versions of an adapted policy are pruned to this many: the one in use and the one being replaced."""
LARGEST: Final = 1e18
"""No number of a memory may be larger: its square would not be a float32."""
LATEST: Final = ("last_episodes", "diagnostics", "classes", "kept", "warm_start", "sketch")
SUMMARY: Final = ("family", "algorithm", "memory", "horizon", "adapt", "adapted")


class LineageError(ValueError):
    """A policy cannot be published under that name; the message is one sentence for the user."""


class BadNameError(LineageError):
    """The task or the name is none that can be published."""


class TakenError(LineageError):
    """Another model has the name."""


class OutdatedError(LineageError):
    """What was adapted is not the newest version any more, or is gone."""


@dataclass(frozen=True)
class Parent:
    """The version that is adapted, with its metadata as published."""

    name: str
    version: int
    path: Path
    metadata: Mapping[str, Any]


class Target(NamedTuple):
    """What the result is published as, and its record so far, to which ``with_step`` adds."""

    name: str
    record: dict[str, Any]


# --- names and records -------------------------------------------------------------------------------------------


def check_task_name(task_name: str) -> None:
    """Raises BadNameError for what cannot be part of a policy's name."""
    if not (isinstance(task_name, str) and TASK_NAME.fullmatch(task_name)):
        raise BadNameError(
            f"Task {task_name!r:.100} is not a name, and a policy's task is part of its name: use 1 to 64 letters, "
            "digits, dots, dashes and underscores"
        )


def task_name_of(label: str) -> str:
    """Any text as a task's name: what a name cannot have becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._")[:64] or "task"


def record(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of an adapted policy, with every field that versions published by older releases lack; else None."""
    found = metadata.get("adapted")
    if not isinstance(found, Mapping):
        return None
    task_name, steps, episodes = found.get("task"), int(found.get("steps", 0)), int(found.get("episodes", 0))
    if "last_episodes" not in found and _counts_per_step(found):
        episodes *= steps
    name = str(metadata.get("name", ""))
    whole = {"from": name.removesuffix(f"-{task_name}"), "from_version": None, "task": task_name, **found}
    return {**whole, "steps": steps, "episodes": episodes, "last_episodes": found.get("last_episodes")}


def _counts_per_step(older: Mapping[str, Any]) -> bool:
    """``Pretrained`` once wrote the episodes of one step, and the task, which publishing added, as the last key."""
    keys = list(older)
    return "diagnostics" in keys and ("task" not in keys or keys.index("task") > keys.index("diagnostics"))


def target(parent: Parent, task_name: str | None, directory: Path) -> Target:
    """What adapting ``parent`` for ``task_name`` is published as in ``directory``.

    Raises:
        BadNameError: no task for a policy that has none of its own there, or a name that cannot be published.
    """
    before = record(parent.metadata)
    if task_name is not None:
        check_task_name(task_name)
    if before is not None and task_name in (None, before["task"]) and is_in(directory, parent.name, parent.path):
        return Target(parent.name, {key: value for key, value in before.items() if key != "request"})
    if task_name is None and before is None:
        raise BadNameError('The request needs a "task": the adapted policy is published as NAME-TASK')
    if task_name is None:
        raise BadNameError(f'{parent.name} was adapted elsewhere: a "task" is needed to publish it here')
    name = f"{parent.name}-{task_name}"
    check_name(name)
    return Target(
        name, {"from": parent.name, "from_version": parent.version, "task": task_name, "steps": 0, "episodes": 0}
    )


def check_name(name: str) -> None:
    """Raises BadNameError for what no policy can be called."""
    if not NAME.fullmatch(name):
        raise BadNameError(f"{name[:300]!r} cannot be the name of a policy: use up to 200 letters, digits and . _ -")


def with_step(
    before: Mapping[str, Any], episodes: int, diagnostics: Mapping[str, float], request: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The record after one more step on so many episodes."""
    after = {
        **{key: value for key, value in before.items() if key != "kept"},  # which said something of earlier steps
        "steps": before["steps"] + 1,
        "episodes": before["episodes"] + episodes,
        "last_episodes": episodes,
        "diagnostics": dict(diagnostics),
    }
    return after if request is None else {**after, "request": dict(request)}


def summary(name: str, version: int, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What lists say of a policy."""
    return {
        "name": name,
        "version": version,
        **{key: metadata.get(key) for key in SUMMARY},
        "adapted": record(metadata),
    }


def is_in(directory: Path, name: str, version_dir: Path) -> bool:
    """Whether a version stands in ``directory`` under the name of its model: then it is ours to replace and delete."""
    return version_dir.parent.resolve() == directory.resolve() / name


def check_memory(memory: Any, size: int) -> np.ndarray:
    """The memory as float32.

    Raises:
        LineageError: not ``size`` numbers that can be computed with.
    """
    array = np.asarray(memory)
    if array.dtype.kind not in "fiu" or array.size != size:
        raise LineageError(f"The memory has {array.size} values: this policy needs {size} finite ones")
    usable = np.abs(array.astype(np.float64)) <= LARGEST  # false for nan
    if not np.all(usable):
        bad = int(np.argmin(usable.reshape(-1)))
        value = array.reshape(-1)[bad]
        raise LineageError(f"The memory holds {value} at {bad}: need finite values of at most {LARGEST:g}")
    return array.astype(np.float32).reshape(size)


# --- one change at a time ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def step(
    directory: Path, find: Callable[[], Parent], choose: Callable[[Parent], Target]
) -> Iterator[tuple[Parent, Target]]:
    """Around adapting and publishing: what is adapted, the newest there is, and as what it is published.

    Until the end nobody else publishes, prunes or deletes the target, or deletes what is adapted.

    Args:
        directory: where adapted policies are published.
        find: gives the newest version of what is adapted; called again under the locks.
        choose: gives what the result is published as, by ``target``.

    Raises:
        LineageError: as ``choose``; or another model has the name.
        OSError: nothing can be written there, or somebody else was at work for too long.
    """
    first = find()
    name = choose(first).name
    directory.mkdir(parents=True, exist_ok=True)
    with changing(directory, name), _kept(directory, first, name):
        parent = find()
        result = choose(parent)
        if result.name != name:
            raise OutdatedError(f"{first.name} was replaced by another policy while it was to be adapted: try again")
        check_free(directory, result)
        yield parent, result


@contextlib.contextmanager
def changing(directory: Path, name: str, wait: float = locks.WAIT_SECONDS) -> Iterator[None]:
    """Around whatever publishes, prunes or deletes versions of ``name``.

    Raises:
        OSError: nothing can be written there, or somebody else was at work for ``wait`` seconds (TimeoutError).
    """
    with locks.held(directory, name, wait=wait):
        yield


def discard(directory: Path, name: str) -> bool:
    """Delete the files of a retired model, unless somebody brings it back just now. Whether it did."""
    base = directory / name
    with contextlib.suppress(OSError), changing(directory, name, wait=0.0):
        if store.is_retired(base):
            store.delete_model(base)
            return True
    return False


def _kept(directory: Path, parent: Parent, name: str) -> Any:
    """Shared, so that several can adapt from one policy at a time. A target's name is longer than its parent's, so
    nobody waits in a circle."""
    if parent.name == name or not is_in(directory, parent.name, parent.path):
        return contextlib.nullcontext()
    return locks.held(directory, parent.name, shared=True)


def check_free(directory: Path, wanted: Target) -> None:
    """Refuse a name that something else has which stands in ``directory``.

    Raises:
        TakenError
    """
    for path in reversed(versions_in(directory / wanted.name).values()):
        with contextlib.suppress(store.CorruptedError):  # an older one tells as well
            metadata = store.read_metadata(path) or {}
            origin = record(metadata)
            if origin is None or origin["from"] != wanted.record["from"]:
                raise taken(wanted)
            return


def taken(wanted: Target) -> TakenError:
    return TakenError(f"There is a model {wanted.name} that was not adapted from {wanted.record['from']}")


def versions_in(base: Path) -> dict[int, Path]:
    """The versions under a base path; none if it does not exist."""
    try:
        return store.versions(base)
    except (FileNotFoundError, NotADirectoryError):
        return {}


def newest_in(base: Path) -> Path | None:
    """The directory of the newest version under a base path, if it has any."""
    found = versions_in(base)
    return found[max(found)] if found else None


def publish(parent: Parent, directory: Path, wanted: Target, memory: np.ndarray) -> Path:
    """Publish a memory with the graph of ``parent``, within ``step``; ``wanted.record`` is the whole record.

    Raises:
        LineageError: the memory is not finite. StoreError, OSError: as ``store.publish``.
    """
    usable = check_memory(memory, parent.metadata["memory"]["size"])
    updates = {"name": wanted.name, "adapted": wanted.record}
    return store.publish(parent.path, directory / wanted.name, usable, updates)


# --- adapted in this process, published later --------------------------------------------------------------------


def adapted_since(metadata: Mapping[str, Any], name: str, version: int) -> dict[str, Any]:
    """The record of what was done to a loaded policy that is not published yet; of nothing if nothing was done."""
    found = record(metadata)
    if found is not None and (found["from"], found["from_version"]) == (name, version):
        return found
    return {"from": name, "from_version": version, "steps": 0, "episodes": 0}


def publish_made(
    loaded: Path, metadata: Mapping[str, Any], version: int, directory: Path, task_name: str | None, memory: np.ndarray
) -> Path:
    """Publish what was made in this process of the version in ``loaded``.

    Args:
        loaded: the version directory.
        metadata: its, with what was done since.
        version: its number.
        directory: where to.
        task_name: None: its own, if its policy stands in ``directory``, else ``adapted``. A policy that was not adapted
            since is copied as it is: ``<from>-<task>``.
        memory: ``[S]``.

    Raises:
        LineageError: see ``target``; or somebody else published a next step meanwhile. StoreError: ``loaded`` is gone.
    """
    name, made = str(metadata["name"]), adapted_since(metadata, str(metadata["name"]), version)
    published = store.read_metadata(loaded)
    if published is None:
        raise store.StoreError(f"{loaded} is there no longer, it was pruned or deleted: load the policy again")
    parent = Parent(name, version, loaded, {**metadata, "adapted": published.get("adapted")})
    own, here = record(parent.metadata), is_in(directory, name, loaded)

    def choose(_: Parent) -> Target:
        if own is not None and made["steps"] == 0 and not (here and task_name in (None, own["task"])):
            return _copy(own, (own["task"] or "adapted") if task_name is None else task_name)
        return target(parent, "adapted" if task_name is None and not (own and here) else task_name, directory)

    with step(directory, lambda: parent, choose) as (_, wanted):
        if wanted.name == name and here and newest_in(loaded.parent) != loaded:
            raise OutdatedError(f"{name} has a newer version than {version} by now: load it again and adapt that one")
        return publish(parent, directory, wanted._replace(record=_joined(wanted.record, made)), memory)


def _copy(own: Mapping[str, Any], task_name: str) -> Target:
    check_task_name(task_name)
    name = f"{own['from']}-{task_name}"
    check_name(name)
    return Target(name, {**own, "task": task_name})


def _joined(before: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """``before``, and what was done since."""
    counts = {key: before[key] + made[key] for key in ("steps", "episodes")}
    latest = {key: made[key] for key in LATEST if key in made}
    earlier = {key: value for key, value in before.items() if key != "kept" or not made["steps"]}
    return {**earlier, **counts, **latest}
