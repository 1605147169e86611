"""Adaptation as a service: episodes in, a published adapted policy out (DESIGN §5, the ``/zoo/v1/`` endpoints).

The work is done by the exported ``adapt`` signature; publishing is the store's atomic rename. A crash at any moment
leaves either the old policy or the new one.
"""

import contextlib
import io
import re
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from metazoo import signatures, store
from metazoo.collect import CollectionError, Episodes, validate_episodes
from serving import codec
from serving.errors import Code, ServingError, invalid
from serving.handlers import DataPlane
from serving.servable import Servable

TASK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KEPT_VERSIONS: Final = 2
"""Old versions of an adapted policy are pruned to this many: the one in use and the one being replaced."""


class Adapter:
    """Adapts served policies and manages the adapted ones under ``directory``."""

    def __init__(self, plane: DataPlane, directory: Path | None):
        self._plane, self._manager, self._directory = plane, plane.manager, directory
        self._publishing = threading.Lock()

    def warm_up(self) -> None:
        """Write a tiny checkpoint: TensorFlow's first one takes a tenth of a second, which no client should wait."""
        if self._directory is not None:
            with tempfile.TemporaryDirectory() as scratch:
                store.write_checkpoint(Path(scratch, "variables"), {"nothing": np.zeros(1, np.float32)})

    def adapt(self, name: str, body: bytes, task: str | None = None) -> dict[str, Any]:
        """Adapt policy ``name`` by one inner step and publish the result.

        Args:
            name: a served policy. An adapted one (``toy-a``) takes its next step if the task is its own or not given.
            body: JSON ``{"task", "episodes": {...}, "memory": optional [S]}``, or an npz with the episodes' fields
                (and ``memory``), the task being in the query string.
            task: from the query string; the body's wins.

        Returns:
            ``{"model", "version", "diagnostics": {"loss", "kl"}, "episodes", "steps", "timings": {... in ms}}``.

        Raises:
            ServingError: unknown policy, not adaptable, bad episodes, bad task name, nowhere to publish.
        """
        if self._directory is None:
            raise ServingError(Code.FAILED_PRECONDITION, "This server publishes nothing: start it with --adapted DIR")
        servable = self._policy(name)
        task_in_body, fields, memory = _parse_body(body)
        target, lineage = self._target(name, servable, task_in_body or task)
        try:
            episodes = validate_episodes(fields, servable.metadata)
        except CollectionError as error:
            raise invalid(f"The episodes do not fit {name}: {error}") from error
        started = time.perf_counter()
        outputs = self._run_adapt(servable, memory, episodes)
        adapted = time.perf_counter()
        lineage["episodes"] += episodes.rewards.shape[1]
        lineage["steps"] += 1
        lineage["diagnostics"] = {key: float(outputs[key][0]) for key in ("loss", "kl")}
        updates = {"name": target, "adapted": lineage}
        version = self._publish(servable, self._directory / target, outputs["memory"][0], updates)
        published = time.perf_counter()
        self._manager.refresh(target)
        live = time.perf_counter()
        self._require_available(target, version)
        return {
            "model": target,
            "version": version,
            "diagnostics": lineage["diagnostics"],
            "episodes": lineage["episodes"],
            "steps": lineage["steps"],
            "timings": {
                "adapt_ms": round((adapted - started) * 1e3, 3),
                "publish_ms": round((published - adapted) * 1e3, 3),
                "load_ms": round((live - published) * 1e3, 3),
            },
        }

    def list(self) -> dict[str, Any]:
        """All served policies, pretrained and adapted (foreign models are not policies)."""
        served = [servable for servable in self._manager.live() if servable.metadata is not None]
        return {"policies": [_summary(servable) for servable in served]}

    def get(self, name: str) -> dict[str, Any]:
        """One policy: its version and the whole of its ``metazoo.json``."""
        servable = self._policy(name)
        return {**_summary(servable), "metadata": servable.metadata}

    def delete(self, name: str) -> dict[str, Any]:
        """Delete an adapted policy with all its versions. Pretrained ones are refused."""
        servable = self._policy(name)
        if self._directory is None or not self._is_ours(servable):
            raise ServingError(Code.PERMISSION_DENIED, f"{name} is not an adapted policy of this server")
        with self._publishing:
            with contextlib.suppress(FileNotFoundError):  # another server on this store was faster
                store.delete_model(self._directory / name)
            self._manager.forget(name)
        return {"deleted": name}

    def _policy(self, name: str) -> Servable:
        servable = self._manager.lookup(name)
        if servable.metadata is None:
            raise ServingError(Code.FAILED_PRECONDITION, f"{name} is no policy: it has no {signatures.METADATA_FILE}")
        return servable

    def _is_ours(self, servable: Servable) -> bool:
        return self._directory is not None and servable.path.parent.parent == self._directory

    def _target(self, name: str, servable: Servable, task: str | None) -> tuple[str, dict[str, Any]]:
        """The model to publish as, and where it comes from."""
        before = servable.metadata.get("adapted")
        if task is None and before is None:
            raise invalid('The request needs a "task": the adapted policy is published as NAME-TASK')
        if task is not None and not TASK.fullmatch(task):
            raise invalid(f"Task {task!r} is not a name: use 1 to 64 letters, digits, dots, dashes and underscores")
        if before is not None and task in (None, before["task"]) and self._is_ours(servable):
            return name, dict(before)
        if task is None:
            raise invalid(f'{name} was adapted elsewhere: a "task" is needed to publish it here')
        target = f"{name}-{task}"
        lineage = {"from": name, "from_version": servable.version, "task": task, "episodes": 0, "steps": 0}
        try:
            existing = self._manager.lookup(target)
        except ServingError:
            return target, lineage
        origin = (existing.metadata or {}).get("adapted", {}).get("from")
        if not self._is_ours(existing) or origin != name:
            raise ServingError(Code.ALREADY_EXISTS, f"There is a model {target} that was not adapted from {name}")
        return target, lineage

    def _run_adapt(self, servable: Servable, memory: np.ndarray | None, episodes: Episodes) -> dict[str, np.ndarray]:
        size = servable.metadata["memory"]["size"]
        if memory is None:
            rows = {"rows": np.zeros(1, np.int32)}
            memory = self._plane.predict(servable, signatures.INITIAL_MEMORY, rows)["memory"]
        elif memory.size != size or not np.all(np.isfinite(memory)):
            raise invalid(f"The memory has {memory.size} values: this policy needs {size} finite ones")
        feeds = {"memory": memory.reshape(1, size).astype(np.float32), **episodes._asdict()}
        return self._plane.predict(servable, signatures.ADAPT, feeds)

    def _publish(self, servable: Servable, base: Path, memory: np.ndarray, updates: Mapping[str, Any]) -> int:
        with self._publishing:
            try:
                version_dir = store.publish(servable.path, base, memory, updates)
                store.prune(base, KEPT_VERSIONS)
            except store.StoreError as error:
                raise ServingError(Code.INTERNAL, f"The adapted policy cannot be published: {error}") from error
            except OSError as error:
                raise ServingError(Code.UNAVAILABLE, f"Nothing was published: {error}") from error
        return int(version_dir.name)

    def _require_available(self, target: str, version: int) -> None:
        """The new version, or a newer one by somebody else, must be live by now."""
        newest = self._manager.status(target)[0]
        if newest.error is not None:
            raise ServingError(Code.INTERNAL, f"{target} version {version} does not load: {newest.error.message}")


def _parse_body(body: bytes) -> tuple[str | None, Mapping[str, Any], np.ndarray | None]:
    """(task, the episodes' fields, memory)."""
    if body[:2] == b"PK":
        fields = _read_npz(body)
        return None, fields, fields.pop("memory", None)
    document = codec.parse_json(body)
    task, episodes, memory = (document.get(key) for key in ("task", "episodes", "memory"))
    if task is not None and type(task) is not str:
        raise invalid(f'"task" must be a string, not {task!r}')
    if type(episodes) is not dict:
        raise invalid(f'The request needs "episodes", an object with {", ".join(signatures.EPISODE_FIELDS)}')
    if memory is not None:
        memory = codec.dense_array(memory, "float")
        if memory is None:
            raise invalid('"memory" must be a list of numbers')
    return task, episodes, memory


def _read_npz(body: bytes) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zipfile.error) as error:
        raise invalid(f"The body is not an npz file of plain arrays: {error}") from error


def _summary(servable: Servable) -> dict[str, Any]:
    metadata = servable.metadata
    keys = ("family", "algorithm", "memory", "horizon", "adapt", "adapted")
    return {"name": servable.name, "version": servable.version, **{key: metadata.get(key) for key in keys}}
