"""Keras' settings belong to the user's process, and decide what networks compute: refused where they would change ours.

Set by ``KERAS_BACKEND`` and its kin, ``keras.json`` or ``keras.config``. The layers of our networks name their dtype
and the order of an image's axes themselves, so only the backend and what training takes from Keras are left. Loading,
acting, adapting and serving use no Keras at all.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

TENSORFLOW: Final = "tensorflow"


class KerasSettingsError(ValueError):
    """A setting of Keras under which metazoo's networks would not be what they are; one sentence."""


def require_tensorflow() -> None:
    """Refuse another backend of Keras, before it is imported or after.

    Raises:
        KerasSettingsError: names the backend, and how to choose TensorFlow.
    """
    imported: Any = sys.modules.get("keras")
    backend = imported.backend.backend() if imported else _configured_backend()
    if backend != TENSORFLOW:
        raise KerasSettingsError(
            f"Keras' backend is {backend!r}, by KERAS_BACKEND or keras.json, and metazoo's networks are TensorFlow's: "
            "set KERAS_BACKEND=tensorflow before Python starts."
        )


def require_for_training(optimizer: Any = None) -> None:
    """Refuse what would train other weights: optimizers and their step sizes take Keras' own dtype, ``fit`` its limits.

    ``optimizer``: one that may have been made under other settings.

    Raises:
        KerasSettingsError: names the setting, its value, and the call that sets it right.
    """
    import keras

    require_tensorflow()
    config: Any = keras.config
    settings = {
        "floatx": (config.floatx(), "float32"),
        "dtype_policy": (config.dtype_policy().name, "float32"),
        "max_epochs": (getattr(config, "max_epochs", lambda: None)(), None),
        "max_steps_per_epoch": (getattr(config, "max_steps_per_epoch", lambda: None)(), None),
    }
    for name, (value, right) in settings.items():
        if value != right:
            raise KerasSettingsError(
                f"Keras' {name} is {value!r}, with which training would give other weights: call "
                f"keras.config.set_{name}({right!r}) before"
                + (f", or unset KERAS_{name.upper()}." if right is None else ", or mend keras.json.")
            )
    dtype = getattr(getattr(optimizer, "_learning_rate", None), "dtype", "float32")
    if dtype in ("float16", "bfloat16"):
        raise KerasSettingsError(
            f"the optimizer's learning rate is a {dtype}: make it while Keras' floatx is 'float32'."
        )


def _configured_backend() -> str:
    """What Keras will take when it is imported: one that is not installed would end in somebody else's error."""
    own = os.path.expanduser("~")
    own = os.path.join(own if os.access(own, os.W_OK) else "/tmp", ".keras")
    home = Path(os.environ.get("KERAS_HOME", own)).expanduser()
    try:
        configured = json.loads((home / "keras.json").read_text()).get("backend")
    except (OSError, ValueError, AttributeError):
        configured = None
    return os.environ.get("KERAS_BACKEND") or configured or TENSORFLOW


require_tensorflow()
