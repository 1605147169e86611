"""Never worse than before, on every road to a server: held-out episodes decide, and the evidence is returned."""

import json

import numpy as np
import pytest

import metazoo
from metazoo.artefact import store
from metazoo.artefact.intervals import HELD_OUT_SEED, interval
from serving.client import Client
from serving.client.client import Store
from serving.errors import ServingError
from tests.serving.adapting.test_adapter import POLICIES
from tests.serving.adapting.test_off_policy_requests import Waiting

EPISODES, SEED = 4, 5


@pytest.fixture(params=["rest", "grpc", "store", "async"])
def client(request, server, models, tmp_path):
    road = request.param
    if road == "async":
        client = Waiting(server.url)
    elif road == "store":
        client = Client(server.url, store=Store(models, tmp_path / "adapted"))
        server.manager._poll_seconds = 0.05
    else:
        client = Client(f"grpc://{server.grpc_target}" if road == "grpc" else server.url)
    yield client
    client.close()


def test_the_better_one_is_published_with_the_evidence(client, models, tmp_path, env):
    before = client.play("toy", env, EPISODES, HELD_OUT_SEED + SEED).returns
    plain = client.adapt("toy", env, episodes=2, steps=1, task="plain", seed=SEED)
    after = client.play(plain.model, env, EPISODES, HELD_OUT_SEED + SEED).returns
    assert plain.kept is None
    made = client.adapt("toy", env, episodes=2, steps=1, task="kept", seed=SEED, keep_better=EPISODES)
    which = "after" if after.mean() > before.mean() else "before"
    assert made.kept == {
        "which": which, "before": interval(before), "after": interval(after), "episodes": 2 * EPISODES
    }  # fmt: skip
    metadata = client.metadata("toy-kept")
    assert made.version == 2 and metadata["adapted"]["kept"] == made.kept and metadata["adapted"]["steps"] == 1
    path = {"after": tmp_path / "adapted" / "toy-plain", "before": models / "toy"}[which]
    kept = metazoo.load(tmp_path / "adapted" / "toy-kept").memory
    np.testing.assert_array_equal(kept, store.read_memory(store.latest(path)))
    with pytest.raises(ValueError, match="keep_better is -1"):
        client.adapt("toy", env, keep_better=-1)


@pytest.mark.parametrize(("after", "which"), [([3.0, 5.0], "before"), ([5.0, 5.0], "after"), ([1.0], "before")])
def test_a_step_is_taken_back_or_stays(server, http_of, models, tmp_path, env, after, which):
    """Whatever the returns are; where they are equal, nothing has shown that the step was good."""
    client, rest = Client(server.url), http_of(server)
    client.adapt("toy", env, episodes=2, task="a")
    stepped = store.read_memory(tmp_path / "adapted" / "toy-a" / "1")
    body = {"keep_better": {"before": [4.0, 4.0], "after": after}}
    answer = json.loads(rest("POST", f"{POLICIES}/toy-a:adapt", body)[1])
    assert (answer["version"], answer["steps"], answer["kept"]["which"]) == (2, 1, which)
    expected = stepped if which == "after" else store.read_memory(models / "toy" / "1")  # what it was adapted from
    np.testing.assert_array_equal(store.read_memory(tmp_path / "adapted" / "toy-a" / "2"), expected)
    again = client.adapt("toy-a", env, episodes=2, task="a")
    assert "kept" not in client.metadata(again.model)["adapted"]  # it spoke of earlier steps
    client.close()


def test_a_later_step_goes_back_to_what_it_was_and_a_retry_does_no_harm(server, tmp_path, env):
    client = Client(server.url)
    client.adapt("toy", env, episodes=2, task="a")
    first = client.initial_memory("toy-a")
    client.adapt("toy-a", env, episodes=2, steps=2, task="a", seed=1)
    returns = np.array([2.0]), np.array([1.0])
    made = [client._zoo.keep("toy-a", first, *returns, "one key") for _ in range(2)]
    assert [one["version"] for one in made] == [4, 4] and made[1]["replayed"]
    np.testing.assert_array_equal(client.initial_memory("toy-a"), first)
    with pytest.raises(ServingError, match="one key"):
        client._zoo.keep("toy-a", first, returns[0], returns[0], "one key")
    client.close()


WRONG = [
    ("toy", {"task": "b"}, '"keep_better" is for a policy that was adapted, and toy was not'),
    ("toy-a", {"keep_better": [1]}, '"keep_better" must be an object with "before" and "after"'),
    ("toy-a", {"keep_better": {"before": [1], "after": [1], "x": 1}}, '"keep_better" must be an object'),
    ("toy-a", {"keep_better": {"before": [], "after": [1]}}, '"before" of "keep_better" must be a list of 1 to'),
    ("toy-a", {"keep_better": {"before": [1], "after": [True]}}, '"after" of "keep_better" must be a list'),
    ("toy-a", {"episodes": {}}, 'Give "episodes" to adapt, or "keep_better" when that is done, not both'),
    ("toy-a", {"memory": [1.0]}, "The memory has 1 values: this policy needs 11"),
    ("toy-a", {"memory": [1e19] * 11}, "need finite values of at most 1e+18"),
]


def test_wrong_requests_are_refused_and_change_nothing(server, http_of, tmp_path, env):
    client, rest = Client(server.url), http_of(server)
    client.adapt("toy", env, episodes=2, task="a")
    for policy, body, message in WRONG:
        given = {"keep_better": {"before": [1.0], "after": [2.0]}, **body}
        status, said = rest.error("POST", f"{POLICIES}/{policy}:adapt", given)
        assert status == 400 and message in said
    assert list(store.versions(tmp_path / "adapted" / "toy-a")) == [1]
    client.close()


def test_python_publishes_the_evidence_too(exported, tmp_path, env):
    policy = metazoo.load(exported)
    adapted = policy.adapt(env, episodes=2, steps=1, keep_better=2)
    kept = adapted.metadata["adapted"]["kept"]
    path = adapted.publish(tmp_path, task="a")
    assert store.read_metadata(path)["adapted"]["kept"] == kept
    later = metazoo.load(path).adapt(env, episodes=2, steps=1)
    assert "kept" not in store.read_metadata(later.publish(tmp_path))["adapted"]
