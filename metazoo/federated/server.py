"""The rounds of a federation as the server makes them: checkpoints, validation by the clients, ``rounds.csv``.

Flower's own loop (``Strategy.start``) makes the rounds. What happens after each of them hangs on its ``evaluate_fn``.
"""

import csv
import io
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import keras
import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from metazoo import progress
from metazoo.artefact.whole import write_whole
from metazoo.federated import records
from metazoo.federated.federation import Federation
from metazoo.federated.privacy import Privacy
from metazoo.federated.strategy import OuterStep, Traffic
from metazoo.training.callbacks import Checkpoints, validation_score
from metazoo.training.train import build

VALIDATE: Final = 25
"""Rounds between two validations by all clients."""
SAVE: Final = 5
"""Rounds between two checkpoints; a killed run makes so many again, and they come out the same."""
COLUMNS: Final = ("round", "asked", "received", "lost", "refused", "bytes_down", "bytes_up", "seconds")
AT_ONCE: Final = 64
"""Introductions asked for at once: the engine looks at every pair of a message that waits and a node."""
WAIT: Final = 600.0
"""Seconds that clients have to answer, and nodes to connect."""


class _Stopped(Exception):
    """Somebody asked for the end; a checkpoint was written."""


class FederationError(RuntimeError):
    """Clients do not do what a federation needs; one sentence."""


class Sums(NamedTuple):
    """Over all rounds: what was sent, by all clients together, and how often."""

    asked: int
    received: int
    lost: int
    refused: int
    bytes_down: int
    bytes_up: int


class Server:
    """A federation's learner and its run directory. ``done`` are the rounds that the checkpoints hold."""

    def __init__(self, federation: Federation, run: Path, privacy: Privacy | None = None, resume: bool = False):
        self.federation, self.privacy = federation, privacy
        self.learner = build(federation.preset, federation.seed)
        self.learner.compile(_optimizer(federation))
        self.learner.optimizer.build(self.learner.trainable_variables)
        self.checkpoints = Checkpoints(self.learner, run / "checkpoints", SAVE)
        self.done = self.checkpoints.restore() if resume else 0
        self._log = run / "rounds.csv"
        self._rows = [row for row in _rows(self._log) if int(row["round"]) <= self.done]
        self._failures: set[str] = set()

    @property
    def sums(self) -> Sums:
        """Of all rounds that were made."""
        return Sums(*(sum(int(row[name]) for row in self._rows) for name in Sums._fields))

    def make_rounds(self, grid: Grid, asked: Callable[[], bool] = lambda: False, wait: float = WAIT) -> bool:
        """Makes the rounds that are left; False if ``asked`` ended it.

        Raises:
            FederationError: clients are missing, or all of a round failed.
        """
        total, name = self.federation.rounds, self.federation.preset.name
        if self.done == total:
            return True
        nodes = introductions(grid, self.federation.clients, wait)
        strategy = OuterStep(self.learner, self.federation, nodes, self._validates, self.privacy, self.done)
        first, began = self.done, time.monotonic()
        with progress.stage(f"{name}, rounds", total, first) as advance:

            def after(number: int, _: ArrayRecord) -> None:
                if number:  # Flower calls it before the first round, too
                    self._after(first + number, strategy, time.monotonic() - began)
                    advance(1)
                if asked() and first + number < total:
                    self._save(first + number)
                    raise _Stopped

            try:
                strategy.start(grid, strategy.arrays, total - first, wait, evaluate_fn=after)
            except _Stopped:
                return False
        return True

    def _validates(self, number: int) -> bool:
        return self.privacy is None and (number % VALIDATE == 0 or number == self.federation.rounds)

    def _after(self, number: int, strategy: OuterStep, seconds: float) -> None:
        traffic = strategy.traffic
        self._tell(number, traffic)
        if traffic.errors and not traffic.received:
            raise FederationError(f"All clients of round {number} failed; {traffic.errors[0]}")
        counts = traffic._replace(refused=len(traffic.refused))._asdict()  # type: ignore[arg-type]
        row = {"round": number, **counts, "seconds": round(seconds, 2)}
        self._rows.append({name: str(row[name]) for name in COLUMNS})
        if strategy.scores is not None:
            self._score(number, strategy.scores)
        if number % SAVE == 0 or number == self.federation.rounds:
            self._save(number)

    def _score(self, number: int, scores: list[float]) -> None:
        self.checkpoints.offer(validation_score(np.asarray(scores), False))
        curve = " → ".join(f"{score:.1f}" for score in scores)
        progress.say(f"round {number}/{self.federation.rounds}: return on clients' validation tasks {curve}")

    def _save(self, number: int) -> None:
        """The log first: a row too many is cut on resuming, one too few would be lost."""
        if number == self.done:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_whole(self._log, text.getvalue())
        self.checkpoints.on_epoch_end(number)
        self.done = number

    def _tell(self, number: int, traffic: Traffic) -> None:
        """Refusals by name; a failure of a client once."""
        for client, reason in traffic.refused:
            progress.say(f"round {number}: the update of client {client} was refused: {reason}.")
        for failure in traffic.errors:
            if failure not in self._failures:
                self._failures.add(failure)
                progress.say(f"round {number}: {failure}")


def introductions(grid: Grid, clients: int, wait: float) -> dict[int, int]:
    """Each client's node, asked of the nodes themselves once so many are there.

    Raises:
        FederationError: some do not come, or two say the same number.
    """
    end = time.monotonic() + wait
    with progress.stage("waiting for clients", clients):
        while len(nodes := sorted(grid.get_node_ids())) < clients:
            if time.monotonic() > end:
                raise FederationError(f"{len(nodes)} of {clients} clients came within {wait:.0f} seconds.")
            time.sleep(0.2)
    content, said = RecordDict({records.CONFIG: ConfigRecord()}), []
    for first in range(0, len(nodes), AT_ONCE):
        messages = [Message(content, node, MessageType.QUERY) for node in nodes[first : first + AT_ONCE]]
        replies = grid.send_and_receive(messages, timeout=wait)
        said += [(_number(reply), reply.metadata.src_node_id) for reply in replies if not reply.has_error()]
    found = dict(said)
    if len(found) != len(said) or sorted(found) != list(range(clients)):
        numbers = ", ".join(str(number) for number, _ in sorted(said)) or "nobody"
        raise FederationError(
            f"the clients say that they are {numbers}; each of 0 to {clients - 1} must be there once."
        )
    return found


def _number(reply: Message) -> int:
    return int(str(reply.content.config_records[records.CONFIG][records.CLIENT]))


def _optimizer(federation: Federation) -> keras.optimizers.Optimizer:
    """As a central training has it, or the step that makes the mean of the clients' weights the new ones."""
    if federation.step == "average":
        return keras.optimizers.SGD(1.0)
    schedule = keras.optimizers.schedules.CosineDecay(federation.preset.learning_rate, federation.rounds, alpha=0.05)
    return keras.optimizers.Adam(schedule)


def _rows(log: Path) -> Iterable[dict[str, Any]]:
    if not log.exists():
        return []
    with log.open(newline="") as file:
        return list(csv.DictReader(file))
