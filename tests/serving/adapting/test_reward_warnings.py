"""Rewards of another unit than training's are said over every road to a server."""

import asyncio
import shutil
import warnings

import gymnasium as gym
import pytest

from metazoo.artefact import store
from metazoo.artefact.rewards import RewardWarning
from serving.client import Client
from serving.client.asynchronous import AsyncClient
from serving.server import Server

SEEN = {"unit": "1 a step upright", "low": 1.0, "high": 1.0, "largest": [1.0, 1.0]}


@pytest.fixture(scope="module")
def server(exported, tmp_path_factory):
    root = tmp_path_factory.mktemp("rewards")
    version = shutil.copytree(exported, root / "models" / "toy" / "1")
    store.replace_metadata(version, {**store.read_metadata(version), "rewards": SEEN})
    with Server(root / "models", root / "adapted", poll_seconds=0.05) as running:
        yield running


@pytest.fixture(params=["rest", "grpc"])
def url(request, server):
    return server.url if request.param == "rest" else f"grpc://{server.grpc_target}"


@pytest.fixture
def client(url):
    opened = Client(url)
    yield opened
    opened.close()


@pytest.fixture
def tenfold():
    return gym.wrappers.TransformReward(gym.make("CartPole-v1"), lambda reward: 10 * reward)


def test_playing_warns(client, tenfold):
    with pytest.warns(RewardWarning, match="recorded for toy are 10 to 10 a step"):
        client.play("toy", tenfold, 1, seed=0)


def test_adapting_warns_once(client, tenfold):
    with pytest.warns(RewardWarning, match="1 a step upright") as caught:
        client.adapt("toy", tenfold, episodes=2, steps=2, task="ten")
    assert len(caught) == 1 and caught[0].filename == __file__


def test_what_was_recorded_elsewhere_is_said_by_the_server(client, url, tenfold):
    with pytest.warns(RewardWarning):
        episodes = client.play("toy", tenfold, 3, seed=0).episodes
    with pytest.warns(RewardWarning, match="in training they were 1 to 1"):
        answer = client.adapt_to("toy", episodes, "recorded")
    assert len(answer["warnings"]) == 1

    async def adapt():
        async with AsyncClient(url) as one:
            return await one.adapt_to("toy", episodes, "recorded-too")

    with pytest.warns(RewardWarning):
        assert asyncio.run(adapt())["warnings"] == answer["warnings"]


def test_its_own_rewards_are_not_warned_of(client):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RewardWarning)
        rounds = client.adapt("toy", gym.make("CartPole-v1"), episodes=3, steps=2, task="own")
        assert "warnings" not in client.adapt_to(
            "toy-own", client.play(rounds.model, gym.make("CartPole-v1"), 3, 9).episodes
        )
