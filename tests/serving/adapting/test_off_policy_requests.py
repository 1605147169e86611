"""Episodes of another controller are refused on every road to a server, unless the request insists."""

import asyncio
import json

import numpy as np
import pytest

from metazoo.collect import validate_episodes
from serving.client import Client
from serving.client.asynchronous import AsyncClient
from serving.client.client import Store
from serving.errors import Code, ServingError
from serving.options import Options
from serving.server import Server
from tests import toy_policy
from tests.serving import recurrent_toy
from tests.serving.adapting.test_adapter import POLICIES, as_json, as_npz, own_memory, recorded

REFUSAL = "actions of the episodes were not sampled from toy: their mean log-probability is -"


@pytest.fixture
def logs(models):
    """Long episodes of a controller that always does what the policy would least do."""
    _, inputs = recorded(8, 30)
    weights = own_memory(models / "toy" / "1")
    logits = inputs["observations"] @ weights[:8].reshape(4, 2) + weights[8:10]
    return {**inputs, "actions": logits.argmin(-1).astype(np.int32)}


def test_rest_refuses_and_says_the_numbers_when_insisted(server, http_of, logs):
    rest = http_of(server)
    body = {"task": "a", "episodes": as_json(logs)}
    status, message = rest.error("POST", f"{POLICIES}/toy:adapt", body)
    assert status == 400 and REFUSAL in message and message.endswith("or insist with off_policy")
    assert rest.error("POST", f"{POLICIES}/toy:adapt?task=a&off_policy=false", as_npz(**logs))[0] == 400
    for document in ({**body, "off_policy": 1}, {**body, "off_policy": None}):
        assert rest.error("POST", f"{POLICIES}/toy:adapt", document)[1].startswith('"off_policy" must be true or false')
    wrong = rest.error("POST", f"{POLICIES}/toy:adapt?task=a&off_policy=yes", as_npz(**logs))
    assert wrong == (400, "off_policy is 'yes' in the address: it must be true or false")
    for path, given in (
        (":adapt", {**body, "off_policy": True}), (":adapt?off_policy=true", body),
        (":adapt?task=a&off_policy=true", as_npz(**logs)),
    ):  # fmt: skip
        answer = json.loads(rest("POST", f"{POLICIES}/toy{path}", given)[1])
        said = answer["diagnostics"]
        assert said["log_prob"] < said["expected_log_prob"] - 0.1 and said["expected_log_prob"] < 0


def test_the_same_key_with_and_without_insisting_are_different_requests(server, logs):
    episodes = validate_episodes(logs, toy_policy.METADATA)
    client = Client(server.url)
    with pytest.raises(ServingError, match=REFUSAL):
        client._zoo.adapt("toy", "k", episodes._asdict(), "one key")
    assert client._zoo.adapt("toy", "k", episodes._asdict(), "one key", True)["version"] == 1  # nothing was done before
    with pytest.raises(ServingError, match="one key"):
        client._zoo.adapt("toy", "k", episodes._asdict(), "one key")
    client.close()


@pytest.mark.parametrize("road", ["rest", "grpc", "store", "async", "async grpc"])
def test_clients(server, models, tmp_path, env, logs, road):
    episodes = validate_episodes(logs, toy_policy.METADATA)
    grpc = f"grpc://{server.grpc_target}"
    if road.startswith("async"):
        client = Waiting(grpc if "grpc" in road else server.url)
    elif road == "store":
        client = Client(server.url, store=Store(models, tmp_path / "adapted"))
        server.manager._poll_seconds = 0.05
    else:
        client = Client(grpc if road == "grpc" else server.url)
    with pytest.raises(ServingError, match=REFUSAL) as caught:
        client.adapt_to("toy", episodes, "c")
    assert caught.value.code is Code.INVALID_ARGUMENT
    said = client.adapt_to("toy", episodes, "c", off_policy=True)["diagnostics"]
    assert set(said) == {"loss", "kl", "log_prob", "expected_log_prob"}
    own = client.play("toy", env, 4, seed=1).episodes
    said = client.adapt_to("toy", as_json(own._asdict()), "d")["diagnostics"]  # plain lists: a log like any other
    assert said["log_prob"] == pytest.approx(said["expected_log_prob"], abs=0.2)
    client.close()


class Waiting:
    """An asynchronous client, one call after the other."""

    def __init__(self, url):
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(self._made(url))

    async def _made(self, url):
        return AsyncClient(url)

    def __getattr__(self, name):
        return lambda *given, **more: self._loop.run_until_complete(getattr(self._client, name)(*given, **more))


def test_a_recurrent_policy_is_replayed_from_the_memory_given(tmp_path, env):
    recurrent_toy.export(tmp_path / "models" / "recurrent" / "1")
    with Server(tmp_path / "models", tmp_path / "adapted", poll_seconds=0) as server:
        client = Client(server.url)
        played = client.play("recurrent", env, 3, seed=2)
        said = client.adapt_to("recurrent", played.episodes, "own")["diagnostics"]
        assert said["log_prob"] == pytest.approx(said["expected_log_prob"], abs=0.3)
        client.close()


def test_a_server_with_small_batches_can_still_look(models, tmp_path, env):
    options = Options(batching=Options().batching._replace(max_rows=4, strict=True))
    with Server(models, tmp_path / "adapted", poll_seconds=0, options=options) as server:
        client = Client(server.url)
        assert "log_prob" in client.adapt("toy", env, episodes=3).rounds[0].diagnostics
        client.close()
