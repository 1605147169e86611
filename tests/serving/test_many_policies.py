"""A thousand adapted policies: one graph, one batch for requests of different ones, little memory each."""

import asyncio
import gc
import json
import threading

import numpy as np
import pytest

from metazoo import savedmodels_directory
from metazoo.artefact import store, whole
from serving.client import Client
from serving.engine.batch_parameters import Limits
from serving.engine.batching import Batcher
from serving.engine.program import Program
from serving.engine.servable import Loader
from serving.handlers import DataPlane
from serving.models.manager import Manager
from serving.models.sources import ModelConfig, VersionCache, scan
from tests import toy_policy
from tests.memory import STATM, least_growth

COUNT = 20


@pytest.fixture
def policies(models):
    """``COUNT`` policies adapted from the toy policy, all different: name → version directory."""
    rng = np.random.default_rng(0)
    paths = {}
    for number in range(COUNT):
        memory = rng.normal(size=toy_policy.SIZE)
        name = f"toy-{number:02d}"
        paths[name] = store.publish(models / "toy" / "1", models / name, memory, {"name": name})
    return paths


@pytest.fixture
def calls(monkeypatch):
    """The rows of every call of a session, in order."""
    rows = []
    real = Batcher.__init__

    def spying(self, call, limits, merges):
        def counted(feeds, outputs, timeout_ms):
            rows.append(len(next(iter(feeds.values()))))
            return call(feeds, outputs, timeout_ms)

        real(self, counted, limits, merges)

    monkeypatch.setattr(Batcher, "__init__", spying)
    return rows


def test_requests_of_different_policies_are_one_call_of_step(models, policies, calls):
    manager = Manager(lambda: scan(models))
    manager.refresh()
    plane = DataPlane(manager)
    calls.clear()
    observations = np.random.default_rng(1).normal(size=(COUNT, 3, 4)).astype(np.float32)

    async def ask():
        bodies = [json.dumps({"inputs": rows.tolist(), "signature_name": "act"}).encode() for rows in observations]
        asked = [plane.predict_json_async(name, None, None, body) for name, body in zip(policies, bodies, strict=True)]
        return [json.loads(answer)["outputs"] for answer in await asyncio.gather(*asked)]

    answers = asyncio.run(ask())
    assert calls == [3 * COUNT]
    for path, rows, answer in zip(policies.values(), observations, answers, strict=True):
        own = Program(path, Limits()).signatures["act"].run({"observations": rows})
        np.testing.assert_array_equal(answer["actions"], own["actions"])
        np.testing.assert_allclose(np.array(answer["logits"], np.float32), own["logits"], rtol=1e-6, atol=1e-6)


def test_threads_with_different_policies_get_their_own_answers(server, models, policies):
    """Over gRPC, through the whole server, while batches form as they may."""
    server.manager.refresh()
    client = Client(server.url, grpc=server.grpc_target)
    wrong = []
    observations = np.random.default_rng(2).normal(size=(COUNT, 4)).astype(np.float32)
    memories = [store.read_memory(path) for path in policies.values()]
    expected = [
        rows @ memory[:8].reshape(4, 2) + memory[8:10] for rows, memory in zip(observations, memories, strict=True)
    ]

    def ask(number):
        for _ in range(15):
            answer = client.predict(f"toy-{number:02d}", {"observations": observations[number : number + 1]}, "act")
            if not np.allclose(answer["logits"][0], expected[number], rtol=1e-5, atol=1e-5):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    client.close()
    assert not wrong


@pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from Linux's /proc")
@pytest.mark.parametrize("count", [pytest.param(count, marks=pytest.mark.slow) for count in (200, 1000)])
def test_an_adapted_policy_costs_its_parameters(tmp_path, monkeypatch, count):
    monkeypatch.setattr(whole, "flush", lambda directory: None)
    parent = store.latest(savedmodels_directory() / "maml_cartpole")
    memory, rng = store.read_memory(parent), np.random.default_rng(0)
    for number in range(count):
        name = f"maml_cartpole-{number}"
        updates = {"name": name, "adapted": {"from": "maml_cartpole", "task": str(number), "episodes": 5, "steps": 1}}
        store.publish(parent, tmp_path / name, memory + 0.01 * rng.normal(size=memory.size), updates)
    versions, shown, parts = VersionCache(), 0, 4

    def sources():
        found = scan(tmp_path, versions=versions) if shown else {}
        adapted = {name: config for name, config in found.items() if int(name.split("-")[1]) < shown}
        return {"maml_cartpole": ModelConfig(parent.parent), **adapted}

    manager = Manager(sources, load=Loader(), versions=versions)
    manager.refresh()
    manager.lookup("maml_cartpole").signatures["act"].run({"observations": np.zeros((1, 4), np.float32)})

    def show_more():
        nonlocal shown
        shown += count // parts
        manager.refresh()
        gc.collect()

    gc.collect()
    grown = least_growth([show_more] * parts) / (count // parts)
    assert len(manager.live()) == count + 1
    assert len({id(servable.program) for servable in manager.live()}) == 1
    print(f"{grown:.0f} bytes for each policy of {memory.nbytes} bytes of parameters")
    assert grown < 2 * memory.nbytes + 16 * 1024
    one = manager.lookup("maml_cartpole-7")
    assert one.metadata["adapted"]["task"] == "7" and manager.status("maml_cartpole-7")[0].version == 1
