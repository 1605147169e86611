"""The gRPC twin of the adaptation endpoints, and the ``.proto`` files it is made from."""

import json
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest

from serving.options import Options
from serving.server import Server
from serving.wire.adaptation import MESSAGES, AdaptationStub
from serving.wire.tensors import encode
from tests.serving.adapting.test_adapter import directly_adapted, own_memory, recorded
from tests.serving.test_security import TOKEN

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def stub(server):
    with grpc.insecure_channel(server.grpc_target) as channel:
        yield AdaptationStub(channel)


def adapt_message(task="g", memory=None, policy="toy", **changes):
    message = MESSAGES["AdaptRequest"](policy=policy, task=task)
    for name, array in {**recorded()[1], **changes}.items():
        encode(np.asarray(array), message.episodes[name])
    if memory is not None:
        encode(memory, message.memory)
    return message


def test_the_grpc_twin_adapts_lists_gets_and_deletes(stub, models, tmp_path):
    memory, inputs = recorded()
    answer = stub.Adapt(adapt_message(memory=memory), timeout=30)
    expected, loss = directly_adapted(models / "toy" / "1", memory, inputs)
    published = tmp_path / "adapted" / "toy-g" / "1"
    np.testing.assert_allclose(own_memory(published), expected, rtol=1e-5, atol=1e-6)
    assert (answer.model, answer.version, answer.steps, answer.episodes) == ("toy-g", 1, 1, 2)
    assert answer.diagnostics["loss"] == pytest.approx(loss, rel=1e-5) and answer.timings["adapt_ms"] > 0
    assert stub.Adapt(adapt_message(task="", policy="toy-g"), timeout=30).steps == 2
    listed = stub.ListPolicies(MESSAGES["ListPoliciesRequest"](), timeout=10).policies
    assert [(policy.name, policy.version) for policy in listed] == [("toy", 1), ("toy-g", 2)]
    one = stub.GetPolicy(MESSAGES["GetPolicyRequest"](policy="toy-g"), timeout=10)
    assert json.loads(one.json)["metadata"]["adapted"]["episodes"] == 4
    assert stub.DeletePolicy(MESSAGES["DeletePolicyRequest"](policy="toy-g"), timeout=10).deleted == "toy-g"
    assert not published.parent.exists()


def test_the_grpc_twin_refuses_with_grpcs_codes(stub):
    for message, code, text in (
        (adapt_message(policy="none"), "NOT_FOUND", "Servable not found"),
        (adapt_message(task="a/b"), "INVALID_ARGUMENT", "is not a name"),
        (adapt_message(rewards=np.full((1, 2, 5), np.nan)), "INVALID_ARGUMENT", "rewards holds nan"),
        (adapt_message(memory=np.array([b"x"], object)), "INVALID_ARGUMENT", "needs 11 finite ones"),
        (adapt_message(rewards=np.array([b"x"], object)), "INVALID_ARGUMENT", "not a full array of numbers"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            stub.Adapt(message, timeout=30)
        assert caught.value.code().name == code and text in caught.value.details()
    with pytest.raises(grpc.RpcError) as caught:
        stub.DeletePolicy(MESSAGES["DeletePolicyRequest"](policy="toy"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_the_grpc_twin_knows_keys_and_tokens(models, tmp_path):
    guarded = Server(models, tmp_path / "adapted", poll_seconds=0, options=Options(token=TOKEN))
    with guarded as server, grpc.insecure_channel(server.grpc_target) as channel:
        stub = AdaptationStub(channel)
        token = ("authorization", f"Bearer {TOKEN}")
        for call, message in (
            (stub.Adapt, adapt_message()),
            (stub.DeletePolicy, MESSAGES["DeletePolicyRequest"](policy="toy")),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(message, timeout=30)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        metadata = [token, ("idempotency-key", "k")]
        first, second = (stub.Adapt(adapt_message(), metadata=metadata, timeout=30) for _ in range(2))
        assert not first.replayed and second.replayed and second.version == 1


def test_the_descriptor_sets_are_what_protoc_and_tensorflow_say():
    command = [sys.executable, "-m", "serving.wire.protos.build", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
