"""The messages and calls of ``metazoo.serving.AdaptationService``, as the server and its clients know them."""

from collections.abc import Callable
from typing import Any, Final

from serving.wire import protos

MESSAGES: Final = protos.load("adaptation")
SERVICE: Final = MESSAGES["AdaptationService"].full_name
KEY: Final = "idempotency-key"


class AdaptationStub:
    """The client's side: one callable for each call of the service, as generated stubs have."""

    Adapt: Callable[..., Any]
    ListPolicies: Callable[..., Any]
    GetPolicy: Callable[..., Any]
    DeletePolicy: Callable[..., Any]

    def __init__(self, channel: Any):
        for method in MESSAGES["AdaptationService"].methods:
            given, answer = (MESSAGES[kind.name] for kind in (method.input_type, method.output_type))
            call = channel.unary_unary(f"/{SERVICE}/{method.name}", given.SerializeToString, answer.FromString)
            setattr(self, method.name, call)
