"""Whole federations without Flower's engine and without playing: what is sent, interruption, resuming, exports, cards.

What clients compute is in ``test_client.py``, the engine in ``test_engine.py``.
"""

import csv
import json

import numpy as np
import pytest

from metazoo.artefact import store
from metazoo.cards.card import card_of
from metazoo.federated import client as clients
from metazoo.federated import records
from metazoo.federated.run import Options, federate
from metazoo.federated.server import FederationError, Server, introductions
from metazoo.pretrained import load
from tests.federated.small import Grid, federation

ROUNDS = 6


class Stand:
    """In place of a client: updates that depend on client and round, and a return that grows with the weights."""

    def update(self, weights, client, number):
        rng = np.random.default_rng([client, number])
        moved = [array + np.float32(0.01) * rng.normal(size=array.shape).astype("f4") for array in weights]
        return moved, {"return_0": -1.0 * client}

    def evaluate(self, weights, client):
        return [-2.0, -1.0 + float(weights[0].mean())]


@pytest.fixture(autouse=True, scope="module")
def stand_ins():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "client_from", lambda text: Stand())
        yield


def made_by(grid, asked=lambda: False):
    return lambda server: server.make_rounds(grid, asked, wait=1.0)


def weights_of(server: Server) -> list[np.ndarray]:
    return [value.numpy() for value in server.learner.current_weights()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A federation with an export, the messages that went around, and the server's last weights."""
    out, grid, servers = tmp_path_factory.mktemp("fed"), Grid(4), []

    def rounds(server):
        servers.append(server)
        return server.make_rounds(grid)

    version = federate(federation(), out, rounds, Options(command="metazoo federate small"))
    return version, grid, servers[0]


def test_episodes_do_not_leave_a_client(trained):
    """What is answered is as long as the weights and a handful of numbers, however much was played."""
    _, grid, server = trained
    assert grid.messages
    size = sum(value.nbytes for value in weights_of(server))
    sums = server.sums
    answers = sums.received + ROUNDS  # at most; evaluations hold no arrays
    assert sums.bytes_up < answers * (size + 200 * len(weights_of(server)) + 500)
    assert {kind.metadata.message_type for kind in grid.messages} == {"query", "train", "evaluate"}


def test_the_log_has_a_line_for_every_round(trained):
    version, _, server = trained
    with (version.parents[2] / "rounds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["round"]) for row in rows] == list(range(1, ROUNDS + 1))
    assert sum(int(row["asked"]) for row in rows) == server.sums.asked == ROUNDS * 3


def test_the_export_is_a_policy_of_the_zoo(trained):
    version, _, server = trained
    policy, metadata = load(version), store.read_metadata(version)
    assert metadata["name"] == "federated_maml_navigation"
    said = metadata["federated"]
    assert (said["clients"], said["rounds"], said["tasks"]) == (4, ROUNDS, 2)
    assert said["bytes_up"] == server.sums.bytes_up > 0
    assert metadata["provenance"]["env_steps"] == ROUNDS * 3 * server.learner.env_steps_per_update
    assert metadata["provenance"]["best_update"] == ROUNDS  # the only validation is the last round's
    assert policy.act(np.zeros(2, np.float32)).shape == (2,)


def test_the_card_says_how_it_was_trained(trained):
    version, _, _ = trained
    metadata = store.read_metadata(version)
    point = {"steps": 0, "episodes": 0, "mean": -1.0, "iqm": -1.0, "ci95": [-2.0, 0.0], "iqm_ci95": [-2.0, 0.0]}
    report = {"metric": "return", "split": "test", "tasks": 9, "seed": 0, "higher_is_better": True}
    report |= {"name": metadata["name"], "deterministic": False, "horizon": 5, "online": False, "baselines": {}}
    report |= {"curve": [point], "total": point}
    card = card_of(version.parent, {**metadata, "evaluation": report}, report)
    sent = metadata["federated"]["bytes_up"] + metadata["federated"]["bytes_down"]
    assert f"| federated | 4 clients, 6 rounds of 3 of them, {sent / 4 / 1e3:.0f} kB sent per client" in card


def test_interrupted_and_resumed_it_ends_with_the_same_weights(trained, tmp_path):
    version, _, whole = trained
    calls = []

    def asked():
        calls.append(1)
        return len(calls) == 4  # before the first round it is asked once

    stopped = federate(federation(), tmp_path, made_by(Grid(4), asked), Options())
    assert stopped == tmp_path / "federated_maml_navigation"
    assert len((stopped / "rounds.csv").read_text().splitlines()) == 1 + 3
    again = []

    def rounds(server):
        again.append(server)
        assert server.done == 3
        return server.make_rounds(Grid(4))

    resumed = federate(federation(), tmp_path, rounds, Options(resume=True))
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(again[0]), weights_of(whole), strict=True))
    assert store.read_metadata(resumed)["federated"] == store.read_metadata(version)["federated"]


def test_what_was_written_after_the_last_checkpoint_is_made_again(trained, tmp_path):
    """A kill between log and checkpoint leaves rows of rounds that are not in it."""
    _, _, whole = trained
    calls = iter([False, False, False, True])
    run = federate(federation(), tmp_path, made_by(Grid(4), lambda: next(calls)), Options())
    log = run / "rounds.csv"
    log.write_text(log.read_text() + log.read_text().splitlines()[-1].replace("3,", "4,", 1) + "\n")
    server = Server(federation(), run, resume=True)
    server.make_rounds(Grid(4))
    assert server.sums == whole.sums


def test_other_settings_are_not_resumed(tmp_path):
    calls = iter([True])
    federate(federation(), tmp_path, made_by(Grid(4), lambda: next(calls)), Options())
    with pytest.raises(ValueError, match="was trained with another federation; resume with the same settings."):
        federate(federation(dropout=0.2), tmp_path, made_by(Grid(4)), Options(resume=True))


def test_clients_that_drop_out_are_lost_and_the_rest_goes_on(tmp_path):
    one = federation(dropout=0.4)
    server = Server(one, tmp_path)
    before = weights_of(server)
    assert server.make_rounds(Grid(4))
    drops = sum(one.drops(client, number) for number in range(1, ROUNDS + 1) for client in one.turn(number))
    assert server.sums.lost == drops > 0
    assert server.sums.received == ROUNDS * 3 - drops
    assert any(np.any(a != b) for a, b in zip(before, weights_of(server), strict=True))


def test_a_client_that_sends_nan_is_named_and_the_others_learn(tmp_path, capsys):
    def spoil(message, client, answered):
        if client == 1 and message.metadata.message_type == "train":
            arrays = answered.content.array_records[records.ARRAYS]
            bad = [np.full_like(array.numpy(), np.nan) for array in arrays.values()]
            answered.content[records.ARRAYS] = records.arrays_of(arrays.keys(), bad)
        return answered

    server = Server(federation(), tmp_path)
    server.make_rounds(Grid(4, spoil))
    assert "round 1: the update of client 1 was refused: 0:" in capsys.readouterr().err.replace("round 2", "round 1")
    assert all(np.isfinite(value).all() for value in weights_of(server))
    assert server.sums.refused == sum(1 in federation().turn(number) for number in range(1, ROUNDS + 1))


def test_with_privacy_no_figure_leaves_a_client_and_nothing_is_validated(tmp_path):
    from metazoo.federated.privacy import privacy_of

    one = federation(private=True)
    privacy, seen = privacy_of(one, 5.0, 0.1, 1.0), set()

    def look(message, client, answered):
        if message.metadata.message_type == "train":
            seen.update(answered.content.metric_records[records.METRICS])
        return answered

    grid = Grid(4, look)
    server = Server(one, tmp_path, privacy)
    server.make_rounds(grid)
    assert seen == {records.WEIGHT}
    assert "evaluate" not in {message.metadata.message_type for message in grid.messages}
    assert server.checkpoints.best_update == 0


def test_clients_that_do_not_come_are_counted():
    with pytest.raises(FederationError, match=r"3 of 4 clients came within 0 seconds."):
        introductions(Grid(3), 4, 0.0)


def test_a_number_that_two_clients_have_is_refused():
    def twice(message, client, answered):
        answered.content.config_records[records.CONFIG][records.CLIENT] = min(client, 2)
        return answered

    with pytest.raises(FederationError, match="the clients say that they are 0, 1, 2, 2; each of 0 to 3 must be"):
        introductions(Grid(4, twice), 4, 1.0)


def test_settings_of_a_run_stand_in_its_directory(trained):
    version, _, _ = trained
    said = json.loads((version.parents[2] / "run.json").read_text())
    assert said["federation"]["clients"] == 4
    assert said["privacy"] is None
