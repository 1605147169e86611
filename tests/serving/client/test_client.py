"""The client, over every road to a server."""

import gymnasium as gym
import numpy as np
import pytest

from metazoo import collect
from metazoo.artefact import store
from serving.client import Client
from serving.client.sampling import sample
from serving.errors import ServingError
from serving.server import Server
from tests import toy_policy
from tests.serving.adapting.test_adapter import directly_adapted, own_memory


@pytest.fixture(params=["rest", "grpc"])
def either(request, server):
    opened = Client(server.url, server.grpc_target if request.param == "grpc" else None)
    yield opened
    opened.close()


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


@pytest.mark.parametrize("by_grpc", [False, True])
def test_values_that_json_does_not_have_arrive(shared, by_grpc):
    client = Client(shared.url, shared.grpc_target if by_grpc else None)
    values = np.array([1.5, np.nan, np.inf, -np.inf], np.float32)
    (answer,) = client.predict("foreign", {"x": values}).values()
    np.testing.assert_array_equal(np.asarray(answer, np.float32), 0.5 * values + 2)
    with pytest.raises(ServingError, match="not found"):
        client.predict("foreign", {"x": values}, "none")
    client.close()
