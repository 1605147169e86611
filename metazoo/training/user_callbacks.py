"""Callbacks of users: ``metazoo train --callback wandb|mlflow|module:factory``, any of Keras."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from metazoo.tasks import own
from metazoo.training.trackers import TRACKERS, library


class Told(NamedTuple):
    """What a tracker is told of a training: the policy's name, the run directory, the settings."""

    name: str
    directory: Path
    settings: Mapping[str, Any]


def check(given: Sequence[Any]) -> None:
    """Refuse, before hours of work, what ``callbacks_at`` would."""
    for name in (one for one in given if one in TRACKERS):
        library(name)
    callbacks_at([one for one in given if one not in TRACKERS], None)


def callbacks_at(given: Sequence[Any], told: Told | None) -> list[keras.callbacks.Callback]:
    """Fresh callbacks from ``wandb`` or ``mlflow``; from ``module:object`` or ``file.py:object``, which is a callback's
    class, what makes one, or one itself; or callbacks.

    Raises:
        ValueError: nothing is there, it is no callback, or it cannot be made without arguments; or the library is not
            installed.
    """
    return [_tracker(one, told) if one in TRACKERS else _callback(one) for one in given]


def _tracker(name: str, told: Told | None) -> keras.callbacks.Callback:
    if told is None:
        raise ValueError(f"the callback {name} belongs to a training.")
    return TRACKERS[name](told.name, told.directory, told.settings)


def _callback(given: Any) -> keras.callbacks.Callback:
    found = own.object_at(given) if isinstance(given, str) else given
    if callable(found) and not isinstance(found, keras.callbacks.Callback):
        try:
            found = found()
        except Exception as error:  # the user's code
            raise ValueError(f"the callback {given} cannot be made: {type(error).__name__}: {error}.") from error
    if not isinstance(found, keras.callbacks.Callback):
        raise ValueError(
            f"the callback {given} is of type {type(found).__name__}; it must be a keras.callbacks.Callback, or"
            " make one without arguments."
        )
    return found
