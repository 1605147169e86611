"""Federations that take moments, and a grid that hands messages to Flower's client app in this process."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.user_config import UserConfig
from flwr.supercore.task_identity import TaskIdentity

from metazoo.federated import records
from metazoo.federated.client_app import PARTITION, app
from metazoo.federated.federation import Federation, federation_of
from metazoo.presets.registry import PRESETS

TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1  # messages are made within a run

NODE = 1000
"""The number of client 0's node; the others follow."""


def federation(name: str = "maml_navigation", **settings) -> Federation:
    """Of four clients that play two tasks of five steps."""
    preset = PRESETS[name]
    config = {**preset.config, "episodes": 2}
    if "inner_steps" in config:
        config["inner_steps"] = 1
    small = dataclasses.replace(
        preset, config=config, family_args={"horizon": 5}, network={"hidden": (4,)}, episodes=2, steps=1
    )
    return federation_of(small, **{"clients": 4, "rounds": 6, "sampled": 3, "tasks": 2, **settings})


def nodes(clients: int) -> dict[int, int]:
    return {client: NODE + client for client in range(clients)}


def reply(message: Message, client: int, content: RecordDict) -> Message:
    """A client's answer as the engine delivers it."""
    answer = Message(content, reply_to=message)
    answer.metadata.__dict__["_src_node_id"] = NODE + client
    return answer


def answer(
    message: Message, client: int, arrays: Mapping[str, np.ndarray], tasks: int = 2, **metrics: float
) -> Message:
    content = RecordDict()
    content[records.ARRAYS] = records.arrays_of(arrays.keys(), arrays.values())
    content[records.METRICS] = MetricRecord({records.WEIGHT: tasks, **metrics})
    return reply(message, client, content)


def asked(arrays: ArrayRecord | None = None) -> Message:
    """A message that a reply can answer."""
    content = RecordDict({records.ARRAYS: arrays or ArrayRecord(), records.CONFIG: ConfigRecord()})
    message = Message(content, NODE, "train")
    message.metadata.__dict__["_message_id"] = "1"
    return message


class Grid:
    """Flower's grid without an engine. ``spoil`` may replace what a client answered."""

    def __init__(self, clients: int, spoil=lambda message, client, answered: answered):
        self._clients, self._spoil = clients, spoil
        self.messages: list[Message] = []

    def get_node_ids(self) -> Iterable[int]:
        return nodes(self._clients).values()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [self._answered(message) for message in messages]

    def _answered(self, message: Message) -> Message:
        client = message.metadata.dst_node_id - NODE
        message.metadata.__dict__["_message_id"] = str(len(self.messages))
        self.messages.append(message)
        context = Context(0, client, UserConfig({PARTITION: client}), RecordDict(), UserConfig())
        answered = app(message, context)
        answered.metadata.__dict__["_src_node_id"] = message.metadata.dst_node_id
        return self._spoil(message, client, answered)
