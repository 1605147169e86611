"""JSON values → numpy, by TF Serving's strict kinds: nothing is coerced but integers to floats (TF_SERVING §3)."""

import base64
import binascii
from typing import Any, Final

import numpy as np

from serving.errors import Code, ServingError, invalid
from serving.wire.json_writer import value_text

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
_KINDS: Final = {dict: "Object", list: "Array", str: "String", float: "Number", int: "Number", type(None): "Null"}


def is_base64(value: Any) -> bool:
    """``{"b64": "..."}`` with that single key stands for a string of bytes."""
    return type(value) is dict and len(value) == 1 and type(value.get("b64")) is str


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
    except OverflowError:  # an integer beyond float64: infinity, found by the slow path
        return None
    if not kinds <= {str, dict}:
        return None
    array = np.empty(len(values), object)
    try:
        array[:] = [to_bytes(value) for value in values]
    except ServingError:
        return None
    return array


def walk(value: Any, dtype: str) -> np.ndarray:
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
    _collect(value, 0, shape, dtype, leaves)
    plain = dtype in INTEGER_RANGES or dtype == "bool"
    numpy_type = FLOATS.get(dtype) or (np.dtype(dtype) if plain else object)
    array = np.empty(len(leaves), numpy_type)
    with np.errstate(over="ignore"):
        array[:] = np.array(leaves, np.int64).astype(numpy_type) if dtype in ("int8", "int16", "uint8") else leaves
    return array.reshape(shape)


def _collect(value: Any, level: int, shape: list[int], dtype: str, leaves: list[Any]) -> None:
    if type(value) is not list:
        if level != len(shape):
            raise invalid(
                f"JSON Value: {value_text(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for element in value:
        _collect(element, level + 1, shape, dtype, leaves)


def _leaf(value: Any, dtype: str) -> Any:
    kind = type(value)
    if dtype in FLOATS and kind in _NUMBERS:
        try:
            return float(value)
        except OverflowError:
            return np.inf if value > 0 else -np.inf
    if dtype in INTEGER_RANGES and kind is int and INTEGER_RANGES[dtype][0] <= value <= INTEGER_RANGES[dtype][1]:
        return value
    if dtype == "bool" and kind is bool:
        return value
    if dtype == "string" and kind in (str, dict):
        return to_bytes(value)
    if dtype not in FLOATS and dtype not in INTEGER_RANGES and dtype not in ("bool", "string") and kind is not dict:
        text = f"Conversion of JSON Value: {value_text(value)} to type: {dtype}"
        raise ServingError(Code.UNIMPLEMENTED, text)
    raise invalid(f"JSON Value: {value_text(value)} Type: {json_kind(value)} is not of expected type: {dtype}")


def to_bytes(value: Any) -> bytes:
    """The bytes of a JSON string or of ``{"b64": ...}``."""
    if type(value) is str:
        return value.encode("utf-8", "surrogateescape")
    if not is_base64(value):
        raise invalid(f"JSON Value: {value_text(value)} not formatted correctly for base64 data")
    text = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error
