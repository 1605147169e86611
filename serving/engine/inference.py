"""Classify, regress and multi-inference: signatures that take serialized ``tf.Example`` protos (TF_SERVING §3, §4).

Signatures are told apart by their inputs and outputs, not by their method name, which TF 2 exports never set.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, regression_pb2

from serving.engine.signature import DEFAULT_SIGNATURE, Outputs, Signature
from serving.errors import Code, ServingError, invalid
from serving.wire.examples import serialized
from serving.wire.tensors import dtype_label

CLASSIFY: Final = "tensorflow/serving/classify"
REGRESS: Final = "tensorflow/serving/regress"
INPUTS, OUTPUTS, CLASSES, SCORES = "inputs", "outputs", "classes", "scores"


def classify(
    signatures: Mapping[str, Signature], signature_name: str, given: input_pb2.Input, timeout_ms: int = 0
) -> classification_pb2.ClassificationResult:
    """Labels and scores for each example.

    Raises:
        ServingError: no such signature, one that does not classify, no examples, or outputs of a wrong shape.
    """
    signature = _signature(signatures, signature_name, "No signature was found with the name: ")
    names = _classify_outputs(signature)
    rows = serialized(given)
    return _classification_result(_run(signature, names, rows, timeout_ms), len(rows))


def regress(
    signatures: Mapping[str, Signature], signature_name: str, given: input_pb2.Input, timeout_ms: int = 0
) -> regression_pb2.RegressionResult:
    """A value for each example. Raises as ``classify`` does."""
    signature = _signature(signatures, signature_name, "No signature was found with the name: ")
    names = _regress_outputs(signature)
    rows = serialized(given)
    return _regression_result(_run(signature, names, rows, timeout_ms), len(rows))


def multi_inference(
    signatures: Mapping[str, Signature],
    version: int,
    tasks: Sequence[Any],
    given: input_pb2.Input,
    timeout_ms: int = 0,
) -> list[inference_pb2.InferenceResult]:
    """Several classify and regress tasks on the same examples and the same model."""
    chosen = _task_signatures(signatures, tasks)
    rows = serialized(given)
    outputs = [_run(signature, names, rows, timeout_ms) for signature, names in chosen]
    results = []
    for task, (signature, _), values in zip(tasks, chosen, outputs, strict=True):
        result = inference_pb2.InferenceResult()
        if task.method_name == CLASSIFY:
            result.classification_result.CopyFrom(_classification_result(values, len(rows)))
        else:
            result.regression_result.CopyFrom(_regression_result(values, len(rows)))
        result.model_spec.name, result.model_spec.signature_name = task.model_spec.name, signature.name
        result.model_spec.version.value = version
        results.append(result)
    return results


def _task_signatures(signatures: Mapping[str, Signature], tasks: Sequence[Any]) -> list[tuple[Signature, list[str]]]:
    """The signature of each task and the outputs it takes from it, checked one task after the other."""
    chosen: list[tuple[Signature, list[str]]] = []
    seen: set[str] = set()
    for task in tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in seen:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        signature = _signature(signatures, name, "Requested signature not found in model graph: ")
        if task.method_name not in _OUTPUTS:
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        chosen.append((signature, _OUTPUTS[task.method_name](signature)))
        feeds = {signature.definition.inputs[INPUTS].name for signature, _ in chosen}
        if len(feeds) > 1:
            raise invalid("Input tensor must be the same for all Signatures.")
    return chosen


def _signature(signatures: Mapping[str, Signature], name: str, complaint: str) -> Signature:
    signature = signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise invalid(f"{complaint}{name or DEFAULT_SIGNATURE}")
    return signature


def _classify_outputs(signature: Signature) -> list[str]:
    _check_input(signature, "classification")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    names = [name for name in (CLASSES, SCORES) if name in signature.outputs]
    if not names:
        text = f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}".'
        raise ServingError(Code.FAILED_PRECONDITION, f"{text} Signature was: {signature.definition}")
    return names


def _regress_outputs(signature: Signature) -> list[str]:
    _check_input(signature, "regression")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if OUTPUTS not in signature.outputs:
        text = f"No regression outputs found in SignatureDef: {signature.definition}"
        raise ServingError(Code.FAILED_PRECONDITION, text)
    return [OUTPUTS]


_OUTPUTS: Final = {CLASSIFY: _classify_outputs, REGRESS: _regress_outputs}


def _check_input(signature: Signature, what: str) -> None:
    if len(signature.input_types) != 1:
        raise invalid("Expected one input Tensor.")
    if INPUTS not in signature.input_types:
        text = f"No {what} inputs found in SignatureDef: {signature.definition}"
        raise ServingError(Code.FAILED_PRECONDITION, text)


def _run(signature: Signature, names: list[str], rows: list[bytes], timeout_ms: int) -> Outputs:
    examples = np.empty(len(rows), object)
    examples[:] = rows
    return signature.run({INPUTS: examples}, names, timeout_ms)


def _classification_result(outputs: Outputs, count: int) -> classification_pb2.ClassificationResult:
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for array, name, kind, expected in ((classes, CLASSES, "O", "STRING"), (scores, SCORES, "f", "FLOAT")):
        if array is None:
            continue
        if array.ndim != 2:
            shape = ",".join(map(str, array.shape))
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got [{shape}]")
        if array.dtype.kind != kind or (kind == "f" and array.dtype != np.float32):
            raise invalid(f"Expected {name} Tensor of DT_{expected}. Got: {dtype_label(array)}")
        if len(array) != count:
            raise invalid(f"Expected {name} output batch size of {count}. Got: {len(array)}")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        sizes = f"{classes.shape[1]} vs. {scores.shape[1]}"
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {sizes}")
    result = classification_pb2.ClassificationResult()
    given = classes if classes is not None else scores
    assert given is not None
    width = given.shape[1]
    for row in range(count):
        entry = result.classifications.add()
        for column in range(width):
            item = entry.classes.add()
            if classes is not None:
                item.label = classes[row, column]
            if scores is not None:
                item.score = scores[row, column]
    return result


def _regression_result(outputs: Outputs, count: int) -> regression_pb2.RegressionResult:
    values = outputs[OUTPUTS]
    if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        shape = ",".join(map(str, values.shape))
        raise invalid(f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [{shape}]")
    if len(values) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(values)}")
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {dtype_label(values)}")
    result = regression_pb2.RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add(value=value)
    return result
