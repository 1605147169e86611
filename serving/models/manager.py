"""Which versions are loaded: polls base paths, loads new versions before it unloads old ones (TF_SERVING §5).

Requests read ``lookup`` without a lock: it works on an immutable snapshot that is replaced as a whole, so they never
meet a gap. All changes happen in one thread at a time, under one lock.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from metazoo.artefact import store
from serving.engine.servable import Loader, Servable
from serving.errors import Code, ServingError, State, invalid
from serving.logs import event
from serving.models.sources import ModelConfig, Source, Sources, Versions

log = logging.getLogger(__name__)


class VersionStatus(NamedTuple):
    """A line of a status answer."""

    version: int
    state: State
    error: ServingError | None


@dataclass
class _Version:
    state: State
    error: ServingError | None = None
    servable: Servable | None = None
    attempts: int = 0
    retry_at: float = 0.0  # time.monotonic()
    path: Path | None = None


@dataclass
class _Model:
    config: ModelConfig
    versions: dict[int, _Version] = field(default_factory=dict)


class _Live(NamedTuple):
    latest: Servable | None
    by_version: Mapping[int, Servable]
    labels: Mapping[str, int]


class Manager:
    """Loads and unloads. ``start`` and ``stop`` run the polling thread; ``refresh`` polls now, in the calling one."""

    def __init__(
        self,
        sources: Sources,
        poll_seconds: float = 1.0,
        load: Callable[..., Servable] | None = None,
        load_retries: int = 0,
        retry_seconds: float = 60.0,
        versions: Versions = store.versions,
        gone: Callable[[str], None] = lambda owner: None,
        find: Source | None = None,
    ):
        """Args:
        sources: see ``Sources``.
        poll_seconds: how often they are asked; 0 only at the start.
        load: makes a servable from (name, version, path).
        load_retries: how often a version that fails to load is tried again (TF Serving: 5) before it ends.
        retry_seconds: the time between two tries, at least; other models are not held up by it.
        versions: lists base paths.
        gone: is told the path of each version that is no longer loaded, and the name of each model of which none is.
        find: gives one model; by default all are asked for.
        """
        self._versions, self._gone = versions, gone
        self._find = find or (lambda name: sources().get(name))
        self._sources, self._poll_seconds, self._load = sources, poll_seconds, load or Loader()
        self._load_retries, self._retry_seconds = load_retries, retry_seconds
        self._models: dict[str, _Model] = {}
        self._live: dict[str, _Live] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Poll once before returning, then every ``poll_seconds`` (0: not again)."""
        self.refresh()
        if self._poll_seconds > 0:
            self._thread = threading.Thread(target=self._poll, name="model-poll", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def lookup(self, name: str, version: int | None = None, label: str | None = None) -> Servable:
        """The servable for a request.

        Raises:
            ServingError: NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for an unknown label.
        """
        live = self._live.get(name)
        if label is not None:
            version = live.labels.get(label) if live else None
            if version is None:
                raise invalid(f"Unrecognized servable version label: {label}")
        if version is None:
            if live is None or live.latest is None:
                raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({name})")
            return live.latest
        servable = live.by_version.get(version) if live else None
        if servable is None:
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")
        return servable

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Every version ever seen, newest first.

        Raises:
            ServingError: NOT_FOUND for an unknown model or version.
        """
        model = self._models.get(name)
        known = dict(model.versions) if model else {}
        if version is not None:
            if version not in known:
                raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
            known = {version: known[version]}
        if not known:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return [
            VersionStatus(number, entry.state, entry.error if entry.state is State.END else None)
            for number, entry in sorted(known.items(), reverse=True)
        ]

    def is_available(self, name: str, version: int | None = None) -> bool:
        """Whether requests for the model (or the version) find it."""
        live = self._live.get(name)
        return live is not None and (live.latest is not None if version is None else version in live.by_version)

    def names(self) -> list[str]:
        """The configured models, sorted."""
        return sorted(self._models)

    def live(self) -> list[Servable]:
        """The latest servable of every model that has one, by name."""
        return [live.latest for _, live in sorted(self._live.items()) if live.latest is not None]

    def refresh(self, only: str | None = None) -> None:
        """Compare disk and memory now, for all models or one. New versions are live when this returns."""
        with self._lock:
            try:
                configs = self._sources() if only is None else self._alone(only)
            except OSError as error:
                event(log, logging.ERROR, "cannot list the models, nothing changes", error=error)
                return
            for name in sorted({*configs, *self._models} if only is None else {only}):
                self._refresh_model(name, configs.get(name))

    def _alone(self, name: str) -> Mapping[str, ModelConfig]:
        found = self._find(name)
        return {} if found is None else {name: found}

    def forget(self, name: str) -> None:
        """Unload a model whose files were deleted, with its history."""
        with self._lock:
            self._live.pop(name, None)
            model = self._models.pop(name, None)
            if model is not None:
                self._tell(name, list(model.versions.values()))

    def _poll(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            try:
                self.refresh()
            except Exception:  # whatever happens, models that are loaded stay served
                log.exception("polling failed")

    def _refresh_model(self, name: str, config: ModelConfig | None) -> None:
        model = self._models.get(name)
        if config is None:
            if model is not None:
                self._unload(name, model, keep=set())
                self._tell(name, list(model.versions.values()))
            return
        if model is None:
            model = self._models[name] = _Model(config)
        relabelled, model.config = model.config.labels != config.labels, config
        if relabelled:
            self._publish(name, model)
        try:
            found = self._versions(config.base_path)
        except OSError as error:
            event(log, logging.ERROR, "base path is not readable, nothing changes", model=name, error=error)
            return
        aspired = config.policy.choose(list(found))
        for number in aspired:
            entry = model.versions.get(number)
            if entry is None or (entry.state is State.END and entry.error is None):
                entry = model.versions[number] = _Version(State.LOADING)
            if entry.state is State.LOADING and time.monotonic() >= entry.retry_at:
                self._load_version(name, model, number, found[number])
        self._tell(name, [entry for number, entry in model.versions.items() if number not in found])
        keep = set(aspired)
        if not all(number in model.versions and model.versions[number].servable for number in aspired):
            # a new version is broken, or not ready yet: what was loaded goes on serving
            keep |= {number for number, entry in model.versions.items() if entry.servable}
        self._unload(name, model, keep)

    def _load_version(self, name: str, model: _Model, number: int, path: Path) -> None:
        entry = model.versions[number]
        entry.attempts, entry.path = entry.attempts + 1, path
        try:
            entry.servable, entry.error = self._load(name, number, path), None
        except ServingError as error:
            entry.error = error
        except Exception as error:  # a fault of ours must not stop the other models
            log.exception("loading %s failed", path)
            entry.error = ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
        if entry.error is None:
            entry.state = State.AVAILABLE
            self._publish(name, model)
            event(log, logging.INFO, "version is available", model=name, version=number)
        elif not path.exists():  # deleted while it was being loaded; if it comes again, it is another one
            self._tell(name, [model.versions.pop(number)])
        elif entry.attempts <= self._load_retries:
            entry.retry_at = time.monotonic() + self._retry_seconds
            fields = {"model": name, "version": number, "error": entry.error.message}
            event(log, logging.WARNING, "version failed to load, will try again", **fields)
        else:
            entry.state = State.END
            fields = {"model": name, "version": number, "error": entry.error.message}
            event(log, logging.ERROR, "version cannot be served", **fields)

    def _unload(self, name: str, model: _Model, keep: set[int]) -> None:
        gone = [number for number, entry in model.versions.items() if entry.servable and number not in keep]
        unloaded = [model.versions[number] for number in gone]
        for entry in unloaded:
            entry.state, entry.servable = State.UNLOADING, None
        if gone:
            self._publish(name, model)
            event(log, logging.INFO, "versions unloaded", model=name, versions=gone)
        for entry in unloaded:
            entry.state = State.END
        self._tell(name, unloaded)

    def _tell(self, name: str, entries: list[_Version]) -> None:
        """That these versions are gone, unless they are loaded still; and the model, if no other is loaded."""
        forgotten = name not in self._models
        gone = [entry for entry in entries if entry.path is not None and (forgotten or entry.servable is None)]
        for entry in gone:
            self._gone(os.fspath(entry.path or ""))
            entry.path = None
        if gone and not self.is_available(name):
            self._gone(name)

    def _publish(self, name: str, model: _Model) -> None:
        """Replace what requests see."""
        loaded = {number: entry.servable for number, entry in model.versions.items() if entry.servable is not None}
        latest = loaded[max(loaded)] if loaded else None
        labels = {label: number for label, number in model.config.labels.items() if number in loaded}
        self._live[name] = _Live(latest, loaded, labels)
