"""TensorProto ↔ numpy: what TF Serving's gRPC clients send and expect back (TF_SERVING §4).

Decoding takes and refuses what ``Tensor::FromProto`` of C++ does. Answers use the typed fields (``float_val`` ...),
which clients read directly, not ``tensor_content``. A message may be of TensorFlow's own class or of ours.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from serving.errors import ServingError, invalid
from serving.wire import protos
from serving.wire.dtypes import DT, NUMPY

_FIELDS: Final = {
    DT.DT_FLOAT: "float_val",
    DT.DT_DOUBLE: "double_val",
    DT.DT_INT64: "int64_val",
    DT.DT_UINT32: "uint32_val",
    DT.DT_UINT64: "uint64_val",
    DT.DT_BOOL: "bool_val",
    DT.DT_STRING: "string_val",
    DT.DT_HALF: "half_val",
    DT.DT_BFLOAT16: "half_val",
    DT.DT_COMPLEX64: "scomplex_val",
    DT.DT_COMPLEX128: "dcomplex_val",
    DT.DT_INT32: "int_val",
    DT.DT_INT16: "int_val",
    DT.DT_UINT16: "int_val",
    DT.DT_INT8: "int_val",
    DT.DT_UINT8: "int_val",
    DT.DT_QINT8: "int_val",
    DT.DT_QUINT8: "int_val",
    DT.DT_QINT16: "int_val",
    DT.DT_QUINT16: "int_val",
    DT.DT_QINT32: "int_val",
    DT.DT_INT4: "int_val",
    DT.DT_UINT4: "int_val",
    DT.DT_FLOAT8_E5M2: "float8_val",
    DT.DT_FLOAT8_E4M3FN: "float8_val",
}
TensorProto: Final[Any] = protos.load("tf_serving")["TensorProto"]
_STRING: Final = DT.DT_STRING
_FOURS: Final = (DT.DT_INT4, DT.DT_UINT4)
_OPAQUE: Final = (DT.DT_VARIANT, DT.DT_RESOURCE)
_HALVES: Final = (DT.DT_HALF, DT.DT_BFLOAT16)
_COMPLEX: Final = {DT.DT_COMPLEX64: np.float32, DT.DT_COMPLEX128: np.float64}
_NUMBER: Final = {kind: number for number, kind in NUMPY.items() if number != DT.DT_STRING}

MAX_DIMS: Final = 254
"""Of a tensor; numpy's arrays have fewer."""
NUMPY_DIMS: Final = 64
STRING_BYTES: Final = 32
"""What a string takes besides its characters: a pointer here, and the head of a ``tstring`` in TensorFlow."""
ABSURD_BYTES: Final = 2**37
"""No machine that serves has so much memory: as TF Serving, which cannot allocate it, we call the tensor malformed."""


class Wide(NamedTuple):
    """An array of more dimensions than numpy has."""

    flat: np.ndarray
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.flat.dtype

    @property
    def size(self) -> int:
        return self.flat.size


class Opaque(NamedTuple):
    """A tensor that can be sent but never be an input: a resource or a variant."""

    number: int
    handle: str = ""


def shaped(flat: np.ndarray, shape: Sequence[int]) -> Any:
    """``flat`` as an array of ``shape``; ``Wide`` if numpy has none of so many dimensions."""
    return flat.reshape(shape) if len(shape) <= NUMPY_DIMS else Wide(flat, tuple(shape))


def dtype_name(number: int) -> str:
    """``DT_FLOAT`` → ``float``, as messages say it."""
    return DT.Name(number).removeprefix("DT_").lower()


def dtype_label(array: np.ndarray) -> str:
    """``DT_FLOAT``, as other messages say it."""
    return DT.Name(_NUMBER.get(array.dtype, _STRING))


def decode(name: str, proto: Any, take: Callable[[int], None] | None = None) -> Any:
    """The array of a request's tensor: ``tensor_content`` or a typed field.

    A field with too few values repeats its last one, surplus values are ignored, and so is ``unknown_rank``.

    Args:
        name: of the input, for the message.
        proto: the tensor.
        take: is asked for the bytes that the array will take, and raises if these are too many.

    Raises:
        ServingError: unknown dtype, impossible shape, contents that do not fit the shape, or from ``take``.
    """
    try:
        count = _count(proto)
        if proto.dtype in _OPAQUE:
            return _opaque(proto)
        size = count * NUMPY[proto.dtype].itemsize
        if size > ABSURD_BYTES:
            raise ValueError("no memory is so large")
        if take is not None:
            take(size if proto.dtype != _STRING else _string_bytes(proto, count))
        return shaped(_values(proto, count), [dim.size for dim in proto.tensor_shape.dim])
    except ServingError:
        raise
    except (ValueError, KeyError, MemoryError) as error:
        raise invalid(f"tensor parsing error: {name}") from error


def encode(array: Any, proto: Any = None) -> Any:
    """``array`` with its values in the typed field of its dtype; written into ``proto`` if one is given."""
    proto = TensorProto() if proto is None else proto
    number = _NUMBER.get(array.dtype, _STRING)
    proto.dtype = number
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.SetInParent()
    flat = array.flat if isinstance(array, Wide) else array.ravel()
    if _FIELDS[number] == "float8_val":
        proto.float8_val = flat.tobytes()
        return proto
    field = getattr(proto, _FIELDS[number])
    for start in range(0, flat.size, _CHUNK):  # Python's numbers take many times the room of numpy's
        field.extend(_numbers(flat[start : start + _CHUNK], number))
    return proto


_CHUNK: Final = 2**16


def _numbers(flat: np.ndarray, number: int) -> Iterable[Any]:
    if number == _STRING:
        return (value.encode() if isinstance(value, str) else bytes(value) for value in flat)
    if number in _HALVES:
        return flat.view(np.uint16).tolist()
    if number in _COMPLEX:
        return flat.view(_COMPLEX[number]).tolist()
    if flat.dtype.names:  # quantized: one field that has the name of the dtype
        return flat[flat.dtype.names[0]].tolist()
    if number in _FOURS:
        return flat.astype(np.int32).tolist()
    return flat.tolist()


def _count(proto: Any) -> int:
    """Of elements; ValueError for a shape that C++ does not take."""
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    count = 1
    for size in sizes:
        count *= size
        if size < 0 or count >= 2**63:
            raise ValueError("a negative size, or an overflow")
    if len(sizes) > MAX_DIMS:
        raise ValueError("too many dimensions")
    return count


def _opaque(proto: Any) -> Opaque:
    handle = next(iter(proto.resource_handle_val), None)
    if handle is None:
        return Opaque(proto.dtype, "0(name:  type: )")
    return Opaque(proto.dtype, f"{handle.hash_code}(name: {handle.name} type: {handle.maybe_type_name})")


def _string_bytes(proto: Any, count: int) -> int:
    values = proto.string_val
    repeated = max(count - len(values), 0) * len(values[-1]) if values else 0
    return count * STRING_BYTES + sum(map(len, values)) + len(proto.tensor_content) + repeated


def _values(proto: Any, count: int) -> np.ndarray:
    kind = NUMPY[proto.dtype]
    if not count:
        return np.empty(0, kind)
    if proto.tensor_content:
        if proto.dtype == _STRING:
            return strings(_split(proto.tensor_content, count))
        if len(proto.tensor_content) != count * kind.itemsize:
            raise ValueError("the content does not fit the shape")
        return np.frombuffer(proto.tensor_content, kind)
    values = _typed_values(proto)[:count]
    if len(values) == count:
        return values
    last = values[-1:] if len(values) else _zero(proto.dtype)
    return np.concatenate([values, np.broadcast_to(last, count - len(values))])


def _typed_values(proto: Any) -> np.ndarray:
    values: Any = getattr(proto, _FIELDS[proto.dtype])
    kind = NUMPY[proto.dtype]
    if proto.dtype == _STRING:
        return strings(values)
    if proto.dtype in _HALVES:
        return np.array(values, np.int32).astype(np.uint16).view(kind)
    if proto.dtype in _COMPLEX:
        return np.array(values[: len(values) // 2 * 2], _COMPLEX[proto.dtype]).view(kind)
    if isinstance(values, bytes):
        return np.frombuffer(values, kind)
    if kind.names:
        return np.array(values, np.int32).astype(kind[0]).view(kind)
    if _FIELDS[proto.dtype] == "int_val":
        return np.array(values, np.int32).astype(kind)  # small integers wrap, as the C++ cast does
    return np.array(values, kind)


def text(value: bytes) -> np.ndarray:
    """An array of no dimension."""
    return strings([value]).reshape(())


def strings(values: Sequence[bytes]) -> np.ndarray:
    """A vector of them."""
    array = np.empty(len(values), object)
    array[:] = list(values)
    return array


def _split(content: bytes, count: int) -> list[bytes]:
    """The strings of a ``tensor_content``: all their lengths, as varints, and then all their characters."""
    sizes, at = [], 0
    for _ in range(count):
        size, at = _varint(content, at)
        sizes.append(size)
    if at + sum(sizes) != len(content):
        raise ValueError("the lengths do not fit the content")
    strings = []
    for size in sizes:
        strings.append(content[at : at + size])
        at += size
    return strings


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(content):
            raise ValueError("the content ends within a length")
        byte, at = content[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFF, at
    raise ValueError("a length of more than 32 bits")


def _zero(number: int) -> np.ndarray:
    if number == _STRING:
        return np.array([b""], object)
    return np.zeros(1, NUMPY[number])
