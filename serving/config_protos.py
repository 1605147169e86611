"""TF Serving's config messages that its Python package leaves out, built at run time (TF_SERVING §6).

Only their text form is read and written, so the field names count and the numbers are as in TF Serving's sources.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from serving.errors import invalid

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {"bool": _FIELD.TYPE_BOOL, "string": _FIELD.TYPE_STRING, "int64": _FIELD.TYPE_INT64}
_WRAPPED: Final = "google.protobuf."

# Message → its fields in order of their numbers; "*" marks a repeated one.
_MESSAGES: Final = {
    "BatchingParameters": {
        "max_batch_size": "google.protobuf.Int64Value",
        "batch_timeout_micros": "google.protobuf.Int64Value",
        "max_enqueued_batches": "google.protobuf.Int64Value",
        "num_batch_threads": "google.protobuf.Int64Value",
        "thread_pool_name": "google.protobuf.StringValue",
        "allowed_batch_sizes": "*int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "google.protobuf.BoolValue",
        "max_execution_batch_size": "google.protobuf.Int64Value",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "SSLConfig": {"server_key": "string", "server_cert": "string", "custom_ca": "string", "client_verify": "bool"},
}


def _build() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="serving/config_protos.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field_name, kind) in enumerate(fields.items(), 1):
            field = message.field.add(name=field_name, number=number)
            field.label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = f".{kind}" if kind.startswith(_WRAPPED) else f".tensorflow.serving.{kind}"
    pool.Add(file)
    names = {name: pool.FindMessageTypeByName(f"tensorflow.serving.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in names.items()}


_CLASSES: Final = _build()
BatchingParameters: Final[Any] = _CLASSES["BatchingParameters"]
MonitoringConfig: Final[Any] = _CLASSES["MonitoringConfig"]
SSLConfig: Final[Any] = _CLASSES["SSLConfig"]


def parse(text: str, message: Any, where: str) -> Any:
    """``text`` read into ``message``. Raises ServingError if it is not that message's text form."""
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise invalid(f"Invalid protobuf file: '{where}': {error}") from error
