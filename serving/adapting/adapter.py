"""Adaptation as a service: episodes in, a published adapted policy out (the ``/zoo/v1/`` endpoints).

The work is done by the exported ``adapt`` signature; publishing is the store's atomic rename. A crash at any moment
leaves either the old policy or the new one. Names, owners and who may change what when: ``metazoo.artefact.lineage``.
"""

import contextlib
import logging
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from metazoo.artefact import lineage, signatures, store
from metazoo.artefact.lineage import Parent, Target
from metazoo.artefact.warm_start import Index
from serving.adapting import request as adapt_request
from serving.adapting.idempotency import Idempotency, used
from serving.adapting.request import AdaptRequest
from serving.adapting.retention import Keeper, size_of
from serving.engine import inner_step
from serving.engine.inner_step import Given, Kept, Made, Whose, refusals
from serving.engine.servable import Servable
from serving.errors import Code, ServingError, invalid
from serving.handlers import DataPlane
from serving.logs import event
from serving.options import Options

log = logging.getLogger(__name__)


class Adapter:
    """Adapts served policies and manages the adapted ones under ``directory``."""

    def __init__(self, plane: DataPlane, directory: Path | None, options: Options | None = None):
        self.plane, self._manager, self._directory = plane, plane.manager, directory
        self._options = options or Options()
        polled = self._options.models_config is not None
        self._keeper = None if directory is None else Keeper(directory, self._options.retention, polled=polled)
        self._idempotency = Idempotency(directory=directory)
        self._indexes: dict[tuple[str, int], Index] = {}

    def warm_up(self) -> None:
        """Write a tiny checkpoint: TensorFlow's first one takes a tenth of a second, which no client should wait."""
        if self._directory is not None:
            with tempfile.TemporaryDirectory() as scratch:
                store.write_checkpoint(Path(scratch, "variables"), {"nothing": np.zeros(1, np.float32)})

    def adapt(self, request: AdaptRequest) -> dict[str, Any]:
        """Adapt a served policy by one inner step and publish the result.

        An adapted policy (``toy-a``) takes its next step if the task is its own or not given, from its newest version,
        one after the other, whichever servers are asked.

        Returns:
            ``{"model", "version", "diagnostics": {"loss", "kl"}, "episodes", "steps", "timings": {... in ms}}``,
            ``"kept": {"which", "before", "after", "episodes"}`` where ``keep_better`` was asked for, and
            ``"replayed": true`` where an earlier request with the same key has done it, ``"warnings": [...]`` where
            the rewards are far from those of training.

        Raises:
            ServingError: unknown policy, not adaptable, bad episodes, bad task name, nowhere to publish, no room.
        """
        with refusals():
            answer = self._idempotency.once(request.key, request.digest, lambda: self._adapt(request))
        if answer.get("replayed"):  # another server may have done it
            self._manager.refresh(answer["model"])
        return answer

    def list(self) -> dict[str, Any]:
        """All served policies, pretrained and adapted (foreign models are not policies)."""
        served = [servable for servable in self._manager.live() if servable.metadata is not None]
        return {"policies": [_summary(servable) for servable in served]}

    def get(self, name: str) -> dict[str, Any]:
        """One policy: its version and the whole of its ``metazoo.json``."""
        servable = self._policy(name)
        return {**_summary(servable), "metadata": servable.metadata}

    def delete(self, name: str, reason: str = "asked for") -> dict[str, Any]:
        """Delete an adapted policy with all its versions, once nobody adapts it. Pretrained ones are refused."""
        servable = self._policy(name)
        if self._keeper is None or self._directory is None or not lineage.is_in(self._directory, name, servable.path):
            raise ServingError(Code.PERMISSION_DENIED, f"{name} is not an adapted policy of this server")
        with refusals(f"{name} was not deleted"), lineage.changing(self._directory, name):
            self._keeper.delete(name, reason)
            self._manager.forget(name)
        return {"deleted": name}

    def expire(self) -> None:
        """Delete what was not adapted for too long, and all that ``sweep`` deletes."""
        if self._keeper is None or self._directory is None:
            return
        self.sweep()
        for name in self._keeper.expired():
            with lineage.changing(self._directory, name):
                if name in self._keeper.expired():  # nobody adapted it meanwhile
                    self._keeper.delete(name, "expired")
                    self._manager.forget(name)

    def sweep(self) -> None:
        """Delete what had to stay for a while, and what killed servers and publishers have left."""
        if self._keeper is not None:
            try:
                self._keeper.sweep()
                self._idempotency.sweep()
            except OSError as error:  # a store that is read only, or gone for a moment
                event(log, logging.WARNING, "the store of adapted policies cannot be swept", error=error)

    def _adapt(self, request: AdaptRequest) -> dict[str, Any]:
        if self._directory is None:
            raise ServingError(Code.FAILED_PRECONDITION, "This server publishes nothing: start it with --adapted DIR")
        choose = partial(lineage.target, task_name=request.task_name, directory=self._directory)
        with lineage.step(self._directory, lambda: self._newest(request.policy), choose) as (parent, target):
            self._check_served(target)
            return self._done_before(request, target) or self._step(request, parent, target)

    def _step(self, request: AdaptRequest, parent: Parent, target: Target) -> dict[str, Any]:
        """Adapt, publish, load and prune, within ``lineage.step``."""
        adapt_request.check_size(request.fields, self._options.quota.transitions)
        started = time.perf_counter()
        made: Made | Kept
        made = self._made(request, parent) if request.kept is None else self._kept(request, parent, target)
        adapted = time.perf_counter()
        key = None if request.key is None else {"key": request.key, "digest": request.digest}
        record = made.record(target.record, key)
        version = self._publish(parent, Target(target.name, record), made.memory)
        published = time.perf_counter()
        self._manager.refresh(target.name)
        live = time.perf_counter()
        self._require_available(target.name)
        if self._keeper is not None:
            self._keeper.prune(target.name)
        timings = {
            "adapt_ms": round((adapted - started) * 1e3, 3),
            "publish_ms": round((published - adapted) * 1e3, 3),
            "load_ms": round((live - published) * 1e3, 3),
        }
        event(log, logging.INFO, "policy adapted", model=target.name, version=version, of=parent.name, **timings)
        return {**_answer(target.name, version, record), "timings": timings, **made.answer()}

    def _made(self, request: AdaptRequest, parent: Parent) -> Made:
        if not parent.path.is_dir():  # the newest does not load, and somebody has pruned what is served instead
            raise lineage.OutdatedError(f"{parent.name} version {parent.version} has no files any more: publish anew")
        servable = self._manager.lookup(parent.name, parent.version)
        episodes = inner_step.checked_episodes(request.fields, parent.name, parent.metadata)

        def predict(
            inputs: Mapping[str, np.ndarray], signature: str, outputs: tuple[str, ...]
        ) -> Mapping[str, np.ndarray]:
            return self.plane.predict(servable, signature, dict(inputs))

        memory, given = request.memory, request.memory is not None
        if not given:
            memory = self._own_memory(servable)
        whose = Whose(request.off_policy, live=True, at_once=min(64, self._options.batching.max_rows))
        made = inner_step.take(predict, parent, episodes, memory, given, whose)
        if not request.warm_start:
            return made
        start = lineage.check_memory(memory, parent.metadata["memory"]["size"])
        return inner_step.warmer(predict, self._index(parent, start), parent.metadata, made, Given(episodes, start))

    def _index(self, parent: Parent, start: np.ndarray) -> Index:
        """The published adaptations of a version, kept up to date; those of its older versions are let go."""
        assert self._directory is not None
        known = self._indexes.get((parent.name, parent.version))
        if known is None:
            known = Index(self._directory, parent.name, parent.version, start)
            others = {key: one for key, one in self._indexes.items() if key[0] != parent.name}
            self._indexes = {**others, (parent.name, parent.version): known}
        return known

    def _kept(self, request: AdaptRequest, parent: Parent, target: Target) -> Kept:
        """The better one of the policy and what it was before adapting, by the returns of the request."""
        assert request.kept is not None
        if parent.name != target.name:
            raise invalid(f'"keep_better" is for a policy that was adapted, and {parent.name} was not: adapt it first')
        before = request.memory
        if before is None:
            before = self._own_memory(self._manager.lookup(target.record["from"]))
        servable = self._manager.lookup(parent.name, parent.version)

        def predict(
            inputs: Mapping[str, np.ndarray], signature: str, outputs: tuple[str, ...]
        ) -> Mapping[str, np.ndarray]:
            return self.plane.predict(servable, signature, dict(inputs))

        return inner_step.keep_better(predict, parent, before, self._own_memory(servable), *request.kept)

    def _own_memory(self, servable: Servable) -> np.ndarray:
        return self.plane.predict(servable, signatures.INITIAL_MEMORY, {"rows": np.zeros(1, np.int32)})["memory"]

    def _policy(self, name: str) -> Servable:
        """The servable of a policy, also if another server on the same store has published it just now."""
        if not self._manager.is_available(name) and lineage.NAME.fullmatch(name) and self._on_disk(name):
            self._manager.refresh(name)
        servable = self._manager.lookup(name)
        if servable.metadata is None:
            raise ServingError(Code.FAILED_PRECONDITION, f"{name} is no policy: it has no {signatures.METADATA_FILE}")
        return servable

    def _newest(self, name: str) -> Parent:
        """The policy as it is on the disk now, where others may have published it, pruned it or deleted it."""
        servable = self._policy(name)
        assert self._directory is not None
        if (
            lineage.is_in(self._directory, name, servable.path)
            and max(self._on_disk(name), default=0) != servable.version
        ):
            self._manager.refresh(name)
            servable = self._policy(name)
        return Parent(name, servable.version, servable.path, servable.metadata)

    def _on_disk(self, name: str) -> Mapping[int, Path]:
        return {} if self._directory is None else lineage.versions_in(self._directory / name)

    def _check_served(self, target: Target) -> None:
        """Refuse a name that is served from elsewhere: the result would never be seen."""
        with contextlib.suppress(ServingError):  # there is none
            served = self._manager.lookup(target.name)
            if not lineage.is_in(self._directory or Path(), target.name, served.path):
                raise lineage.taken(target)

    def _done_before(self, request: AdaptRequest, target: Target) -> dict[str, Any] | None:
        """The answer of a request with this key that was published by a server which was killed before it answered."""
        for version, path in self._on_disk(target.name).items() if request.key is not None else ():
            record = lineage.record(store.read_metadata(path) or {}) or {}
            made_by = record.get("request", {})
            if made_by.get("key") == request.key:
                if made_by.get("digest") != request.digest:
                    raise used(str(request.key))
                return {**_answer(target.name, version, record), "timings": {}, "replayed": True}
        return None

    def _publish(self, parent: Parent, target: Target, memory: np.ndarray) -> int:
        assert self._directory is not None and self._keeper is not None
        with self._keeper.room(target.name, size_of(parent.path)):
            return int(lineage.publish(parent, self._directory, target, memory).name)

    def _require_available(self, target: str) -> None:
        """The new version must be live by now."""
        newest = self._manager.status(target)[0]
        if newest.error is not None:
            if newest.version not in self._on_disk(target):  # by somebody who asks for no lock
                self._manager.forget(target)
                raise ServingError(Code.NOT_FOUND, f"{target} was deleted while it was being adapted")
            text = f"{target} version {newest.version} does not load: {newest.error.message}"
            raise ServingError(Code.INTERNAL, text)


def _answer(target: str, version: int, record: Mapping[str, Any]) -> dict[str, Any]:
    keys = "diagnostics", "episodes", "steps", "kept"
    return {"model": target, "version": version, **{key: record[key] for key in keys if key in record}}


def _summary(servable: Servable) -> dict[str, Any]:
    return lineage.summary(servable.name, servable.version, servable.metadata)
