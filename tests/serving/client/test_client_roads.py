"""The client over gRPC, TLS and a store; retries; asynchronous; recurrent policies."""

import asyncio
import gzip
import http.server
import re
import threading
import time

import gymnasium as gym
import numpy as np
import pytest

from metazoo.artefact import store
from metazoo.collect import CollectionError
from metazoo.types import Episodes
from serving.client import Client, messages
from serving.client.asynchronous import AsyncClient
from serving.client.client import Store
from serving.client.retrying import Pauses
from serving.errors import Code, ServingError
from serving.models.config_files import models_config
from serving.models.sources import scan
from serving.options import Options
from serving.server import Server
from tests import toy_policy
from tests.serving import recurrent_toy
from tests.serving.adapting.test_adapter import directly_adapted, own_memory, recorded
from tests.serving.client.test_client import play_directly
from tests.serving.test_security import CERTIFICATE, KEY, TOKEN

# --- other roads to the same server ------------------------------------------------------------------------------


def test_everything_goes_over_grpc_too(server, env, tmp_path):
    client = Client(f"grpc://{server.grpc_target}")
    assert client.metadata("toy")["horizon"] == toy_policy.HORIZON
    assert client.status("toy") == Client(server.url).status("toy")
    adaptation = client.adapt("toy", env, episodes=2, steps=2, task="g")
    assert (adaptation.model, adaptation.version) == ("toy-g", 2)
    assert [policy["name"] for policy in client.policies()] == ["toy", "toy-g"]
    client.delete("toy-g")
    with pytest.raises(ServingError, match="Could not find any versions of model toy-g") as caught:
        client.status("toy-g")
    assert caught.value.code is Code.NOT_FOUND
    client.close()


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_tls_and_token(models, tmp_path, env, scheme):
    options = Options(token=TOKEN, tls_cert=CERTIFICATE, tls_key=KEY)
    with Server(models, tmp_path / "adapted", poll_seconds=0, options=options) as server:
        url = server.url if scheme == "https" else f"grpcs://{server.grpc_target}"
        client = Client(url, token=TOKEN, ca=str(CERTIFICATE))
        assert client.adapt("toy", env, episodes=1).version == 1
        client.close()
        stranger = Client(url, ca=str(CERTIFICATE))
        with pytest.raises(ServingError, match="Authorization: Bearer") as caught:
            stranger.delete("toy-task")
        assert caught.value.code is Code.UNAUTHENTICATED
        stranger.close()
        if scheme == "https":
            with pytest.raises(ServingError, match="a certificate that is not trusted"):
                Client(url).policies()


def test_a_stock_server_adapts_through_the_signature_and_the_store(models, tmp_path, env):
    """The server is not asked to adapt: it only serves two directories, as TF Serving does."""
    adapted = tmp_path / "elsewhere"
    with Server(models, adapted, poll_seconds=0.05) as server:
        client = Client(server.url, store=Store(models, adapted))
        adaptation = client.adapt("toy", env, episodes=3, steps=2, task="s", seed=3)
        assert (adaptation.model, adaptation.version) == ("toy-s", 2)
        played = play_directly(own_memory(models / "toy" / "1"), env, 3, 3)
        np.testing.assert_array_equal(adaptation.rounds[0].returns, played.returns)
        memory, loss = directly_adapted(
            models / "toy" / "1", own_memory(models / "toy" / "1"), played.episodes._asdict()
        )
        np.testing.assert_allclose(store.read_memory(adapted / "toy-s" / "1"), memory, rtol=1e-4, atol=1e-5)
        assert adaptation.rounds[0].diagnostics["loss"] == pytest.approx(loss, rel=1e-3, abs=1e-5)
        lineage = store.read_metadata(adapted / "toy-s" / "2")["adapted"]
        assert (lineage["from"], lineage["steps"], lineage["episodes"]) == ("toy", 2, 6)
        assert [policy["name"] for policy in client.policies()] == ["toy", "toy-s"]
        for arguments, message in (
            (("none", env), "There is no policy none"),
            (("toy", env, 1, 1, "a/b"), "is not a name"),
        ):
            with pytest.raises(ServingError, match=message):
                client.adapt(*arguments)
        client.delete("toy-s")
        with pytest.raises(ServingError, match="not an adapted policy"):
            client.delete("toy")
        client.close()


def test_names_and_records_through_the_store_are_those_of_the_service(models, tmp_path):
    """The same requests on both roads: the same names, and the same in the metadata."""
    found = []
    for number, road in enumerate(("service", "store")):
        adapted = tmp_path / road
        with Server(models, adapted, poll_seconds=0.05) as server:
            client = Client(server.url, store=Store(models, adapted) if number else None)
            requests = (("toy", "race"), ("toy-race", "race"), ("toy-race", None), ("toy-race", "b"), ("toy", "race-b"))
            episodes, seen = Episodes(**recorded()[1]), []
            for name, task in requests:
                try:
                    answer = client.adapt_to(name, episodes, task)
                    seen.append([answer[key] for key in ("model", "version", "steps", "episodes")])
                except ServingError as error:
                    seen.append([error.code, error.message])
            client.close()
        records = {base.name: store.read_metadata(store.latest(base))["adapted"] for base in adapted.glob("toy*")}
        for record in records.values():
            record.pop("diagnostics")
            record.pop("request", None)
        found.append((seen, records))
    assert found[0] == found[1]
    seen, records = found[0]
    assert [one[0] for one in seen[:4]] == ["toy-race", "toy-race", "toy-race", "toy-race-b"]
    assert seen[2] == ["toy-race", 3, 3, 6] and seen[4][0] is Code.ALREADY_EXISTS
    assert records["toy-race-b"]["from_version"] == 3


def test_a_stock_server_is_told_of_new_policies(models, tmp_path, env):
    """By HandleReloadConfigRequest, with nothing watched but what the list says."""
    adapted, config = tmp_path / "elsewhere", tmp_path / "models.config"
    adapted.mkdir()
    config.write_text(str(models_config(scan(models))))
    with Server(poll_seconds=0, model_config_file=config) as server:
        with pytest.raises(ValueError, match="reload needs gRPC"):
            Client(server.url, store=Store(models, adapted, reload=True))
        client = Client(f"grpc://{server.grpc_target}", store=Store(models, adapted, reload=True))
        assert client.adapt("toy", env, episodes=1, task="r").model == "toy-r"
        assert client.status("toy-r")[0]["state"] == "AVAILABLE"
        client.close()


# --- retries -----------------------------------------------------------------------------------------------------


class Busy(http.server.BaseHTTPRequestHandler):
    """Answers 503 as often as ``refusals`` says, then an empty list of policies."""

    protocol_version = "HTTP/1.1"
    refusals, seen = 0, 0

    def do_GET(self):
        Busy.seen += 1
        status, body = (503, b'{"error": "full"}') if Busy.seen <= Busy.refusals else (200, b'{"policies": []}')
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def busy():
    Busy.refusals = Busy.seen = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_busy_server_is_asked_again(busy, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    Busy.refusals = 3
    assert Client(busy).policies() == [] and Busy.seen == 4
    assert len(pauses) == 3 and all(
        0.5 * most <= pause <= most for pause, most in zip(pauses, (0.05, 0.1, 0.2), strict=True)
    )
    Busy.refusals, Busy.seen = 99, 0
    with pytest.raises(ServingError, match="full") as caught:
        Client(busy, tries=3).policies()
    assert caught.value.code is Code.UNAVAILABLE and Busy.seen == 3


def test_other_refusals_are_final():
    pauses = Pauses(5)
    for code in set(Code) - {Code.UNAVAILABLE}:
        with pytest.raises(ServingError, match="no"):
            pauses.after(ServingError(code, "no"))
    lengths = [Pauses(100).after(ServingError(Code.UNAVAILABLE, "full")) for _ in range(20)]
    assert len(set(lengths)) > 10  # they differ, so that clients do not come back together
    assert max(pauses.after(ServingError(Code.UNAVAILABLE, "full")) for _ in range(4)) >= 1.0 or pauses.left == 0


def test_a_batch_with_other_shapes_is_tried_again_once_alone():
    """What the real TF Serving says when its batching put requests of different shapes together."""
    text = "Tensors with name 'a:0' from different tasks have different shapes and padding is turned off.Set pad_"
    pauses = Pauses(5)
    assert 0 < pauses.after(ServingError(Code.FAILED_PRECONDITION, text)) < 1
    with pytest.raises(ServingError, match="different shapes"):
        pauses.after(ServingError(Code.FAILED_PRECONDITION, text))


def test_adapt_is_padded_to_what_everybody_sends(models, tmp_path, env):
    """Equal shapes for all who adapt one policy: batching cannot make them fail each other."""
    metadata = store.read_metadata(models / "toy" / "1")
    sent = []
    with Server(models, tmp_path / "adapted", poll_seconds=0.05) as server:
        client = Client(server.url, store=Store(models, tmp_path / "adapted"))
        real = client._predicting.predict
        client._predicting.predict = lambda *call: (sent.append(call), real(*call))[1]
        episodes = client.play("toy", env, 2, seed=1).episodes
        short = episodes._replace(**{
            name: value[:, :, :3] for name, value in episodes._asdict().items() if name != "final_observations"
        })  # fmt: skip
        answer = client.adapt_to("toy", short, "short")
        client.close()
    (fields,) = (inputs for _, inputs, signature, _ in sent if signature == "adapt")
    assert fields["mask"].shape == (1, metadata["adapt"]["episodes"], metadata["horizon"])
    assert fields["final_observations"].shape[:2] == (1, metadata["adapt"]["episodes"])
    assert fields["mask"].sum() == short.mask.sum() and answer["episodes"] == 2
    memory, _ = directly_adapted(models / "toy" / "1", own_memory(models / "toy" / "1"), short._asdict())
    np.testing.assert_allclose(store.read_memory(tmp_path / "adapted" / "toy-short" / "1"), memory, atol=1e-5)


# --- asynchronous ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_the_asynchronous_client_does_all_of_it(server, env, models, scheme):
    url = server.url if scheme == "http" else f"grpc://{server.grpc_target}"
    observations = toy_policy.example_inputs("act", rows=40)["observations"]
    memory = own_memory(models / "toy" / "1")

    async def main():
        async with AsyncClient(url) as client:
            asked = (client.predict("toy", {"observations": row[None]}, "act") for row in observations)
            answers = await asyncio.gather(*asked)
            expected = observations @ memory[:8].reshape(4, 2) + memory[8:10]
            np.testing.assert_allclose([answer["logits"][0] for answer in answers], expected, rtol=1e-5)
            assert await client.act("toy", observations[0]) == expected[0].argmax()
            adaptation = await client.adapt("toy", env, episodes=2, task="a")
            assert (await client.play(adaptation.model, env, 2, seed=1)).returns.shape == (2,)
            episodes = (await client.play("toy", env, 2, seed=1)).episodes
            assert (await client.adapt_to("toy-a", episodes))["version"] == 2
            assert [policy["name"] for policy in await client.policies()] == ["toy", "toy-a"]
            assert (await client.status("toy-a"))[0]["state"] == "AVAILABLE"
            await client.delete("toy-a")
            with pytest.raises(ServingError, match="Servable not found"):
                await client.predict("toy-a", {"observations": observations}, "act")

    asyncio.run(main())


def test_the_asynchronous_client_retries_and_gives_up(busy):
    async def main():
        Busy.refusals = 2
        async with AsyncClient(busy) as client:
            assert await client._ask(messages.policies()) == {"policies": []}
        async with AsyncClient("http://127.0.0.1:9", tries=2) as client:
            with pytest.raises(ServingError, match="There is no server at http://127.0.0.1:9"):
                await client.predict("toy", {"x": np.ones(1)})
        with pytest.raises(ValueError, match="is no address"):
            AsyncClient("localhost:1")

    asyncio.run(main())
    assert Busy.seen == 3


ANSWERS = {
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'6\r\n{"outp\r\nc;x=y\r\nuts": [1.5]}\r\n0\r\n\r\n',
    "until the end": b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"outputs": [1.5]}',
    "packed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
    % (len(gzip.compress(b'{"outputs": [1.5]}', mtime=0)), gzip.compress(b'{"outputs": [1.5]}', mtime=0)),
    "after a hint": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b'HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{"outputs": [1.5]}',
    "cut off": b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"outputs"',
    "no HTTP": b"\x16\x03\x01",
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_asynchronous_client_reads_what_proxies_answer(kind):
    """Each answer comes twice, on one connection or on two; bodies of some megabytes are sent."""
    received = []

    async def answer(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            received.append(len(await reader.readexactly(length)))
            writer.write(ANSWERS[kind])
            if kind != "chunked":
                break
        writer.close()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, AsyncClient(url, tries=1) as client:
            for _ in range(2):
                inputs = {"x": np.ones(1_000_000, np.float32)}
                if kind in ("cut off", "no HTTP"):
                    with pytest.raises(ServingError, match="The server closed the connection"):
                        await client.predict("toy", inputs)
                else:
                    assert (await client.predict("toy", inputs, outputs=("y",)))["y"].tolist() == [1.5]

    asyncio.run(main())
    assert min(received) > 2_000_000


def test_the_asynchronous_client_opens_a_connection_again_that_idled_too_long():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + b'{"policies": []}')
        await asyncio.sleep(0.05)
        writer.close()  # although it said nothing of it

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, AsyncClient(url, tries=1) as client:
            for pause in (0.0, 0.02, 0.2, 0.0):
                assert await client._ask(messages.policies()) == {"policies": []}
                await asyncio.sleep(pause)

    asyncio.run(main())


# --- recurrent policies ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory):
    root = tmp_path_factory.mktemp("recurrent")
    recurrent_toy.export(root / "models" / "recurrent" / "1")
    with Server(root / "models", root / "adapted", poll_seconds=0.05) as running:
        yield running


@pytest.mark.parametrize("by_grpc", [False, True])
def test_a_recurrent_policy_is_played_with_its_memory_here(recurrent, env, by_grpc):
    client = Client(recurrent.url, recurrent.grpc_target if by_grpc else None)
    played = client.play("recurrent", env, 3, seed=2)
    steps = float(played.episodes.mask.sum())
    np.testing.assert_allclose(played.memory, [steps + 3, played.returns.sum(), 3], rtol=1e-5)  # 3 closing steps
    adaptation = client.adapt("recurrent", env, episodes=3, task=f"t{by_grpc:d}", seed=2)
    np.testing.assert_allclose(client.initial_memory(adaptation.model), played.memory, rtol=1e-5)  # baked in
    client.close()


def test_a_player_remembers_for_its_caller(recurrent, env):
    client = Client(recurrent.url)
    player, total, steps = client.player("recurrent", seed=4), 0.0, 0
    for episode in range(2):
        observation, _ = env.reset(seed=episode)
        done = False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(player.act(observation))
            player.record(reward, observation, terminated, truncated)
            total, steps, done = total + reward, steps + 1, terminated or truncated
    np.testing.assert_allclose(player.memory[0], [steps + 2, total, 2], rtol=1e-5)
    client.close()


def test_a_player_of_a_feed_forward_policy(client, env, models):
    player, memory = client.player("toy"), own_memory(models / "toy" / "1")
    observation, _ = env.reset(seed=0)
    expected = np.argmax(observation @ memory[:8].reshape(4, 2) + memory[8:10])
    assert player.act(observation, deterministic=True) == expected
    player.record(1.0, observation, terminated=True)
    assert player.memory.size == 0


# --- what callers and environments answer --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_client_asks_no_action_for_what_is_not_finite(server, client, value):
    observation = np.full(4, value)
    for one in (client, Client(f"grpc://{server.grpc_target}")):
        with pytest.raises(CollectionError, match=f"observation has {value} in it: all must be finite"):
            one.act("toy", observation)
        with pytest.raises(CollectionError, match=f"{value} in it"):
            one.player("toy").act(observation)

    async def ask():
        async with AsyncClient(server.url) as one:
            await one.act("toy", observation)

    with pytest.raises(CollectionError, match=f"{value} in it"):
        asyncio.run(ask())


def test_a_player_reads_answers_as_episodes_are_read(recurrent, env):
    client = Client(recurrent.url)
    plain, other = client.player("recurrent", seed=4), client.player("recurrent", seed=4)
    observation, _ = env.reset(seed=0)
    assert plain.act(observation) == other.act(observation)
    memory = other.memory.copy()
    for reward, ended, why in (
        (np.zeros(2), False, "must be a number"), (np.nan, False, "must be finite"), (1.0, None, "True or False"),
    ):  # fmt: skip
        with pytest.raises(CollectionError, match=why):
            other.record(reward, observation, ended)
    with pytest.raises(CollectionError, match="nan in it"):
        other.record(1.0, np.full(4, np.nan), True)
    np.testing.assert_array_equal(other.memory, memory)
    plain.record(1.0, observation, False)
    other.record([1.0], observation.tolist(), [False], np.array([False]))
    assert plain.act(observation) == other.act(observation)
    np.testing.assert_array_equal(plain.memory, other.memory)
    plain.record(1.0, observation, True)
    other.record(np.array([1]), observation.tolist(), [1])
    np.testing.assert_array_equal(plain.memory, other.memory)
    client.close()


def test_what_is_no_environment_and_no_episodes_is_refused_in_one_sentence(client):
    for act in (lambda: client.play("toy", "CartPole-v1", 1, 0), lambda: client.adapt("toy", "CartPole-v1")):
        with pytest.raises(CollectionError, match="'CartPole-v1' is not an environment: a gymnasium.Env is needed"):
            act()
    wrong = [
        ({"rewards": [[1.0]]}, "the episodes lack 'observations'"),
        ("e.npz", "there is no episodes file e.npz"),
        (None, "a NoneType is no recorded episodes: need Episodes"),
    ]
    for episodes, why in wrong:
        with pytest.raises(CollectionError, match=why):
            client.adapt_to("toy", episodes)


def test_a_client_adapts_to_an_environment_that_reuses_its_array(client, env):
    class Buffered(gym.ObservationWrapper):
        buffer = np.zeros(4, np.float32)

        def observation(self, observation):
            self.buffer[:] = observation
            return self.buffer

    right, found = (client.play("toy", one, 2, 0).episodes for one in (env, Buffered(env)))
    for field, value in zip(right, found, strict=True):
        np.testing.assert_array_equal(field, value)
