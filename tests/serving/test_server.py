"""Life of a server: hot loading without a gap, broken versions, ports, checksums, shutting down."""

import json
import os
import shutil
import socket
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from metazoo import signatures, store
from serving import saved_model
from serving.errors import Code, PortInUseError, ServingError
from serving.manager import Manager, State
from serving.servable import Loader
from serving.server import Server
from serving.sources import ModelConfig, VersionCache, VersionPolicy
from tests import toy_policy
from tests.serving.conftest import copy_version

BODY = {"instances": [[0.1, 0.2, 0.3, 0.4]]}


def wait_until(condition, seconds=20):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


def states(server, name="toy"):
    return {line.version: line.state.name for line in server.manager.status(name)}


def test_hot_loading_loses_no_request(server, models, http_of):
    """Versions come and go under load from four threads; every request is answered, the newest version wins."""
    failures, answers, stop = [], [], threading.Event()

    def load(connection):
        while not stop.is_set():
            status, body = connection("POST", "/v1/models/toy:predict", BODY)
            (answers if status == 200 else failures).append(body)

    threads = [threading.Thread(target=load, args=(http_of(server),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: answers)
        for number in (2, 3, 4):
            memory = np.full(toy_policy.SIZE, number, np.float32)
            store.publish(models / "toy" / "1", models / "toy", memory, {})
            wait_until(lambda number=number: states(server).get(number) == "AVAILABLE")
            wait_until(lambda number=number: len(set(answers)) >= number)  # each version was seen by some request
        store.delete_version(models / "toy" / "4")  # back to 3, which loads again before 4 goes
        wait_until(lambda: states(server) == {1: "END", 2: "END", 3: "AVAILABLE", 4: "END"})
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert len(set(answers)) == 4  # one answer per version, none in between


def test_status_history_and_an_emptied_base_path(server, models, http_of):
    rest = http_of(server)
    store.delete_version(models / "toy" / "1")
    wait_until(lambda: states(server) == {1: "END"})
    expected = (404, "Servable not found for request: Latest(toy)")
    assert rest.error("POST", "/v1/models/toy:predict", BODY) == expected
    assert json.loads(rest("GET", "/v1/models/toy")[1])["model_version_status"][0]["state"] == "END"


def test_a_broken_version_leaves_the_old_one_serving(server, models, http_of):
    rest = http_of(server)
    aside = models / "toy" / ".aside"
    shutil.copytree(models / "toy" / "1", aside)
    data = bytearray((aside / "variables" / "variables.data-00000-of-00001").read_bytes())
    data[0] ^= 1
    (aside / "variables" / "variables.data-00000-of-00001").write_bytes(data)
    aside.rename(models / "toy" / "2")
    wait_until(lambda: states(server).get(2) == "END")
    line = json.loads(rest("GET", "/v1/models/toy/versions/2")[1])["model_version_status"][0]
    assert line["status"]["error_code"] == "DATA_LOSS"
    assert "is corrupted: variables/variables.data-00000-of-00001 has SHA-256" in line["status"]["error_message"]
    assert states(server)[1] == "AVAILABLE"
    assert rest("POST", "/v1/models/toy:predict", BODY)[0] == 200
    copy_version(models / "toy" / "1", models / "toy" / "3")
    wait_until(lambda: states(server) == {1: "END", 2: "END", 3: "AVAILABLE"})


def test_a_missing_models_directory_changes_nothing(server, models, http_of):
    models.rename(models.with_name("gone"))
    time.sleep(0.2)
    assert http_of(server)("POST", "/v1/models/toy:predict", BODY)[0] == 200


def test_a_new_model_appears_and_a_removed_one_goes(server, models, http_of):
    shutil.copytree(models / "toy", models / ".new")
    (models / ".new").rename(models / "second")
    wait_until(lambda: "second" in server.manager.names() and states(server, "second") == {1: "AVAILABLE"})
    store.delete_model(models / "second")
    wait_until(lambda: states(server, "second") == {1: "END"})
    assert http_of(server)("POST", "/v1/models/toy:predict", BODY)[0] == 200


def test_ports_in_use_are_named(models):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"REST on 127.0.0.1:{port}: address already in use"):
            Server(models, rest_port=port).start()
        with pytest.raises(PortInUseError, match=f"gRPC on 127.0.0.1:{port}: the port is in use"):
            Server(models, grpc_port=port).start()


def test_a_missing_models_directory_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no models directory"):
        Server(tmp_path / "none").start()


def test_stopping_frees_the_ports_and_can_be_repeated(models):
    server = Server(models, poll_seconds=0).start()
    ports = server.rest_port, server.grpc_port
    server.stop()
    server.stop()
    with Server(models, rest_port=ports[0], grpc_port=ports[1], poll_seconds=0) as again:
        assert (again.rest_port, again.grpc_port) == ports


def test_requests_under_way_are_finished(models, http_of, monkeypatch):
    server = Server(models, poll_seconds=0).start()
    rest, results, working = http_of(server), [], threading.Event()
    lookup = server.manager.lookup

    def slow_lookup(*arguments):
        working.set()
        time.sleep(0.3)  # the server is told to stop in the meantime
        return lookup(*arguments)

    monkeypatch.setattr(server.manager, "lookup", slow_lookup)
    inputs = toy_policy.example_inputs("act", rows=20_000)["observations"].tolist()
    thread = threading.Thread(target=lambda: results.append(rest("POST", "/v1/models/toy:predict", {"inputs": inputs})))
    thread.start()
    assert working.wait(30)
    server.stop()
    thread.join()
    assert results[0][0] == 200


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy(), [3]),
        (VersionPolicy(latest=2), [2, 3]),
        (VersionPolicy(latest=0), [3]),
        (VersionPolicy(latest=None), [1, 2, 3]),
        (VersionPolicy(specific=(1, 9)), [1]),
    ],
)
def test_version_policies(models, policy, expected):
    for number in (2, 3):
        copy_version(models / "toy" / "1", models / "toy" / str(number))
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy", policy, {"stable": 1, "gone": 8})})
    manager.refresh()
    loaded = [line.version for line in manager.status("toy") if line.state is State.AVAILABLE]
    assert loaded == expected[::-1]
    assert manager.lookup("toy").version == expected[-1]
    if 1 in expected:
        assert manager.lookup("toy", label="stable").version == 1
    with pytest.raises(ServingError, match="Unrecognized servable version label: gone"):
        manager.lookup("toy", label="gone")


def test_the_version_cache_sees_every_change(tmp_path):
    """Whatever is created or deleted, however fast, the cache gives what the directory holds."""
    cache = VersionCache()
    for number in range(1, 200):
        (tmp_path / str(number)).mkdir()
        assert cache(tmp_path) == store.versions(tmp_path)
        if number % 3 == 0:
            (tmp_path / str(number)).rmdir()
            assert cache(tmp_path) == store.versions(tmp_path)
    with pytest.raises(FileNotFoundError):
        cache(tmp_path / "none")


def test_the_version_cache_lists_settled_directories_once(tmp_path, monkeypatch):
    (tmp_path / "1").mkdir()
    os.utime(tmp_path, (1, 1))
    calls = []
    real = store.versions
    monkeypatch.setattr(store, "versions", lambda path: calls.append(path) or real(path))
    cache = VersionCache()
    assert [list(cache(tmp_path)) for _ in range(3)] == [[1]] * 3 and len(calls) == 1
    (tmp_path / "2").mkdir()
    assert list(cache(tmp_path)) == [1, 2]


class Flaky:
    """A loader that fails the given number of times for each version but the first."""

    def __init__(self, failures):
        self.failures, self.tries = failures, 0

    def __call__(self, name, version, path):
        if version > 1:
            self.tries += 1
            if self.tries <= self.failures:
                raise ServingError(Code.UNAVAILABLE, f"try {self.tries}")
        return Loader()(name, version, path)


def test_a_failing_load_is_tried_again(models):
    load = Flaky(2)
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")}, load=load, load_retries=2, retry_seconds=0)
    manager.refresh()
    copy_version(models / "toy" / "1", models / "toy" / "2")
    for expected in ("LOADING", "LOADING", "AVAILABLE", "AVAILABLE"):
        manager.refresh()
        assert manager.status("toy")[0].state.name == expected
        assert manager.lookup("toy").version == (2 if expected == "AVAILABLE" else 1)
    assert load.tries == 3


def test_retries_end_and_wait_their_time(models):
    load = Flaky(99)
    copy_version(models / "toy" / "1", models / "toy" / "2")
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")}, load=load, load_retries=1, retry_seconds=3600)
    for _ in range(3):
        manager.refresh()
    assert load.tries == 1 and manager.status("toy")[0].state is State.LOADING
    manager._models["toy"].versions[2].retry_at = 0
    for _ in range(3):
        manager.refresh()
    (line,) = manager.status("toy")
    assert load.tries == 2 and line.state is State.END and line.error.message == "try 2"


def test_the_old_version_serves_on_even_if_its_files_are_gone(models):
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")}, load=Flaky(99))
    manager.refresh()
    copy_version(models / "toy" / "1", models / "toy" / "2")
    store.delete_version(models / "toy" / "1")
    manager.refresh()
    assert manager.lookup("toy").version == 1


# --- what cannot be loaded --------------------------------------------------------------------------------------


def test_not_a_saved_model(tmp_path):
    with pytest.raises(ServingError, match="does not appear to contain a SavedModel bundle") as caught:
        saved_model.load(tmp_path)
    assert caught.value.code.name == "NOT_FOUND"
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ServingError, match="as binary proto"):
        saved_model.load(tmp_path)


def test_no_serve_tag(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.constant(1.0)
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "1"))
        builder.add_meta_graph_and_variables(session, ["other"])
        builder.save()
    with pytest.raises(ServingError, match="Could not find meta graph def matching supplied tags: { serve }"):
        saved_model.load(tmp_path / "1")


def save(function, path):
    module = tf.Module()
    module.f = tf.function(function, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(module, str(path), signatures=module.f)
    return path


def test_python_ops_and_xla_are_refused(tmp_path):
    def by_python(x):
        return {"y": tf.numpy_function(lambda value: value * 2, [x], tf.float32)}

    with pytest.raises(ServingError, match="calls back into Python"):
        saved_model.load(save(by_python, tmp_path / "python"))

    @tf.function(jit_compile=True)
    def compiled(x):
        return x * 2

    with pytest.raises(ServingError, match="demands XLA compilation"):
        saved_model.load(save(lambda x: {"y": compiled(x)}, tmp_path / "xla"))


def test_a_failing_or_unreadable_warmup_fails_the_load(models):
    version = models / "toy" / "1"
    (version / signatures.CHECKSUMS_FILE).unlink()
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")})
    bad = toy_policy.example_inputs("act")
    bad["observations"] = bad["observations"][:, :3]
    toy_policy.write_warmup(version, {"act": bad})
    manager.refresh()
    (line,) = manager.status("toy")
    assert line.state is State.END and "Matrix size-incompatible" in line.error.message
    (version / signatures.WARMUP_FILE).write_bytes(b"not a record")
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")})
    manager.refresh()
    assert manager.status("toy")[0].error is not None


def test_a_server_process_ends_on_sigterm(models):
    """`wait` returns after SIGTERM; the process exits with 0."""
    import signal
    import subprocess
    import sys

    code = (
        "import sys; from serving.server import Server\n"
        "server = Server(sys.argv[1]).start(); print(server.rest_port, flush=True); server.wait()"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", code, str(models)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert int(process.stdout.readline()) > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("port", ["rest_port", "grpc_port"])
def test_a_port_that_cannot_exist_is_refused(port):
    with pytest.raises(ValueError, match=f"{port} is 99999: it must be in 0 to 65535"):
        Server(**{port: 99999})
