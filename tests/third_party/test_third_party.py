"""Other people's environments all the way: ``metazoo train --family``, export, adapt, publish, serve, play.

Their packages are no extras of ours: what is not installed is skipped. ``TRIED`` has the versions that were installed,
on Python 3.11. To install them, in an environment of its own:

    uv pip install highway-env minigrid gym-anytrading mo-gymnasium popgym flappy-bird-gymnasium box2d ale-py \\
        gymnasium-robotics ConfigSpace && uv pip install --no-deps carl-bench
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import metazoo
from metazoo.cli import main as cli
from metazoo.collect import CollectionError, collect
from metazoo.tasks.gym.family import GymFamily
from metazoo.training import callbacks
from serving.client import Client
from serving.server import Server
from tests.own_families import working_in
from tests.third_party import families

pytestmark = pytest.mark.slow
FILE = Path(families.__file__)

TRIED = {
    "minigrid": ("minigrid", "3.2.0", "maml"),
    "anytrading": ("gym-anytrading", "2.0.0", "maml"),
    "deep_sea": ("mo-gymnasium", "1.3.2", "rl2"),
    "popgym": ("popgym", "1.0.7", "rl2"),
    "carl": ("carl-bench", "1.1.1", "maml"),
    "flappy_bird": ("flappy-bird-gymnasium", "0.4.0", "maml"),
    "lunar_lander": ("box2d", "2.3.10", "maml"),
    "frozen_lake": ("gymnasium", "1.3.0", "rl2"),
    "blackjack": ("gymnasium", "1.3.0", "maml"),
    "atari_ram": ("ale-py", "0.12.1", "maml"),
    "highway": ("highway-env", "1.12.1", "rl2"),
    "point_maze": ("gymnasium-robotics", "1.4.2", "maml"),
}


@pytest.fixture(params=TRIED)
def environment(request):
    package, _, algorithm = TRIED[request.param]
    try:
        version(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    return request.param, algorithm


@pytest.mark.timeout(1800)
def test_an_environment_is_trained_on_exported_adapted_and_served(environment, tmp_path, monkeypatch):
    name, algorithm = environment
    monkeypatch.setattr(callbacks, "ON_HOST", (4, 4))  # some of these environments take a second for an episode
    words = ["--family", f"{FILE}:{name}", "--algorithm", algorithm, "--updates", "30", "--set", "tasks=4"]
    monkeypatch.setattr(sys, "argv", ["metazoo", "train", *words, "--no-baseline", "--no-card"])
    with working_in(tmp_path):
        try:
            cli.main()
        except SystemExit as end:
            assert not end.code, "metazoo train failed"
        policy = metazoo.load(f"runs/{algorithm}_{name}/savedmodels/{algorithm}_{name}")
        env = getattr(families, name)().environment({})
        adapted = policy.adapt(env, episodes=1, steps=1)
        assert not np.array_equal(adapted.memory, policy.memory)
        adapted.publish("adapted", task="mine")
        with Server(tmp_path / "adapted", poll_seconds=0) as server:
            client = Client(server.url)
            returns = client.play(f"{algorithm}_{name}-mine", env, episodes=1, seed=0).returns
            client.close()
        assert returns.shape == (1,) and np.isfinite(returns).all()
        env.close()


def _minigrid(unused=0.0):
    import minigrid

    gym.register_envs(minigrid)
    return gym.make("MiniGrid-Empty-6x6-v0")


def _vector_rewards(unused=0.0):
    import mo_gymnasium

    return mo_gymnasium.make("deep-sea-treasure-v0", float_state=True)


def _contexts(unused=0.0):
    from carl.envs import CARLCartPole

    return CARLCartPole()


@pytest.mark.parametrize(
    ("make", "package", "message"),
    [
        (_minigrid, "minigrid", "is not supported: use one of Box"),
        (_vector_rewards, "mo_gymnasium", "it must be a number"),
        (_contexts, "carl", "an observation has shape"),
    ],
)
def test_what_cannot_be_used_as_it_is_says_so_in_one_sentence(make, package, message):
    pytest.importorskip(package)
    env = make()
    step = {"actions": np.zeros(1, np.int32), "memory": np.zeros((1, 0), np.float32)}
    with pytest.raises(CollectionError, match=message) as refused:
        GymFamily(make, lambda generator, split: {"unused": 0.0}, horizon=5, name="as_it_is")
        collect(env, lambda **_: step, episodes=1, seed=0, memory=np.zeros(0), horizon=5)
    assert "\n" not in str(refused.value)
