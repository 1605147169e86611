"""What the adaptation service promises besides adapting: limits, expiry, retries, and the same over gRPC."""

import io
import json
import os
import threading
import time
import zipfile

import numpy as np
import pytest

from metazoo.artefact import store
from serving.adapting.idempotency import Idempotency
from serving.adapting.request import AdaptRequest, from_body
from serving.adapting.retention import Keeper, size_of
from serving.errors import Code, ServingError
from serving.options import Options, Quota, Retention
from serving.server import Server
from tests import toy_policy
from tests.serving import recurrent_toy
from tests.serving.adapting.test_adapter import POLICIES, as_json, as_npz, recorded
from tests.serving.conftest import copy_version
from tests.serving.test_server import wait_until


def request(task="a", key=None, policy="toy", **fields):
    inputs = {**recorded()[1], **fields}
    return from_body(policy, as_npz(**inputs), task, key, 10**7)


# --- sizes -------------------------------------------------------------------------------------------------------


def test_an_npz_is_measured_before_it_is_unpacked():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rewards.npy", bytes(10**7))
    with pytest.raises(ServingError, match="larger than 1000000 bytes") as caught:
        from_body("toy", bomb.getvalue(), "a", None, 10**6)
    assert caught.value.http_status == 413
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    liar = io.BytesIO()
    with zipfile.ZipFile(liar, "w") as archive:
        archive.writestr("rewards.npy", header.getvalue() + bytes(100))
    with pytest.raises(ServingError, match="not what its header says"):
        from_body("toy", liar.getvalue(), "a", None, 10**6)
    with pytest.raises(ServingError, match="'extra', which is no field of episodes"):
        from_body("toy", as_npz(extra=np.zeros(2)), "a", None, 10**6)


def test_any_layout_of_an_npz_is_read():
    rewards = np.arange(6, dtype=">f4").reshape(2, 3)
    file = io.BytesIO()
    np.savez_compressed(file, rewards=np.asfortranarray(rewards), mask=np.float64(1))
    read = from_body("toy", file.getvalue(), "a", None, 10**6).fields
    np.testing.assert_array_equal(read["rewards"], rewards)
    assert read["mask"].shape == ()


def test_episodes_of_too_many_steps_are_refused(models, tmp_path, http_of):
    with Server(models, tmp_path / "adapted", poll_seconds=0, options=Options(quota=Quota(transitions=9))) as server:
        rest = http_of(server)
        _, inputs = recorded()
        for body in (json.dumps({"task": "a", "episodes": as_json(inputs)}), as_npz(**inputs)):
            status, message = rest.error("POST", f"{POLICIES}/toy:adapt?task=a", body)
            assert (status, message[:46]) == (400, "The episodes have more than 9 time steps: send")


# --- room and time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retention", "message"),
    [
        (Retention(policies=1), "There are 1 adapted policies, as many as this server keeps"),
        (Retention(disk_bytes=200_000), "of 200000 bytes of disk"),
    ],
)
def test_what_exceeds_the_room_is_refused(models, tmp_path, http_of, retention, message):
    assert 70_000 < size_of(models / "toy" / "1") < 95_000  # two versions fit
    with Server(models, tmp_path / "adapted", poll_seconds=0, options=Options(retention=retention)) as server:
        server.adapter.adapt(request("a"))
        if retention.policies:
            server.adapter.adapt(request("a"))  # another version is not another policy
        else:
            server.adapter.adapt(request("b"))
        status, text = http_of(server).error("POST", f"{POLICIES}/toy:adapt?task=c", as_npz(**recorded()[1]))
        assert status == 429 and message in text
        server.adapter.delete("toy-a")
        assert server.adapter.adapt(request("c"))["model"] == "toy-c"


def test_policies_that_nobody_adapts_any_more_expire(models, tmp_path, http_of):
    options = Options(retention=Retention(expire_seconds=2.0))
    with Server(models, tmp_path / "adapted", poll_seconds=0.05, options=options) as server:
        assert server.adapter.adapt(request("a"))["version"] == 1
        wait_until(lambda: not (tmp_path / "adapted" / "toy-a").exists())
        wait_until(lambda: http_of(server)("POST", "/v1/models/toy-a:predict", {"instances": [[0] * 4]})[0] == 404)
        assert http_of(server)("GET", f"{POLICIES}/toy")[0] == 200  # pretrained ones stay


def test_a_clock_that_is_set_expires_nothing(models, tmp_path, monkeypatch):
    base = tmp_path / "adapted" / "toy-a"
    keeper = Keeper(tmp_path / "adapted", Retention(expire_seconds=100.0))
    store.publish(models / "toy" / "1", base, np.zeros(toy_policy.SIZE), {})
    real = time.time
    for jump in (1e9, -1e9):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        assert keeper.expired() == []
    monkeypatch.setattr(time, "time", real)
    late = Keeper(tmp_path / "adapted", Retention(expire_seconds=100.0), lambda: real() + 101)
    assert late.expired() == ["toy-a"]


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_retention_is_checked(value):
    for name in ("policies", "disk_bytes", "expire_seconds"):
        with pytest.raises(ValueError, match=f"{name} is {value}: it must be positive"):
            Retention(**{name: value})


def test_what_killed_publishers_left_is_swept_at_start_and_counts_until_then(models, tmp_path):
    adapted = tmp_path / "adapted"
    with Server(models, adapted, poll_seconds=0) as server:
        server.adapter.adapt(request("a"))
    left = [adapted / ".unfinished-gone", adapted / "toy-a" / ".unfinished-half"]
    for path in left:
        path.mkdir()
        (path / "variables").write_bytes(bytes(10**6))
    keeper = Keeper(adapted, Retention())
    assert 2 * 10**6 < keeper.used_bytes() < 2 * 10**6 + 10**5
    with pytest.raises(ServingError, match="of 2000000 bytes of disk"):
        Keeper(adapted, Retention(disk_bytes=2 * 10**6)).check_room("toy-b", 1)
    with Server(models, adapted, poll_seconds=0) as server:
        assert not any(path.exists() for path in left)
        assert server.adapter.get("toy-a")["version"] == 1
    assert keeper.used_bytes() < 10**5


def test_adapting_looks_at_no_other_policy(models, tmp_path, monkeypatch):
    """Its time does not depend on how many there are, while the store is far from full."""
    options = Options(retention=Retention(policies=100, disk_bytes=10**9))
    with Server(models, tmp_path / "adapted", poll_seconds=0, options=options) as server:
        server.adapter.adapt(request("before"))

        def looked(*_, **__):
            raise AssertionError("every policy was looked at")

        monkeypatch.setattr("serving.server.scan", looked)
        monkeypatch.setattr(Keeper, "_policies", looked)
        assert server.adapter.adapt(request("a"))["version"] == 1
        assert server.adapter.adapt(request("a"))["version"] == 2
        assert server.adapter.delete("toy-a") == {"deleted": "toy-a"}


@pytest.mark.parametrize("limit", [{"policies": 10}, {"disk_bytes": 10 * 10**6}])
def test_the_last_room_is_counted_with_what_other_servers_have_published(tmp_path, limit):
    keeper = Keeper(tmp_path, Retention(**limit))

    def publish(name):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "saved_model.pb").write_bytes(bytes(10**6 - 1000))

    keeper.sweep()
    for number in range(8):
        keeper.check_room(f"ours-{number}", 10**6 - 1000)
        publish(f"ours-{number}")
    publish("theirs-0")
    keeper.check_room("ours-8", 10**6 - 1000)
    publish("theirs-1")
    with pytest.raises(ServingError, match="delete some"):
        keeper.check_room("ours-8", 10**6)


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), PermissionError(13, "Permission denied")])
def test_a_store_that_is_read_only_is_unavailable(server, http_of, monkeypatch, error):
    rest = http_of(server)
    assert rest("POST", f"{POLICIES}/toy:adapt?task=a", as_npz(**recorded()[1]))[0] == 200
    refused = []

    def refuse(path, flags, *rest_of, **options):
        if flags & os.O_CREAT:
            refused.append(path)
            raise error
        return real(path, flags, *rest_of, **options)

    real = os.open
    monkeypatch.setattr(os, "open", refuse)
    status, message = rest.error("DELETE", f"{POLICIES}/toy-a")
    assert status == 503 and message.startswith("toy-a was not deleted: ") and error.strerror in message
    status, message = rest.error("POST", f"{POLICIES}/toy:adapt?task=a", as_npz(**recorded()[1]))
    assert status == 503 and message.startswith("Nothing was published: ") and refused
    server.adapter.sweep()
    monkeypatch.undo()
    assert rest("DELETE", f"{POLICIES}/toy-a")[0] == 200


# --- memories ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [3e38, -3e38, 1e300, 2e18])
def test_a_memory_that_cannot_be_computed_with_is_refused(server, http_of, tmp_path, value):
    memory = np.zeros(toy_policy.SIZE)
    memory[4] = value
    for body in (
        as_npz(**recorded()[1], memory=memory),
        {"episodes": as_json(recorded()[1]), "memory": memory.tolist()},
    ):
        status, message = http_of(server).error("POST", f"{POLICIES}/toy:adapt?task=a", body)
        assert status == 400 and message.startswith("The memory holds ") and "at 4: need finite values" in message
    assert not list((tmp_path / "adapted").iterdir())


def test_a_memory_with_which_the_policy_answers_nan_is_refused(server, http_of, tmp_path):
    """Each number is fine, but not their products with what the episodes have seen."""
    inputs = recorded()[1]
    inputs["observations"] = inputs["observations"] * np.float32(1e25)
    body = as_npz(**inputs, memory=np.full(toy_policy.SIZE, 9e17))
    status, message = http_of(server).error("POST", f"{POLICIES}/toy:adapt?task=a", body)
    assert status == 400 and message.startswith("The memory cannot be used: with it toy answers ")
    assert not list((tmp_path / "adapted").iterdir())


def test_a_step_that_leads_to_nan_is_not_published(server, http_of, tmp_path):
    inputs = recorded()[1]
    inputs["observations"] = inputs["observations"] * np.float32(1e38)
    path = f"{POLICIES}/toy:adapt?task=a&off_policy=true"
    status, message = http_of(server).error("POST", path, as_npz(**inputs))
    assert status == 400 and message.startswith("The step cannot be made: after it toy would ")
    assert not list((tmp_path / "adapted").iterdir())


@pytest.mark.parametrize("actions", [[[True] * 5] * 2, [[1, 0, True, 1, 0]] * 2])
def test_booleans_are_no_actions(server, http_of, actions):
    body = {"task": "a", "episodes": {**as_json(recorded()[1]), "actions": actions}}
    status, message = http_of(server).error("POST", f"{POLICIES}/toy:adapt", body)
    assert (status, message) == (400, "The episodes do not fit toy: actions hold booleans: need int32 values")


# --- retries -----------------------------------------------------------------------------------------------------


def test_a_repeated_request_is_done_once(server, http_of, tmp_path):
    rest, body = http_of(server), as_npz(**recorded()[1])
    headers = {"Idempotency-Key": "one"}
    first = json.loads(rest("POST", f"{POLICIES}/toy:adapt?task=a", body, headers)[1])
    again = json.loads(rest("POST", f"{POLICIES}/toy:adapt?task=a", body, headers)[1])
    assert again.pop("replayed") is True and again == first
    assert list(store.versions(tmp_path / "adapted" / "toy-a")) == [1]
    status, answer = rest("POST", f"{POLICIES}/toy:adapt?task=b", body, headers)
    assert (status, json.loads(answer)["error"]) == (409, "The Idempotency-Key 'one' was used for another request")
    other = json.loads(rest("POST", f"{POLICIES}/toy:adapt?task=a", body, {"Idempotency-Key": "two"})[1])
    assert other["version"] == 2
    assert "replayed" not in json.loads(rest("POST", f"{POLICIES}/toy:adapt?task=a", body)[1])
    assert rest("POST", f"{POLICIES}/toy:adapt?task=a", body, {"Idempotency-Key": "x" * 201})[0] == 400


def test_a_retry_after_a_restart_is_recognised(models, tmp_path):
    """The key stands in the published metadata, for other servers too."""
    answers = []
    for _ in range(2):
        with Server(models, tmp_path / "adapted", poll_seconds=0) as server:
            answers.append(server.adapter.adapt(request("a", key="k")))
    assert answers[1].pop("replayed") is True
    assert {**answers[0], "timings": {}} == answers[1]
    with Server(models, tmp_path / "adapted", poll_seconds=0) as server:
        with pytest.raises(ServingError, match="was used for another request"):
            server.adapter.adapt(request("a", key="k", rewards=np.zeros((1, 2, 5))))
        server.adapter.adapt(request(None, policy="toy-a"))  # the next step was made without a key
    assert "request" not in store.read_metadata(tmp_path / "adapted" / "toy-a" / "2")["adapted"]


def test_simultaneous_repeats_wait_for_the_first():
    once, go, calls, answers = Idempotency(), threading.Event(), [], []

    def work():
        calls.append(1)
        assert go.wait(20)
        return {"n": len(calls)}

    threads = [threading.Thread(target=lambda: answers.append(once.once("k", "d", work))) for _ in range(5)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    go.set()
    for thread in threads:
        thread.join(20)
    assert calls == [1] and sorted(map(len, answers)) == [1, 2, 2, 2, 2]


def test_failures_are_forgotten_and_so_are_old_keys():
    once = Idempotency(remembered=2)

    def fail():
        raise ServingError(Code.UNAVAILABLE, "full")

    with pytest.raises(ServingError, match="full"):
        once.once("k", "d", fail)
    assert once.once("k", "d", lambda: {"n": 1}) == {"n": 1}
    for key in "lm":
        once.once(key, "d", dict)
    assert once.once("k", "d", lambda: {"n": 2}) == {"n": 2}


# --- names -------------------------------------------------------------------------------------------------------


def test_no_name_leaves_the_store(models, tmp_path, exported):
    """A config file may give a model any name; what is adapted from it must still be a directory of ours."""
    config = tmp_path / "models.config"
    paths = {"../../out": models / "toy", "alias": tmp_path / "adapted" / "toy-a"}
    entry = 'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" }}'.format
    config.write_text(f"model_config_list {{ {' '.join(entry(*item) for item in paths.items())} }}")
    copy_version_to = tmp_path / "adapted" / "toy-a" / "1"
    copy_version_to.parent.mkdir(parents=True)
    copy_version(exported, copy_version_to)
    with Server(None, tmp_path / "adapted", poll_seconds=0, model_config_file=config) as server:
        with pytest.raises(ServingError, match="'../../out-a' cannot be the name of a policy"):
            server.adapter.adapt(request("a", policy="../../out"))
        with pytest.raises(ServingError, match="alias is not an adapted policy of this server"):
            server.adapter.delete("alias")
        with pytest.raises(ServingError, match="Servable not found"):
            server.adapter.delete("..")
    assert {path.name for path in tmp_path.iterdir()} == {"models", "adapted", "models.config"}


def test_long_names_are_refused_before_anything_runs(server):
    name = "toy"
    for letter in "abc":
        name = server.adapter.adapt(request(letter * 60, policy=name))["model"]
    with pytest.raises(ServingError, match="use up to 200 letters"):
        server.adapter.adapt(request("t" * 60, policy=name))


# --- recurrent policies ------------------------------------------------------------------------------------------


def test_a_recurrent_policy_is_published_with_what_it_has_seen(tmp_path, http_of):
    recurrent_toy.export(tmp_path / "models" / "recurrent" / "1")
    with Server(tmp_path / "models", tmp_path / "adapted", poll_seconds=0) as server:
        rest, inputs = http_of(server), recorded()[1]
        status, body = rest("POST", f"{POLICIES}/recurrent:adapt?task=a", as_npz(**inputs))
        assert status == 200, body
        seen = [2 * 5 + 2, float(inputs["rewards"].sum()), 2]
        body = {"inputs": {"rows": [0, 0]}, "signature_name": "initial_memory"}
        answer = json.loads(rest("POST", "/v1/models/recurrent-a:predict", body)[1])["outputs"]
        np.testing.assert_allclose(answer, [seen, seen], rtol=1e-5)
        again = json.loads(rest("POST", f"{POLICIES}/recurrent-a:adapt", as_npz(**inputs))[1])
        assert (again["version"], again["steps"]) == (2, 2)
        answer = json.loads(rest("POST", "/v1/models/recurrent-a:predict", body)[1])["outputs"]
        np.testing.assert_allclose(answer[0], np.multiply(seen, 2), rtol=1e-5)
        step = recurrent_step(memory=[answer[0]])
        served = json.loads(rest("POST", "/v1/models/recurrent-a:predict", {"inputs": step})[1])["outputs"]
        np.testing.assert_allclose(served["memory"][0], np.add(answer[0], [1, 0.5, 0]), rtol=1e-5)
        names = json.loads(rest("GET", "/v1/models/recurrent-a/metadata")[1])["metadata"]["signature_def"]
        assert "act" not in names["signature_def"]
        assert len({id(servable.program) for servable in server.manager.live()}) == 1


def recurrent_step(memory):
    return {
        "observations": [[0.0] * 4], "previous_actions": [1], "previous_rewards": [0.5], "previous_done": [False],
        "memory": memory, "seed": [3], "deterministic": [True],
    }  # fmt: skip


def test_requests_are_told_apart():
    assert request("a").digest != request("b").digest != request("a", policy="other").digest
    with pytest.raises(ServingError, match="must be 1 to 200 printable characters"):
        AdaptRequest("toy", "a", {}, key="")
