"""Tensors and statuses as JSON text, byte for byte as TF Serving writes them (TF_SERVING §3).

TF Serving uses rapidjson's ``PrettyWriter`` (4 spaces), with single-line arrays inside ``predictions``; floats are the
shortest of ``%.6g`` and ``%.9g`` that reads back as the same float32, with ``.0`` where nothing else marks a decimal.
Text is ``str`` with ``surrogateescape`` for the bytes of strings that are not UTF-8; encode it with ``to_bytes``.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from serving.errors import invalid
from serving.wire import tensors
from serving.wire.json_quote import quoted
from serving.wire.map_order import walked

_INDENT: Final = "    "
_UNSAFE: Final = re.compile("[<>\x7f\u2028\u2029]")
"""What protobuf's printer escapes besides, so that a browser may embed it."""


def row_json(outputs: Mapping[str, np.ndarray]) -> str:
    """``{"predictions": [...]}``: one element per row; an object per row if there are several outputs.

    Raises:
        ServingError: an output without axis 0, axes 0 that differ, or a dtype that has no JSON form.
    """
    outputs = {name: outputs[name] for name in walked(outputs)}
    batch = _batch_size(outputs)
    columns = {name: _items(name, array, 2 + (len(outputs) > 1)) for name, array in outputs.items()}
    if len(columns) == 1:
        rows = ", ".join(next(iter(columns.values())))
    else:
        rows = ",".join(
            "\n" + _INDENT * 2 + "{" + _members({name: items[row] for name, items in columns.items()}, 3) + "}"
            for row in range(batch)
        )
    close = "\n" + _INDENT if batch else ""
    return f'{{\n{_INDENT}"predictions": [{rows}{close}]\n}}'


def columnar_json(outputs: Mapping[str, np.ndarray]) -> str:
    """``{"outputs": ...}``: an array, or an object of arrays if there are several outputs."""
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    outputs = {name: outputs[name] for name in walked(outputs)}
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        value = _pretty(name, array, 1)
    else:
        value = "{" + _members({name: _pretty(name, array, 2) for name, array in outputs.items()}, 2) + "}"
    return f'{{\n{_INDENT}"outputs": {value}\n}}'


def classifications_json(rows: Sequence[Sequence[tuple[bytes, float]]]) -> str:
    """``{"results": [[["label", score], ...], ...]}``."""
    if not rows:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    texts = []
    for row in rows:
        scores = float_texts(np.array([score for _, score in row], np.float32)) if row else []
        labels = [quoted(label.decode("utf-8", "surrogateescape")) for label, _ in row]
        texts.append("[" + ", ".join(f"[{label}, {score}]" for label, score in zip(labels, scores, strict=True)) + "]")
    return f'{{\n{_INDENT}"results": [{", ".join(texts)}\n{_INDENT}]\n}}'


def regressions_json(values: np.ndarray) -> str:
    """``{"results": [value, ...]}``."""
    if not values.size:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return f'{{\n{_INDENT}"results": [{", ".join(float_texts(values))}]\n}}'


def error_json(message: str) -> bytes:
    """The body of every refusal. It quotes a request's bytes as they are, even where they are not UTF-8."""
    return to_bytes(f'{{\n{_INDENT}"error": {quoted(message)}\n}}')


def proto_json(message: Any) -> bytes:
    """A message as protobuf's own printer writes it."""
    text = json.dumps(message, indent=1, ensure_ascii=False)
    return to_bytes(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")


def to_bytes(text: str) -> bytes:
    """UTF-8, with the bytes that ``surrogateescape`` carried restored."""
    return text.encode("utf-8", "surrogateescape")


def float_texts(values: np.ndarray) -> list[str]:
    """The texts of a flat float32 or float64 array."""
    numbers = values.tolist()
    short = ("%.6g " * len(numbers) % tuple(numbers)).split()
    with np.errstate(over="ignore"):
        exact = np.array(short, np.float64).astype(values.dtype) == values
    if not exact.all():
        full = "%.9g" if values.dtype == np.float32 else "%.17g"
        short = [
            text if same else full % number for text, same, number in zip(short, exact.tolist(), numbers, strict=True)
        ]
    return [_finish(text) for text in short]


def _finish(text: str) -> str:
    if "." in text or "e" in text:
        return text
    special = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text)
    return special or text + ".0"


def _batch_size(outputs: Mapping[str, np.ndarray]) -> int:
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    batch = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch not in (-1, array.shape[0]):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {batch}")
        batch = array.shape[0]
    return batch


def _items(name: str, array: np.ndarray, level: int) -> list[str]:
    """One single-line text, inside ``level`` brackets, for each entry along axis 0."""
    texts = _leaves(name, array, level + array.ndim - 1)
    for axis in range(array.ndim - 1, 0, -1):
        size, count = array.shape[axis], int(np.prod(array.shape[:axis]))
        texts = ["[" + ", ".join(texts[row * size : (row + 1) * size]) + "]" for row in range(count)]
    return texts


def _pretty(name: str, array: np.ndarray, level: int) -> str:
    """An indented array whose brackets stand at ``level``."""
    leaves = iter(_leaves(name, array, level + array.ndim))

    def write(axis: int) -> str:
        if axis == array.ndim:
            return next(leaves)
        if array.shape[axis] == 0:
            return "[]"
        inner = "\n" + _INDENT * (level + axis + 1)
        items = ",".join(inner + write(axis + 1) for _ in range(array.shape[axis]))
        return "[" + items + "\n" + _INDENT * (level + axis) + "]"

    return write(0)


def _members(texts: Mapping[str, str], level: int) -> str:
    """The inside of an object whose members stand at ``level``."""
    inner = "\n" + _INDENT * level
    return ",".join(f"{inner}{quoted(name)}: {text}" for name, text in texts.items()) + "\n" + _INDENT * (level - 1)


def _leaves(name: str, array: np.ndarray, level: int) -> list[str]:
    """The texts of all values in order, for inside ``level`` brackets."""
    flat = array.flat if isinstance(array, tensors.Wide) else array.ravel()
    kind = array.dtype.kind
    if array.dtype in (np.float32, np.float64):
        return float_texts(flat)
    if kind in "iu" and array.dtype != np.uint16:
        return list(map(str, flat.tolist()))
    if kind == "b":
        return ["true" if value else "false" for value in flat.tolist()]
    if kind in "OSU":
        values = [value.encode() if isinstance(value, str) else bytes(value) for value in flat.tolist()]
        if name.endswith("_bytes"):
            inner = '{{\n{0}    "b64": "{1}"\n{0}}}'
            return [inner.format(_INDENT * level, base64.b64encode(value).decode()) for value in values]
        return [quoted(value.decode("utf-8", "surrogateescape")) for value in values]
    if not array.size:
        return []
    dtype = tensors.dtype_label(array).removeprefix("DT_").lower()
    raise invalid(f"Failed to write JSON value for tensor type: {dtype}")
