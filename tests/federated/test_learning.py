"""Federations that learn: the clients of ``navigation``, with a sector of goals each. Minutes."""

import pytest

from metazoo.federated import records
from metazoo.federated.federation import federation_of
from metazoo.federated.in_process import InProcess
from metazoo.federated.server import Server
from metazoo.presets.registry import PRESETS

pytestmark = pytest.mark.slow


def test_it_learns_though_clients_drop_out_of_a_third_of_rounds_and_one_sends_nonsense(tmp_path):
    """After 25 rounds inner steps make good half of what standing still (-39) loses."""

    def spoilt(message, client, reply):
        if client == 5 and message.metadata.message_type == "train" and reply.has_content():
            arrays = reply.content.array_records[records.ARRAYS]
            reply.content[records.ARRAYS] = records.arrays_of(
                arrays.keys(), (1e6 * one.numpy() for one in arrays.values())
            )
        return reply

    federation = federation_of(PRESETS["maml_navigation"], 32, 25, tasks=3, dropout=0.3)
    server = Server(federation, tmp_path)
    assert server.make_rounds(InProcess(32, spoilt))
    sums = server.sums
    assert 0.2 < sums.lost / sums.asked < 0.4
    assert 5 <= sums.refused <= 25 * 20 / 32 + 1
    assert server.checkpoints.best_score > -20.0  # the mean over the curve after each inner step
