"""Life of a server: hot loading without a gap, broken versions, ports, checksums, shutting down."""

import json
import os
import shutil
import socket
import threading
import time

import grpc
import numpy as np
import pytest

from metazoo.artefact import store
from serving import server as server_module
from serving.adapting.adapter import Adapter
from serving.errors import PortInUseError, ServingError
from serving.options import Options
from serving.server import Server
from tests import toy_policy
from tests.serving.conftest import copy_version

BODY = {"instances": [[0.1, 0.2, 0.3, 0.4]]}


def threads():
    return {thread.name for thread in threading.enumerate() if thread.is_alive()}


def free_ports(count=2):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return numbers


def broken(monkeypatch, tmp_path, where):
    """Something that fails at this point of the start; returns arguments for the server."""
    if where == "list of models":
        (tmp_path / "file").write_text("")
        return {"options": Options(models_config=tmp_path / "file" / "models.config")}
    if where == "config file":
        (tmp_path / "bad.config").write_text("nonsense")
        return {"model_config_file": tmp_path / "bad.config"}

    def fail(*_, **__):
        raise OSError(f"no {where} today")

    target = {"warm-up": (Adapter, "warm_up"), "REST": (server_module, "RestApp"), "house": (Server, "_keep_house")}
    if where == "house":
        monkeypatch.setattr(Server, "_start_rest", lambda self, listener: (start_rest(self, listener), fail()))
    else:
        monkeypatch.setattr(*target[where], fail)
    return {}


start_rest = Server._start_rest


@pytest.mark.parametrize("where", ["config file", "warm-up", "list of models", "REST", "house"])
def test_a_start_that_fails_leaves_nothing_running(models, tmp_path, monkeypatch, where, http_of):
    rest, rpc = free_ports()
    before = threads()
    with monkeypatch.context() as patch:
        server = Server(models, rest_port=rest, grpc_port=rpc, **broken(patch, tmp_path, where))
        with pytest.raises((OSError, ServingError)):
            server.start()
    server.stop()
    wait_until(lambda: threads() <= before)
    with Server(models, rest_port=rest, grpc_port=rpc) as again:  # both ports are free
        assert http_of(again)("POST", "/v1/models/toy:predict", BODY)[0] == 200
        grpc.channel_ready_future(grpc.insecure_channel(again.grpc_target)).result(timeout=10)
    wait_until(lambda: threads() <= before)


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


def test_ports_in_use_are_named(models, capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"REST on 127.0.0.1:{port}: address already in use"):
            Server(models, rest_port=port).start()
        capfd.readouterr()
        with pytest.raises(PortInUseError, match=f"gRPC on 127.0.0.1:{port}: address already in use"):
            Server(models, grpc_port=port).start()
        assert capfd.readouterr().err == ""  # nothing but the sentence


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


@pytest.mark.slow  # tests/cli/test_cli.py ends one by Ctrl-C
def test_a_server_process_ends_on_sigterm(models):
    """`wait` returns after SIGTERM; the process exits with 0."""
    import signal
    import subprocess
    import sys

    code = (  # it tells when `wait` is ready for signals
        "import signal, sys, threading, time; from serving.server import Server\n"
        "server = Server(sys.argv[1]).start()\n"
        "def tell():\n"
        "    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL: time.sleep(0.01)\n"
        "    print(server.rest_port, flush=True)\n"
        "threading.Thread(target=tell, daemon=True).start()\n"
        "server.wait()"
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
