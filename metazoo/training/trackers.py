"""``metazoo train --callback wandb`` and ``--callback mlflow``: metrics of a training in a service that tracks them.

Both libraries are imported where they are used, and configured as their users know it: by ``wandb login``, ``WANDB_*``,
``MLFLOW_TRACKING_URI``. Their own callbacks for Keras are not used: they belong to the Keras that TensorFlow names
``tf.keras``, which is Keras 2 here.
"""

import importlib
import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, final

import keras

from metazoo.artefact.whole import write_whole

PROJECT: Final = "metazoo"


class Tracker(keras.callbacks.Callback, ABC):
    """One tracked run. Its id is kept in the run directory, so that ``--resume`` goes on with it.

    Keras calls ``on_train_begin`` and ``on_train_end`` for each ``fit``, of which a training has several: the run is
    opened again each time.
    """

    library: ClassVar[str]

    def __init__(self, name: str, directory: Path, settings: Mapping[str, Any]):
        """``name``: of the policy; ``settings``: of its training."""
        super().__init__()
        self.name, self.settings = name, dict(settings)
        self._library = library(self.library)
        self._id = directory / f"{self.library}-run"

    @final
    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        known = self._id.read_text(encoding="utf-8").strip() if self._id.exists() else None
        write_whole(self._id, f"{self.start(known)}\n")

    @final
    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.log({name: float(value) for name, value in (logs or {}).items()}, epoch)

    @final
    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self.finish()

    @abstractmethod
    def start(self, known: str | None) -> str:
        """Open the run with that id, or a new one. Its id."""

    @abstractmethod
    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        """What an epoch gave."""

    @abstractmethod
    def finish(self) -> None:
        """Close the run."""


@final
class Wandb(Tracker):
    """Weights & Biases, in the project ``metazoo`` unless ``WANDB_PROJECT`` names another."""

    library = "wandb"

    def start(self, known: str | None) -> str:
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        # reinit: a training that failed has left its run open
        options = {"project": project, "name": self.name, "config": self.settings, "reinit": True}
        self._run = self._library.init(id=known, resume="allow", **options)
        return str(self._run.id)

    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        self._run.log(dict(metrics), step=epoch)

    def finish(self) -> None:
        self._run.finish()


@final
class Mlflow(Tracker):
    """MLflow, in the experiment ``metazoo`` unless ``MLFLOW_EXPERIMENT_NAME`` names another."""

    library = "mlflow"

    def start(self, known: str | None) -> str:
        self._client = self._library.MlflowClient()  # the fluent interface has one active run, maybe the user's
        if known is not None:
            self._client.update_run(known, status="RUNNING")
            self._run = known
            return known
        self._run = str(self._client.create_run(self._experiment(), run_name=self.name).info.run_id)
        for key, value in self.settings.items():
            self._client.log_param(self._run, key, value)
        return self._run

    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._run, name, value, step=epoch)

    def finish(self) -> None:
        self._client.set_terminated(self._run)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found is not None else self._client.create_experiment(name))


TRACKERS: Final[dict[str, Callable[[str, Path, Mapping[str, Any]], Tracker]]] = {"wandb": Wandb, "mlflow": Mlflow}


def library(name: str) -> Any:
    """The library of that name.

    Raises:
        ValueError: it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise ValueError(f"--callback {name} needs the library {name}: pip install {name}.")
    return importlib.import_module(name)
