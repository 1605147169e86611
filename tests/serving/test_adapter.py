"""Adaptation as a service, and the client that drives it."""

import io
import json

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from metazoo import collect, store
from serving.adapt_request import from_body
from serving.client import Client
from serving.errors import ServingError
from serving.sampling import sample
from serving.server import Server
from tests import toy_policy

POLICIES = "/zoo/v1/policies"


@pytest.fixture
def client(server):
    opened = Client(server.url)
    yield opened
    opened.close()


@pytest.fixture(params=["rest", "grpc"])
def either(request, server):
    opened = Client(server.url, server.grpc_target if request.param == "grpc" else None)
    yield opened
    opened.close()


@pytest.fixture
def env():
    with gym.make("CartPole-v1") as opened:
        yield opened


def recorded(episodes=2, steps=5):
    inputs = toy_policy.example_inputs("adapt", episodes=episodes, steps=steps)
    return inputs.pop("memory"), inputs


def as_json(inputs):
    return {name: value[0].tolist() for name, value in inputs.items()}


def as_npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def own_memory(path):
    return store.read_memory(path)


def directly_adapted(path, memory, inputs):
    """What tf.saved_model.load's own `adapt` makes of it."""
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    outputs = tf.saved_model.load(str(path)).signatures["adapt"](memory=tf.constant(memory.reshape(1, -1)), **tensors)
    return outputs["memory"].numpy()[0], float(outputs["loss"][0])


def test_the_published_memory_is_what_adapt_gives(server, models, http_of, tmp_path):
    rest = http_of(server)
    _, inputs = recorded()
    status, body = rest("POST", f"{POLICIES}/toy:adapt", {"task": "a", "episodes": as_json(inputs)})
    answer = json.loads(body)
    assert status == 200 and (answer["model"], answer["version"]) == ("toy-a", 1)
    expected, loss = directly_adapted(models / "toy" / "1", own_memory(models / "toy" / "1"), inputs)
    published = tmp_path / "adapted" / "toy-a" / "1"
    np.testing.assert_allclose(store.read_memory(published), expected, rtol=1e-5, atol=1e-6)
    assert answer["diagnostics"]["loss"] == pytest.approx(loss, rel=1e-5)
    assert answer["timings"]["adapt_ms"] > 0 and answer["timings"]["publish_ms"] > 0
    metadata = store.read_metadata(published)
    assert metadata["name"] == "toy-a"
    lineage = {"from": "toy", "from_version": 1, "task": "a", "episodes": 2, "steps": 1}
    assert metadata["adapted"] == {**lineage, "diagnostics": answer["diagnostics"]}


def test_the_adapted_policy_is_an_ordinary_model_at_once(server, http_of, tmp_path):
    rest = http_of(server)
    _, inputs = recorded()
    rest("POST", f"{POLICIES}/toy:adapt", {"task": "a", "episodes": as_json(inputs)})
    observations = toy_policy.example_inputs("act", rows=3)["observations"]
    status, body = rest("POST", "/v1/models/toy-a:predict", {"instances": observations.tolist()})
    memory = store.read_memory(tmp_path / "adapted" / "toy-a" / "1")
    expected = observations @ memory[:8].reshape(4, 2) + memory[8:10]
    assert status == 200
    rows = json.loads(body)["predictions"]
    np.testing.assert_allclose([row["logits"] for row in rows], expected, rtol=1e-5)
    assert rest("GET", "/v1/models/toy-a")[0] == 200
    metadata = json.loads(rest("GET", "/v1/models/toy-a/metadata")[1])
    assert metadata["model_spec"]["name"] == "toy-a" and "act" in metadata["metadata"]["signature_def"]["signature_def"]


def test_npz_memory_and_next_steps(server, models, http_of, tmp_path):
    rest = http_of(server)
    memory, inputs = recorded()
    assert rest("POST", f"{POLICIES}/toy:adapt?task=b", as_npz(**inputs, memory=memory))[0] == 200
    first = store.read_memory(tmp_path / "adapted" / "toy-b" / "1")
    expected, _ = directly_adapted(models / "toy" / "1", memory, inputs)
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)
    answer = json.loads(rest("POST", f"{POLICIES}/toy-b:adapt", as_npz(**inputs))[1])  # one more step, same name
    assert (answer["model"], answer["version"], answer["steps"], answer["episodes"]) == ("toy-b", 2, 2, 4)
    expected, _ = directly_adapted(models / "toy" / "1", first, inputs)
    second = store.read_memory(tmp_path / "adapted" / "toy-b" / "2")
    np.testing.assert_allclose(second, expected, rtol=1e-5, atol=1e-6)
    assert second[-1] == memory[0, -1] + 2


def test_list_get_delete(server, http_of, tmp_path):
    rest = http_of(server)
    _, inputs = recorded()
    rest("POST", f"{POLICIES}/toy:adapt", {"task": "a", "episodes": as_json(inputs)})
    listed = json.loads(rest("GET", POLICIES)[1])["policies"]
    assert [(policy["name"], policy["version"]) for policy in listed] == [("toy", 1), ("toy-a", 1)]
    assert listed[0]["adapted"] is None and listed[1]["adapted"]["from"] == "toy"
    assert json.loads(rest("GET", f"{POLICIES}/toy-a")[1])["metadata"]["horizon"] == toy_policy.HORIZON
    assert rest("DELETE", f"{POLICIES}/toy-a")[0] == 200
    assert list((tmp_path / "adapted").iterdir()) == []
    assert rest.error("GET", f"{POLICIES}/toy-a")[0] == 404
    assert rest.error("POST", "/v1/models/toy-a:predict", {"instances": [[0] * 4]})[0] == 404
    assert rest.error("DELETE", f"{POLICIES}/toy") == (403, "toy is not an adapted policy of this server")
    again = json.loads(rest("POST", f"{POLICIES}/toy:adapt", {"task": "a", "episodes": as_json(inputs)})[1])
    assert again["version"] == 1


BAD = [
    ({"episodes": {}}, 400, "The episodes do not fit toy: the episodes lack 'observations'"),
    ({}, 400, 'The request needs "episodes"'),
    ({"task": 3, "episodes": {}}, 400, '"task" must be a string, not 3'),
    ({"task": "../x"}, 400, "Task '../x' is not a name"),
    ({"task": "a" * 65}, 400, "is not a name"),
    ({"task": None}, 400, 'The request needs a "task"'),
    ({"memory": [1, 2]}, 400, "The memory has 2 values: this policy needs 11 finite ones"),
    ({"memory": "x"}, 400, '"memory" must be a list of numbers'),
]


@pytest.mark.parametrize(("change", "status", "text"), BAD)
def test_bad_requests(server, http_of, tmp_path, change, status, text):
    _, inputs = recorded()
    body = {"task": "a", "episodes": as_json(inputs)}
    body = {"task": "a", **change} if not change or "episodes" in change else {**body, **change}
    got_status, message = http_of(server).error("POST", f"{POLICIES}/toy:adapt", body)
    assert got_status == status and text in message
    assert list((tmp_path / "adapted").iterdir()) == []


def test_bad_episodes_and_bodies(server, http_of, tmp_path):
    rest = http_of(server)
    _, inputs = recorded()
    inputs["rewards"][0, 1, 2] = np.nan
    status, message = rest.error("POST", f"{POLICIES}/toy:adapt?task=a", as_npz(**inputs))
    expected = "The episodes do not fit toy: rewards holds nan at [1, 2]: all values must be finite"
    assert (status, message) == (400, expected)
    assert "not an npz file" in rest.error("POST", f"{POLICIES}/toy:adapt?task=a", b"PK nonsense")[1]
    pickled = as_npz(rewards=np.array([{}], object))
    assert "not an npz file" in rest.error("POST", f"{POLICIES}/toy:adapt?task=a", pickled)[1]
    assert rest.error("POST", f"{POLICIES}/none:adapt?task=a", as_npz(**inputs))[0] == 404
    assert rest.error("PUT", f"{POLICIES}/toy")[1] == f"Malformed request: PUT {POLICIES}/toy"
    assert list((tmp_path / "adapted").iterdir()) == []


def test_foreign_models_are_no_policies(shared, http_of):
    rest = http_of(shared)
    status, message = rest.error("GET", f"{POLICIES}/foreign")
    assert status == 400 and "foreign is no policy" in message
    assert [policy["name"] for policy in json.loads(rest("GET", POLICIES)[1])["policies"]] == ["toy"]
    _, inputs = recorded()
    status, message = rest.error("POST", f"{POLICIES}/toy:adapt?task=a", as_npz(**inputs))
    assert status == 400 and "start it with --adapted DIR" in message


def test_a_pretrained_model_is_never_replaced(models, tmp_path, exported):
    import shutil

    shutil.copytree(exported, models / "toy-a" / "1")
    _, inputs = recorded()
    message = "There is a model toy-a that was not adapted from toy"
    with Server(models, tmp_path / "adapted", poll_seconds=0) as server, pytest.raises(ServingError, match=message):
        server.adapter.adapt(from_body("toy", as_npz(**inputs), "a", None, 10**6))


def test_a_disk_error_while_publishing_is_unavailable(server, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "flush", full)
    _, inputs = recorded()
    with pytest.raises(ServingError, match="Nothing was published: .*No space left") as caught:
        server.adapter.adapt(from_body("toy", as_npz(**inputs), "a", None, 10**6))
    assert caught.value.http_status == 503


# --- the client --------------------------------------------------------------------------------------------------


def test_client_reads_metadata_and_acts(either, env, models):
    metadata = either.metadata("toy")
    assert metadata["memory"]["size"] == toy_policy.SIZE and metadata["horizon"] == toy_policy.HORIZON
    assert [policy["name"] for policy in either.policies()] == ["toy"]
    assert either.status("toy")[0]["state"] == "AVAILABLE"
    observation, _ = env.reset(seed=1)
    memory = own_memory(models / "toy" / "1")
    assert either.act("toy", observation) == np.argmax(observation @ memory[:8].reshape(4, 2) + memory[8:10])
    np.testing.assert_allclose(either.initial_memory("toy"), memory, rtol=1e-6)


def test_client_plays(either, env):
    played = either.play("toy", env, 3, seed=5)
    assert played.episodes.rewards.shape == (1, 3, toy_policy.HORIZON)
    np.testing.assert_array_equal(played.returns, played.episodes.mask[0].sum(-1))
    again = either.play("toy", env, 3, seed=5)
    np.testing.assert_array_equal(again.episodes.actions, played.episodes.actions)
    first, second = (either.play("toy", env, 1, seed=5, deterministic=True) for _ in range(2))
    np.testing.assert_array_equal(first.episodes.observations, second.episodes.observations)


def test_client_adapts_like_direct_calls(either, env, models, tmp_path):
    """Two rounds: each plays with the policy of the round before, and publishes what `adapt` makes of that."""
    adaptation = either.adapt("toy", env, episodes=4, steps=2, task="t", seed=3)
    assert (adaptation.model, adaptation.version, len(adaptation.rounds)) == ("toy-t", 2, 2)
    memory = own_memory(models / "toy" / "1")
    for number, one in enumerate(adaptation.rounds):
        published = tmp_path / "adapted" / "toy-t" / str(number + 1)
        played = play_directly(memory, env, 4, 3 + number)
        np.testing.assert_array_equal(one.returns, played.returns)
        memory, loss = directly_adapted(models / "toy" / "1", memory, played.episodes._asdict())
        np.testing.assert_allclose(store.read_memory(published), memory, rtol=1e-4, atol=1e-5)
        assert one.diagnostics["loss"] == pytest.approx(loss, rel=1e-3, abs=1e-5)
        memory = store.read_memory(published)
    assert store.read_metadata(published)["adapted"]["episodes"] == 8
    assert not np.allclose(memory, own_memory(models / "toy" / "1"))


def play_directly(memory, env, episodes, seed):
    """The toy policy in numpy, sampled as the client samples."""

    def step(observations, memory, seed, **_):
        rng = np.random.default_rng(int(seed[0]) % 2**32)
        logits = observations @ weights[:8].reshape(4, 2) + weights[8:10]
        return {"actions": sample(toy_policy.METADATA, {"logits": logits}, rng), "memory": memory}

    weights = memory
    horizon = toy_policy.HORIZON
    return collect.collect(env, step, episodes=episodes, seed=seed, memory=np.zeros(0), horizon=horizon)


def test_client_uses_the_trained_number_of_episodes(client, env, tmp_path):
    client.adapt("toy", env)
    assert store.read_metadata(tmp_path / "adapted" / "toy-task" / "1")["adapted"]["episodes"] == 3
    client.delete("toy-task")
    assert [policy["name"] for policy in client.policies()] == ["toy"]


def test_client_errors(client, env):
    with pytest.raises(ServingError, match="Servable not found for request: Latest\\(none\\)"):
        client.metadata("none")
    with gym.make("Pendulum-v1") as other, pytest.raises(collect.CollectionError, match="does not fit toy"):
        client.adapt("toy", other)
    with pytest.raises(ValueError, match="steps is 0"):
        client.adapt("toy", env, steps=0)
    with pytest.raises(collect.CollectionError, match="episodes is 0"):
        client.adapt("toy", env, episodes=0)
    with pytest.raises(ServingError, match="is not a name"):
        client.adapt("toy", env, task="a/b", episodes=1)
    with pytest.raises(ValueError, match="is not a REST address"):
        Client("localhost:1")
    with pytest.raises(ServingError, match="There is no server at"):
        Client("http://127.0.0.1:9").policies()


def test_client_survives_a_restart(models):
    server = Server(models, poll_seconds=0).start()
    client = Client(server.url)
    client.policies()
    server.stop()
    with Server(models, rest_port=server.rest_port, poll_seconds=0):
        assert client.policies()
    client.close()


def test_samples_follow_the_distribution():
    rng = np.random.default_rng(0)
    logits = np.log(np.tile([[0.2, 0.8, 0.5, 0.25, 0.25]], (20000, 1)))
    space = {"type": "MultiDiscrete", "nvec": [2, 3], "start": [1, 0]}
    drawn = sample({"distribution": "categorical", "action_space": space}, {"logits": logits}, rng)
    assert drawn.dtype == np.int32
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=3) / 20000, [0, 0.2, 0.8], atol=0.02)
    np.testing.assert_allclose(np.bincount(drawn[:, 1]) / 20000, [0.5, 0.25, 0.25], atol=0.02)
    one = sample(
        {"distribution": "categorical", "action_space": {"type": "Discrete", "n": 2, "start": 5}},
        {"logits": np.array([[0.0, 50.0]])},
        rng,
    )
    assert one.tolist() == [6]
    parameters = {"loc": np.full((20000, 1), 3.0), "scale": np.full((20000, 1), 0.5)}
    normal = sample({"distribution": "gaussian", "action_space": {"type": "Box"}}, parameters, rng)
    assert normal.dtype == np.float32 and abs(normal.mean() - 3) < 0.02 and abs(normal.std() - 0.5) < 0.02
