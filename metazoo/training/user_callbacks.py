"""Callbacks of users: ``metazoo train --callback module:factory``, any of Keras."""

from collections.abc import Sequence

import keras

from metazoo.tasks import own


def callbacks_at(references: Sequence[str]) -> list[keras.callbacks.Callback]:
    """Fresh callbacks from ``module:object`` or ``file.py:object``: a callback's class, what makes one, or one itself.

    Raises:
        ValueError: nothing is there, it is no callback, or it cannot be made without arguments.
    """
    return [_callback(reference) for reference in references]


def _callback(reference: str) -> keras.callbacks.Callback:
    found = own.object_at(reference)
    if callable(found) and not isinstance(found, keras.callbacks.Callback):
        try:
            found = found()
        except Exception as error:  # the user's code
            raise ValueError(f"the callback {reference} cannot be made: {type(error).__name__}: {error}.") from error
    if not isinstance(found, keras.callbacks.Callback):
        raise ValueError(
            f"the callback {reference} is of type {type(found).__name__}; it must be a keras.callbacks.Callback, or"
            " make one without arguments."
        )
    return found
