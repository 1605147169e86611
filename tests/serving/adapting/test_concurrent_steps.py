"""Several clients adapt one policy at a time: every answer is a step gained, on every road, whatever else happens."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import metazoo
from metazoo.artefact import lineage, locks, store
from metazoo.types import Episodes
from serving.client import Client
from serving.client.client import Store
from serving.errors import Code, ServingError
from serving.options import Options, Retention
from serving.server import Server
from tests import toy_policy
from tests.serving.adapting.test_adaptation_service import request
from tests.serving.adapting.test_adapter import recorded

ROOT = Path(__file__).resolve().parents[3]
SERVER = (
    "import sys; from serving.server import Server\n"
    "server = Server(sys.argv[1], sys.argv[2], poll_seconds=0.5).start(); print(server.url, flush=True)\n"
    "server.wait()"
)


def episodes():
    return Episodes(**recorded()[1])


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Two servers in processes of their own on one store: their addresses, and the store."""
    root = tmp_path_factory.mktemp("processes")
    toy_policy.export_toy(root / "models" / "toy" / "1")
    command = [sys.executable, "-c", SERVER, str(root / "models"), str(root / "adapted")]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    yield [one.stdout.readline().strip() for one in started], root / "adapted"
    for one in started:
        one.kill()
        one.wait()
        one.stdout.close()


def steps_made(adapted, name="toy-a"):
    """(steps by the record, steps by the memory's own counter), which begins at 0."""
    newest = store.latest(adapted / name)
    return store.read_metadata(newest)["adapted"]["steps"], store.read_memory(newest)[-1]


def all_at_once(clients, each, work):
    """The answers of so many threads, in no order; whatever one raises, this raises."""
    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(lambda who: [work(who) for _ in range(each)], range(clients))
                for answer in answers]  # fmt: skip


@pytest.mark.parametrize(("clients", "each"), [(2, 20), (8, 5)])
def test_in_one_server(server, tmp_path, clients, each):
    server.adapter.adapt(request("a"))
    roads = [Client(server.url if who % 2 else f"grpc://{server.grpc_target}") for who in range(clients)]
    answers = all_at_once(clients, each, lambda who: roads[who].adapt_to("toy-a", episodes()))
    made = 1 + clients * each
    assert sorted(answer["steps"] for answer in answers) == list(range(2, made + 1))
    assert steps_made(tmp_path / "adapted") == (made, made)
    assert len({answer["version"] for answer in answers}) == len(answers)
    assert list(store.versions(tmp_path / "adapted" / "toy-a")) == [made - 1, made]


def test_with_two_servers_on_one_store(processes):
    urls, adapted = processes
    Client(urls[0]).adapt_to("toy", episodes(), "a")
    roads = [Client(urls[who % 2]) for who in range(4)]
    answers = all_at_once(4, 6, lambda who: roads[who].adapt_to("toy-a", episodes(), [None, "a"][who // 2]))
    assert sorted(answer["steps"] for answer in answers) == list(range(2, 26))
    assert sorted(answer["version"] for answer in answers) == list(range(2, 26))
    assert steps_made(adapted) == (25, 25)
    assert not list(adapted.glob(f"{locks.PREFIX}*"))


def test_through_the_store(models, tmp_path):
    """Clients of a server that is not asked to adapt, beside one that is."""
    adapted = tmp_path / "adapted"
    with Server(models, adapted, poll_seconds=0.05) as server:
        server.adapter.adapt(request("a"))
        roads = [Client(server.url, store=Store(models, adapted)) for _ in range(3)] + [Client(server.url)]
        answers = all_at_once(4, 6, lambda who: roads[who].adapt_to("toy-a", episodes()))
    assert sorted(answer["steps"] for answer in answers) == list(range(2, 26))
    assert steps_made(adapted) == (25, 25)


def test_from_python(models, tmp_path):
    """What was adapted here is refused when somebody else made a step meanwhile; nobody's step is lost."""
    adapted = tmp_path / "adapted"
    metazoo.load(models / "toy").adapt(episodes()).publish(adapted, "a")
    gained = []

    def work():
        policy = metazoo.load(adapted / "toy-a").adapt(episodes())
        try:
            gained.append(int(policy.publish(adapted).name))
        except lineage.OutdatedError as error:
            assert "has a newer version than" in str(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = 1 + len(gained)
    assert gained and steps_made(adapted) == (made, made)
    first, second = (metazoo.load(adapted / "toy-a").adapt(episodes()) for _ in range(2))
    assert first.publish(adapted).name == str(made + 1)
    with pytest.raises(ValueError, match=f"toy-a has a newer version than {made} by now: load it again"):
        second.publish(adapted, "a")
    assert first.adapt(episodes()).publish(adapted).name == str(made + 2)  # it is that newer version


def test_deleting_waits_for_whoever_adapts(server, tmp_path):
    """Adapting and deleting at a time: every answer is a step or that there is none, never half of one."""
    wrong, stop = [], threading.Event()

    def delete():
        while not stop.is_set():
            try:
                server.adapter.delete("toy-a")
            except ServingError as error:
                wrong.extend([error] if error.code is not Code.NOT_FOUND else [])

    deleter = threading.Thread(target=delete)
    deleter.start()
    for number in range(20):
        for task, policy in (("a", "toy"), (None, "toy-a"), (f"b{number}", "toy-a")):
            try:
                server.adapter.adapt(request(task, policy=policy))
            except ServingError as error:
                wrong.extend([error] if error.code is not Code.NOT_FOUND else [])
    stop.set()
    deleter.join()
    assert not wrong


def test_a_parent_is_not_pruned_while_it_is_adapted(server):
    """``toy-a`` goes on while others make new policies of it: the copied version must not vanish."""
    server.adapter.adapt(request("a"))
    tasks = [lambda: server.adapter.adapt(request(None, policy="toy-a"))] * 2
    tasks += [lambda number=number: server.adapter.adapt(request(f"b{number}", policy="toy-a")) for number in range(2)]
    answers = all_at_once(4, 8, lambda who: tasks[who]())
    assert sorted(one["steps"] for one in answers if one["model"] == "toy-a") == list(range(2, 18))


def test_a_policy_expires_or_is_adapted_but_not_both(models, tmp_path):
    options = Options(retention=Retention(expire_seconds=0.05))
    with Server(models, tmp_path / "adapted", poll_seconds=0.05, options=options) as server:
        for _ in range(15):
            server.adapter.adapt(request("a"))
            server.adapter.expire()
            time.sleep(0.02)


def test_a_killed_publisher_gives_its_lock_back(models, tmp_path):
    adapted = tmp_path / "adapted"
    adapted.mkdir()
    code = (
        "import sys, time; from pathlib import Path; from metazoo.artefact import locks\n"
        "with locks.held(Path(sys.argv[1]), 'toy-a'):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, adapted], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    message = "toy-a has been changed by somebody else for too long"
    with pytest.raises(TimeoutError, match=message), locks.held(adapted, "toy-a", wait=0.05):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert [path.name for path in adapted.iterdir()] == [".lock-toy-a"]
    with Server(models, adapted, poll_seconds=0) as server:
        assert server.adapter.adapt(request("a"))["version"] == 1
    assert not list(adapted.glob(".lock*"))


def test_somebody_at_work_for_too_long_is_unavailable(server, tmp_path, monkeypatch):
    monkeypatch.setattr(lineage.changing.__wrapped__, "__defaults__", (0.05,))
    with (
        locks.held(tmp_path / "adapted", "toy-a"),
        pytest.raises(ServingError, match="Nothing was published") as caught,
    ):
        server.adapter.adapt(request("a"))
    assert caught.value.http_status == 503


def test_locks_are_shared_and_alone(tmp_path):
    inside, most = [], []

    def work(shared):
        for _ in range(40):
            with locks.held(tmp_path, "x", shared=shared):
                inside.append(shared)
                most.append((inside.count(True), inside.count(False)))
                time.sleep(0.0005)
                inside.remove(shared)

    threads = [threading.Thread(target=work, args=(shared,)) for shared in (True, True, True, False, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(alone <= 1 and not (shared and alone) for shared, alone in most)
    assert max(shared for shared, _ in most) > 1
    assert not list(tmp_path.iterdir())


# --- retries on several servers ----------------------------------------------------------------------------------


def test_a_key_holds_on_all_servers_of_a_store(models, tmp_path):
    options = {"poll_seconds": 0}
    with Server(models, tmp_path / "adapted", **options) as one, Server(models, tmp_path / "adapted", **options) as two:
        first = one.adapter.adapt(request("a", key="k"))
        for _ in range(4):  # its version is pruned, and with it what its metadata say
            two.adapter.adapt(request(None, policy="toy-a"))
        again = two.adapter.adapt(request("a", key="k"))
        assert again.pop("replayed") is True and again == {**first, "timings": {}}
        assert max(store.versions(tmp_path / "adapted" / "toy-a")) == 5
        for other in (request("b", key="k"), request("a", key="k", rewards=np.zeros((1, 2, 5)))):
            with pytest.raises(ServingError, match="'k' was used for another request"):
                two.adapter.adapt(other)
        assert not (tmp_path / "adapted" / "toy-b").exists()
        odd = "schlüssel ../\U0001f600"
        assert (
            one.adapter.adapt(request("c", key=odd))["version"] == two.adapter.adapt(request("c", key=odd))["version"]
        )


def test_one_key_on_several_servers_at_a_time(processes):
    urls, adapted = processes
    import http.client
    from urllib.parse import urlsplit

    from tests.serving.adapting.test_adapter import as_npz

    def post(who):
        connection = http.client.HTTPConnection(urlsplit(urls[who % 2]).netloc, timeout=60)
        path, body = "/zoo/v1/policies/toy:adapt?task=key", as_npz(**recorded()[1])
        connection.request("POST", path, body, {"Idempotency-Key": "one"})
        response = connection.getresponse()
        answer = response.status, json.loads(response.read())
        connection.close()
        return answer

    answers = all_at_once(8, 1, post)
    assert [status for status, _ in answers] == [200] * 8
    assert {answer["version"] for _, answer in answers} == {1}
    assert sum("replayed" not in answer for _, answer in answers) == 1
    assert list(store.versions(adapted / "toy-key")) == [1]


def test_an_answer_that_was_never_sent_is_known_by_its_version(models, tmp_path):
    """The server was killed between publishing and remembering: the key stands in the version's metadata."""
    with Server(models, tmp_path / "adapted", poll_seconds=0) as server:
        server.adapter.adapt(request("a", key="k"))
    for path in (tmp_path / "adapted" / ".requests").iterdir():
        path.unlink()
    with Server(models, tmp_path / "adapted", poll_seconds=0) as server:
        assert server.adapter.adapt(request("a", key="k"))["replayed"] is True
