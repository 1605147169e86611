"""Adaptation as a service: episodes in, a published adapted policy out (the ``/zoo/v1/`` endpoints).

The work is done by the exported ``adapt`` signature; publishing is the store's atomic rename. A crash at any moment
leaves either the old policy or the new one.
"""

import logging
import re
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from metazoo.artefact import signatures, store
from metazoo.collect import CollectionError, Episodes, validate_episodes
from serving.adapting import request as adapt_request
from serving.adapting.idempotency import Idempotency, used
from serving.adapting.request import AdaptRequest
from serving.adapting.retention import Keeper, size_of
from serving.engine.servable import Servable
from serving.errors import Code, ServingError, invalid
from serving.handlers import DataPlane
from serving.logs import event
from serving.options import Options

log = logging.getLogger(__name__)

TASK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TARGET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""What an adapted policy may be called: a directory of its own, in the store and nowhere else."""


class Adapter:
    """Adapts served policies and manages the adapted ones under ``directory``."""

    def __init__(self, plane: DataPlane, directory: Path | None, options: Options | None = None):
        self.plane, self._manager, self._directory = plane, plane.manager, directory
        self._options = options or Options()
        polled = self._options.models_config is not None
        self._keeper = Keeper(directory, self._options.retention, polled=polled) if directory is not None else None
        self._publishing, self._idempotency = threading.Lock(), Idempotency()

    def warm_up(self) -> None:
        """Write a tiny checkpoint: TensorFlow's first one takes a tenth of a second, which no client should wait."""
        if self._directory is not None:
            with tempfile.TemporaryDirectory() as scratch:
                store.write_checkpoint(Path(scratch, "variables"), {"nothing": np.zeros(1, np.float32)})

    def adapt(self, request: AdaptRequest) -> dict[str, Any]:
        """Adapt a served policy by one inner step and publish the result.

        An adapted policy (``toy-a``) takes its next step if the task is its own or not given.

        Returns:
            ``{"model", "version", "diagnostics": {"loss", "kl"}, "episodes", "steps", "timings": {... in ms}}``, and
            ``"replayed": true`` where an earlier request with the same key has done it.

        Raises:
            ServingError: unknown policy, not adaptable, bad episodes, bad task name, nowhere to publish, no room.
        """
        return self._idempotency.once(request.key, request.digest, lambda: self._adapt(request))

    def list(self) -> dict[str, Any]:
        """All served policies, pretrained and adapted (foreign models are not policies)."""
        served = [servable for servable in self._manager.live() if servable.metadata is not None]
        return {"policies": [_summary(servable) for servable in served]}

    def get(self, name: str) -> dict[str, Any]:
        """One policy: its version and the whole of its ``metazoo.json``."""
        servable = self._policy(name)
        return {**_summary(servable), "metadata": servable.metadata}

    def delete(self, name: str, reason: str = "asked for") -> dict[str, Any]:
        """Delete an adapted policy with all its versions. Pretrained ones are refused."""
        servable = self._policy(name)
        if self._keeper is None or not self._is_ours(servable):
            raise ServingError(Code.PERMISSION_DENIED, f"{name} is not an adapted policy of this server")
        with self._publishing:
            self._keeper.delete(name, reason)
            self._manager.forget(name)
        return {"deleted": name}

    def expire(self) -> None:
        """Delete what was not adapted for too long, and what was deleted a while ago."""
        if self._keeper is not None:
            self._keeper.sweep()
        for name in self._keeper.expired() if self._keeper is not None else []:
            with self._publishing:
                if self._keeper is not None and name in self._keeper.expired():  # nobody adapted it meanwhile
                    self._keeper.delete(name, "expired")
                    self._manager.forget(name)

    def _adapt(self, request: AdaptRequest) -> dict[str, Any]:
        if self._directory is None:
            raise ServingError(Code.FAILED_PRECONDITION, "This server publishes nothing: start it with --adapted DIR")
        servable = self._policy(request.policy)
        target, lineage = self._target(request.policy, servable, request.task)
        done = self._done_before(request, target)
        if done is not None:
            return done
        adapt_request.check_size(request.fields, self._options.quota.transitions)
        try:
            episodes = validate_episodes(request.fields, servable.metadata)
        except CollectionError as error:
            raise invalid(f"The episodes do not fit {request.policy}: {error}") from error
        started = time.perf_counter()
        outputs = self._run_adapt(servable, request.memory, episodes)
        adapted = time.perf_counter()
        lineage["episodes"] += episodes.rewards.shape[1]
        lineage["steps"] += 1
        lineage["diagnostics"] = {key: float(outputs[key][0]) for key in ("loss", "kl")}
        if request.key is not None:
            lineage["request"] = {"key": request.key, "digest": request.digest}
        version = self._publish(servable, target, outputs["memory"][0], {"name": target, "adapted": lineage})
        published = time.perf_counter()
        self._manager.refresh(target)
        live = time.perf_counter()
        self._require_available(target)
        timings = {
            "adapt_ms": round((adapted - started) * 1e3, 3),
            "publish_ms": round((published - adapted) * 1e3, 3),
            "load_ms": round((live - published) * 1e3, 3),
        }
        event(log, logging.INFO, "policy adapted", model=target, version=version, of=request.policy, **timings)
        return {**_answer(target, version, lineage), "timings": timings}

    def _policy(self, name: str) -> Servable:
        servable = self._manager.lookup(name)
        if servable.metadata is None:
            raise ServingError(Code.FAILED_PRECONDITION, f"{name} is no policy: it has no {signatures.METADATA_FILE}")
        return servable

    def _is_ours(self, servable: Servable) -> bool:
        """Published by this server or another one on the same store, under the name of its directory."""
        return self._directory is not None and servable.path.parent == self._directory / servable.name

    def _target(self, name: str, servable: Servable, task: str | None) -> tuple[str, dict[str, Any]]:
        """The model to publish as, and where it comes from."""
        before = servable.metadata.get("adapted")
        if task is None and before is None:
            raise invalid('The request needs a "task": the adapted policy is published as NAME-TASK')
        if task is not None and not TASK.fullmatch(task):
            raise invalid(
                f"Task {task!r:.100} is not a name: use 1 to 64 letters, digits, dots, dashes and underscores"
            )
        if before is not None and task in (None, before["task"]) and self._is_ours(servable):
            return name, {key: value for key, value in before.items() if key != "request"}
        if task is None:
            raise invalid(f'{name} was adapted elsewhere: a "task" is needed to publish it here')
        target = f"{name}-{task}"
        if not TARGET.fullmatch(target):
            raise invalid(f"{target[:300]!r} cannot be the name of a policy: use up to 200 letters, digits and . _ -")
        lineage = {"from": name, "from_version": servable.version, "task": task, "episodes": 0, "steps": 0}
        try:
            existing = self._manager.lookup(target)
        except ServingError:
            return target, lineage
        origin = (existing.metadata or {}).get("adapted", {}).get("from")
        if not self._is_ours(existing) or origin != name:
            raise ServingError(Code.ALREADY_EXISTS, f"There is a model {target} that was not adapted from {name}")
        return target, lineage

    def _done_before(self, request: AdaptRequest, target: str) -> dict[str, Any] | None:
        """The answer of a request with this key that was answered before a restart, or by another server."""
        if request.key is None or self._directory is None or not (self._directory / target).is_dir():
            return None
        for version, path in store.versions(self._directory / target).items():
            lineage = (store.read_metadata(path) or {}).get("adapted", {})
            made_by = lineage.get("request", {})
            if made_by.get("key") == request.key:
                if made_by.get("digest") != request.digest:
                    raise used(request.key)
                self._manager.refresh(target)
                return {**_answer(target, version, lineage), "timings": {}, "replayed": True}
        return None

    def _run_adapt(self, servable: Servable, memory: np.ndarray | None, episodes: Episodes) -> dict[str, np.ndarray]:
        size = servable.metadata["memory"]["size"]
        if memory is None:
            rows = {"rows": np.zeros(1, np.int32)}
            memory = self.plane.predict(servable, signatures.INITIAL_MEMORY, rows)["memory"]
        elif memory.size != size or memory.dtype.kind not in "fiu" or not np.all(np.isfinite(memory)):
            raise invalid(f"The memory has {memory.size} values: this policy needs {size} finite ones")
        feeds = {"memory": memory.reshape(1, size).astype(np.float32), **episodes._asdict()}
        return self.plane.predict(servable, signatures.ADAPT, feeds)

    def _publish(self, servable: Servable, target: str, memory: np.ndarray, updates: Mapping[str, Any]) -> int:
        assert self._directory is not None and self._keeper is not None
        with self._publishing:
            try:
                self._keeper.check_room(target, size_of(servable.path))
                version_dir = store.publish(servable.path, self._directory / target, memory, updates)
            except store.StoreError as error:
                raise ServingError(Code.INTERNAL, f"The adapted policy cannot be published: {error}") from error
            except (OSError, tf.errors.OpError) as error:  # TensorFlow writes the variables
                raise ServingError(Code.UNAVAILABLE, f"Nothing was published: {error}") from error
            try:
                self._keeper.prune(target)
            except OSError as error:  # the new version stands; the next one will prune too
                event(log, logging.WARNING, "old versions could not be deleted", model=target, error=error)
        return int(version_dir.name)

    def _require_available(self, target: str) -> None:
        """The new version, or a newer one by somebody else, must be live by now."""
        newest = self._manager.status(target)[0]
        if newest.error is not None:
            assert self._directory is not None
            if newest.version not in _versions(self._directory / target):  # by another server on the same store
                self._manager.forget(target)
                raise ServingError(Code.NOT_FOUND, f"{target} was deleted while it was being adapted")
            text = f"{target} version {newest.version} does not load: {newest.error.message}"
            raise ServingError(Code.INTERNAL, text)


def _versions(base: Path) -> Mapping[int, Path]:
    try:
        return store.versions(base)
    except OSError:
        return {}


def _answer(target: str, version: int, lineage: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": target, "version": version, **{key: lineage[key] for key in ("diagnostics", "episodes", "steps")}}


def _summary(servable: Servable) -> dict[str, Any]:
    metadata = servable.metadata
    keys = ("family", "algorithm", "memory", "horizon", "adapt", "adapted")
    return {"name": servable.name, "version": servable.version, **{key: metadata.get(key) for key in keys}}
