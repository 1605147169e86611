"""Clients that know nothing of metazoo, on the policies that are shipped: official stubs, requests, curl, grpcurl's
way; and saved_model_cli, which reads the same directories without any server."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from tensorflow_serving.apis import prediction_log_pb2, prediction_service_pb2_grpc

from metazoo import savedmodels_directory
from metazoo.artefact import signatures, store
from metazoo.tasks.views import make as gym_make
from serving.client import Client
from serving.errors import ServingError
from serving.rpc import reflection
from serving.server import Server

SHIPPED = sorted(path.name for path in savedmodels_directory().iterdir() if path.is_dir())
QUICK = ("maml_cartpole", "rl2_navigation")


def some(*quick):
    """All that is shipped; the others are slow tests."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in SHIPPED]


CARTPOLE = "/v1/models/maml_cartpole:predict"
OBSERVATIONS = np.linspace(-0.1, 0.1, 8, dtype=np.float32).reshape(2, 4)


@pytest.fixture(scope="module")
def served(request, tmp_path_factory):
    """A server of the shipped policies: of all of them only if the slow tests run."""
    ours = (item for item in request.session.items if item.path == request.path and hasattr(item, "callspec"))
    wanted = {item.callspec.params.get("name") for item in ours}
    root = tmp_path_factory.mktemp("shipped")
    (root / "models").mkdir()
    for name in {*QUICK, *wanted.intersection(SHIPPED)}:
        (root / "models" / name).symlink_to(savedmodels_directory() / name)
    with Server(root / "models", root / "adapted", poll_seconds=0) as running:
        yield running


@pytest.fixture(scope="module")
def logits():
    """What TensorFlow itself answers to ``OBSERVATIONS``."""
    loaded = tf.saved_model.load(str(store.latest(savedmodels_directory() / "maml_cartpole")))
    return loaded.signatures["act"](observations=tf.constant(OBSERVATIONS))["logits"].numpy()


def warmup_requests(name):
    """One real request for each signature, as stock TF Serving replays them."""
    file = store.latest(savedmodels_directory() / name) / signatures.WARMUP_FILE
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request


@pytest.mark.parametrize("name", some(*QUICK))
def test_the_official_stubs_call_every_signature(served, name):
    loaded = tf.saved_model.load(str(store.latest(savedmodels_directory() / name)))
    called = set()
    with grpc.insecure_channel(served.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for request in warmup_requests(name):
            request.model_spec.name = name
            response = stub.Predict(request, timeout=60)
            signature = response.model_spec.signature_name
            feeds = {key: tf.constant(tf.make_ndarray(proto)) for key, proto in request.inputs.items()}
            for key, value in loaded.signatures[signature](**feeds).items():
                np.testing.assert_allclose(tf.make_ndarray(response.outputs[key]), value, rtol=1e-4, atol=1e-4)
            called.add(signature)
    assert called >= {"initial_memory", "step", "adapt"}


def test_requests_and_curl(served, logits):
    body = {"signature_name": "act", "instances": OBSERVATIONS.tolist()}
    answer = requests.post(served.url + CARTPOLE, json=body, timeout=60)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    rows = answer.json()["predictions"]
    np.testing.assert_allclose([row["logits"] for row in rows], logits, rtol=1e-4, atol=1e-5)
    refused = requests.post(served.url + CARTPOLE, json={}, timeout=60)
    assert refused.status_code == 400 and list(refused.json()) == ["error"]
    if shutil.which("curl"):
        command = ["curl", "-s", "--fail", "--max-time", "60", "-d", json.dumps(body), served.url + CARTPOLE]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["predictions"] == rows


def reflected(channel, **fields):
    """One question to the server's reflection."""
    given, answer = (reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse)
    name = f"/{reflection.NAMES[1]}/ServerReflectionInfo"
    call = channel.stream_stream(name, given.SerializeToString, answer.FromString)
    (response,) = call(iter([given(**fields)]), timeout=60)
    return response


def grpcurl(channel, service, method, document):
    """As ``grpcurl -plaintext -d DOCUMENT TARGET SERVICE/METHOD`` does it: all it knows, it asks the server."""
    files = reflected(channel, file_containing_symbol=service).file_descriptor_response.file_descriptor_proto
    pool, waiting = (
        descriptor_pool.DescriptorPool(),
        [descriptor_pb2.FileDescriptorProto.FromString(one) for one in files],
    )
    added = set()
    while waiting:
        file = next(one for one in waiting if added >= set(one.dependency))
        pool.Add(file)
        added.add(file.name)
        waiting.remove(file)
    described = pool.FindServiceByName(service).FindMethodByName(method)
    given, answer = (message_factory.GetMessageClass(one) for one in (described.input_type, described.output_type))
    call = channel.unary_unary(f"/{service}/{method}", given.SerializeToString, answer.FromString)
    return json_format.MessageToDict(call(json_format.ParseDict(document, given()), timeout=60))


def test_grpcurls_way(served, logits):
    with grpc.insecure_channel(served.grpc_target) as channel:
        listed = {one.name for one in reflected(channel, list_services="*").list_services_response.service}
        prediction, adaptation = "tensorflow.serving.PredictionService", "metazoo.serving.AdaptationService"
        assert {prediction, adaptation, "tensorflow.serving.ModelService", "grpc.health.v1.Health"} <= listed
        shape = {"dim": [{"size": 2}, {"size": 4}]}
        inputs = {
            "observations": {"dtype": "DT_FLOAT", "tensorShape": shape, "floatVal": OBSERVATIONS.ravel().tolist()}
        }
        spec = {"name": "maml_cartpole", "signatureName": "act"}
        answer = grpcurl(channel, prediction, "Predict", {"modelSpec": spec, "inputs": inputs})
        np.testing.assert_allclose(answer["outputs"]["logits"]["floatVal"], logits.ravel(), rtol=1e-4, atol=1e-5)
        policies = grpcurl(channel, adaptation, "ListPolicies", {})["policies"]
        assert {"maml_cartpole", "rl2_navigation"} <= {one["name"] for one in policies}
        found = reflected(channel, file_by_filename="tensorflow_serving/apis/predict.proto")
        assert len(found.file_descriptor_response.file_descriptor_proto) > 1
        assert reflected(channel, file_containing_symbol="no.such.Thing").error_response.error_code == 5
        health = grpcurl(channel, "grpc.health.v1.Health", "Check", {"service": prediction})
        assert health == {"status": "SERVING"}


def test_reflection_streams_do_not_take_all_threads(served, monkeypatch):
    """They end by themselves, and there may only be some at a time."""
    monkeypatch.setattr(reflection, "STREAM_SECONDS", 2.0)
    given, answer = (reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse)
    with grpc.insecure_channel(served.grpc_target) as channel:
        name = f"/{reflection.NAMES[0]}/ServerReflectionInfo"
        call = channel.stream_stream(name, given.SerializeToString, answer.FromString)

        ended = threading.Event()

        def endless():
            yield given(list_services="*")
            ended.wait(60)

        streams = [call(endless(), timeout=60) for _ in range(reflection.STREAMS + 1)]
        codes = []
        for stream in streams:
            with pytest.raises(grpc.RpcError) as caught:
                list(stream)
            codes.append(caught.value.code())
        ended.set()
    assert sorted(code.name for code in codes) == ["CANCELLED"] * reflection.STREAMS + ["UNAVAILABLE"]


@pytest.mark.slow  # without our code, too: tests/training/test_export.py
@pytest.mark.parametrize("name", SHIPPED)
def test_saved_model_cli_runs_what_is_shipped(name, tmp_path):
    """Its loader is the C++ server's."""
    path = store.latest(savedmodels_directory() / name)
    request = next(one for one in warmup_requests(name) if one.model_spec.signature_name == signatures.STEP)
    arrays = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
    np.savez(tmp_path / "inputs.npz", **arrays)
    command = [str(Path(sys.executable).with_name("saved_model_cli")), "run", "--dir", str(path), "--tag_set", "serve"]
    command += ["--signature_def", signatures.STEP, "--outdir", str(tmp_path), "--inputs"]
    command += [";".join(f"{key}={tmp_path / 'inputs.npz'}[{key}]" for key in arrays)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = tf.saved_model.load(str(path)).signatures[signatures.STEP](
        **{k: tf.constant(v) for k, v in arrays.items()}
    )
    for key, value in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{key}.npy"), value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("by_grpc", [False, True])
def test_a_shipped_recurrent_policy_from_end_to_end(served, by_grpc):
    """Played with its memory here; adapted, with that memory baked in; played on from there."""
    name = "rl2_navigation"
    client = Client(served.url, served.grpc_target if by_grpc else None)
    with pytest.raises(ServingError, match='"act"|act'):
        client.predict(name, {"observations": np.zeros((1, 2), np.float32)}, "act")
    env = gym_make.make_task(client.metadata(name), {})
    played = client.play(name, env, 2, seed=3)
    task = f"recurrent{by_grpc:d}"
    adaptation = client.adapt(name, env, episodes=2, task=task, seed=3)
    assert (adaptation.model, adaptation.version) == (f"{name}-{task}", 1)
    np.testing.assert_allclose(adaptation.rounds[0].returns, played.returns)
    baked = client.initial_memory(adaptation.model)
    np.testing.assert_allclose(baked, played.memory, rtol=1e-3, atol=1e-4)
    assert not np.allclose(baked, client.initial_memory(name))
    onward = client.play(adaptation.model, env, 1, seed=9, deterministic=True)
    afresh = client.play(name, env, 1, seed=9, deterministic=True)
    assert not np.array_equal(onward.episodes.actions, afresh.episodes.actions)  # it remembers
    client.close()
