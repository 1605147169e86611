"""TensorProto ↔ numpy: what TF Serving's gRPC clients send and expect back (TF_SERVING §4).

Answers use the typed fields (``float_val`` ...), which clients read directly, not ``tensor_content``.
"""

from typing import Any, Final

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.python.framework import dtypes

from serving.errors import invalid

_FIELDS: Final = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
}
_HALVES: Final = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16)
_COMPLEX: Final = {types_pb2.DT_COMPLEX64: np.float32, types_pb2.DT_COMPLEX128: np.float64}
_NUMPY: Final = {number: dtypes.as_dtype(number).as_numpy_dtype for number in _FIELDS}
_NUMBER: Final = {np.dtype(kind): number for number, kind in _NUMPY.items() if number != types_pb2.DT_STRING}


def dtype_name(number: int) -> str:
    """``DT_FLOAT`` → ``float``, as messages say it."""
    return types_pb2.DataType.Name(number).removeprefix("DT_").lower()


def decode(name: str, proto: TensorProto) -> np.ndarray:
    """The array of a request's tensor: ``tensor_content`` or a typed field (a short one repeats its last value).

    Raises:
        ServingError: unknown dtype or shape, or values that do not fit the shape.
    """
    field = _FIELDS.get(proto.dtype)
    if field is None or proto.tensor_shape.unknown_rank:
        raise invalid(f"tensor parsing error: {name}")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if shape and min(shape) < 0:
        raise invalid(f"tensor parsing error: {name}")
    count = int(np.prod(shape, dtype=object)) if shape else 1
    try:
        if proto.tensor_content and proto.dtype != types_pb2.DT_STRING:
            return np.frombuffer(proto.tensor_content, _NUMPY[proto.dtype], count=-1).reshape(shape)
        values = _typed_values(proto, field)
        if len(values) > count or (len(values) == 0 and count > MAX_ZEROS):
            raise ValueError
        if len(values) < count:
            last = values[-1:] if len(values) else _zero(proto.dtype)
            values = np.concatenate([values, np.broadcast_to(last, count - len(values))])
        return values.reshape(shape)
    except (ValueError, MemoryError) as error:
        raise invalid(f"tensor parsing error: {name}") from error


MAX_ZEROS: Final = 2**28
"""A tensor without values stands for zeros; more of them than this is an attack, not a request."""


def encode(array: np.ndarray, proto: TensorProto | None = None) -> TensorProto:
    """``array`` with its values in the typed field of its dtype; written into ``proto`` if one is given."""
    proto = TensorProto() if proto is None else proto
    number = _NUMBER.get(array.dtype, types_pb2.DT_STRING)
    proto.dtype = number
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.SetInParent()
    field, flat = getattr(proto, _FIELDS[number]), array.ravel()
    if number == types_pb2.DT_STRING:
        field.extend(value.encode() if isinstance(value, str) else bytes(value) for value in flat)
    elif number in _HALVES:
        field.extend(flat.view(np.uint16).tolist())
    elif number in _COMPLEX:
        field.extend(flat.view(_COMPLEX[number]).tolist())
    else:
        field.extend(flat.tolist())
    return proto


def _typed_values(proto: TensorProto, field: str) -> np.ndarray:
    values: Any = getattr(proto, field)
    kind = _NUMPY[proto.dtype]
    if proto.dtype == types_pb2.DT_STRING:
        array = np.empty(len(values), object)
        array[:] = list(values)
        return array
    if proto.dtype in _HALVES:
        return np.array(values, np.uint16).view(kind)
    if proto.dtype in _COMPLEX:
        return np.array(values, _COMPLEX[proto.dtype]).view(kind)
    if field == "int_val":
        return np.array(values, np.int32).astype(kind)  # small integers wrap, as the C++ cast does
    return np.array(values, kind)


def _zero(number: int) -> np.ndarray:
    if number == types_pb2.DT_STRING:
        return np.array([b""], object)
    return np.zeros(1, _NUMPY[number])
