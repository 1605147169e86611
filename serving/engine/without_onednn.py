"""Switches off TensorFlow's oneDNN: import this before TensorFlow.

One malformed request to a convolution (three dimensions instead of four) makes oneDNN abort the whole process, with all
the other clients' requests. The plain kernels refuse it. ``TF_ENABLE_ONEDNN_OPTS`` is read once, when TensorFlow is
imported; who has set it keeps it.
"""

import os
from typing import Final

VARIABLE: Final = "TF_ENABLE_ONEDNN_OPTS"

os.environ.setdefault(VARIABLE, "0")


def is_on() -> bool:
    """Whether TensorFlow uses oneDNN all the same: it was imported first, or the user wants it."""
    from serving.engine import tf_internals

    return tf_internals.uses_onednn(os.environ[VARIABLE] != "0")
