"""``.proto`` files read at run time, so that no compiler and no version of generated code is needed.

Understands what our files use of proto3: messages of scalars, messages, ``repeated`` and ``map`` fields, and services
with unary calls. ``protoc`` reads the same files, for clients in other languages.
"""

import re
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from tensorflow.core.framework import tensor_pb2

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    name: getattr(_FIELD, f"TYPE_{name.upper()}") for name in ("bool", "string", "bytes", "int32", "int64", "double")
}
_IMPORTS: Final = {
    "google/protobuf/wrappers.proto": wrappers_pb2.DESCRIPTOR,
    "tensorflow/core/framework/tensor.proto": tensor_pb2.DESCRIPTOR,
}
_BLOCK: Final = re.compile(r"(message|service)\s+(\w+)\s*\{([^{}]*)\}")
_MAP: Final = re.compile(r"map<\s*(\w+)\s*,\s*([\w.]+)\s*>\s+(\w+)\s*=\s*(\d+)\s*;")
_PLAIN: Final = re.compile(r"(repeated\s+)?([\w.]+)\s+(\w+)\s*=\s*(\d+)\s*;")
_CALL: Final = re.compile(r"rpc\s+(\w+)\s*\(\s*(\w+)\s*\)\s*returns\s*\(\s*(\w+)\s*\)\s*;")


def load(name: str) -> dict[str, Any]:
    """The message classes of ``<name>.proto`` beside this module, by name; and its services, as descriptors."""
    file = describe(name)
    pool = descriptor_pool.DescriptorPool()
    for imported in file.dependency:
        _add(pool, _IMPORTS[imported])
    pool.Add(file)
    full = f"{file.package}.{{}}".format
    found: dict[str, Any] = {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(full(message.name)))
        for message in file.message_type
    }
    return found | {service.name: pool.FindServiceByName(full(service.name)) for service in file.service}


def describe(name: str) -> descriptor_pb2.FileDescriptorProto:
    """What ``protoc`` says about ``<name>.proto``, without the places in the source."""
    text = re.sub(r"//[^\n]*", "", Path(__file__).with_name(f"{name}.proto").read_text(encoding="utf-8"))
    file = descriptor_pb2.FileDescriptorProto(name=f"serving/wire/protos/{name}.proto", syntax="proto3")
    file.package = _only(r"package\s+([\w.]+)\s*;", text)
    file.dependency.extend(re.findall(r'import\s+"([^"]+)"\s*;', text))
    for kind, block_name, body in _BLOCK.findall(text):
        if kind == "message":
            _message(file, file.message_type.add(name=block_name), body)
        else:
            service = file.service.add(name=block_name)
            for call, given, answer in _CALL.findall(body):
                service.method.add(
                    name=call, input_type=f".{file.package}.{given}", output_type=f".{file.package}.{answer}"
                )
    return file


def _message(file: descriptor_pb2.FileDescriptorProto, message: descriptor_pb2.DescriptorProto, body: str) -> None:
    for key, value, name, number in _MAP.findall(body):
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _field(file, entry, "key", key, 1)
        _field(file, entry, "value", value, 2)
        field = message.field.add(name=name, number=int(number), label=_FIELD.LABEL_REPEATED, type=_FIELD.TYPE_MESSAGE)
        field.type_name = f".{file.package}.{message.name}.{entry.name}"
    for repeated, kind, name, number in _PLAIN.findall(_MAP.sub("", body)):
        _field(file, message, name, kind, int(number), bool(repeated))
    message.field.sort(key=lambda field: field.number)


def _field(file: Any, message: Any, name: str, kind: str, number: int, repeated: bool = False) -> None:
    label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{kind}" if "." in kind else f".{file.package}.{kind}"


def _add(pool: descriptor_pool.DescriptorPool, file: Any) -> None:
    """A file of another package, and what it imports."""
    for dependency in file.dependencies:
        _add(pool, dependency)
    pool.AddSerializedFile(file.serialized_pb)


def _only(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, f"{pattern} is not in the file"
    return match[1]
