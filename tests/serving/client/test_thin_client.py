"""The client needs no TensorFlow: under both of its names, over REST and gRPC, blocking and asynchronous."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import metazoo
from serving.server import Server

ROOT = Path(__file__).resolve().parents[3]
MAX_MB = 150
BLOCKED = ("tensorflow", "tensorflow_serving", "keras", "tf_keras", "tensorflow_probability", "scipy", "matplotlib")

PLAY = """
import asyncio, sys
import gymnasium as gym
import numpy as np
from metazoo.serving.client import Client
from metazoo.serving.client.asynchronous import AsyncClient
import serving.client

rest, grpc = sys.argv[1:]
assert serving.client.Client is Client

async def later(url):
    client = AsyncClient(url)
    try:
        return await client.act("maml_cartpole", np.zeros(4, np.float32))
    finally:
        await client.close()

actions = set()
for url, task in ((rest, "by-rest"), (grpc, "by-grpc")):
    client = Client(url)
    env = gym.make("CartPole-v1", max_episode_steps=50)
    result = client.adapt("maml_cartpole", env, episodes=2, task=task, seed=3)
    actions.add(int(client.act(result.model, np.zeros(4, np.float32))))
    client.close()
    actions.add(int(asyncio.run(later(url))))
assert actions <= {0, 1}, actions
assert not [name for name in sys.modules if name.split(".")[0] in BLOCKED]
print("played")
"""
BLOCK = f"""
import sys
BLOCKED = {BLOCKED}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Block())
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thin")
    (folder / "models").mkdir()
    (folder / "models" / "maml_cartpole").symlink_to(metazoo.savedmodels_directory() / "maml_cartpole")
    with Server(folder / "models", folder / "adapted") as server:
        yield server


def play(python: str, served: Server, folder: Path, **environment: str) -> None:
    command = [python, "-c", BLOCK + PLAY, served.url, f"grpc://{served.grpc_target}"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0 and done.stdout.strip() == "played", done.stderr


def test_the_client_plays_and_adapts_without_tensorflow(served, tmp_path):
    play(sys.executable, served, tmp_path, PYTHONPATH=str(ROOT), PATH=os.environ["PATH"])


def test_the_package_of_the_client_alone_in_an_empty_environment(served, tmp_path):
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    python = tmp_path / "venv" / "bin" / "python"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), "packaging/client"]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "-c", "constraints.txt", str(wheel)]
    done = subprocess.run(install, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and "onnect" in done.stderr:
        pytest.skip("there is no package index to install from")
    assert done.returncode == 0, done.stderr
    size = sum(path.stat().st_size for path in (tmp_path / "venv" / "lib").rglob("*") if path.is_file())
    assert size < MAX_MB * 1e6
    play(str(python), served, tmp_path, PATH=os.environ["PATH"])
