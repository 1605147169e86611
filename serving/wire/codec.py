"""REST predict bodies → numpy feeds, as strictly as TF Serving (TF_SERVING §3).

Values are converted by whole arrays; only where that fails are they walked one by one, to find the first bad one and
say what TF Serving says about it.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np

from serving.errors import Code, ServingError, invalid
from serving.wire import json_parser, rapidjson
from serving.wire.json_quote import DOCUMENT_BYTES, pairs, value_text
from serving.wire.json_values import INTEGER_RANGES, Values, is_base64, leaf_array, read_values
from serving.wire.tensors import NUMPY_DIMS

ROW: Final = "row"
COLUMNAR: Final = "columnar"

InputTypes = Mapping[str, str]
"""The inputs of a signature: name → dtype as TensorFlow calls it (``float``, ``int32``, ``string`` ...)."""


class PredictBody(NamedTuple):
    """``feeds`` by input name, and whether the answer has to be in ``ROW`` or ``COLUMNAR`` format."""

    signature_name: str
    feeds: dict[str, np.ndarray]
    format: str


def parse_json(body: bytes, may_wait: bool = True) -> dict[str, Any]:
    """The top-level object of a body.

    Raises:
        ServingError: empty, bad JSON (with the offset), or not an object.
    """
    document = json_parser.parse(body, may_wait)
    if not isinstance(document, dict):
        raise refused(document, "Is not object")
    return document


def refused(document: Any, reason: str) -> ServingError:
    """A document that is JSON, but not what was expected."""
    return invalid(f"JSON Value: {value_text(document, DOCUMENT_BYTES)} {reason}")


def parse_predict(body: bytes, input_types: Callable[[str], InputTypes], may_wait: bool = True) -> PredictBody:
    """A predict body. ``input_types`` looks up the model and the signature, at the point where TF Serving does.

    Raises:
        ServingError: the first thing wrong, in TF Serving's order and words.
        NotQuickError: see ``json_parser.parse``.
    """
    try:
        return _read_predict(parse_json(body, may_wait), input_types)
    except OverflowError:  # an integer beyond all doubles, where the fast parsers knew no limit
        rapidjson.parse(body)
        raise


def _read_predict(document: dict[str, Any], input_types: Callable[[str], InputTypes]) -> PredictBody:
    signature_name = parse_signature_name(document)
    types = input_types(signature_name)
    if not types:
        raise invalid(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    has_instances, has_inputs = "instances" in document, "inputs" in document
    if has_instances and has_inputs:
        reason = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise refused(document, reason)
    if has_instances:
        instances = document["instances"]
        if type(instances) is not list:
            raise refused(document, "Expecting 'instances' to be an list/array")
        if not instances:
            raise refused(document, "No values in 'instances' array")
        return PredictBody(signature_name, _from_instances(instances, types), ROW)
    if has_inputs:
        return PredictBody(signature_name, _from_inputs(document["inputs"], types), COLUMNAR)
    raise invalid("Missing 'inputs' or 'instances' key")


def parse_signature_name(document: Mapping[str, Any]) -> str:
    """The request's ``signature_name``, empty if it has none."""
    name = document.get("signature_name", "")
    if type(name) is not str:
        raise refused(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return name


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
    if not isinstance(instances[0], dict) and len(types) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    objects = _is_object(instances[0])
    rows: dict[str, Values] = {}
    for index, element in enumerate(instances):
        if objects != _is_object(element):
            expected = "object but got list" if objects else "value/list but got object"
            raise invalid(f"Expecting {expected} at item {index} of input list")
        if not objects:
            _add_row(rows, next(iter(types)), element, types, f"element: {index} of 'instances' list.")
            continue
        names = set()
        for name, value in pairs(element):
            name = name.partition("\0")[0]  # where C++ takes it for ended
            names.add(name)
            _add_row(rows, name, value, types, f"element: {index} key: {name} of 'instances' list.")
        if names != types.keys():
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {value_text(element)} "
                f"keys must be equal to: {','.join(sorted(types))}"
            )
    return {name: values.tensor(name, types[name], (len(instances),)) for name, values in rows.items()}


def _add_row(rows: dict[str, Values], name: str, value: Any, types: InputTypes, where: str) -> None:
    """Add the values of one instance. A name that repeats adds its values too; in the end the surplus is cut off."""
    try:
        if name not in types:
            raise invalid(f"JSON object: does not have named input: {name}")
        values = read_values(value, types[name])
        first = rows.setdefault(name, values)
        if first.size != values.size:
            raise invalid(f"Expecting tensor size: {first.size} but got: {values.size}")
        if first.shape != values.shape:
            raise invalid(f"Expecting shape {_shape_text(first)} but got: {_shape_text(values)}")
    except ServingError as error:
        raise invalid(f"Failed to process {where} Error: {error.code.name}: {error.message}") from error
    if values is not first:
        first.leaves.extend(values.leaves)


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
        feeds[name] = read_values(inputs[name], dtype).tensor(name, dtype) if array is None else array
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
    leaves = leaf_array(level, dtype) if len(shape) <= NUMPY_DIMS else None
    return None if leaves is None else leaves.reshape(shape)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _shape_text(values: Values) -> str:
    return "[" + ",".join(map(str, values.shape)) + "]"


__all__ = ["COLUMNAR", "ROW", "Code", "PredictBody", "dense_array", "parse_json", "parse_predict"]
