"""TensorFlow without its compiler, for tests of what is played: compiling takes most of the time."""

import pytest
import tensorflow as tf


def without_xla(patch: pytest.MonkeyPatch) -> None:
    compiled = tf.function
    patch.setattr(tf, "function", lambda *args, jit_compile=None, **settings: compiled(*args, **settings))
