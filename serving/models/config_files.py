"""TF Serving's config files, written from what there is to serve (TF_SERVING §6)."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from metazoo.artefact import store
from metazoo.artefact.whole import write_whole
from serving.logs import event
from serving.models.sources import ModelConfig, VersionCache, VersionPolicy
from serving.wire import config_protos

log = logging.getLogger(__name__)

GRAPH_FILES: Final = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb", "model.tflite")
"""One of them makes a directory something that TF Serving can load."""


def models_config(models: Mapping[str, ModelConfig]) -> ModelServerConfig:
    """The list of models as HandleReloadConfigRequest and ``--model_config_file`` take it."""
    config = ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, model in sorted(models.items()):
        entry = config.model_config_list.config.add(
            name=name, base_path=str(model.base_path.resolve()), model_platform="tensorflow"
        )
        if model.policy.specific:
            entry.model_version_policy.specific.versions.extend(model.policy.specific)
        elif model.policy.latest is None:
            entry.model_version_policy.all.SetInParent()
        elif model.policy.latest > 1:
            entry.model_version_policy.latest.num_versions = model.policy.latest
        for label, version in model.labels.items():
            entry.version_labels[label] = version
    return config


def batching_config(max_batch_size: int = 256, threads: int = 4) -> str:
    """Batching that suits policies: no waiting for companions (a policy must answer at once), some batch sizes so
    that few shapes meet the session, and no padding of variable lengths, which would make a mask wrong."""
    parameters = config_protos.BatchingParameters(
        allowed_batch_sizes=[size for size in (1, 4, 16, 64) if size < max_batch_size] + [max_batch_size],
        pad_variable_length_inputs=False,
    )
    parameters.max_batch_size.value = max_batch_size
    parameters.batch_timeout_micros.value = 0
    parameters.max_enqueued_batches.value = 1000
    parameters.num_batch_threads.value = threads
    return text_format.MessageToString(parameters)


def monitoring_config(path: str = "/monitoring/prometheus/metrics") -> str:
    """Prometheus metrics at ``path`` of the REST port."""
    config = config_protos.MonitoringConfig()
    config.prometheus_config.enable = True
    config.prometheus_config.path = path
    return text_format.MessageToString(config)


def ssl_config(certificate: str, key: str) -> str:
    """TLS for the gRPC port; TF Serving's REST port has none. ``certificate``, ``key``: the PEM texts."""
    return text_format.MessageToString(config_protos.SSLConfig(server_cert=certificate, server_key=key))


class ConfigFile:
    """A ``models.config`` that is kept equal to what there is to serve. Readers see the old list or the new one."""

    def __init__(self, path: Path):
        self.path, self.loadable = path, Loadable()
        self.names: frozenset[str] = frozenset()
        self._written = ""

    def update(self, models: Mapping[str, ModelConfig]) -> ModelServerConfig | None:
        """Write the list of what can be loaded, if it changed; the new one, or None."""
        config = models_config(self.loadable(models))
        text = text_format.MessageToString(config)
        if text == self._written and self.path.exists():
            return None
        write_whole(self.path, text)
        self._written, self.names = text, frozenset(model.name for model in config.model_config_list.config)
        return config


class Loadable:
    """Leaves out what TF Serving cannot load: one such entry keeps it from starting, or every later list from being
    taken. Where only the newest version is damaged, the newest whole one is listed."""

    def __init__(self) -> None:
        self._whole: dict[Path, bool] = {}
        self._versions = VersionCache()

    def __call__(self, models: Mapping[str, ModelConfig]) -> dict[str, ModelConfig]:
        chosen = {name: self._choose(model) for name, model in models.items()}
        self._whole = {path: whole for path, whole in self._whole.items() if path.exists()}
        return {name: model for name, model in chosen.items() if model is not None}

    def _choose(self, model: ModelConfig) -> ModelConfig | None:
        try:
            found = self._versions(model.base_path)
        except OSError:
            return None
        wanted = model.policy.choose(list(found))
        if wanted and all(self._is_whole(found[number]) for number in wanted):
            return model
        whole = [number for number in found if self._is_whole(found[number])]
        usable = [number for number in wanted if number in whole] or whole[-1:]
        labels = {label: number for label, number in model.labels.items() if number in usable}
        policy = VersionPolicy(specific=tuple(usable))
        return model._replace(policy=policy, labels=labels) if usable else None

    def _is_whole(self, path: Path) -> bool:
        """Whether its files are there, and are what their checksums say. These are read once: versions never change."""
        if not any((path / name).is_file() for name in GRAPH_FILES):
            return False
        if path not in self._whole:
            try:
                store.verify(path)
                self._whole[path] = True
            except (store.StoreError, OSError) as error:
                self._whole[path] = False
                event(log, logging.WARNING, "a version cannot be loaded and is not listed", path=path, error=error)
        return self._whole[path]
