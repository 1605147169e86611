"""The dtypes of TensorFlow's messages: their numbers (``tensorflow.DataType``), names, and numpy's dtypes for them.

Here, so that a client needs no TensorFlow; a test compares all of it with TensorFlow.
"""

from typing import Any, Final

import ml_dtypes
import numpy as np

from serving.wire import protos

DT: Final[Any] = protos.enum("tf_serving", "DataType")
"""``DT.DT_FLOAT`` → 1, ``DT.Name(1)`` → ``DT_FLOAT``."""

NUMPY: Final[dict[int, np.dtype[Any]]] = {
    DT.Value(f"DT_{name}"): np.dtype(kind)
    for name, kind in {
        "FLOAT": np.float32,
        "DOUBLE": np.float64,
        "INT64": np.int64,
        "UINT32": np.uint32,
        "UINT64": np.uint64,
        "BOOL": np.bool_,
        "STRING": object,
        "HALF": np.float16,
        "BFLOAT16": ml_dtypes.bfloat16,
        "COMPLEX64": np.complex64,
        "COMPLEX128": np.complex128,
        "INT32": np.int32,
        "INT16": np.int16,
        "UINT16": np.uint16,
        "INT8": np.int8,
        "UINT8": np.uint8,
        "QINT8": [("qint8", np.int8)],
        "QUINT8": [("quint8", np.uint8)],
        "QINT16": [("qint16", np.int16)],
        "QUINT16": [("quint16", np.uint16)],
        "QINT32": [("qint32", np.int32)],
        "INT4": ml_dtypes.int4,
        "UINT4": ml_dtypes.uint4,
        "FLOAT8_E5M2": ml_dtypes.float8_e5m2,
        "FLOAT8_E4M3FN": ml_dtypes.float8_e4m3fn,
    }.items()
}
