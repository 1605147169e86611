"""Flower's ``ClientApp``: who it is, an update of the weights, the return on its own validation tasks.

In a simulation Flower numbers the clients; in a deployment each says its number with ``--node-config
"partition-id=0"``.
"""

from typing import Final

from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from metazoo.federated import records
from metazoo.federated.federation import federation_from

PARTITION: Final = "partition-id"

app = ClientApp()


@app.query()
def introduce(message: Message, context: Context) -> Message:
    """Which of the federation's clients this is."""
    return Message(RecordDict({records.CONFIG: ConfigRecord({records.CLIENT: _client(context)})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """The weights after the client's own tasks; or an error, if it drops out of this round."""
    from metazoo.federated.client import client_from

    config, client = message.content.config_records[records.CONFIG], _client(context)
    text, number = str(config[records.FEDERATION]), int(str(config[records.ROUND]))
    federation = federation_from(text)
    if federation.drops(client, number):
        return Message(Error(records.DROPPED, f"client {client} dropped out"), reply_to=message)
    arrays = message.content.array_records[records.ARRAYS]
    moved, metrics = client_from(text).update(arrays.to_numpy_ndarrays(), client, number)
    shown = {} if federation.private else metrics
    answer = RecordDict()
    answer[records.ARRAYS] = records.arrays_of(arrays.keys(), moved)
    answer[records.METRICS] = MetricRecord({**shown, records.WEIGHT: federation.tasks})
    return Message(answer, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """The client's mean return on its own validation tasks, before and after each inner step."""
    from metazoo.federated.client import client_from

    config = message.content.config_records[records.CONFIG]
    arrays = message.content.array_records[records.ARRAYS].to_numpy_ndarrays()
    curve = client_from(str(config[records.FEDERATION])).evaluate(arrays, _client(context))
    metrics = MetricRecord({records.WEIGHT: 1, **{f"return_{i}": value for i, value in enumerate(curve)}})
    return Message(RecordDict({records.METRICS: metrics}), reply_to=message)


def _client(context: Context) -> int:
    if PARTITION not in context.node_config:
        raise ValueError(f"this node has no {PARTITION}; start it with --node-config '{PARTITION}=0'.")
    return int(context.node_config[PARTITION])
