"""Messages and services from descriptor sets, as ``protoc`` makes them of the ``.proto`` files beside this module.

So neither generated code of one protobuf version nor TensorFlow is needed to speak them. ``build.py`` makes the sets;
a pool for each keeps them apart from whatever else the process has registered.
"""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper


def load(name: str) -> dict[str, Any]:
    """The message classes of ``<name>.descriptor`` by their short names, and its services, as descriptors.

    Of imported files there are the messages too; a name that stands twice is that of the last file.
    """
    pool, found = descriptor_pool.DescriptorPool(), {}
    for file in descriptors(name).file:
        pool.Add(file)
        full = f"{file.package}.{{}}".format
        for message in file.message_type:
            found[message.name] = message_factory.GetMessageClass(pool.FindMessageTypeByName(full(message.name)))
        for service in file.service:
            found[service.name] = pool.FindServiceByName(full(service.name))
    return found


def enum(name: str, kind: str) -> Any:
    """The enum ``kind`` of a set, as generated code has it: ``Name`` and ``Value``."""
    for file in descriptors(name).file:
        for one in file.enum_type:
            if one.name == kind:
                pool = descriptor_pool.DescriptorPool()
                pool.Add(file)
                return EnumTypeWrapper(pool.FindEnumTypeByName(f"{file.package}.{kind}"))
    raise KeyError(kind)


def descriptors(name: str) -> descriptor_pb2.FileDescriptorSet:
    """What ``<name>.descriptor`` holds: imports first."""
    return descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name(f"{name}.descriptor").read_bytes())
