"""Adaptation as a service."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf

from metazoo.artefact import store, whole
from serving.adapting.request import from_body
from serving.errors import ServingError
from serving.server import Server
from tests import toy_policy

POLICIES = "/zoo/v1/policies"


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
    lineage = {"from": "toy", "from_version": 1, "task": "a", "episodes": 2, "steps": 1, "last_episodes": 2}
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

    monkeypatch.setattr(whole, "flush", full)
    _, inputs = recorded()
    with pytest.raises(ServingError, match="Nothing was published: .*No space left") as caught:
        server.adapter.adapt(from_body("toy", as_npz(**inputs), "a", None, 10**6))
    assert caught.value.http_status == 503


def test_a_policy_that_is_deleted_while_it_is_published(models, tmp_path, monkeypatch):
    """By another server on the same store, just as this one loads it."""
    with Server(models, tmp_path / "adapted", poll_seconds=0) as server:
        refresh = server.manager.refresh

        def late(name):
            version = tmp_path / "adapted" / name / "1"
            (version / "saved_model.pb").unlink()
            refresh(name)
            store.delete_model(version.parent)

        monkeypatch.setattr(server.manager, "refresh", late)
        _, inputs = recorded()
        with pytest.raises(ServingError, match="toy-a was deleted while it was being adapted") as caught:
            server.adapter.adapt(from_body("toy", as_npz(**inputs), "a", None, 10**6))
        assert caught.value.http_status == 404
        monkeypatch.undo()
        assert server.adapter.adapt(from_body("toy", as_npz(**inputs), "a", None, 10**6))["model"] == "toy-a"
