"""gRPC in front of the data plane: TF Serving's PredictionService and ModelService, health and reflection.

The synchronous server: for small models it answers sooner than asyncio's (253 against 312 µs for a bare echo).
"""

import contextlib
import threading
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving import ports
from serving.adapting.adapter import Adapter
from serving.engine.servable import Servable
from serving.engine.signature import DEFAULT_SIGNATURE
from serving.errors import PortInUseError, invalid
from serving.handlers import SIGNATURE_DEF, DataPlane
from serving.models import model_config
from serving.models.model_config import ConfiguredModels
from serving.options import Options
from serving.overload import BoundedExecutor
from serving.rpc import adaptation as adaptation_service
from serving.rpc import reflection
from serving.rpc.door import Door
from serving.security import grpc_credentials
from serving.wire import adaptation, tensors

OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),  # the default is 4 MB, TF Serving's is INT32_MAX
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # otherwise two servers share a port without noticing
)
DESCRIBED: Final = (
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"],
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
    adaptation.MESSAGES["AdaptationService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
)
WORKERS: Final = 16
MAX_DEADLINE_SECONDS: Final = 1e6


class GrpcServer:
    """The gRPC port. Bound when created, answering from ``start`` on."""

    def __init__(self, adapter: Adapter, configured: ConfiguredModels, host: str, port: int, options: Options):
        """Bind ``host:port`` (0: any free port; ``self.port`` says which).

        Raises:
            PortInUseError: the address is taken or not ours.
        """
        self._started = False
        self._executor = BoundedExecutor(WORKERS, options.quota.waiting, "grpc")
        self._server = grpc.server(self._executor, options=OPTIONS)
        plane, door = adapter.plane, Door(self._executor, options.token)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(plane, door), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(plane, configured, door), self._server)
        adaptation_service.add_to_server(adaptation_service.AdaptationService(adapter, door), self._server)
        self._health = health.HealthServicer()
        services = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", adaptation.SERVICE
        for service in ("", *services):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.Reflection(DESCRIBED).add_to_server(self._server)
        credentials, address = grpc_credentials(options), f"{host}:{port}"
        ports.bind(host, port, "gRPC").close()  # gRPC would say in its own words, and many, that the port is taken
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            self.port = 0
        if self.port == 0:
            raise PortInUseError(f"cannot listen for gRPC on {address}: the port is in use or not permitted")

    def start(self) -> None:
        self._started = True
        self._server.start()

    def stop(self, grace_seconds: float) -> threading.Event:
        """Say that no more is served, refuse new calls, and let those under way finish. The event tells when."""
        self._health.enter_graceful_shutdown()
        if not self._started:  # only a server that was started gives its port back
            self._server.start()
            grace_seconds = 0
        return self._server.stop(grace_seconds)

    def release(self) -> None:
        """End the threads, once all calls are finished."""
        self._executor.shutdown()


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata."""

    def __init__(self, plane: DataPlane, door: Door):
        self._plane, self._door = plane, door

    def _count(self, spec: model_pb2.ModelSpec, api: str) -> contextlib.AbstractContextManager[None]:
        return self._plane.metrics.request(spec.name, api, "GRPC")

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context), self._count(request.model_spec, "Predict"):
            servable = _lookup(self._plane, request.model_spec, request.HasField("model_spec"))
            timeout_ms = _timeout_ms(context.time_remaining())
            signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            with self._plane.budget.request(request.ByteSize) as allowance:
                outputs = self._plane.predict_protos(
                    servable, signature_name, request.inputs, request.output_filter, timeout_ms, allowance.take
                )
            response = predict_pb2.PredictResponse()
            _fill_spec(response.model_spec, request.model_spec.name, signature_name, servable)
            for name, array in outputs.items():
                tensors.encode(array, response.outputs[name])
            return response

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context), self._count(request.model_spec, "Classify"):
            servable = _lookup(self._plane, request.model_spec, request.HasField("model_spec"))
            signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            timeout_ms = _timeout_ms(context.time_remaining())
            result = self._plane.classify(servable, signature_name, request.input, timeout_ms)
            response = classification_pb2.ClassificationResponse(result=result)
            _fill_spec(response.model_spec, request.model_spec.name, signature_name, servable)
            return response

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context), self._count(request.model_spec, "Regress"):
            servable = _lookup(self._plane, request.model_spec, request.HasField("model_spec"))
            signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            timeout_ms = _timeout_ms(context.time_remaining())
            result = self._plane.regress(servable, signature_name, request.input, timeout_ms)
            response = regression_pb2.RegressionResponse(result=result)
            _fill_spec(response.model_spec, request.model_spec.name, signature_name, servable)
            return response

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context):
            first = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
            servable = _lookup(self._plane, first, True)
            timeout_ms = _timeout_ms(context.time_remaining())
            results = self._plane.multi_inference(servable, request.tasks, request.input, timeout_ms)
            return inference_pb2.MultiInferenceResponse(results=results)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context):
            _check_present(request.HasField("model_spec"))
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            for name in request.metadata_field:
                if name != SIGNATURE_DEF:
                    raise invalid(f"Metadata field {name} is not supported")
            servable = _lookup(self._plane, request.model_spec, request.HasField("model_spec"))
            return self._plane.metadata_proto(servable, request.model_spec.name)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, plane: DataPlane, configured: ConfiguredModels, door: Door):
        self._plane, self._configured, self._door = plane, configured, door

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context, changes=True):
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                    "currently supported"
                )
            manager = self._plane.manager
            self._configured.replace(manager, model_config.convert(request.config, served=manager.names()))
            response = model_management_pb2.ReloadConfigResponse()
            response.status.SetInParent()
            return response

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._door(context):
            spec = request.model_spec
            _check_present(request.HasField("model_spec"))
            version = spec.version.value if spec.HasField("version") else None
            response = get_model_status_pb2.GetModelStatusResponse()
            for line in self._plane.manager.status(spec.name, version):
                entry = response.model_version_status.add(version=line.version, state=int(line.state))
                entry.status.error_code = line.error.code.value if line.error else 0
                entry.status.error_message = line.error.message if line.error else ""
            return response


def _check_present(present: bool) -> None:
    if not present:
        raise invalid("Missing ModelSpec")


def _lookup(plane: DataPlane, spec: model_pb2.ModelSpec, present: bool) -> Servable:
    _check_present(present)
    if not spec.name:
        raise invalid("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return plane.manager.lookup(spec.name, version, spec.version_label if choice == "version_label" else None)


def _timeout_ms(remaining: float | None) -> int:
    """For the session; 0 without a deadline (which gRPC reports as one in centuries)."""
    return 0 if remaining is None or remaining > MAX_DEADLINE_SECONDS else max(1, int(remaining * 1e3))


def _fill_spec(spec: model_pb2.ModelSpec, name: str, signature_name: str, servable: Servable) -> None:
    spec.name, spec.signature_name = name, signature_name
    spec.version.value = servable.version


__all__ = ["GrpcServer", "ModelService", "PredictionService"]
