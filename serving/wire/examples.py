"""REST classify and regress bodies → ``tf.Example`` protos (TF_SERVING §3)."""

from typing import Any

from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import input_pb2

from serving.errors import invalid
from serving.wire import codec, rapidjson
from serving.wire.json_quote import pairs
from serving.wire.json_values import is_base64, json_kind, to_bytes


def parse_examples(body: bytes) -> tuple[str, input_pb2.Input]:
    """The ``signature_name`` and the examples (with their context, if any) of a body.

    Raises:
        ServingError: in TF Serving's words.
    """
    try:
        return _read_examples(codec.parse_json(body))
    except OverflowError:  # an integer beyond all doubles, where the fast parsers knew no limit
        rapidjson.parse(body)
        raise


def _read_examples(document: dict[str, Any]) -> tuple[str, input_pb2.Input]:
    signature_name = codec.parse_signature_name(document)
    parsed = input_pb2.Input()
    examples = parsed.example_list.examples
    if "context" in document:
        parsed.example_list_with_context.context.CopyFrom(_example(document["context"]))
        examples = parsed.example_list_with_context.examples
    if "examples" not in document:
        raise codec.refused(document, "When method is classify, key 'examples' is expected and was not found")
    values = document["examples"]
    if type(values) is not list:
        raise codec.refused(document, "Expecting 'examples' value to be an list/array")
    if not values:
        raise codec.refused(document, "'examples' value is an empty array")
    for value in values:
        examples.append(_example(value))
    return signature_name, parsed


def _example(value: Any) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {json_kind(value)}")
    example = example_pb2.Example()
    for name, content in pairs(value):
        name = name.partition("\0")[0]  # where C++ takes it for ended
        feature = feature_pb2.Feature()
        for item in content if type(content) is list else [content]:
            _add(feature, name, item)
        if name.isascii() or _is_unicode(name):  # no graph can ask for another one
            example.features.feature[name].CopyFrom(feature)
    return example


def _is_unicode(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _add(feature: feature_pb2.Feature, name: str, value: Any) -> None:
    kind, converted = _convert(name, value)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {present.removesuffix('_list')}")
    if converted is None:
        raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    getattr(feature, kind).value.append(to_bytes(converted) if kind == "bytes_list" else converted)


def _convert(name: str, value: Any) -> tuple[str, Any]:
    """The kind of list a value belongs to, and the value as it goes there; None: beyond 64 bits."""
    if type(value) is str or is_base64(value):
        return "bytes_list", value
    if type(value) is float or (type(value) is int and not -(2**63) <= value < 2**64):
        return "float_list", float(value)
    if type(value) in (bool, int):
        return "int64_list", int(value) if value < 2**63 else None
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {json_kind(value)}")


def serialized_bytes(given: input_pb2.Input) -> int:
    """How long they are together."""
    context = given.example_list_with_context
    return given.ByteSize() + context.context.ByteSize() * len(context.examples)


def serialized(given: input_pb2.Input) -> list[bytes]:
    """One serialized example per row; a context is put before each, so that an example's own features win.

    Raises:
        ServingError: no examples.
    """
    kind = given.WhichOneof("kind")
    rows: list[bytes] = []
    if kind == "example_list":
        rows = [example.SerializeToString() for example in given.example_list.examples]
    elif kind == "example_list_with_context":
        context = given.example_list_with_context.context.SerializeToString()
        rows = [context + example.SerializeToString() for example in given.example_list_with_context.examples]
    if not rows:
        raise invalid("Input is empty.")
    return rows
