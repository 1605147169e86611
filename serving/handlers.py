"""The data plane, free of transports: REST (``rest.py``) and gRPC (``rpc.py``) only translate.

Texts and codes are TF Serving's; where its two APIs differ for the same fault, there is a method for each.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from google.protobuf import json_format
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.engine import feeds, inference
from serving.engine.budget import Budget
from serving.engine.servable import Servable
from serving.engine.signature import DEFAULT_SIGNATURE, Feeds, Outputs, Signature
from serving.errors import Code, ServingError, invalid
from serving.metrics import EXAMPLE_COUNTS, EXAMPLE_TOTAL, RUNTIME_LATENCY, Metrics
from serving.models.manager import Manager, VersionStatus
from serving.options import Quota
from serving.wire import codec, examples, json_writer

SIGNATURE_DEF: Final = "signature_def"
REST_TIMEOUT_MS: Final = 30_000
"""TF Serving's default for ``--rest_api_timeout_in_ms``."""


class DataPlane:
    """Predict, status and metadata over whatever the manager has loaded. Methods raise ``ServingError``."""

    def __init__(self, manager: Manager, metrics: Metrics | None = None, budget: Budget | None = None):
        self.manager, self.metrics = manager, metrics or Metrics()
        self.budget = budget or Budget(Quota.tensor_bytes, Quota.bytes_under_way)

    def predict(
        self,
        servable: Servable,
        signature_name: str,
        inputs: dict[str, np.ndarray],
        output_filter: Iterable[str] = (),
        timeout_ms: int = 0,
    ) -> Outputs:
        """Run a signature on arrays."""
        signature = _signature(servable, signature_name)
        feeds.check_names(signature, inputs)
        return self._run(servable, signature, inputs, _checked_filter(signature, output_filter), timeout_ms)

    def predict_protos(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, TensorProto],
        output_filter: Iterable[str] = (),
        timeout_ms: int = 0,
        take: Callable[[int], None] | None = None,
    ) -> Outputs:
        """Run a signature as gRPC Predict does. ``take``: see ``tensors.decode``."""
        signature = _signature(servable, signature_name)
        arrays = feeds.decode(signature, inputs, take)
        wanted = _checked_filter(signature, output_filter)
        feeds.check_opaque(signature, arrays)
        return self._run(servable, signature, arrays, wanted, timeout_ms)

    def _run(
        self, servable: Servable, signature: Signature, arrays: Feeds, wanted: tuple[str, ...], timeout_ms: int
    ) -> Outputs:
        started = time.perf_counter()
        outputs = signature.run(arrays, wanted, timeout_ms)
        self.metrics.observe(RUNTIME_LATENCY, (time.perf_counter() - started) * 1e6, servable.name, "Predict", "TF1")
        return outputs

    def predict_json(self, name: str, version: int | None, label: str | None, body: bytes) -> bytes:
        """The answer to a REST predict body, for a thread that may wait."""
        signature, request = self._parse(name, version, label, body)
        started = time.perf_counter()
        outputs = signature.run(request.feeds, (), REST_TIMEOUT_MS)
        return self._answer(name, request, outputs, started)

    async def predict_json_async(self, name: str, version: int | None, label: str | None, body: bytes) -> bytes:
        """The same for the event loop, which is not held up: ``NotQuickError`` if that would take long."""
        signature, request = self._parse(name, version, label, body, may_wait=False)
        started = time.perf_counter()
        outputs = await signature.start(request.feeds, (), REST_TIMEOUT_MS)
        return self._answer(name, request, outputs, started)

    def _parse(
        self, name: str, version: int | None, label: str | None, body: bytes, may_wait: bool = True
    ) -> tuple[Signature, codec.PredictBody]:
        found: list[Signature] = []

        def input_types(signature_name: str) -> codec.InputTypes:
            servable = self.manager.lookup(name, version, label)
            signature = servable.signatures.get(signature_name or DEFAULT_SIGNATURE)
            if signature is None:
                wanted = signature_name or DEFAULT_SIGNATURE
                raise invalid(f'Serving signature name: "{wanted}" not found in signature def')
            found.append(signature)
            return signature.input_types

        request = codec.parse_predict(body, input_types, may_wait)
        return found[0], request

    def _answer(self, name: str, request: codec.PredictBody, outputs: Outputs, started: float) -> bytes:
        self.metrics.observe(RUNTIME_LATENCY, (time.perf_counter() - started) * 1e6, name, "Predict", "TF1")
        write = json_writer.row_json if request.format is codec.ROW else json_writer.columnar_json
        return json_writer.to_bytes(write(outputs))

    def classify(self, servable: Servable, signature_name: str, given: Any, timeout_ms: int) -> Any:
        """Labels and scores for each example of an ``Input``."""
        started = time.perf_counter()
        with self._examples(given):
            result = inference.classify(servable.signatures, signature_name, given, timeout_ms)
        self._inferred(servable.name, "Classify", started, len(result.classifications))
        return result

    def regress(self, servable: Servable, signature_name: str, given: Any, timeout_ms: int) -> Any:
        """A value for each example of an ``Input``."""
        started = time.perf_counter()
        with self._examples(given):
            result = inference.regress(servable.signatures, signature_name, given, timeout_ms)
        self._inferred(servable.name, "Regress", started, len(result.regressions))
        return result

    def multi_inference(self, servable: Servable, tasks: Any, given: Any, timeout_ms: int) -> Any:
        """Several of these on the same examples."""
        started = time.perf_counter()
        with self._examples(given):
            results = inference.multi_inference(servable.signatures, servable.version, tasks, given, timeout_ms)
        first = results[0]
        count = len(first.classification_result.classifications) or len(first.regression_result.regressions)
        self._inferred(servable.name, "MultiInference", started, count)
        return results

    @contextmanager
    def _examples(self, given: Any) -> Iterator[None]:
        """Around the work on examples, of which each gets a copy of the context."""
        with self.budget.request(given.ByteSize) as allowance:
            allowance.take(examples.serialized_bytes(given))
            yield

    def _inferred(self, name: str, api: str, started: float, count: int) -> None:
        self.metrics.observe(RUNTIME_LATENCY, (time.perf_counter() - started) * 1e6, name, api, "TF1")
        self.metrics.observe(EXAMPLE_COUNTS, count, name)
        self.metrics.count(EXAMPLE_TOTAL, name, by=count)

    def classify_json(self, name: str, version: int | None, label: str | None, body: bytes) -> bytes:
        """The answer to a REST classify body."""
        signature_name, given = examples.parse_examples(body)
        result = self.classify(self.manager.lookup(name, version, label), signature_name, given, REST_TIMEOUT_MS)
        rows = [[(item.label.encode(), item.score) for item in row.classes] for row in result.classifications]
        return json_writer.to_bytes(json_writer.classifications_json(rows))

    def regress_json(self, name: str, version: int | None, label: str | None, body: bytes) -> bytes:
        """The answer to a REST regress body."""
        signature_name, given = examples.parse_examples(body)
        result = self.regress(self.manager.lookup(name, version, label), signature_name, given, REST_TIMEOUT_MS)
        values = np.array([item.value for item in result.regressions], np.float32)
        return json_writer.to_bytes(json_writer.regressions_json(values))

    def status_json(self, name: str, version: int | None) -> bytes:
        """The answer to a REST status request."""
        lines = [
            {
                "version": str(line.version),
                "state": line.state.name,
                "status": {
                    "error_code": _code_of(line).name,
                    "error_message": line.error.message if line.error else "",
                },
            }
            for line in self.manager.status(name, version)
        ]
        return json_writer.proto_json({"model_version_status": lines})

    def metadata_json(self, name: str, version: int | None, label: str | None) -> bytes:
        """The answer to a REST metadata request: the proto JSON of the signatures in ``saved_model.pb``."""
        servable = self.manager.lookup(name, version, label)
        answer = {
            "model_spec": {"name": name, "signature_name": "", "version": str(servable.version)},
            "metadata": {SIGNATURE_DEF: _signatures_json(servable)},
        }
        return json_writer.proto_json(answer)

    def metadata_proto(self, servable: Servable, name: str) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The same over gRPC."""
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = name
        response.model_spec.version.value = servable.version
        response.metadata[SIGNATURE_DEF].Pack(_signature_map(servable))
        return response


def _signature(servable: Servable, name: str) -> Signature:
    signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.')
    return signature


def _checked_filter(signature: Signature, output_filter: Iterable[str]) -> tuple[str, ...]:
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            expected = ",".join(signature.outputs)
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {{{expected}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return tuple(seen)


def _code_of(line: VersionStatus) -> Code:
    return line.error.code if line.error else Code.OK


def _signature_map(servable: Servable) -> get_model_metadata_pb2.SignatureDefMap:
    message = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in servable.signature_defs.items():
        message.signature_def[name].CopyFrom(definition)
    return message


_known: "WeakKeyDictionary[Servable, dict[str, Any]]" = WeakKeyDictionary()


def _signatures_json(servable: Servable) -> dict[str, Any]:
    """Default-valued fields are printed too, as TF Serving does."""
    if servable not in _known:
        definitions = servable.signature_defs
        _known[servable] = {
            SIGNATURE_DEF: {name: _definition_json(definition) for name, definition in sorted(definitions.items())}
        }
    return _known[servable]


def _definition_json(definition: meta_graph_pb2.SignatureDef) -> dict[str, Any]:
    return json_format.MessageToDict(
        definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
