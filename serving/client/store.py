"""Adapting with a stock TF Serving: it runs the ``adapt`` signature, and the result is published through the store.

TF Serving has no endpoint for adapting, and does not hand out ``metazoo.json``; both are in the version directories,
which the client must be able to read, and to write where adapted policies are published.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from metazoo.artefact import lineage, locks, signatures, store
from metazoo.artefact.lineage import Parent, Target
from metazoo.collect import pad_episodes
from serving.engine import inner_step
from serving.engine.inner_step import Kept, Made, Whose, refusals
from serving.errors import Code, ServingError
from serving.models.config_files import Loadable, models_config
from serving.models.sources import scan

LIVE_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02

Make = Callable[[Parent, Target], Made | Kept]
"""What is to be published, of what is adapted and as what."""


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
        newest = self._newest(name)
        return {**lineage.summary(name, newest.version, newest.metadata), "metadata": newest.metadata}

    def adapt(
        self, name: str, task_name: str | None, arrays: Mapping[str, np.ndarray], key: str, off_policy: bool = False
    ) -> dict[str, Any]:
        """One inner step, published and live when this returns. ``key`` is not needed: nothing is retried here."""
        return self._publish(name, task_name, lambda parent, _: self._made(parent, arrays, off_policy))

    def keep(
        self, name: str, memory: np.ndarray | None, before: np.ndarray, after: np.ndarray, key: str
    ) -> dict[str, Any]:
        """The better of an adapted policy and of ``memory``, published as its next version."""
        return self._publish(name, None, lambda parent, target: self._kept(parent, target, memory, before, after))

    def _publish(self, name: str, task_name: str | None, make: Make) -> dict[str, Any]:
        choose = partial(lineage.target, task_name=task_name, directory=self._adapted)
        started = time.perf_counter()
        with refusals(), lineage.step(self._adapted, lambda: self._newest(name), choose) as (parent, target):
            if target.name != name and lineage.versions_in(self._models / target.name):
                raise lineage.taken(target)
            made = make(parent, target)
            adapted = time.perf_counter()
            record = made.record(target.record)
            path = lineage.publish(parent, self._adapted, Target(target.name, record), made.memory)
        published = time.perf_counter()
        self._announce()
        live = self._wait_until_live(target.name, int(path.name))
        seconds = {"adapt": adapted - started, "publish": published - adapted, "load": time.perf_counter() - published}
        with contextlib.suppress(OSError), lineage.changing(self._adapted, target.name):  # the next one will prune too
            store.prune(self._adapted / target.name, lineage.KEPT_VERSIONS, live=live)
        answer = {key: record[key] for key in ("diagnostics", "episodes", "steps", "kept") if key in record}
        timings = {f"{stage}_ms": round(value * 1e3, 3) for stage, value in seconds.items()}
        return {"model": target.name, "version": int(path.name), **answer, "timings": timings, **made.answer()}

    def delete(self, name: str) -> None:
        """Off the list first; the files go when the server has unloaded it.

        Raises:
            ServingError: no such policy; or UNAVAILABLE: the server goes on serving it, so that nothing was deleted.
        """
        base = self._adapted / name
        if Path(name).name != name or not base.is_dir() or not store.versions(base):
            raise ServingError(Code.NOT_FOUND, f"{name} is not an adapted policy in {self._adapted}")
        with refusals(f"{name} was not deleted"):
            with lineage.changing(self._adapted, name):
                store.retire(base)
            try:
                self._announce()
                self._wait_until_unloaded(name)
            except ServingError:
                store.unretire(base)
                raise
            lineage.discard(self._adapted, name)  # unless the server's engine was faster, or somebody adapts it anew

    def _made(self, parent: Parent, arrays: Mapping[str, np.ndarray], off_policy: bool) -> Made:
        fields = {key: value for key, value in arrays.items() if key != "memory"}
        episodes = inner_step.checked_episodes(fields, parent.name, parent.metadata)
        episodes = pad_episodes(episodes, parent.metadata)  # a batch with others' must be of one shape

        def predict(
            inputs: Mapping[str, np.ndarray], signature: str, outputs: tuple[str, ...]
        ) -> Mapping[str, np.ndarray]:
            return self._server.predict(parent.name, inputs, signature, outputs)

        given = "memory" in arrays  # else the newest version's, which the server may not have loaded yet
        memory = arrays["memory"] if given else store.read_memory(parent.path)
        whose = Whose(off_policy, live=_newest_available(self._status(parent.name, Code.NOT_FOUND)) == parent.version)
        return inner_step.take(predict, parent, episodes, memory, given, whose)

    def _kept(
        self, parent: Parent, target: Target, memory: np.ndarray | None, before: np.ndarray, after: np.ndarray
    ) -> Kept:
        if memory is None:
            memory = store.read_memory(self._newest(target.record["from"]).path)

        def predict(
            inputs: Mapping[str, np.ndarray], signature: str, outputs: tuple[str, ...]
        ) -> Mapping[str, np.ndarray]:
            return self._server.predict(parent.name, inputs, signature, outputs)

        return inner_step.keep_better(predict, parent, memory, store.read_memory(parent.path), before, after)

    def _newest(self, name: str) -> Parent:
        while True:
            version = self._version(name)
            metadata = store.read_metadata(version)
            if metadata is not None:
                return Parent(name, int(version.name), version, metadata)
            if version.is_dir():  # else it was pruned just now
                text = f"{name} is no policy: it has no {signatures.METADATA_FILE}"
                raise ServingError(Code.FAILED_PRECONDITION, text)

    def _announce(self) -> None:
        """Tell the server, if that is ours to do. A list that it does not take in time is told once more, without
        what is gone meanwhile: a listed model without files makes it wait without limit."""
        for again in (True, False) if self._reload else ():
            try:
                self._tell()
                return
            except ServingError as error:
                if error.code is not Code.DEADLINE_EXCEEDED:
                    raise
                if not again:
                    text = "The server does not take its list of models: a model on an earlier one has no files any "
                    raise ServingError(error.code, f"{text}more, or loading takes too long; restart it") from error

    def _tell(self) -> None:
        """One client at a time, so that no older list comes after a newer one."""
        with refusals("The server was not told"), locks.held(self._adapted, ""):
            self._server.reload(models_config(self._loadable(scan(self._models, self._adapted))))

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
            live = _newest_available(lines)
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


def _newest_available(lines: Mapping[int, Mapping[str, Any]]) -> int | None:
    return max((number for number, line in lines.items() if line["state"] == "AVAILABLE"), default=None)
