"""Federations that take moments, and a grid that hands messages to Flower's client app in this process."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from metazoo.federated import records
from metazoo.federated.federation import Federation, federation_of
from metazoo.federated.in_process import NODE, InProcess
from metazoo.presets.registry import PRESETS

InProcess(0)  # after this, messages can be made


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


def Grid(clients: int, spoil=lambda message, client, answered: answered) -> InProcess:
    """A grid that keeps the ``messages`` it was given. ``spoil`` may replace what a client answered."""

    def answered(message, client, reply):
        grid.messages.append(message)
        return spoil(message, client, reply)

    grid = InProcess(clients, answered)
    grid.messages = []
    return grid
