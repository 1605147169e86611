"""The server's side of a round, in Flower's strategies: whose turn it is, what is taken, and how the weights move.

``OuterStep`` stands around ``Rotation``, or around Flower's wrapper for differential privacy around that. So noise is
added to the mean of the clients' weights, and the optimizer comes after it. Around an optimizer's step (``FedAdam``)
the same noise would promise nothing, as nobody has bounded that step.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, final

import numpy as np
import tensorflow as tf
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg, Strategy

from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.common.outer_step import clip
from metazoo.federated import records
from metazoo.federated.federation import Federation
from metazoo.federated.privacy import Privacy
from metazoo.federated.screening import Refusal, Screen, same_metrics

NUDGE = 1e-6
"""The length of an update that stands for none: Flower's clipping divides by it."""


@final
class Rotation(FedAvg):
    """Federated averaging among the clients whose turn it is; validators evaluate, where ``evaluates`` says so."""

    def __init__(self, federation: Federation, nodes: Mapping[int, int], evaluates: Callable[[int], bool]):
        super().__init__(weighted_by_key=records.WEIGHT, arrayrecord_key=records.ARRAYS)
        self._federation, self._nodes, self._evaluates = federation, nodes, evaluates

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self._messages(self._federation.turn(server_round), server_round, arrays, MessageType.TRAIN)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        if not self._evaluates(server_round):
            return []
        return self._messages(self._federation.validators, server_round, arrays, MessageType.EVALUATE)

    def _messages(self, clients: Iterable[int], number: int, arrays: ArrayRecord, kind: str) -> list[Message]:
        config = ConfigRecord({records.ROUND: number, records.FEDERATION: self._federation.as_text()})
        content = RecordDict({records.ARRAYS: arrays, records.CONFIG: config})
        return [Message(content, self._nodes[client], kind) for client in clients]


class Traffic(NamedTuple):
    """What happened in a round. ``lost`` clients were asked for an update and sent none, ``errors`` say why; bytes are
    those of the evaluation, too."""

    asked: int = 0
    received: int = 0
    lost: int = 0
    refused: tuple[Refusal, ...] = ()
    errors: tuple[str, ...] = ()
    bytes_down: int = 0
    bytes_up: int = 0


@final
class OuterStep(Strategy):
    """Refuses malformed updates, has the others averaged, and moves the learner's weights by what came out.

    Rounds are counted on from ``made``. ``traffic`` is that of the last round, evaluation included.
    """

    def __init__(
        self,
        learner: Learner,
        federation: Federation,
        nodes: Mapping[int, int],
        evaluates: Callable[[int], bool],
        privacy: Privacy | None = None,
        made: int = 0,
    ):
        self._learner, self._federation, self._made = learner, federation, made
        self._clients = {node: client for client, node in nodes.items()}
        self._screen = Screen(by_length=privacy is None)
        rotation = Rotation(federation, nodes, evaluates)
        self._inner: Any = rotation if privacy is None else _with_noise(rotation, privacy, federation.sampled)
        self._private = privacy is not None
        self._names = records.names_of(learner.meta_variables)
        self.traffic = Traffic()
        self.scores: list[float] | None = None
        """The return before and after each inner step, of the last round that was evaluated."""

    @property
    def arrays(self) -> ArrayRecord:
        """The learner's weights."""
        return records.arrays_of(self._names, (value.numpy() for value in self._learner.current_weights()))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self.traffic, self.scores = Traffic(), None
        sent = self._sent(self._inner.configure_train(self._made + server_round, arrays, config, grid))
        self.traffic = self.traffic._replace(asked=len(sent))
        return sent

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self._sent(self._inner.configure_evaluate(self._made + server_round, arrays, config, grid))

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answered = self._received(replies)
        weights = dict(zip(self._names, (value.numpy() for value in self._learner.current_weights()), strict=True))
        taken, refused = self._screen.sort(answered, weights, self._federation.tasks)
        count, asked = len(answered), self.traffic.asked
        self.traffic = self.traffic._replace(received=count, lost=asked - count, refused=tuple(refused))
        if self._private:
            taken = self._counted(answered, taken, weights)
            self._inner.num_sampled_clients = max(1, len(taken))
        arrays, metrics = None, None
        if taken:
            arrays, metrics = self._inner.aggregate_train(self._made + server_round, list(taken.values()))
        self._move(weights, arrays)
        return self.arrays, metrics

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        answered = self._received(replies)
        names = [f"return_{i}" for i in range(self._federation.preset.steps + 1)]
        good = same_metrics(answered.values(), names)
        if not good:
            return None
        metrics = self._inner.aggregate_evaluate(self._made + server_round, good)
        self.scores = [float(metrics[name]) for name in names]
        return metrics

    def summary(self) -> None:
        self._inner.summary()

    def _move(self, before: Mapping[str, np.ndarray], arrays: ArrayRecord | None) -> None:
        """One outer step along what the mean of the clients' weights is short of; without any, only time passes."""
        learner = self._learner
        if arrays is None:
            learner.optimizer.iterations.assign_add(1)
            return
        steps = [tf.constant(weights - arrays[name].numpy()) for name, weights in before.items()]
        if self._federation.step == "adam":
            steps, _ = clip(steps, learner.config.clip_norm)
        learner.apply_step(learner.optimizer, steps, learner.meta_variables)

    def _counted(
        self, answered: Mapping[int, Message], taken: Mapping[int, Message], weights: Mapping[str, np.ndarray]
    ) -> dict[int, Message]:
        """With privacy every answer counts, a refused one as if nothing had been learned: the number of those that are
        averaged must not depend on what anyone's data made of an update."""
        name = next(iter(weights))
        still = {**weights, name: weights[name] + np.float32(NUDGE)}
        metrics = MetricRecord({records.WEIGHT: self._federation.tasks})

        def moves(reply: Message) -> bool:
            arrays = reply.content.array_records[records.ARRAYS]
            return any(np.any(arrays[name].numpy() != mine) for name, mine in weights.items())

        for client, reply in answered.items():
            if client not in taken or not moves(reply):
                arrays = records.arrays_of(still.keys(), still.values())
                reply.content = RecordDict({records.ARRAYS: arrays, records.METRICS: metrics})
        return {client: answered[client] for client in sorted(answered)}

    def _sent(self, messages: Iterable[Message]) -> list[Message]:
        sent = list(messages)
        size = sum(records.bytes_of(message.content) for message in sent)
        self.traffic = self.traffic._replace(bytes_down=self.traffic.bytes_down + size)
        return sent

    def _received(self, replies: Iterable[Message]) -> dict[int, Message]:
        """The answers by client, one each; errors and strangers are left out."""
        answered, errors = {}, list(self.traffic.errors)
        for reply in replies:
            client = self._clients.get(reply.metadata.src_node_id)
            if client is None or client in answered:
                continue
            if not reply.has_error():
                answered[client] = reply
            elif reply.error.code != records.DROPPED:
                errors.append(f"client {client}: {' '.join(str(reply.error.reason).split())}")
        size = self.traffic.bytes_up + sum(records.bytes_of(reply.content) for reply in answered.values())
        self.traffic = self.traffic._replace(errors=tuple(errors), bytes_up=size)
        return answered


def _with_noise(rotation: Rotation, privacy: Privacy, sampled: int) -> Strategy:
    """Flower's server-side clipping and noise; its own accountant knows no rounds in which somebody drops out."""
    return DifferentialPrivacyServerSideFixedClipping(rotation, privacy.noise, privacy.clip, sampled)
