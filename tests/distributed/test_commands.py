"""``metazoo train --ray`` and ``metazoo evaluate --ray``, as they are typed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from metazoo.artefact import store
from metazoo.artefact.places import savedmodels_directory
from metazoo.cli.support import with_addresses
from metazoo.distributed import connect
from tests.command import COMMAND, ROOT, environment, metazoo

QUICK = ("--updates", "2", "--set", "tasks=4", "--set", "episodes=2", "--no-card")
KILLED = Path(__file__).with_name("killed_training.py")


def test_an_address_is_optional():
    assert with_addresses(["train", "--ray", "maml_navigation"]) == ["train", "--ray=local", "maml_navigation"]
    assert with_addresses(["train", "maml_navigation", "--ray"]) == ["train", "maml_navigation", "--ray=local"]
    given = ["train", "--ray", "10.0.0.7:6379", "maml_navigation", "--ray=auto"]
    assert with_addresses(given) == given


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--ray", "127.0.0.1:9"], "--ray is '127.0.0.1:9', and no Ray cluster answers there (Connection refused)."),
        (["--ray=nowhere"], "--ray is 'nowhere'; it must be HOST:PORT of a head node, such as 10.0.0.7:6379, auto,"),
        (["--workers", "2"], "--workers is 2; it needs --ray."),
        (["--ray", "--jobs", "2"], "--jobs is 2; it is for one machine, so leave it out with --ray."),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(words, sentence):
    done = metazoo("train", "maml_navigation", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"metazoo: {sentence}")
    assert done.stderr.count("\n") == 1


def test_what_answers_and_is_no_cluster_is_said_in_one_sentence():
    """A dashboard's port instead of the head's is a usual slip."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        with pytest.raises(connect.ClusterError, match=f"^--ray is '{address}', and what answers there is no Ray clus"):
            connect.check(address)
        server.shutdown()


def test_what_greets_as_a_head_node_does_is_believed():
    """With HTTP/2's settings; slow tests join real clusters."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            caller, _ = server.accept()
            with caller:
                caller.sendall(bytes(3) + b"\x04" + bytes(5))
                caller.recv(100)

        threading.Thread(target=greet, daemon=True).start()
        connect.check(f"127.0.0.1:{server.getsockname()[1]}")


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(connect.ClusterError, match=r"^--ray needs the library Ray: pip install 'metazoo\[ray\]'\.$"):
        connect.check(connect.LOCAL)


@pytest.mark.slow
def test_trainings_as_tasks_are_those_of_jobs(tmp_path):
    names = "maml_navigation", "reptile_navigation"
    for how, directory in ((["--ray"], "ray"), (["--jobs", "2"], "jobs")):
        done = metazoo("train", *names, *QUICK, *how, "--out", tmp_path / directory, timeout=2000)
        assert done.returncode == 0, done.stderr
        assert "| `reptile_navigation` |" in done.stdout
    for name in names:
        one, two = (
            store.read_checkpoint(tmp_path / directory / name / "savedmodels" / name / "1")
            for directory in ("ray", "jobs")
        )
        for key in one:
            np.testing.assert_array_equal(one[key], two[key])


@pytest.mark.slow
def test_evaluations_as_tasks_are_those_of_one_process():
    names = [str(savedmodels_directory() / name) for name in ("maml_navigation", "dr_navigation")]
    words = "evaluate", *names, "--tasks", "4", "--json"
    alone, tasks = (metazoo(*words, *how, timeout=2000) for how in ([], ["--ray"]))
    assert tasks.returncode == 0, tasks.stderr
    assert json.loads(tasks.stdout) == json.loads(alone.stdout)


@pytest.mark.slow
def test_a_command_that_was_killed_resumes_to_the_same_bits_and_leaves_no_worker(tmp_path):
    for directory, killed in (("whole", "no"), ("parts", "yes"), ("parts", "no")):
        done = subprocess.run(
            [sys.executable, KILLED, tmp_path / directory, killed],
            env=environment(TF_NUM_INTRAOP_THREADS=1),
            timeout=2000,
            check=False,
        )
        assert done.returncode == (-signal.SIGKILL if killed == "yes" else 0)
    one, two = (
        store.read_checkpoint(tmp_path / directory / "tiny" / "savedmodels" / "tiny" / "1")
        for directory in ("whole", "parts")
    )
    for key in one:
        np.testing.assert_array_equal(one[key], two[key])
    workers = [int(pid) for pid in (tmp_path / "parts" / "workers").read_text().split()]
    assert len(workers) > 2
    give_up = time.monotonic() + 120.0
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < give_up:
        time.sleep(1.0)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_ctrl_c_ends_a_training_after_its_update_with_a_checkpoint(tmp_path):
    words = ["train", "maml_navigation", *QUICK[2:], "--updates", "100000", "--ray", "--workers", "2"]
    process = subprocess.Popen(
        [*COMMAND, *words, "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        cwd=ROOT,
    )
    said = []
    while not any("validation return" in line for line in said):
        said.append(process.stderr.readline())
        assert said[-1], said  # it ended
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes of the group are told
    _, rest = process.communicate(timeout=600)
    assert process.returncode == 130, rest
    assert "--resume goes on from there" in rest
    assert "lost" not in rest
    assert (tmp_path / "maml_navigation" / "checkpoints" / "checkpoint").exists()
