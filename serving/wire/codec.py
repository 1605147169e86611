"""REST predict bodies → numpy feeds, as strictly as TF Serving (TF_SERVING §3).

JSON is parsed fast and strictly (msgspec); only what that refuses (NaN tokens, bytes after the document, huge
integers, syntax errors) goes through the standard library's parser. Values are converted by whole arrays; only where
that fails are they walked one by one, to find the first bad one and say what TF Serving says about it.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from serving.errors import Code, ServingError, invalid
from serving.wire.json_values import INTEGER_RANGES, is_base64, leaf_array, walk
from serving.wire.json_writer import value_text

ROW: Final = "row"
COLUMNAR: Final = "columnar"

InputTypes = Mapping[str, str]
"""The inputs of a signature: name → dtype as TensorFlow calls it (``float``, ``int32``, ``string`` ...)."""

_decode = msgspec.json.Decoder().decode
_SURROGATES: Final = re.compile(r"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)")
"""Escaped backslashes and whole pairs, and (group 1) what is left: half a pair."""
_SPACE: Final = " \t\n\r"


class PredictBody(NamedTuple):
    """``feeds`` by input name, and whether the answer has to be in ``ROW`` or ``COLUMNAR`` format."""

    signature_name: str
    feeds: dict[str, np.ndarray]
    format: str


def parse_json(body: bytes) -> dict[str, Any]:
    """The top-level object of a body.

    Raises:
        ServingError: empty, bad JSON (with the offset), or not an object.
    """
    try:
        document = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = _parse_slowly(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {value_text(document)} Is not object")
    return document


def parse_predict(body: bytes, input_types: Callable[[str], InputTypes]) -> PredictBody:
    """A predict body. ``input_types`` looks up the model and the signature, at the point where TF Serving does.

    Raises:
        ServingError: the first thing wrong, in TF Serving's order and words.
    """
    document = parse_json(body)
    signature_name = parse_signature_name(document)
    types = input_types(signature_name)
    if not types:
        raise invalid(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    has_instances, has_inputs = "instances" in document, "inputs" in document
    if has_instances and has_inputs:
        reason = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise invalid(f"JSON Value: {value_text(document)} {reason}")
    if has_instances:
        instances = document["instances"]
        if type(instances) is not list:
            raise invalid(f"JSON Value: {value_text(document)} Expecting 'instances' to be an list/array")
        if not instances:
            raise invalid(f"JSON Value: {value_text(document)} No values in 'instances' array")
        return PredictBody(signature_name, _from_instances(instances, types), ROW)
    if has_inputs:
        return PredictBody(signature_name, _from_inputs(document["inputs"], types), COLUMNAR)
    raise invalid("Missing 'inputs' or 'instances' key")


def parse_signature_name(document: Mapping[str, Any]) -> str:
    """The request's ``signature_name``, empty if it has none."""
    name = document.get("signature_name", "")
    if type(name) is not str:
        reason = "not formatted correctly. 'signature_name' key must be a string value."
        raise invalid(f"JSON Value: {value_text(document)} {reason}")
    return name


def _parse_slowly(body: bytes) -> Any:
    """What rapidjson takes beyond strict JSON: NaN and Infinity, bytes that are not UTF-8, anything after the end."""
    try:
        text = body.decode("utf-8", "surrogateescape")
        start = len(text) - len(text.lstrip(_SPACE))
        if start == len(text):
            raise invalid("JSON Parse error: The document is empty")
        lone = next((match for match in _SURROGATES.finditer(text) if match[1]), None)
        if lone is not None:
            raise invalid(f"JSON Parse error: The surrogate pair in string is invalid. at offset: {lone.start()}")
        return json.JSONDecoder().raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid value. at offset: {error.pos}") from error
    except (RecursionError, ValueError) as error:  # nested too deep, or an integer of thousands of digits
        raise invalid("JSON Parse error: Terminate parsing due to Handler error. at offset: 0") from error


def _from_instances(instances: list[Any], types: InputTypes) -> dict[str, np.ndarray]:
    feeds = _fast_instances(instances, types)
    return feeds if feeds is not None else _checked_instances(instances, types)


def _fast_instances(instances: list[Any], types: InputTypes) -> dict[str, np.ndarray] | None:
    """Feeds, if all is in order; None if anything needs a closer look."""
    if type(instances[0]) is dict and not is_base64(instances[0]):
        names = types.keys()
        if any(type(element) is not dict or element.keys() != names for element in instances):
            return None
        columns = {name: [element[name] for element in instances] for name in names}
    elif len(types) == 1:
        columns = {next(iter(types)): instances}
    else:
        return None
    feeds = {}
    for name, column in columns.items():
        array = dense_array(column, types[name])
        if array is None:
            return None
        feeds[name] = array
    return feeds


def _checked_instances(instances: list[Any], types: InputTypes) -> dict[str, np.ndarray]:
    """The same, one instance after another, in order to report what TF Serving would."""
    if type(instances[0]) is not dict and len(types) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    objects = _is_object(instances[0])
    rows: dict[str, list[np.ndarray]] = {}
    for index, element in enumerate(instances):
        if objects != _is_object(element):
            expected = "object but got list" if objects else "value/list but got object"
            raise invalid(f"Expecting {expected} at item {index} of input list")
        if not objects:
            _add_row(rows, next(iter(types)), element, types, f"element: {index} of 'instances' list.")
            continue
        for name, value in element.items():
            _add_row(rows, name, value, types, f"element: {index} key: {name} of 'instances' list.")
        if element.keys() != types.keys():
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {value_text(element)} "
                f"keys must be equal to: {','.join(sorted(types))}"
            )
    return {name: np.stack(values) for name, values in rows.items()}


def _add_row(rows: dict[str, list[np.ndarray]], name: str, value: Any, types: InputTypes, where: str) -> None:
    try:
        if name not in types:
            raise invalid(f"JSON object: does not have named input: {name}")
        array = walk(value, types[name])
        first = rows.setdefault(name, [array])[0]
        if first.size != array.size:
            raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
        if first.shape != array.shape:
            raise invalid(f"Expecting shape {_shape_text(first)} but got: {_shape_text(array)}")
    except ServingError as error:
        raise invalid(f"Failed to process {where} Error: {error.code.name}: {error.message}") from error
    if array is not first:
        rows[name].append(array)


def _from_inputs(inputs: Any, types: InputTypes) -> dict[str, np.ndarray]:
    if not _is_object(inputs):
        if len(types) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        inputs = {next(iter(types)): inputs}
    feeds = {}
    for name, dtype in types.items():
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        array = dense_array(inputs[name], dtype)
        feeds[name] = walk(inputs[name], dtype) if array is None else array
    return feeds


def dense_array(value: Any, dtype: str) -> np.ndarray | None:
    """A full array of the right kind of values; None for anything irregular, however small."""
    if dtype not in INTEGER_RANGES and dtype not in ("float", "double", "bool", "string"):
        return None
    shape, level = [], [value]
    while level:
        kinds = set(map(type, level))
        if list not in kinds:
            break
        sizes = set(map(len, level)) if kinds == {list} else set()
        if len(sizes) != 1:
            return None
        shape.append(sizes.pop())
        level = list(chain.from_iterable(level))
    leaves = leaf_array(level, dtype)
    return None if leaves is None else leaves.reshape(shape)


def _is_object(value: Any) -> bool:
    return type(value) is dict and not is_base64(value)


def _shape_text(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


__all__ = ["COLUMNAR", "ROW", "Code", "PredictBody", "dense_array", "parse_json", "parse_predict"]
