"""Flower's grid without an engine: clients answer one after another, in this process.

For a machine with one core, for a debugger, and for tests: the same client app and the same server, and no Ray.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flwr.app import Context, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from metazoo.federated.client_app import PARTITION, app

if TYPE_CHECKING:
    from metazoo.federated.server import Server

NODE = 1
"""The number of client 0's node; the others follow."""


class InProcess(Grid):
    """``clients`` nodes that all are this process. ``answered`` sees, and may replace, what a client answers."""

    def __init__(self, clients: int, answered: Callable[[Message, int, Message], Message] = lambda _, __, reply: reply):
        self._clients, self._answered, self._sent = clients, answered, 0
        self._replies: list[Message] = []
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1  # messages are made within a run

    def set_run(self, run: Run) -> None:
        pass

    @property
    def run(self) -> Run:
        return Run.create_empty(run_id=1)

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError("messages are made by Message(...).")

    def get_node_ids(self) -> Iterable[int]:
        return range(NODE, NODE + self._clients)

    def get_nodes(self) -> Iterable[NodeInfo]:
        return [NodeInfo(node_id=node) for node in self.get_node_ids()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        self._replies += (made := [self._played(message) for message in messages])
        return [reply.metadata.reply_to_message_id for reply in made]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted, replies = set(message_ids), self._replies
        self._replies = [one for one in replies if one.metadata.reply_to_message_id not in wanted]
        return [one for one in replies if one.metadata.reply_to_message_id in wanted]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))

    def _played(self, message: Message) -> Message:
        node, self._sent = message.metadata.dst_node_id, self._sent + 1
        message.metadata.__dict__["_message_id"] = str(self._sent)
        context = Context(1, node, UserConfig({PARTITION: node - NODE}), RecordDict(), UserConfig())
        reply = app(message, context)
        reply.metadata.__dict__["_src_node_id"] = node
        return self._answered(message, node - NODE, reply)


def in_process() -> "Callable[[Server], bool]":
    """What makes a server's rounds without an engine; False if Ctrl-C ended them."""
    import logging

    from metazoo.training.callbacks import Interrupt

    def rounds(server: "Server") -> bool:
        logging.getLogger("flwr").setLevel(logging.CRITICAL)
        with Interrupt() as interrupt:
            return server.make_rounds(InProcess(server.federation.clients), lambda: interrupt.asked)

    return rounds
