"""TF Serving's model config files and their reload: text protos → which versions of which models (TF_SERVING §6)."""

import logging
import os
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.errors import Code, ServingError, invalid
from serving.logs import event
from serving.models.manager import Manager
from serving.models.sources import ModelConfig, Source, Sources, VersionPolicy

TENSORFLOW: Final = "tensorflow"
"""The only platform."""

log = logging.getLogger(__name__)


def read_file(path: str | os.PathLike[str]) -> dict[str, ModelConfig]:
    """The models of a ``--model-config-file``.

    Raises:
        FileNotFoundError, ServingError: no such file; not a config, or one that TF Serving refuses too.
    """
    config = ModelServerConfig()
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        reason = f"Error parsing text-format {ModelServerConfig.DESCRIPTOR.full_name}: {error}"
        raise invalid(f"Invalid protobuf file: '{path}': {reason}") from error
    return convert(config)


class PolledFile:
    """The models of a ``--model-config-file`` that is read again now and then."""

    def __init__(self, path: str | os.PathLike[str] | None, poll_seconds: float = 0.0):
        """``poll_seconds``: how often; 0: never.

        Raises:
            FileNotFoundError, ServingError: as ``read_file``; later, what was read before stays and a line is logged.
        """
        self._path, self._poll_seconds = path, poll_seconds
        self.models = {} if path is None else read_file(path)
        self._read = time.monotonic()

    def __call__(self) -> Mapping[str, ModelConfig]:
        """The models, read again if it is time."""
        if self._path is not None and self._poll_seconds and time.monotonic() - self._read >= self._poll_seconds:
            self._read = time.monotonic()
            try:
                self.models = read_file(self._path)
            except (OSError, ServingError) as error:
                event(log, logging.ERROR, "the list of models cannot be read and stays as it was", error=error)
        return self.models


def convert(config: ModelServerConfig, served: Container[str] = ()) -> dict[str, ModelConfig]:
    """The models of a config, by name. ``served``: those that are served already.

    Raises:
        ServingError: INVALID_ARGUMENT for anything but a list of complete, differently named TensorFlow models.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid("Only model_config_list is supported: the config has none")
    listed = config.model_config_list.config
    _check_list(listed)
    models: dict[str, ModelConfig] = {}
    for model in listed:
        platform = _platform(model)
        if platform != TENSORFLOW and model.name in served:
            raise invalid(
                f"Illegal to change a model's platform. For model {model.name} platform was {TENSORFLOW} and new "
                f"platform requested is {platform}"
            )
        if platform != TENSORFLOW:
            raise invalid(f"Model {model.name} requests unsupported platform {platform}")
        policy = _policy(model.model_version_policy)
        models[model.name] = ModelConfig(Path(model.base_path), policy, dict(model.version_labels))
    return models


def _check_list(listed: Iterable[Any]) -> None:
    names: set[str] = set()
    for model in listed:
        if not model.name:
            raise invalid("Illegal model config: a model has no name")
        if model.name in names:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    for model in listed:
        if not os.path.isabs(model.base_path):
            path = model.base_path
            raise invalid(f"Expected model {model.name} to have an absolute path or URI; got base_path()={path}")


def _platform(model: Any) -> str:
    both = "ModelServerConfig::model_type (deprecated)", "ModelServerConfig::model_platform."
    if model.model_type:
        if model.model_platform:
            raise invalid("Illegal setting both {} and {}".format(*both))
        if model.model_type != model_server_config_pb2.TENSORFLOW:
            raise invalid(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
        return TENSORFLOW
    if not model.model_platform:
        raise invalid("Illegal setting neither {} nor {}".format(*both))
    return model.model_platform


def _policy(policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(latest=None)
    if choice == "specific":
        if not policy.specific.versions:
            raise invalid("Specific servable versions policy without any versions")
        return VersionPolicy(specific=tuple(policy.specific.versions))
    return VersionPolicy(latest=policy.latest.num_versions or 1)


class ConfiguredModels:
    """The models a server is told to serve: a replaceable list, and (always) those found by scanning directories."""

    def __init__(self, scan: Sources, find: Source):
        """``find``: what ``scan`` finds of one name."""
        self._scan, self._find = scan, find
        self._listed: dict[str, ModelConfig] = {}

    def __call__(self) -> Mapping[str, ModelConfig]:
        return {**self._scan(), **self._listed}

    def find(self, name: str) -> ModelConfig | None:
        """One of them."""
        return self._listed.get(name) or self._find(name)

    def follow(self, manager: Manager, path: str | os.PathLike[str]) -> None:
        """Serve the list in a file, if it is not the present one.

        Raises:
            OSError, ServingError: as ``read_file`` and ``replace``.
        """
        listed = read_file(path)
        if listed != self._listed:
            self.replace(manager, listed)

    def replace(self, manager: Manager, listed: Mapping[str, ModelConfig], noun: str = "model") -> None:
        """Serve this list instead of the last one: what HandleReloadConfigRequest does.

        Returns when the new models are available. ``noun``: what they are called if they are not.

        Raises:
            ServingError: FAILED_PRECONDITION for a label on a version that is not available (the models change all
                the same, their labels do not); UNKNOWN for a new model that did not become available.
        """
        before = self._listed
        self._listed = {
            name: config._replace(labels=before[name].labels if name in before else {})
            for name, config in listed.items()
        }
        manager.refresh()
        check_labels(manager, listed)
        self._listed = dict(listed)
        manager.refresh()
        new = [name for name in listed if name not in before]
        missing = [entry for name in new if not manager.is_available(name) for entry in _missing(manager, name)]
        if missing:
            raise ServingError(
                Code.UNKNOWN, f"{len(missing)} {noun}(s) did not become available: {{{''.join(missing)}}}"
            )


def _missing(manager: Manager, name: str) -> Iterator[str]:
    """Why a model is not available, as TF Serving lists it."""
    try:
        lines = manager.status(name)
    except ServingError as error:  # there is no version at all
        yield f"{{{{name: {name}}} due to error: {error.code.name}: {error.message}}}, "
        return
    for line in lines:
        reason = f" due to error: {line.error.code.name}: {line.error.message}" if line.error else ""
        yield f"{{{{name: {name} version: {line.version}}}{reason}}}, "


def check_labels(manager: Manager, listed: Mapping[str, ModelConfig]) -> None:
    """Labels may only be put on versions that are available.

    Raises:
        ServingError: FAILED_PRECONDITION.
    """
    for name, config in listed.items():
        for number in config.labels.values():
            if not manager.is_available(name, number):
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {number} of model {name}, which is not currently available "
                    "for inference",
                )
