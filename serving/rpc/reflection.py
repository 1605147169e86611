"""gRPC's server reflection: grpcurl and others ask the server itself which calls it has, as they ask TF Serving."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

import grpc

from serving.errors import Code
from serving.wire import protos

NAMES: Final = "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"
STREAM_SECONDS: Final = 20.0
"""A stream is ended then, and there are only so many: each of them holds a thread."""
STREAMS: Final = 4

MESSAGES: Final = protos.load("reflection")


class Reflection:
    """Answers from the descriptors of the given services' files, and of those which they import."""

    def __init__(self, services: Iterable[Any]):
        """``services``: descriptors."""
        self._files: dict[str, Any] = {}
        self._by_symbol: dict[str, Any] = {}
        self._services = [*(service.full_name for service in services), *NAMES]
        for service in services:
            self._add(service.file)
        self._streams = threading.BoundedSemaphore(STREAMS)

    def add_to_server(self, server: grpc.Server) -> None:
        """Register the service under both of its names."""
        given, answer = MESSAGES["ServerReflectionRequest"], MESSAGES["ServerReflectionResponse"]
        method = grpc.stream_stream_rpc_method_handler(self.stream, given.FromString, answer.SerializeToString)
        for name in NAMES:
            handler = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
            server.add_generic_rpc_handlers((handler,))

    def stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """One answer for each request, for a while."""
        if not self._streams.acquire(blocking=False):
            context.abort(grpc.StatusCode.UNAVAILABLE, f"There are {STREAMS} reflection streams already")
        ending = threading.Timer(STREAM_SECONDS, context.cancel)
        ending.daemon = True
        ending.start()
        try:
            yield from map(self.answer, requests)
        finally:
            ending.cancel()
            self._streams.release()

    def answer(self, request: Any) -> Any:
        """To one request; the error of whatever is not known."""
        response = MESSAGES["ServerReflectionResponse"](valid_host=request.host, original_request=request)
        file = None
        if request.file_by_filename:
            file = self._files.get(request.file_by_filename)
        elif request.file_containing_symbol:
            file = self._by_symbol.get(request.file_containing_symbol)
        elif not request.all_extension_numbers_of_type and not request.HasField("file_containing_extension"):
            for name in self._services:  # asked for with any text, an empty one included
                response.list_services_response.service.add(name=name)
            return response
        if file is None:
            response.error_response.error_code, response.error_response.error_message = (
                Code.NOT_FOUND.value,
                "Not found",
            )
        else:
            needed = dict.fromkeys(one.serialized_pb for one in _with_imports(file))
            response.file_descriptor_response.file_descriptor_proto.extend(needed)
        return response

    def _add(self, file: Any) -> None:
        for one in _with_imports(file):
            self._files[one.name] = one
            for service in one.services_by_name.values():
                self._by_symbol[service.full_name] = one
                self._by_symbol.update({method.full_name: one for method in service.methods})
            for enum in one.enum_types_by_name.values():
                self._by_symbol[enum.full_name] = one
            for message in one.message_types_by_name.values():
                self._add_message(message, one)

    def _add_message(self, message: Any, file: Any) -> None:
        self._by_symbol[message.full_name] = file
        self._by_symbol.update({enum.full_name: file for enum in message.enum_types})
        for nested in message.nested_types:
            self._add_message(nested, file)


def _with_imports(file: Any) -> Iterator[Any]:
    yield file
    for imported in file.dependencies:
        yield from _with_imports(imported)
