"""Stock TF Serving as the engine: configs, supervision, announcing new policies, deployment files."""

import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from metazoo.artefact import signatures, store
from serving.client import Client
from serving.client.client import Store
from serving.engine import batch_parameters
from serving.errors import Code, ServingError
from serving.models import model_config
from serving.models.config_files import ConfigFile, batching_config, models_config, monitoring_config, ssl_config
from serving.models.sources import ModelConfig, VersionPolicy
from serving.options import Options, Retention
from serving.server import Server
from serving.stock.announcing import Announcer
from serving.stock.supervisor import Supervisor
from serving.stock.tf_serving import BINARY, TfServing
from serving.wire import config_protos
from tests import toy_policy
from tests.serving.test_server import wait_until

DEPLOY = Path(__file__).resolve().parents[3] / "serving" / "deploy"

STAND_IN = """#!{python}
# Takes TF Serving's flags and serves what they say, with TF Serving's APIs and nothing else.
import json, os, sys, time
sys.path.insert(0, {root!r})
flags = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
with open({log!r}, "a") as log:
    log.write(json.dumps(flags) + "\\n")
from serving.engine import batch_parameters
from serving.options import Options
from serving.server import Server
if os.path.exists({log!r} + ".deaf"):  # once: what the real one does after a list with an entry that has no files
    os.remove({log!r} + ".deaf")
    from serving.models.model_config import ConfiguredModels
    def replace(*arguments, at_start=ConfiguredModels.replace):
        at_start(*arguments)
        ConfiguredModels.replace = lambda *_: time.sleep(1000)
    ConfiguredModels.replace = replace
limits = batch_parameters.Limits()
if flags.get("enable_batching"):
    limits = batch_parameters.read_file(flags["batching_parameters_file"])
options = Options(batching=limits)
Server(None, None, "127.0.0.1", int(flags["rest_api_port"]), int(flags["port"]), 0.2, flags["model_config_file"],
       options).start().wait()
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A program called tensorflow_model_server on the PATH; the file it logs its flags to."""
    log, binary = tmp_path / "flags", tmp_path / "bin" / BINARY
    binary.parent.mkdir()
    root = str(Path(__file__).resolve().parents[3])
    binary.write_text(STAND_IN.format(python=sys.executable, root=root, log=str(log)))
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
    return log


# --- configs -----------------------------------------------------------------------------------------------------


def test_the_list_of_models_is_read_back_as_it_was(tmp_path):
    models = {
        "a": ModelConfig(tmp_path / "a"),
        "b": ModelConfig(tmp_path / "b", VersionPolicy(latest=3), {"stable": 2}),
        "c": ModelConfig(tmp_path / "c", VersionPolicy(latest=None)),
        "d": ModelConfig(tmp_path / "d", VersionPolicy(specific=(4, 7))),
    }
    text = text_format.MessageToString(models_config(models))
    assert model_config.convert(text_format.Parse(text, ModelServerConfig())) == models
    assert model_config.convert(models_config({})) == {}


def test_the_other_configs_are_read_back(tmp_path):
    (tmp_path / "batching.config").write_text(batching_config(64, 3))
    limits = batch_parameters.read_file(tmp_path / "batching.config")
    assert (limits.max_rows, limits.threads, limits.wait_seconds, limits.allowed_rows) == (64, 3, 0, (1, 4, 16, 64))
    monitoring = config_protos.parse(monitoring_config("/m"), config_protos.MonitoringConfig(), "")
    assert monitoring.prometheus_config.enable and monitoring.prometheus_config.path == "/m"
    ssl = config_protos.parse(ssl_config("line\nline", 'k"'), config_protos.SSLConfig(), "")
    assert (ssl.server_cert, ssl.server_key, ssl.client_verify) == ("line\nline", 'k"', False)


def test_the_list_is_written_when_it_changes(tmp_path):
    file, model = ConfigFile(tmp_path / "list" / "models.config"), ModelConfig(tmp_path / "a")
    file.path.parent.mkdir()
    version(model, 1)
    assert file.update({"a": model}) is not None
    assert file.update({"a": model}) is None
    file.path.unlink()
    assert file.update({"a": model}) is not None
    assert file.update({}) is not None
    assert [path.name for path in file.path.parent.iterdir()] == ["models.config"]


def version(model, number, graph=b"graph"):
    """Something that looks like a SavedModel."""
    path = model.base_path / str(number)
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(graph)
    return path


def test_only_what_can_be_loaded_is_listed(tmp_path):
    """One entry that cannot be loaded keeps the real server from starting, and every later list from being taken."""
    models = {name: ModelConfig(tmp_path / name) for name in ("whole", "damaged", "gone", "empty", "retired", "ruined")}
    for name in ("whole", "damaged", "retired", "ruined"):
        version(models[name], 1)
    for name, number in (("damaged", 2), ("ruined", 1)):
        path = tmp_path / name / str(number)
        path.mkdir(exist_ok=True)
        (path / "saved_model.pb").write_bytes(b"half")
        (path / "assets.extra").mkdir()
        (path / signatures.CHECKSUMS_FILE).write_text(f"{'0' * 64}  saved_model.pb\n")
    (tmp_path / "empty" / "1").mkdir(parents=True)
    store.retire(tmp_path / "retired")
    file = ConfigFile(tmp_path / "models.config")
    listed = model_config.convert(file.update(models))
    assert listed == {"whole": models["whole"], "damaged": models["damaged"]._replace(policy=VersionPolicy(1, (1,)))}
    version(models["damaged"], 3)  # mended by the next number
    assert model_config.convert(file.update(models))["damaged"] == models["damaged"]


def test_the_embedded_server_keeps_a_list_for_others(models, tmp_path):
    """What the compose file relies on: TF Serving polls this file."""
    file = tmp_path / "models.config"
    with Server(models, tmp_path / "adapted", poll_seconds=0.05, options=Options(models_config=file)):
        assert list(model_config.read_file(file)) == ["toy"]
        store.publish(models / "toy" / "1", tmp_path / "adapted" / "toy-a", np.zeros(toy_policy.SIZE), {})
        wait_until(lambda: list(model_config.read_file(file)) == ["toy", "toy-a"])


# --- supervision -------------------------------------------------------------------------------------------------


def test_a_process_that_ends_is_started_again(tmp_path):
    starts = tmp_path / "starts"
    supervisor = Supervisor(["sh", "-c", f"echo started >> {starts}; exec sleep 60"], first_pause=0.01)
    supervisor.start()
    wait_until(lambda: starts.exists() and supervisor.pid)
    first = supervisor.pid
    os.kill(first, 9)
    wait_until(lambda: starts.read_text().count("started") == 2 and supervisor.pid not in (None, first))
    assert supervisor.restarts == 1
    second = supervisor.pid
    supervisor.stop()
    supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
    assert supervisor.pid is None and starts.read_text().count("started") == 2


def test_restarts_come_slower_and_slower(tmp_path):
    starts = tmp_path / "starts"
    supervisor = Supervisor(["sh", "-c", f"echo started >> {starts}; exit 3"], first_pause=0.05)
    supervisor.start()
    began = time.monotonic()
    wait_until(lambda: supervisor.restarts >= 4)
    assert time.monotonic() - began > 0.05 + 0.1 + 0.2 + 0.4 - 0.05
    supervisor.stop()


def test_a_stubborn_process_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.stock.supervisor.GRACE_SECONDS", 0.2)
    ready = tmp_path / "ready"
    supervisor = Supervisor(["sh", "-c", f"trap '' TERM; touch {ready}; while true; do sleep 0.1; done"])
    supervisor.start()
    wait_until(ready.exists)
    supervisor.stop()
    assert supervisor.pid is None


# --- the engine --------------------------------------------------------------------------------------------------


def test_a_missing_binary_is_said_in_a_sentence(models, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{BINARY} is not on the PATH: install .* or serve with --engine emb"):
        TfServing(models, tmp_path / "adapted")


def test_a_binary_that_does_not_start_is_said_too(models, tmp_path, monkeypatch):
    binary = tmp_path / "bin" / BINARY
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\nexit 1\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ServingError, match=f"{BINARY} ended, or took longer .* before its models toy were available"):
        TfServing(models, tmp_path / "adapted", 0, 0).start()


def test_the_engine_serves_restarts_and_learns_of_new_policies(models, tmp_path, stand_in, env):
    import json

    adapted = tmp_path / "adapted"
    with TfServing(models, adapted, 0, 0) as engine:
        client = Client(f"grpc://{engine.grpc_target}", store=Store(models, adapted), tries=12)
        adaptation = client.adapt("toy", env, episodes=2, task="a")  # published here, announced by the engine
        assert client.status(adaptation.model)[0]["state"] == "AVAILABLE"
        observations = toy_policy.example_inputs("act", rows=3)["observations"]
        before = client.predict("toy-a", {"observations": observations}, "act")
        memory = store.read_memory(adapted / "toy-a" / "1")
        expected = observations @ memory[:8].reshape(4, 2) + memory[8:10]
        np.testing.assert_allclose(before["logits"], expected, rtol=1e-5)
        os.kill(engine._supervisor.pid, 9)
        wait_until(lambda: engine._supervisor.restarts == 1, 30)
        wait_until(lambda: answers(engine), 120)  # with the new policy from its start: it stands in the file
        again = client.predict("toy-a", {"observations": observations}, "act")
        np.testing.assert_array_equal(again["logits"], before["logits"])
        client.close()
        pid, directory = engine._supervisor.pid, engine._directory
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    first, second = map(json.loads, stand_in.read_text().splitlines())
    assert first == second and set(first) == {
        "port", "rest_api_port", "model_config_file", "monitoring_config_file", "max_num_load_retries",
        "load_retry_interval_micros",
    }  # fmt: skip
    assert first["max_num_load_retries"] == first["load_retry_interval_micros"] == "0"
    assert not directory.exists()


@pytest.mark.slow  # with a server of the test's, below, it is quick
def test_a_policy_goes_off_the_list_before_its_files_and_a_deaf_server_is_replaced(
    models, tmp_path, stand_in, env, monkeypatch
):
    monkeypatch.setattr("serving.stock.tf_serving.RELOAD_TIMEOUT_SECONDS", 2.0)
    monkeypatch.setattr("serving.stock.tf_serving.WATCH_SECONDS", 0.1)
    monkeypatch.setattr("serving.stock.supervisor.GRACE_SECONDS", 1.0)
    adapted = tmp_path / "adapted"
    Path(f"{stand_in}.deaf").touch()
    with TfServing(models, adapted, 0, 0) as engine:
        client = Client(f"grpc://{engine.grpc_target}", store=Store(models, adapted), tries=12)
        monkeypatch.setattr("serving.client.store.LIVE_SECONDS", 300.0)
        client.adapt("toy", env, episodes=1, task="a")  # the list with it is not answered, until another process comes
        assert engine._supervisor.restarts == 1 and client.status("toy-a")[0]["state"] == "AVAILABLE"
        seen = []
        monkeypatch.setattr(store, "delete_model", lambda base, real=store.delete_model: (
            seen.append([line["state"] for line in states(client, base.name)]), real(base)))  # fmt: skip
        client.delete("toy-a")
        assert not (adapted / "toy-a").exists() and set(sum(seen, [])) <= {"END"}
        assert list(model_config.read_file(engine._config.path)) == ["toy"]
        client.close()


def states(client, name):
    try:
        return client.status(name)
    except ServingError as error:
        assert error.code is Code.NOT_FOUND
        return []


class Blocking:
    """A server as the real one: its reload returns when all new models are available, and one at a time."""

    def __init__(self, available=()):
        self.available, self.lists, self.blocked = set(available), [], False

    def reload(self, config):
        names = {model.name: Path(model.base_path) for model in config.model_config_list.config}
        self.lists.append(sorted(names))
        self.blocked = self.blocked or any(not store.versions(path) for path in names.values() if path.is_dir())
        self.blocked = self.blocked or not all(path.is_dir() for path in names.values())
        if self.blocked:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self.available = set(names)

    def status(self, name):
        if name not in self.available:
            raise ServingError(Code.NOT_FOUND, name)
        return [{"state": "AVAILABLE", "version": "1", "status": {"error_code": "OK"}}]


def announcer(tmp_path, server, models):
    file, restarts = ConfigFile(tmp_path / "models.config"), []
    return Announcer(
        file, lambda: dict(models), server, lambda: restarts.append(list(model_config.read_file(file.path)))
    ), restarts


def test_a_reload_that_times_out_is_told_again_and_then_the_server_is_restarted(tmp_path):
    models = {name: ModelConfig(tmp_path / name) for name in "ab"}
    for model in models.values():
        version(model, 1)
    server = Blocking()
    announce, restarts = announcer(tmp_path, server, models)
    real = server.reload

    def gone_while_told(config):
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        real(config)

    server.reload = gone_while_told
    assert announce.refresh()
    assert server.lists == [["a", "b"], ["a"]] and restarts == [["a"]]  # the blocked server is of no use any more
    server.blocked, server.reload = False, real
    assert not announce.refresh()


def test_a_server_that_is_slow_but_loads_is_not_restarted(tmp_path):
    models = {name: ModelConfig(tmp_path / name) for name in "abc"}
    for model in models.values():
        version(model, 1)
    server = Blocking()

    def slow(config):
        server.lists.append(len(server.available))
        if len(server.available) < 3:
            server.available.add("abc"[len(server.available)])
            raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

    server.reload = slow
    announce, restarts = announcer(tmp_path, server, models)
    assert announce.refresh() and not restarts and server.lists == [0, 1, 2, 3]


def test_retired_policies_are_deleted_when_they_are_unloaded(models, tmp_path):
    adapted, server = tmp_path / "adapted", Blocking(["toy-a"])
    for name in ("toy-a", "toy-b"):
        store.publish(models / "toy" / "1", adapted / name, np.zeros(toy_policy.SIZE), {})
        store.retire(adapted / name)
    announce, _ = announcer(tmp_path, server, {})
    announce.discard_unloaded(adapted)
    assert [path.name for path in adapted.iterdir()] == ["toy-a"]  # it still serves
    server.available.clear()
    announce.discard_unloaded(adapted)
    assert not list(adapted.iterdir())


def test_an_adapter_beside_a_stock_server_deletes_and_prunes_late(models, tmp_path, env):
    """The real server reports to nobody there: what it may be loading stays for a while."""
    adapted, file = tmp_path / "adapted", tmp_path / "models.config"
    options = Options(models_config=file, retention=Retention(grace_seconds=1e4))
    with Server(models, adapted, poll_seconds=0.05, options=options) as server:
        client = Client(server.url)
        client.adapt("toy", env, episodes=1, steps=4, task="a")
        assert list(store.versions(adapted / "toy-a")) == [1, 2, 3, 4]
        for path in store.versions(adapted / "toy-a").values():
            os.utime(path, (0, 0))
        server.adapter.expire()
        assert list(store.versions(adapted / "toy-a")) == [3, 4]
        client.delete("toy-a")
        assert [policy["name"] for policy in client.policies()] == ["toy"]
        wait_until(lambda: list(model_config.read_file(file)) == ["toy"])
        assert (adapted / "toy-a" / "4" / "saved_model.pb").is_file()
        assert client.adapt("toy", env, episodes=1, task="a").version == 5
        client.delete("toy-a")
        os.utime(adapted / "toy-a" / ".retired", (0, 0))
        server.adapter.expire()
        assert not (adapted / "toy-a").exists()
        client.close()


def answers(engine):
    client = Client(f"grpc://{engine.grpc_target}", tries=1, timeout=5)
    try:
        return client.status("toy-a")[0]["state"] == "AVAILABLE"
    except ServingError:
        return False
    finally:
        client.close()


@pytest.mark.skipif(shutil.which(BINARY) is None, reason=f"{BINARY} is not on the PATH")
def test_the_real_binary_serves_and_adapts(models, tmp_path, env):
    with TfServing(models, tmp_path / "adapted", 0, 0) as engine:
        client = Client(engine.url, grpc=engine.grpc_target, store=Store(models, tmp_path / "adapted"))
        adaptation = client.adapt("toy", env, episodes=3, steps=2, task="real")
        assert (adaptation.model, adaptation.version) == ("toy-real", 2)
        assert client.play("toy-real", env, 2, seed=1).returns.shape == (2,)
        client.close()


# --- deployment --------------------------------------------------------------------------------------------------


def documents(name):
    return [one for one in yaml.safe_load_all((DEPLOY / name).read_text()) if one]


def test_the_shipped_configs_are_what_the_engine_writes():
    assert (DEPLOY / "batching.config").read_text() == batching_config()
    assert (DEPLOY / "monitoring.config").read_text() == monitoring_config()
    (configs,) = (one["data"] for one in documents("kubernetes.yaml") if one["kind"] == "ConfigMap")
    assert set(configs) == {"monitoring.config"}
    parsed = config_protos.parse(configs["monitoring.config"], config_protos.MonitoringConfig(), "")
    assert parsed == config_protos.parse(monitoring_config(), config_protos.MonitoringConfig(), "")


def commands():
    """(program, its arguments) of every container."""
    (compose,) = documents("compose.yaml")
    for service in compose["services"].values():
        yield service.get("entrypoint", ["metazoo"])[0], service["command"]
    for one in documents("kubernetes.yaml"):
        for container in one["spec"]["template"]["spec"]["containers"] if one["kind"] == "Deployment" else []:
            yield container.get("command", ["metazoo"])[0], container["args"]


def test_the_containers_are_given_options_that_exist(models, tmp_path):
    help_text = subprocess.run(
        [sys.executable, "-m", "metazoo.cli.main", "serve", "--help"], capture_output=True, text=True, check=True,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout  # fmt: skip
    known = set(re.findall(r"--[a-z-]+", help_text))
    flags = {"port", "rest_api_port", "model_config_file", "model_config_file_poll_wait_seconds"}
    flags |= {"monitoring_config_file", "max_num_load_retries", "load_retry_interval_micros"}
    seen = []
    for program, arguments in commands():
        seen.append(program)
        if program == "metazoo":
            assert arguments[0] == "serve"
            assert {argument.partition("=")[0] for argument in arguments[1:]} <= known
        else:
            assert program == BINARY and {argument[2:].partition("=")[0] for argument in arguments} == flags
            assert {"--max_num_load_retries=0", "--load_retry_interval_micros=0"} <= set(arguments)
    assert sorted(seen) == ["metazoo", "metazoo", BINARY, BINARY]


def test_the_manifests_hold_together():
    """Names that refer to each other do, both engines read what the adapter writes, and probes fit the ports."""
    found = {(one["kind"], one["metadata"]["name"]): one for one in documents("kubernetes.yaml")}
    assert {kind for kind, _ in found} == {
        "ConfigMap", "PersistentVolumeClaim", "Deployment", "Service", "HorizontalPodAutoscaler",
    }  # fmt: skip
    for name in ("adapter", "tf-serving"):
        spec = found["Deployment", name]["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
        assert found["Service", name]["spec"]["selector"] == spec["selector"]["matchLabels"]
        volumes = {volume["name"]: volume for volume in spec["template"]["spec"]["volumes"]}
        assert ("PersistentVolumeClaim", volumes["policies"]["persistentVolumeClaim"]["claimName"]) in found
        (container,) = spec["template"]["spec"]["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert {"startupProbe", "readinessProbe", "livenessProbe", "resources"} <= set(container)
        ports = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in found["Service", name]["spec"]["ports"]} == ports
    target = found["HorizontalPodAutoscaler", "tf-serving"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in found
    for out, read in (
        ("--models-config-out=/policies/models.config", "--model_config_file=/policies/models.config"),
        ("--models-config-out=/adapted/models.config", "--model_config_file=/adapted/models.config"),
    ):
        arguments = [argument for _, given in commands() for argument in given]
        assert out in arguments and read in arguments
