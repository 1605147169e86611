"""Warm-up records: real requests that a version answers before it takes over (TF_SERVING §8)."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.engine import feeds, inference, tf_internals
from serving.engine.signature import DEFAULT_SIGNATURE, Signature
from serving.errors import Code, ServingError, invalid

MAX_RECORDS: Final = 1000

Signatures = Mapping[str, Signature]


def run(path: str | os.PathLike[str], signatures: Signatures) -> int:
    """Answer every request of the version's warm-up file, if it has one; returns how many there were.

    Raises:
        ServingError: an unreadable file, more than 1000 records, a kind of record that cannot be replayed, or a request
            that fails: a stale warm-up file takes a version down, as it does in TF Serving.
    """
    count = 0
    for kind, request in _records(Path(path, "assets.extra", "tf_serving_warmup_requests")):
        _REPLAY[kind](signatures, request)
        count += 1
    return count


def _records(file: Path) -> Iterator[tuple[str, Any]]:
    if not file.is_file():
        return
    try:
        for number, record in enumerate(tf_internals.records(file)):
            if number == MAX_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) in {file}")
            log = prediction_log_pb2.PredictionLog.FromString(record)
            kind = log.WhichOneof("log_type")
            if kind not in _REPLAY:
                raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
            yield kind, getattr(log, kind).request
    except DecodeError as error:
        raise invalid(f"Failed to parse warmup record: {file}") from error
    except tf.errors.OpError as error:
        raise ServingError(Code(error.error_code), f"Failed to read warmup records: {error.message}") from error


def _predict(signatures: Signatures, request: Any) -> None:
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    signature.run(feeds.decode(signature, request.inputs))


def _classify(signatures: Signatures, request: Any) -> None:
    inference.classify(signatures, request.model_spec.signature_name, request.input)


def _regress(signatures: Signatures, request: Any) -> None:
    inference.regress(signatures, request.model_spec.signature_name, request.input)


def _multi_inference(signatures: Signatures, request: Any) -> None:
    inference.multi_inference(signatures, 0, request.tasks, request.input)


_REPLAY: Final[Mapping[str, Callable[[Signatures, Any], None]]] = {
    "predict_log": _predict,
    "classify_log": _classify,
    "regress_log": _regress,
    "multi_inference_log": _multi_inference,
}
