"""Warm starts as a service, from a client and in Python: the same memory, and a record that says whose it was."""

import json

import numpy as np
import pytest

import metazoo
from metazoo.artefact import lineage, store
from metazoo.types import Episodes
from serving.client import Client
from tests import toy_policy
from tests.serving.adapting.test_adapter import POLICIES, as_json, own_memory


def rewarded(action):
    """Episodes in which one action earns 1, whatever is seen."""
    inputs = toy_policy.example_inputs("adapt", episodes=8, steps=20)
    inputs.pop("memory")
    rng = np.random.default_rng(3)
    inputs["actions"] = rng.integers(2, size=inputs["actions"].shape).astype(np.int32)
    inputs["rewards"] = (inputs["actions"] == action).astype(np.float32)
    inputs["terminated"] = np.zeros_like(inputs["terminated"])
    inputs["mask"] = np.ones_like(inputs["mask"])
    return inputs


@pytest.fixture
def likes_one(models, tmp_path):
    """A published adaptation that nearly always takes action 1."""
    memory = own_memory(models / "toy" / "1").reshape(-1).copy()
    memory[-3:] += [-2.0, 2.0, 1.0]
    parent = lineage.Parent("toy", 1, models / "toy" / "1", store.read_metadata(models / "toy" / "1"))
    record = {"from": "toy", "from_version": 1, "task": "one", "steps": 1, "episodes": 3}
    lineage.publish(parent, tmp_path / "adapted", lineage.Target("toy-one", record), memory)
    return memory


def test_the_nearest_is_taken_over_where_held_back_episodes_say_so(server, models, http_of, tmp_path, likes_one):
    rest = http_of(server)
    body = {"task": "new", "episodes": as_json(rewarded(1)), "warm_start": True, "off_policy": True}
    status, answer = rest("POST", f"{POLICIES}/toy:adapt", body)
    answer = json.loads(answer)
    assert status == 200 and answer["warm_start"]["from"] == "toy-one", answer
    held = answer["warm_start"]["held_back"]
    assert held["warm"] > held["cold"] and held["episodes"] == 2
    published = tmp_path / "adapted" / "toy-new" / "1"
    np.testing.assert_allclose(own_memory(published).reshape(-1), likes_one)
    assert store.read_metadata(published)["adapted"]["warm_start"] == answer["warm_start"]
    in_python = metazoo.load(models / "toy").adapt(
        Episodes(**rewarded(1)), off_policy=True, warm_start=tmp_path / "adapted"
    )
    np.testing.assert_allclose(in_python.memory, likes_one)
    assert in_python.metadata["adapted"]["warm_start"]["from"] in ("toy-one", "toy-new")
    path = in_python.publish(tmp_path / "mine", "x")
    assert "warm_start" in store.read_metadata(path)["adapted"]


def test_where_it_is_no_better_the_step_is_the_usual_one(server, http_of, tmp_path, likes_one):
    rest = http_of(server)
    for task, warm in (("warm", True), ("cold", False)):  # the other order: it could be started from
        body = {"task": task, "episodes": as_json(rewarded(0)), "warm_start": warm, "off_policy": True}
        status, answer = rest("POST", f"{POLICIES}/toy:adapt", body)
        assert status == 200 and "warm_start" not in json.loads(answer)
    cold, warm = (own_memory(tmp_path / "adapted" / f"toy-{task}" / "1") for task in ("cold", "warm"))
    np.testing.assert_array_equal(cold, warm)


def test_a_client_asks_for_it(server, env, likes_one):
    client = Client(server.url)
    made = client.adapt("toy", env, episodes=4, steps=2, task="new", warm_start=True)
    assert made.version == 2 and client.metadata("toy-new")["adapted"]["steps"] == 2
    client.close()
    by_grpc = Client(f"grpc://{server.grpc_target}")
    with pytest.raises(ValueError, match="over REST"):
        by_grpc.adapt("toy", env, warm_start=True)
    by_grpc.close()


@pytest.mark.parametrize(
    ("change", "text"),
    [({"warm_start": 1}, "must be true or false"), ({"memory": [0.0] * toy_policy.SIZE}, "leave")],
)
def test_wrong_requests(server, http_of, change, text):
    body = {"task": "a", "episodes": as_json(rewarded(1)), "warm_start": True, "off_policy": True, **change}
    status, answer = http_of(server)("POST", f"{POLICIES}/toy:adapt", body)
    assert status == 400 and text in json.loads(answer)["error"]
