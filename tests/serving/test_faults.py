"""Whatever happens to the files, the disk, the clock or the process: nothing is lost, no wrong answer is served."""

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from metazoo.artefact import signatures, store
from serving.client import Client
from serving.errors import ServingError
from serving.server import Server
from tests import toy_policy
from tests.serving.adapting.test_adaptation_service import request
from tests.serving.adapting.test_adapter import as_npz, recorded
from tests.serving.conftest import copy_version
from tests.serving.test_server import BODY, states, wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow  # before each of its system calls: tests/artefact/test_store.py
def test_publishers_that_are_killed_leave_whole_versions(models, tmp_path):
    kills = 50
    base = tmp_path / "adapted" / "toy-a"
    command = [sys.executable, "-m", "tests.serving.kill_publisher", models / "toy" / "1", base, kills]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["killed"] > kills / 3, report  # a moment may come after the end
    assert report["whole"] == kills, report
    assert report["left"] > 0 and report["left_after_the_next"] == 0, report


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_server_killed_while_it_loads_comes_back_with_everything(models, tmp_path, kills):
    """Versions are published without pause into a server that is killed and started again; none is lost."""
    code = (
        "import sys; from serving.server import Server\n"
        "server = Server(sys.argv[1], sys.argv[2], poll_seconds=0.02).start(); print(server.url, flush=True)\n"
        "server.wait()"
    )
    published, stop = [], threading.Event()

    def publish():
        while not stop.is_set():
            memory = np.full(toy_policy.SIZE, len(published) + 1, np.float32)
            path = store.publish(models / "toy" / "1", tmp_path / "adapted" / "toy-a", memory, {"name": "toy-a"})
            published.append((int(path.name), memory))
            time.sleep(0.1)  # each is looked at again in the end

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for number in range(kills + 1):
            command = [sys.executable, "-c", code, str(models), str(tmp_path / "adapted")]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
                try:
                    url = server.stdout.readline().strip()
                    before = len(published)
                    if number < kills:
                        time.sleep(random.Random(number).uniform(0.1, 0.6))
                        continue
                    stop.set()
                    publisher.join()
                    client = Client(url)
                    newest = {"version": str(published[-1][0]), "state": "AVAILABLE"}
                    wait_until(lambda: newest.items() <= client.status("toy-a")[0].items())  # noqa: B023
                    assert before > 0
                    np.testing.assert_allclose(client.initial_memory("toy-a"), published[-1][1])
                    assert all(store.verify(path) for path in store.versions(tmp_path / "adapted" / "toy-a").values())
                    client.close()
                finally:
                    server.send_signal(signal.SIGKILL)
    finally:
        stop.set()
        publisher.join()


LIMITED = """
import json, resource, sys
from pathlib import Path
from metazoo.artefact import store
from serving.adapting.request import from_body
from serving.errors import ServingError
from serving.server import Server

models, adapted, body = map(Path, sys.argv[1:])
with Server(models, adapted, poll_seconds=0) as server:
    def adapt():
        return server.adapter.adapt(from_body("toy", body.read_bytes(), "a", None, 10**7))
    first, answers = adapt(), []
    for limit in (0, 100, 5000, 60000):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            answer = adapt()["version"]
        except ServingError as error:
            answer = [error.http_status, error.message]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        names = sorted(path.name for path in Path(adapted, "toy-a").iterdir())
        answers.append([limit, answer, names, server.manager.lookup("toy-a").version])
    last = adapt()
print(json.dumps([first["version"], answers, last["version"]]))
"""


def test_a_disk_that_is_full_while_publishing(models, tmp_path):
    """Files cannot grow beyond some limit, so that writing fails at every stage, in Python and in TensorFlow."""
    pytest.importorskip("resource")
    (tmp_path / "body.npz").write_bytes(as_npz(**recorded()[1]))
    command = [sys.executable, "-c", LIMITED, models, tmp_path / "adapted", tmp_path / "body.npz"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    first, answers, last = json.loads(done.stdout.splitlines()[-1])
    assert first == 1 and len(answers) == 4
    for limit, answer, names, live in answers:
        assert answer[0] == 503 and "Nothing was published" in answer[1], (limit, answer)
        assert (names, live) == (["1"], 1), limit  # nothing is left behind, and the old version serves on
    assert last == 2


def test_a_version_deleted_under_load(server, models, http_of):
    """File by file, as rm -r does it: the version serves on until the next best one is loaded."""
    copy_version(models / "toy" / "1", models / "toy" / "2")
    wait_until(lambda: states(server).get(2) == "AVAILABLE")
    failures, stop = [], threading.Event()

    def ask(rest):
        while not stop.is_set():
            status, body = rest("POST", "/v1/models/toy:predict", BODY)
            if status != 200:
                failures.append(body)

    threads = [threading.Thread(target=ask, args=(http_of(server),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for path in sorted((models / "toy" / "2").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
        time.sleep(0.02)
    (models / "toy" / "2").rmdir()
    wait_until(lambda: states(server) == {1: "AVAILABLE", 2: "END"})
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize(
    "name",
    ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001", signatures.METADATA_FILE,
     signatures.WARMUP_FILE, signatures.CHECKSUMS_FILE],
)  # fmt: skip
def test_damaged_files_are_never_served(server, models, http_of, name):
    """Every kind of damage to every file of a version with checksums; the old version serves on."""
    rest, rng = http_of(server), random.Random(name)
    expected = rest("POST", "/v1/models/toy:predict", BODY)[1]
    for number, damage in enumerate(("cut", "emptied", "gone", "flipped", "flipped", "replaced"), 2):
        aside = models / "toy" / f".aside-{number}"
        shutil.copytree(models / "toy" / "1", aside)
        file = aside / name
        data = bytearray(file.read_bytes())
        if damage == "gone":
            file.unlink()
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            changed = {"cut": data[: len(data) // 2 - 7], "emptied": b"", "replaced": rng.randbytes(500)}.get(
                damage, data
            )
            file.write_bytes(bytes(changed))
        aside.rename(models / "toy" / str(number))
        server.manager.refresh()
        line = server.manager.status("toy", number)[0]
        harmless = name == signatures.CHECKSUMS_FILE and damage in ("gone", "emptied")  # nothing to check against
        harmless |= name == signatures.METADATA_FILE and damage == "gone" and line.error is None
        assert harmless or line.state.name == "END" and line.error is not None, (name, damage)
        assert rest("POST", "/v1/models/toy:predict", BODY) == (200, expected)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", signatures.METADATA_FILE])
def test_damage_without_checksums_is_found_when_loading(server, models, http_of, name):
    rest = http_of(server)
    for number, share in enumerate((0.0, 0.3, 0.9), 2):
        aside = models / "toy" / f".aside-{number}"
        shutil.copytree(models / "toy" / "1", aside)
        (aside / signatures.CHECKSUMS_FILE).unlink()
        data = (aside / name).read_bytes()
        (aside / name).write_bytes(data[: int(share * len(data))])
        aside.rename(models / "toy" / str(number))
        server.manager.refresh()
        assert server.manager.status("toy", number)[0].error is not None, (name, share)
        assert rest("POST", "/v1/models/toy:predict", BODY)[0] == 200


def test_a_clock_that_jumps_disturbs_nothing(server, http_of, monkeypatch):
    rest, real, real_ns = http_of(server), time.time, time.time_ns
    for number, jump in enumerate((3e7, -3e7, 5.0, 0.0), 1):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        monkeypatch.setattr(time, "time_ns", lambda jump=jump: real_ns() + int(jump * 1e9))
        answer = server.adapter.adapt(request("a"))
        assert answer["version"] == number
        assert rest("POST", "/v1/models/toy-a:predict", BODY)[0] == 200
        server.adapter.expire()
        path = store.publish(server.manager.lookup("toy").path, server.manager.lookup("toy").path.parent,
                             np.full(toy_policy.SIZE, number, np.float32), {})  # fmt: skip
        wait_until(lambda path=path: states(server).get(int(path.name)) == "AVAILABLE")


def test_two_servers_and_an_adapter_on_one_store(models, tmp_path, http_of):
    """One only reads, two adapt and delete at random; what is served afterwards is whole, and the same everywhere."""
    adapted = tmp_path / "adapted"
    adapted.mkdir()
    options = {"poll_seconds": 0.05}
    surprises = []

    def work(server, seed):
        rng = random.Random(seed)
        for _ in range(12):
            task = rng.choice("abc")
            try:
                if rng.random() < 0.25:
                    server.adapter.delete(f"toy-{task}")
                else:
                    server.adapter.adapt(request(task))
            except ServingError as error:
                if error.code.name not in ("NOT_FOUND", "UNAVAILABLE"):  # deleted by the other one
                    surprises.append(error)
            except Exception as error:  # noqa: BLE001
                surprises.append(error)

    with (
        Server(models, adapted, **options) as one, Server(models, adapted, **options) as two,
        Server(adapted, **options) as reader,
    ):  # fmt: skip
        threads = [threading.Thread(target=work, args=(server, seed)) for seed, server in enumerate((one, two, one))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
        end = time.monotonic() + 30
        while True:  # a version that is being loaded takes its moment
            for server in (one, two, reader):
                server.manager.refresh()
            served = [
                {name: server.manager.lookup(name).version for name in server.manager.names()
                 if name != "toy" and server.manager.is_available(name)}
                for server in (one, two, reader)
            ]  # fmt: skip
            on_disk = {path.name: max(found) for path in adapted.iterdir() if (found := store.versions(path))}
            if served == [on_disk] * 3 or time.monotonic() > end:
                break
            time.sleep(0.1)
        assert served == [on_disk] * 3
        assert all(store.verify(path) for name in on_disk for path in store.versions(adapted / name).values())
    assert not surprises
