"""gRPC's server reflection: grpcurl and others ask the server itself which calls it has, as they ask TF Serving.

By ``grpcio-reflection``, which knows it as ``v1alpha``; the messages of ``v1`` are the same bytes.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final, final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

NAMES: Final = "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"
STREAM_SECONDS: Final = 20.0
"""A stream is ended then, and there are only so many: each of them holds a thread."""
STREAMS: Final = 4


@final
class Reflection(reflection.ReflectionServicer):
    """Answers from the descriptors of the given services' files, and of those which they import."""

    def __init__(self, services: Iterable[Any]):
        """``services``: descriptors, of whatever pools."""
        services = list(services)
        super().__init__([*(service.full_name for service in services), *NAMES], _pool_of(services))
        self._streams = threading.BoundedSemaphore(STREAMS)

    def add_to_server(self, server: grpc.Server) -> None:
        """Register the service under both of its names."""
        given, answer = reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
        method = grpc.stream_stream_rpc_method_handler(
            self.ServerReflectionInfo, given.FromString, answer.SerializeToString
        )
        for name in NAMES:
            handler = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
            server.add_generic_rpc_handlers((handler,))

    def ServerReflectionInfo(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """One answer for each request, for a while."""
        if not self._streams.acquire(blocking=False):
            context.abort(grpc.StatusCode.UNAVAILABLE, f"There are {STREAMS} reflection streams already")
        ending = threading.Timer(STREAM_SECONDS, context.cancel)
        ending.daemon = True
        ending.start()
        try:
            yield from super().ServerReflectionInfo(request_iterator, context)
        finally:
            ending.cancel()
            self._streams.release()


def _pool_of(services: Iterable[Any]) -> descriptor_pool.DescriptorPool:
    """The files of the services, and all that they import, in one pool."""
    pool, seen = descriptor_pool.DescriptorPool(), set()

    def add(file: Any) -> None:
        if file.name in seen:
            return
        seen.add(file.name)
        for imported in file.dependencies:
            add(imported)
        copied = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(copied)
        pool.Add(copied)

    for service in services:
        add(service.file)
    return pool
