"""JSON values → numpy, by TF Serving's strict kinds: nothing is coerced but integers to floats (TF_SERVING §3)."""

import base64
import binascii
import math
import re
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from serving.errors import Code, ServingError, invalid
from serving.wire import tensors
from serving.wire.json_quote import pairs, value_text
from serving.wire.rapidjson import Object

_INT32: Final = (-(2**31), 2**31 - 1)
INTEGER_RANGES: Final = {
    "int8": _INT32,  # one field of TensorProto holds all small integers; TF Serving checks for int32 and then casts
    "int16": _INT32,
    "int32": _INT32,
    "uint8": _INT32,
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
FLOATS: Final = {"float": np.float32, "double": np.float64}
_NUMBERS: Final = {float, int}
_SMALL: Final = ("int8", "int16", "uint8")
_KINDS: Final = {
    dict: "Object",
    Object: "Object",
    list: "Array",
    str: "String",
    float: "Number",
    int: "Number",
    type(None): "Null",
}


def is_base64(value: Any) -> bool:
    """``{"b64": "..."}`` with that single key stands for a string of bytes."""
    return isinstance(value, dict) and len(pairs(value)) == 1 and type(value.get("b64")) is str


def json_kind(value: Any) -> str:
    """The kind of a parsed JSON value, as error messages call it."""
    return _KINDS.get(type(value)) or str(value)


def leaf_array(values: list[Any], dtype: str) -> np.ndarray | None:
    """A flat array of ``values``, or None if any is of the wrong kind or out of range."""
    kinds = set(map(type, values))
    try:
        if dtype in FLOATS:
            if not kinds <= _NUMBERS:
                return None
            with np.errstate(over="ignore"):
                return np.array(values, np.float64).astype(FLOATS[dtype])
        if dtype in INTEGER_RANGES:
            low, high = INTEGER_RANGES[dtype]
            if not kinds <= {int} or (values and (min(values) < low or max(values) > high)):
                return None
            return np.array(values, np.uint64 if dtype == "uint64" else np.int64).astype(dtype)
        if dtype == "bool":
            return np.array(values, bool) if kinds <= {bool} else None
    except OverflowError:  # an integer beyond float64
        return None
    if not kinds <= {str, dict}:
        return None
    array = np.empty(len(values), object)
    try:
        array[:] = [to_bytes(value) for value in values]
    except ServingError:
        return None
    return array


class Values(NamedTuple):
    """The values of nested lists, in order. ``size``: how many the shape holds."""

    leaves: list[Any]
    shape: tuple[int, ...]
    size: int

    def tensor(self, name: str, dtype: str, before: tuple[int, ...] = ()) -> Any:
        """As an array, with the dimensions ``before`` in front. More values than it holds are left out.

        Raises:
            ServingError: no tensor has so many dimensions.
        """
        shape = before + self.shape
        if len(shape) > tensors.MAX_DIMS:
            raise invalid(f"tensor parsing error: {name}")
        numpy_type = tf.as_dtype(dtype).as_numpy_dtype if dtype != "string" else object
        leaves = self.leaves[: math.prod(shape)]
        array = np.empty(len(leaves), numpy_type)
        with np.errstate(over="ignore"):
            array[:] = np.array(leaves, np.int64).astype(numpy_type) if dtype in _SMALL else leaves
        return tensors.shaped(array, shape)


def read_values(value: Any, dtype: str) -> Values:
    """One tensor from nested lists, checked value by value in TF Serving's order.

    Raises:
        ServingError: the first value of the wrong kind, at the wrong depth, or in a list of the wrong length.
    """
    shape, inner = [], value
    while type(inner) is list:
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    leaves: list[Any] = []
    lists = [iter((value,))]  # the lists that are open: bodies may be nested deeper than Python calls itself
    while lists:
        level = len(lists) - 1
        item = next(lists[-1], lists)
        if item is lists:
            lists.pop()
        elif type(item) is list:
            _check_list(item, level, shape)
            lists.append(iter(item))
        elif level != len(shape):
            raise invalid(
                f"JSON Value: {value_text(item)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        else:
            leaves.append(_leaf(item, dtype))
    return Values(leaves, tuple(shape), len(leaves))


def _check_list(values: list[Any], level: int, shape: list[int]) -> None:
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(values) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(values)} at level: {level} expected size: {shape[level]}"
        )


def _leaf(value: Any, dtype: str) -> Any:
    kind = type(value)
    if dtype in FLOATS and kind in _NUMBERS:
        return float(value)
    if dtype in INTEGER_RANGES and kind is int and INTEGER_RANGES[dtype][0] <= value <= INTEGER_RANGES[dtype][1]:
        return value
    if dtype == "bool" and kind is bool:
        return value
    if dtype == "string" and (kind is str or isinstance(value, dict)):
        return to_bytes(value)
    if (
        dtype not in FLOATS
        and dtype not in INTEGER_RANGES
        and dtype not in ("bool", "string")
        and not isinstance(value, dict)
    ):
        text = f"Conversion of JSON Value: {value_text(value)} to type: {dtype}"
        raise ServingError(Code.UNIMPLEMENTED, text)
    raise invalid(f"JSON Value: {value_text(value)} Type: {json_kind(value)} is not of expected type: {dtype}")


def to_bytes(value: Any) -> bytes:
    """The bytes of a JSON string or of ``{"b64": ...}``."""
    if type(value) is str:
        return value.encode("utf-8", "surrogateescape")
    if not is_base64(value):
        raise invalid(f"JSON Value: {value_text(value)} not formatted correctly for base64 data")
    return _unbase64(value["b64"])


def _unbase64(text: str) -> bytes:
    """As Abseil does it: white space anywhere, padding whole or left out, and a dot is padding too."""
    try:
        if len(text) % 4 == 0:
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    found = _BASE64.fullmatch(text)
    if found:
        digits, padding = ("".join(part.split(None)) for part in found.groups())
        missing = -len(digits) % 4
        if missing < 3 and len(padding) in (0, missing):
            return base64.b64decode(digits + "=" * missing)
    raise invalid("Unable to base64 decode")


_BASE64: Final = re.compile(r"([A-Za-z0-9+/ \t-\r]*)([=. \t-\r]*)")
