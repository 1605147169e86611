"""gRPC connections of a client, blocking and asynchronous. No TensorFlow: the messages come from descriptor sets."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np

from serving.client.retrying import Pauses
from serving.errors import Code, ServingError, State
from serving.wire import tensors
from serving.wire.adaptation import MESSAGES, AdaptationStub
from serving.wire.tf_serving import TF_SERVING, ModelStub, PredictionStub

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class GrpcTransport:
    """What a server can be asked over gRPC: the same methods as ``RestTransport``. Thread-safe."""

    def __init__(
        self, target: str, timeout: float, tries: int, token: str | None = None, ca: str | None = None,
        secure: bool = False,
    ):  # fmt: skip
        self._channel = open_channel(grpc, target, ca, secure)
        self._timeout, self._tries = timeout, tries
        self._token = [] if token is None else [("authorization", f"Bearer {token}")]
        self._predict = PredictionStub(self._channel).Predict
        self._models = ModelStub(self._channel)
        self._zoo = AdaptationStub(self._channel)

    def predict(
        self, name: str, inputs: Mapping[str, np.ndarray], signature: str, outputs: tuple[str, ...]
    ) -> dict[str, np.ndarray]:
        return decode(self._call(self._predict, predict_request(name, inputs, signature, outputs)))

    def status(self, name: str) -> list[dict[str, Any]]:
        request = TF_SERVING["GetModelStatusRequest"]()
        request.model_spec.name = name
        return status_lines(self._call(self._models.GetModelStatus, request))

    def policies(self) -> list[dict[str, Any]]:
        answer = self._call(self._zoo.ListPolicies, MESSAGES["ListPoliciesRequest"]())
        return [json.loads(policy.json) for policy in answer.policies]

    def policy(self, name: str) -> dict[str, Any]:
        return json.loads(self._call(self._zoo.GetPolicy, MESSAGES["GetPolicyRequest"](policy=name)).json)

    def adapt(
        self, name: str, task_name: str | None, arrays: Mapping[str, np.ndarray], key: str, off_policy: bool = False
    ) -> dict[str, Any]:
        request = adapt_request(name, task_name, arrays, off_policy)
        return adapt_answer(self._call(self._zoo.Adapt, request, ("idempotency-key", key)))

    def keep(
        self, name: str, memory: np.ndarray | None, before: np.ndarray, after: np.ndarray, key: str
    ) -> dict[str, Any]:
        request = adapt_request(name, None, {} if memory is None else {"memory": memory})
        request.keep_better.before[:], request.keep_better.after[:] = before.tolist(), after.tolist()
        return adapt_answer(self._call(self._zoo.Adapt, request, ("idempotency-key", key)))

    def delete(self, name: str) -> None:
        self._call(self._zoo.DeletePolicy, MESSAGES["DeletePolicyRequest"](policy=name))

    def reload(self, config: Any) -> None:
        """Have the server serve the models of a ``ModelServerConfig`` instead of those it was told before."""
        request = TF_SERVING["ReloadConfigRequest"]()
        request.config.ParseFromString(config.SerializeToString())  # it may be of TensorFlow's own class
        self._call(self._models.HandleReloadConfigRequest, request)

    def close(self) -> None:
        self._channel.close()

    def _call(self, call: Callable[..., Any], request: Any, *metadata: tuple[str, str]) -> Any:
        pauses = Pauses(self._tries)
        while True:
            try:
                return call(request, timeout=self._timeout, metadata=[*self._token, *metadata])
            except grpc.RpcError as error:
                time.sleep(pauses.after(refusal(error)))


def open_channel(library: Any, target: str, ca: str | None, secure: bool) -> Any:
    """``library``: ``grpc`` or ``grpc.aio``."""
    if not secure and ca is None:
        return library.insecure_channel(target, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(None if ca is None else Path(ca).read_bytes())
    return library.secure_channel(target, credentials, options=OPTIONS)


def predict_request(name: str, inputs: Mapping[str, Any], signature: str, outputs: Sequence[str]) -> Any:
    request = TF_SERVING["PredictRequest"](output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        tensors.encode(np.asarray(value), request.inputs[key])
    return request


def decode(response: Any) -> dict[str, np.ndarray]:
    return {key: tensors.decode(key, proto) for key, proto in response.outputs.items()}


def status_lines(response: Any) -> list[dict[str, Any]]:
    """As REST has them."""
    return [
        {
            "version": str(line.version),
            "state": State(line.state).name,
            "status": {"error_code": Code(line.status.error_code).name, "error_message": line.status.error_message},
        }
        for line in response.model_version_status
    ]


def adapt_request(name: str, task_name: str | None, arrays: Mapping[str, np.ndarray], off_policy: bool = False) -> Any:
    request = MESSAGES["AdaptRequest"](policy=name, task=task_name or "", off_policy=off_policy)
    for key, value in arrays.items():
        tensors.encode(value, request.memory if key == "memory" else request.episodes[key])
    return request


def adapt_answer(answer: Any) -> dict[str, Any]:
    keys = "model", "version", "episodes", "steps"
    maps = {"diagnostics": dict(answer.diagnostics), "timings": dict(answer.timings)}
    said: dict[str, Any] = {"warnings": list(answer.warnings)} if answer.warnings else {}
    if answer.HasField("kept"):
        means = {name: _mean(getattr(answer.kept, name)) for name in ("before", "after")}
        said["kept"] = {"which": answer.kept.which, **means, "episodes": answer.kept.episodes}
    return {**{key: getattr(answer, key) for key in keys}, **maps, **said}


def _mean(found: Any) -> dict[str, Any]:
    return {"mean": found.mean, "ci95": list(found.ci95), "episodes": found.episodes}


def refusal(error: Any) -> ServingError:
    """The error a client raises for what gRPC raised."""
    return ServingError(Code[error.code().name], error.details() or error.code().name)
