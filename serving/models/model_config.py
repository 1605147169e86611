"""TF Serving's model config files and their reload: text protos → which versions of which models (TF_SERVING §6)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.errors import Code, ServingError, invalid
from serving.models.manager import Manager
from serving.models.sources import ModelConfig, Sources, VersionPolicy


def read_file(path: str | os.PathLike[str]) -> dict[str, ModelConfig]:
    """The models of a ``--model-config-file``.

    Raises:
        FileNotFoundError, ServingError: no such file; not a config, or one that TF Serving refuses too.
    """
    config = ModelServerConfig()
    try:
        text_format.Parse(Path(path).read_text(encoding="utf-8"), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise invalid(f"Invalid protobuf file: '{path}': {error}") from error
    return convert(config)


def convert(config: ModelServerConfig) -> dict[str, ModelConfig]:
    """The models of a config, by name.

    Raises:
        ServingError: INVALID_ARGUMENT for anything but a list of complete, differently named TensorFlow models.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid("Only model_config_list is supported: the config has none")
    models: dict[str, ModelConfig] = {}
    for model in config.model_config_list.config:
        if not model.name:
            raise invalid("Illegal model config: a model has no name")
        if model.name in models:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list.")
        if not model.model_platform and not model.model_type:
            raise invalid("Illegal setting neither ModelServerConfig::model_type (deprecated) nor model_platform.")
        if model.model_platform and model.model_type:
            raise invalid("Illegal setting both ModelServerConfig::model_type (deprecated) and model_platform.")
        if (model.model_platform or "tensorflow") != "tensorflow":
            raise invalid(f"Model {model.name} has the platform {model.model_platform}: only tensorflow is served")
        if not os.path.isabs(model.base_path):
            path = model.base_path
            raise invalid(f"Expected model {model.name} to have an absolute path or URI; got base_path()={path}")
        policy = _policy(model.model_version_policy)
        models[model.name] = ModelConfig(Path(model.base_path), policy, dict(model.version_labels))
    return models


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

    def __init__(self, scan: Sources, listed: Mapping[str, ModelConfig] | None = None):
        self._scan, self._listed = scan, dict(listed or {})

    def __call__(self) -> Mapping[str, ModelConfig]:
        return {**self._scan(), **self._listed}

    def replace(self, manager: Manager, listed: Mapping[str, ModelConfig]) -> None:
        """Serve this list instead of the last one: what HandleReloadConfigRequest does.

        Returns when the new models are available.

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
        missing = [name for name in listed if name not in before and not manager.is_available(name)]
        if missing:
            names = ", ".join(missing)
            raise ServingError(Code.UNKNOWN, f"{len(missing)} servable(s) did not become available: {{{names}}}")


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
