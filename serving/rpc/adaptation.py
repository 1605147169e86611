"""The gRPC twin of ``/zoo/v1/``: ``metazoo.serving.AdaptationService`` (``protos/adaptation.proto``)."""

from typing import Any

import grpc
import msgspec

from serving.adapting import request as adapt_request
from serving.adapting.adapter import Adapter
from serving.adapting.request import AdaptRequest
from serving.rpc.door import Door
from serving.wire import tensors
from serving.wire.adaptation import KEY, MESSAGES, SERVICE


class AdaptationService:
    """Translates between protos and the adapter."""

    def __init__(self, adapter: Adapter, door: Door):
        self._adapter, self._door = adapter, door

    def Adapt(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context, changes=True), self._adapter.plane.budget.request(request.ByteSize) as allowance:
            take = allowance.take
            task_name, has_memory = request.task or None, request.HasField("memory")
            answer = self._adapter.adapt(
                AdaptRequest(
                    policy=request.policy,
                    task_name=task_name,
                    fields={name: tensors.decode(name, proto, take) for name, proto in request.episodes.items()},
                    memory=tensors.decode("memory", request.memory, take) if has_memory else None,
                    key=dict(context.invocation_metadata()).get(KEY),
                    digest=adapt_request.digest_of(
                        request.policy, task_name, request.SerializeToString(deterministic=True)
                    ),
                    off_policy=request.off_policy,
                    kept=_held_out(request),
                )
            )
            return MESSAGES["AdaptResponse"](**answer)

    def ListPolicies(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context):
            return MESSAGES["ListPoliciesResponse"](policies=map(_policy, self._adapter.list()["policies"]))

    def GetPolicy(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context):
            return _policy(self._adapter.get(request.policy))

    def DeletePolicy(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context, changes=True):
            return MESSAGES["DeletePolicyResponse"](**self._adapter.delete(request.policy))


def add_to_server(service: AdaptationService, server: grpc.Server) -> None:
    """Register the service's calls."""
    handlers = {}
    for method in MESSAGES["AdaptationService"].methods:
        given, answer = (MESSAGES[kind.name] for kind in (method.input_type, method.output_type))
        handlers[method.name] = grpc.unary_unary_rpc_method_handler(
            getattr(service, method.name), given.FromString, answer.SerializeToString
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def _held_out(request: Any) -> Any:
    if not request.HasField("keep_better"):
        return None
    returns = request.keep_better
    return adapt_request.held_out({"before": list(returns.before), "after": list(returns.after)})


def _policy(document: dict[str, Any]) -> Any:
    encoded = msgspec.json.encode(document).decode()
    return MESSAGES["Policy"](name=document["name"], version=document["version"], json=encoded)
