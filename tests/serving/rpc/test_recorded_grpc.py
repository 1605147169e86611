"""The answers of the real TensorFlow Serving, recorded over gRPC: this server gives the same ones."""

import base64
import gzip
import json
import tarfile
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server import Server

RECORDED = Path(__file__).parents[4] / "shared" / "tfserving"
pytestmark = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded answers (../shared/tfserving) are not part of the repository"
)
MESSAGES = {
    "Predict": (predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    "Classify": (classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse),
    "Regress": (regression_pb2.RegressionRequest, regression_pb2.RegressionResponse),
    "MultiInference": (inference_pb2.MultiInferenceRequest, inference_pb2.MultiInferenceResponse),
    "GetModelMetadata": (
        get_model_metadata_pb2.GetModelMetadataRequest,
        get_model_metadata_pb2.GetModelMetadataResponse,
    ),
    "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, get_model_status_pb2.GetModelStatusResponse),
    "HandleReloadConfigRequest": (model_management_pb2.ReloadConfigRequest, model_management_pb2.ReloadConfigResponse),
}


def recorded():
    with gzip.open(RECORDED / "grpc.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    models = tmp_path_factory.mktemp("recorded")
    with tarfile.open(RECORDED / "models.tar.gz") as archive:
        archive.extractall(models, filter="data")
    with Server(models) as server, grpc.insecure_channel(server.grpc_target) as channel:
        yield {
            "PredictionService": prediction_service_pb2_grpc.PredictionServiceStub(channel),
            "ModelService": model_service_pb2_grpc.ModelServiceStub(channel),
        }


def answer_of(stub, row):
    request, _ = MESSAGES[row["method"]]
    try:
        return "OK", "", getattr(stub, row["method"])(request.FromString(base64.b64decode(row["request"])), timeout=30)
    except grpc.RpcError as error:
        return error.code().name, error.details(), None


def test_every_recorded_answer_is_given(stubs):
    rows, differing = recorded(), []
    for row in rows:
        answer = None
        if row["answer"] is not None:
            answer = MESSAGES[row["method"]][1].FromString(base64.b64decode(row["answer"]))
        now = answer_of(stubs[row["service"]], row)
        if now != (row["code"], row["details"], answer):
            differing.append((row["name"], row["code"], row["details"], now))
    assert len(rows) >= 128 and not differing, differing
