"""Adapting with a stock TF Serving: it runs the ``adapt`` signature, and the result is published through the store.

TF Serving has no endpoint for adapting, and does not hand out ``metazoo.json``; both are in the version directories,
which the client must be able to read, and to write where adapted policies are published.
"""

import contextlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from metazoo.artefact import signatures, store
from metazoo.collect import CollectionError, pad_episodes, validate_episodes
from serving.errors import Code, ServingError, invalid
from serving.models.config_files import Loadable, models_config
from serving.models.sources import scan

TASK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LIVE_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02
KEPT_VERSIONS: Final = 2


class StoreTransport:
    """The methods of ``RestTransport`` that need more than TF Serving: by a shared directory."""

    def __init__(self, server: Any, models: Path, adapted: Path, reload: bool = False):
        """Args:
        server: ``RestTransport`` or ``GrpcTransport`` of the TF Serving.
        models, adapted: directories of base paths; TF Serving must serve both.
        reload: tell the server of a new policy by HandleReloadConfigRequest, which needs gRPC.
        """
        if reload and not hasattr(server, "reload"):
            raise ValueError("reload needs gRPC: HandleReloadConfigRequest has no REST form")
        self._server, self._models, self._adapted, self._reload = server, models, adapted, reload
        self._loadable = Loadable()

    def policies(self) -> list[dict[str, Any]]:
        names = {path.name for root in (self._models, self._adapted) if root.is_dir() for path in root.iterdir()}
        found = []
        for name in sorted(names):
            try:
                found.append({key: value for key, value in self.policy(name).items() if key != "metadata"})
            except ServingError:  # no policy: a foreign model, or a file
                continue
        return found

    def policy(self, name: str) -> dict[str, Any]:
        version = self._version(name)
        metadata = store.read_metadata(version)
        if metadata is None:
            raise ServingError(Code.FAILED_PRECONDITION, f"{name} is no policy: it has no {signatures.METADATA_FILE}")
        keys = ("family", "algorithm", "memory", "horizon", "adapt", "adapted")
        summary = {key: metadata.get(key) for key in keys}
        return {"name": name, "version": int(version.name), **summary, "metadata": metadata}

    def adapt(self, name: str, task: str | None, arrays: Mapping[str, np.ndarray], key: str) -> dict[str, Any]:
        """One inner step, published and live when this returns. ``key`` is not needed: nothing is retried here."""
        policy = self.policy(name)
        before = policy["adapted"]
        if task is not None and not TASK.fullmatch(task):
            raise invalid(f"Task {task!r:.100} is not a name: use 1 to 64 letters, digits and . _ -")
        if task is None and before is None:
            raise invalid('The request needs a "task": the adapted policy is published as NAME-TASK')
        target = name if task is None else f"{name}-{task}"
        origin = {"from": name, "from_version": policy["version"], "task": task, "episodes": 0, "steps": 0}
        lineage = dict(before) if task is None else origin
        try:
            episodes = validate_episodes({k: v for k, v in arrays.items() if k != "memory"}, policy["metadata"])
        except CollectionError as error:
            raise invalid(f"The episodes do not fit {name}: {error}") from error
        started = time.perf_counter()
        memory = arrays["memory"] if "memory" in arrays else self._own_memory(name)
        feeds = {
            "memory": np.asarray(memory, np.float32).reshape(1, -1),
            **pad_episodes(episodes, policy["metadata"])._asdict(),
        }
        outputs = self._server.predict(name, feeds, signatures.ADAPT, ("memory", "loss", "kl"))
        adapted = time.perf_counter()
        lineage["episodes"] += episodes.rewards.shape[1]
        lineage["steps"] += 1
        lineage["diagnostics"] = {key: float(outputs[key][0]) for key in ("loss", "kl")}
        try:
            updates = {"name": target, "adapted": lineage}
            path = store.publish(self._version(name), self._adapted / target, outputs["memory"][0], updates)
        except store.StoreError as error:
            raise ServingError(Code.INTERNAL, f"The adapted policy cannot be published: {error}") from error
        published = time.perf_counter()
        self._announce()
        live = self._wait_until_live(target, int(path.name))
        with contextlib.suppress(OSError):  # the new version stands; the next one will prune too
            store.prune(self._adapted / target, KEPT_VERSIONS, live=live)
        seconds = {"adapt": adapted - started, "publish": published - adapted, "load": time.perf_counter() - published}
        answer = {name: lineage[name] for name in ("diagnostics", "episodes", "steps")}
        timings = {f"{stage}_ms": round(value * 1e3, 3) for stage, value in seconds.items()}
        return {"model": target, "version": int(path.name), **answer, "timings": timings}

    def delete(self, name: str) -> None:
        """Off the list first; the files go when the server has unloaded it.

        Raises:
            ServingError: no such policy; or UNAVAILABLE: the server goes on serving it, so that nothing was deleted.
        """
        base = self._adapted / name
        if Path(name).name != name or not base.is_dir() or not store.versions(base):
            raise ServingError(Code.NOT_FOUND, f"{name} is not an adapted policy in {self._adapted}")
        store.retire(base)
        try:
            self._announce()
            self._wait_until_unloaded(name)
        except ServingError:
            store.unretire(base)
            raise
        with contextlib.suppress(FileNotFoundError):  # the server's engine was faster
            store.delete_model(base)

    def _announce(self) -> None:
        """Tell the server, if that is ours to do. A list that it does not take in time is told once more, without
        what is gone meanwhile: a listed model without files makes it wait without limit."""
        for again in (True, False) if self._reload else ():
            try:
                return self._server.reload(models_config(self._loadable(scan(self._models, self._adapted))))
            except ServingError as error:
                if error.code is not Code.DEADLINE_EXCEEDED:
                    raise
                if not again:
                    text = "The server does not take its list of models: a model on an earlier one has no files any "
                    raise ServingError(error.code, f"{text}more, or loading takes too long; restart it") from error

    def _own_memory(self, name: str) -> np.ndarray:
        rows = {"rows": np.zeros(1, np.int32)}
        return self._server.predict(name, rows, signatures.INITIAL_MEMORY, ("memory",))["memory"]

    def _version(self, name: str) -> Path:
        for root in (self._models, self._adapted):
            if Path(name).name == name and (root / name).is_dir():
                try:
                    return store.latest(root / name)
                except store.StoreError as error:
                    raise ServingError(Code.NOT_FOUND, str(error)) from error
        raise ServingError(Code.NOT_FOUND, f"There is no policy {name} in {self._models} and {self._adapted}")

    def _wait_until_live(self, target: str, version: int) -> int:
        """The newest version that serves: this one, or a newer one. TF Serving looks at its directories once a second;
        one that is being restarted is waited for."""
        until = time.monotonic() + LIVE_SECONDS
        while True:
            lines = self._status(target, Code.NOT_FOUND, Code.UNAVAILABLE, Code.CANCELLED)
            live = max((number for number, line in lines.items() if line["state"] == "AVAILABLE"), default=None)
            if live is not None and live >= version:
                return live
            if version in lines and lines[version]["status"]["error_code"] != "OK":
                text = f"{target} version {version} does not load: {lines[version]['status']['error_message']}"
                raise ServingError(Code.INTERNAL, text)
            if time.monotonic() > until:
                text = f"{target} version {version} was published, but the server does not serve it: is it watched?"
                raise ServingError(Code.UNAVAILABLE, text)
            time.sleep(POLL_SECONDS)

    def _wait_until_unloaded(self, name: str) -> None:
        until = time.monotonic() + LIVE_SECONDS
        while any(line["state"] != "END" for line in self._status(name, Code.NOT_FOUND).values()):
            if time.monotonic() > until:
                text = f"Nothing was deleted: the server still serves {name} after {LIVE_SECONDS:.0f} s"
                raise ServingError(Code.UNAVAILABLE, f"{text}; take it off the server's list of models first")
            time.sleep(POLL_SECONDS)

    def _status(self, name: str, *nothing: Code) -> dict[int, dict[str, Any]]:
        """The versions that the server knows, by number; none where it answers with one of the codes ``nothing``."""
        try:
            return {int(line["version"]): line for line in self._server.status(name)}
        except ServingError as error:
            if error.code not in nothing:
                raise
            return {}
