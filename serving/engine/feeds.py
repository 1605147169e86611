"""The inputs of a gRPC Predict request, checked and decoded in the order and words of TF Serving (TF_SERVING §4)."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto

from serving.engine.signature import Signature
from serving.errors import invalid
from serving.wire import tensors


def decode(
    signature: Signature, inputs: Mapping[str, TensorProto], take: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """The arrays to run ``signature`` with; inputs that are not sent take the signature's default, if it has one.

    Args:
        signature: what is to be run.
        inputs: the request's tensors.
        take: see ``tensors.decode``.

    Raises:
        ServingError: too many or too few inputs, a wrong name, or a malformed tensor.
    """
    check_names(signature, inputs)
    protos = {**signature.definition.defaults, **inputs}
    return {alias: tensors.decode(alias, protos[alias], take) for alias in signature.input_types}


def check_names(signature: Signature, names: Collection[str]) -> None:
    """Refuse a wrong set of input names."""
    defaults = signature.definition.defaults
    _check_count(names, signature, has_defaults=bool(defaults))
    for alias in signature.input_types:
        if alias not in names and alias not in defaults:
            feed = signature.definition.inputs[alias].name
            raise invalid(
                f"Signature input alias: {alias}(feed name: {feed}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {{{_joined(names)}}}, or default input alias set: "
                f"{_joined(defaults)}"
            )
    used = set(names) & set(signature.input_types)
    if len(used) != len(names):
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {_joined(used)}, request input: {_joined(names)}"
        )


def check_opaque(signature: Signature, feeds: Mapping[str, Any]) -> None:
    """Refuse resources and variants, as the session of C++ does."""
    opaque = {alias: value for alias, value in feeds.items() if isinstance(value, tensors.Opaque)}
    for value in opaque.values():
        if value.number == types_pb2.DT_RESOURCE:
            raise invalid(
                f"Invalid resource type hash code: {value.handle}. Perhaps a resource tensor was being provided as a "
                "feed? That is not currently allowed. Please file an issue at "
                "https://github.com/tensorflow/tensorflow/issues/new, ideally with a short code snippet that leads to "
                "this error message."
            )
    order = sorted(feeds, key=lambda alias: signature.definition.inputs[alias].name)
    for index, alias in enumerate(order):
        if alias in opaque:
            raise invalid(f"Expects arg[{index}] to be {signature.input_types[alias]} but variant is provided")


def _check_count(sent: Iterable[str], signature: Signature, has_defaults: bool) -> None:
    given, expected = set(sent), set(signature.input_types)
    if len(given) == len(expected) or (len(given) < len(expected) and has_defaults):
        return
    raise invalid(
        f"input size does not match signature: {len(given)}!={len(expected)} len({{{_joined(given)}}}) != "
        f"len({{{_joined(expected)}}}). Sent extra: {{{_joined(given - expected)}}}. "
        f"Missing but required: {{{_joined(expected - given)}}}."
    )


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
