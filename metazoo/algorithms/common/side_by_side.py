"""Parts of an update computed by several threads at once.

XLA's programs for the CPU run their loops on one thread and share out single operations only, which for a small
recurrent cell gains little. TensorFlow's executor runs programs that do not need each other's results at the same time.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from metazoo.cores import cores


def threads() -> int:
    """How many programs TensorFlow runs at the same time, as it was configured."""
    return min(
        _configured(tf.config.threading.get_intra_op_parallelism_threads(), "TF_NUM_INTRAOP_THREADS"),
        _configured(tf.config.threading.get_inter_op_parallelism_threads(), "TF_NUM_INTEROP_THREADS"),
    )


def divisor(number: int, most: int) -> int:
    """The largest divisor of ``number`` that is at most ``most``."""
    return next(size for size in range(max(1, min(most, number)), 0, -1) if number % size == 0)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as an XLA program of its own inside a graph that is not compiled by XLA as a whole."""
    return tf.function(function, jit_compile=True, autograph=False)


def mean_of_parts(function: Callable[[Any], Any], parts: Sequence[Any], weights: Sequence[tf.Tensor]) -> Any:
    """Σ weightᵢ · ``function(partᵢ)`` of a nest of tensors, every part in a program of its own, side by side."""
    program = compiled(function)
    results = [program(part) for part in parts]
    total = lambda *fields: tf.add_n([w * x for w, x in zip(weights, fields, strict=True)])  # noqa: E731
    return tf.nest.map_structure(total, *results)


def split(batch: Any, parts: int, axis: int) -> list[Any]:
    """A nest of tensors cut along ``axis`` into so many equal parts."""
    pieces = [tf.split(field, parts, axis) for field in tf.nest.flatten(batch)]
    return [tf.nest.pack_sequence_as(batch, fields) for fields in zip(*pieces, strict=True)]


def _configured(setting: int, variable: str) -> int:
    """A number of threads, by TensorFlow's setting, else by the environment, else all cores of this process."""
    told = os.environ.get(variable, "")
    return setting or (int(told) if told.isdigit() else 0) or cores()
