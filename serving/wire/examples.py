"""REST classify and regress bodies → ``tf.Example`` protos (TF_SERVING §3)."""

from typing import Any

from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import input_pb2

from serving.errors import invalid
from serving.wire import codec
from serving.wire.json_values import is_base64, json_kind, to_bytes
from serving.wire.json_writer import value_text

_INT64 = range(-(2**63), 2**63)


def parse_examples(body: bytes) -> tuple[str, input_pb2.Input]:
    """The ``signature_name`` and the examples (with their context, if any) of a body.

    Raises:
        ServingError: in TF Serving's words.
    """
    document = codec.parse_json(body)
    signature_name = codec.parse_signature_name(document)
    parsed = input_pb2.Input()
    examples = parsed.example_list.examples
    if "context" in document:
        parsed.example_list_with_context.context.CopyFrom(_example(document["context"]))
        examples = parsed.example_list_with_context.examples
    if "examples" not in document:
        reason = "When method is classify, key 'examples' is expected and was not found"
        raise invalid(f"JSON Value: {value_text(document)} {reason}")
    values = document["examples"]
    if type(values) is not list:
        raise invalid(f"JSON Value: {value_text(document)} Expecting 'examples' value to be an list/array")
    if not values:
        raise invalid(f"JSON Value: {value_text(document)} 'examples' value is an empty array")
    for value in values:
        examples.append(_example(value))
    return signature_name, parsed


def _example(value: Any) -> example_pb2.Example:
    if type(value) is not dict:
        raise invalid(f"Example must be JSON object but got JSON {json_kind(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        try:
            feature = example.features.feature[name]
        except UnicodeEncodeError as error:  # bytes that are not UTF-8 cannot be the name of a feature
            raise invalid(f"Feature name {name!r} is not valid UTF-8") from error
        for item in content if type(content) is list else [content]:
            _add(feature, name, item)
    return example


def _add(feature: feature_pb2.Feature, name: str, value: Any) -> None:
    kind, converted = _convert(name, value)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {present.removesuffix('_list')}")
    getattr(feature, kind).value.append(converted)


def _convert(name: str, value: Any) -> tuple[str, Any]:
    """The kind of list a value belongs to, and the value as it goes there."""
    if type(value) is str or is_base64(value):
        return "bytes_list", to_bytes(value)
    if type(value) is float:
        return "float_list", value
    if type(value) is bool or (type(value) is int and value in _INT64):
        return "int64_list", int(value)
    if type(value) is int:
        raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
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
