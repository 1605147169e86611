"""Telling a stock TF Serving what to serve, so that nothing on the list can block it.

The real server loads its list one entry after the other, and its reload returns when all new models are available. A
listed model whose files are gone makes it wait without limit, and every later list behind it. So an entry is written
only if it can be loaded, it goes off the list before its files go, and a reload that does not return is mended: told
again without what is gone, and then by a new process.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metazoo.artefact import lineage, store
from serving.errors import Code, ServingError
from serving.logs import event
from serving.models.config_files import ConfigFile
from serving.models.sources import ModelConfig

log = logging.getLogger(__name__)


class Announcer:
    """Keeps the file and the running server equal to what there is to serve."""

    def __init__(
        self,
        file: ConfigFile,
        models: Callable[[], Mapping[str, ModelConfig]],
        server: Any,
        restart: Callable[[], None],
    ):
        """Args:
        file: what a starting server reads.
        models: gives what there is to serve.
        server: ``GrpcTransport`` of the running one.
        restart: starts another process in its place.
        """
        self._file, self._models, self._server, self._restart = file, models, server, restart
        self._told: frozenset[str] = frozenset()

    def refresh(self) -> bool:
        """Announce the models, if the list changed. Whether it did."""
        config = self._file.update(self._models())
        if config is None:
            return False
        event(log, logging.INFO, "models changed", models=len(config.model_config_list.config))
        self._announce(config)
        return True

    def write(self) -> None:
        """Bring the file up to date, for a process that is about to start."""
        with contextlib.suppress(OSError):  # a directory that is gone for a moment: the file stays as it is
            self._file.update(self._models())
        self._told = self._file.names

    def discard_unloaded(self, adapted: Path) -> None:
        """Delete the files of the retired models that the server has unloaded."""
        for base in store.retired(adapted):
            if is_unloaded(self._server, base.name) and lineage.discard(adapted, base.name):
                event(log, logging.INFO, "adapted policy deleted", model=base.name)

    def _announce(self, config: Any) -> None:
        if self._is_taken(config):
            return
        event(log, logging.WARNING, "the list of models is told again without what is gone meanwhile")
        if self._is_taken(self._file.update(self._models()) or config):
            return
        event(log, logging.ERROR, "the server does not take its list of models: it is started again")
        self._restart()

    def _is_taken(self, config: Any) -> bool:
        """Whether the server answered at all. It is waited for as long as it makes new models available."""
        new, available = self._file.names - self._told, 0
        while True:
            try:
                self._server.reload(config)
                self._told = self._file.names
                return True
            except ServingError as error:
                if error.code is not Code.DEADLINE_EXCEEDED:  # a restarted server reads the file
                    event(log, logging.WARNING, "the new list of models was not taken", error=error.message)
                    self._told = self._file.names
                    return True
            before, available = available, sum(is_available(self._server, name) for name in new)
            event(log, logging.WARNING, "the reload timed out", new_models=len(new), available=available)
            if available <= before:
                return False


def is_available(server: Any, name: str) -> bool:
    """Whether a version of the model serves."""
    try:
        return any(line["state"] == "AVAILABLE" for line in server.status(name))
    except ServingError:
        return False


def is_unloaded(server: Any, name: str) -> bool:
    """Whether the server says that no version of the model is loaded, or going to be."""
    try:
        return all(line["state"] == "END" for line in server.status(name))
    except ServingError as error:
        return error.code is Code.NOT_FOUND
