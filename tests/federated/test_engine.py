"""Federations in Flower's own engines, as a user starts them. Each takes a minute or more."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from metazoo.artefact import store
from metazoo.tasks.views.make import make_task
from serving.client import Client
from serving.server import Server
from tests.command import environment

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SMALL = ["dr_navigation", "--clients", "4", "--sampled", "3", "--tasks", "1", "--set", "episodes=2", "--no-card"]
NAME = "federated_dr_navigation"
WORKERS = "0", "2"
"""Without Ray, and with two of its actors."""


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "metazoo.cli", "federate", *SMALL, "--out", str(out), *more]


def start(out: Path, *more: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(out, *more), env=environment(), cwd=ROOT, start_new_session=True, **pipes)


def finish(out: Path, *more: str) -> Path:
    done = subprocess.run(command(out, *more), env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def rounds(out: Path) -> int:
    log = out / NAME / "rounds.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


def wait_for_rounds(process: subprocess.Popen, out: Path, count: int) -> None:
    end = time.monotonic() + 400
    while rounds(out) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.2)


def weights(version: Path) -> bytes:
    return (version / "variables" / "variables.data-00000-of-00001").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Twenty rounds that nobody disturbed, without Ray."""
    return finish(tmp_path_factory.mktemp("whole"), "--rounds", "20", "--workers", "0")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_however_many_workers_the_weights_are_the_same(whole, workers, tmp_path):
    assert weights(finish(tmp_path, "--rounds", "20", "--workers", workers)) == weights(whole)


@pytest.mark.parametrize("workers", WORKERS)
def test_killed_it_goes_on_and_ends_with_the_same_weights(whole, workers, tmp_path):
    process = start(tmp_path, "--rounds", "20", "--workers", workers)
    wait_for_rounds(process, tmp_path, 5)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert rounds(tmp_path) < 20
    assert weights(finish(tmp_path, "--rounds", "20", "--workers", workers, "--resume")) == weights(whole)


@pytest.mark.parametrize("workers", WORKERS)
def test_ctrl_c_ends_it_after_the_round_with_a_checkpoint(workers, tmp_path):
    process = start(tmp_path, "--rounds", "2000", "--workers", workers)
    wait_for_rounds(process, tmp_path, 5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    made = rounds(tmp_path)
    assert f"Interrupted after {made} of 2,000 rounds; --resume goes on from there." in said


def test_a_deployment_over_tls_exports_a_policy(tmp_path):
    """SuperLink and SuperNodes as processes, none of which is left afterwards. The policy is served as any other."""
    words = [sys.executable, "examples/federated/deploy.py", "--clients", "2", "--rounds", "2", "--tasks", "1"]
    done = subprocess.run(
        [*words, "--out", str(tmp_path)], env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    name = "federated_maml_navigation"
    metadata = store.read_metadata(tmp_path / name / "savedmodels" / name / "1")
    assert metadata["federated"]["clients"] == 2
    assert json.loads((tmp_path / name / "run.json").read_text())["federation"]["rounds"] == 2
    assert not subprocess.run(["pgrep", "-f", f"flower-super.*{tmp_path}"], capture_output=True, check=False).stdout
    env = make_task(metadata, {"goal": "[3, 2]"})
    with Server(tmp_path / name / "savedmodels", adapted_dir=tmp_path / "adapted") as server:
        client = Client(server.url)
        adapted = client.adapt(name, env, episodes=2, steps=1, task="mine").model
        assert client.act(adapted, np.zeros(2, np.float32)).shape == (2,)
        client.close()
