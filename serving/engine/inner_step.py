"""One inner step on recorded episodes, checked before and after, wherever it is run and published: by the embedded
server, or by a client of a stock TF Serving."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from metazoo.artefact import lineage, rewards, signatures, warm_start
from metazoo.artefact.intervals import better
from metazoo.artefact.off_policy import check_on_policy
from metazoo.artefact.store import StoreError
from metazoo.collect import (
    CollectionError,
    Episodes,
    action_spec,
    observation_spec,
    space_from_metadata,
    validate_episodes,
)
from serving.errors import Code, ServingError, invalid

Predict = Callable[[Mapping[str, np.ndarray], str, tuple[str, ...]], Mapping[str, np.ndarray]]
"""Runs a signature of the policy: (inputs, signature, outputs to return) → outputs."""


class Made(NamedTuple):
    """What a step gave: the new ``memory [S]``, what it measured, on how many episodes, and what is doubtful."""

    memory: np.ndarray
    diagnostics: dict[str, float]
    episodes: int
    warnings: tuple[str, ...] = ()
    more: Mapping[str, Any] = {}
    """Of a warm start, for the record: whose memory it is instead, and the task's sketch."""

    def answer(self) -> dict[str, Any]:
        """What the answer says besides the record."""
        said: dict[str, Any] = {"warnings": list(self.warnings)} if self.warnings else {}
        return {**said, "warm_start": self.more["warm_start"]} if "warm_start" in self.more else said

    def record(self, before: Mapping[str, Any], request: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The record of the policy with this step."""
        return {**lineage.with_step(before, self.episodes, self.diagnostics, request), **self.more}


class Kept(NamedTuple):
    """The better one of before and after adapting: its ``memory [S]`` and the ``evidence``."""

    memory: np.ndarray
    evidence: dict[str, Any]

    def answer(self) -> dict[str, Any]:
        return {}

    def record(self, before: Mapping[str, Any], request: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The record of the policy with the evidence; its steps stay what they were."""
        return {**before, "kept": self.evidence, **({} if request is None else {"request": dict(request)})}


def keep_better(
    predict: Predict, parent: lineage.Parent, before: Any, after: Any, returns_before: Any, returns_after: Any
) -> Kept:
    """Of two memories the one whose held-out returns have the higher mean; before adapting where they are equal.

    Raises:
        ServingError: the memory of before adapting cannot be computed with.
    """
    start = lineage.check_memory(before, parent.metadata["memory"]["size"])
    text = f"The memory cannot be used: with it {parent.name}"
    _check_answers(predict, _nothing_seen(parent.metadata, start), start, text)
    evidence = better(returns_before, returns_after)
    return Kept(start if evidence["which"] == "before" else np.asarray(after, np.float32).reshape(-1), evidence)


@contextlib.contextmanager
def refusals(failed: str = "Nothing was published") -> Iterator[None]:
    """Turns what stops adapting, publishing and deleting into answers."""
    try:
        yield
    except lineage.TakenError as error:
        raise ServingError(Code.ALREADY_EXISTS, str(error)) from error
    except lineage.OutdatedError as error:
        raise ServingError(Code.ABORTED, str(error)) from error
    except lineage.LineageError as error:
        raise invalid(str(error)) from error
    except StoreError as error:
        raise ServingError(Code.INTERNAL, f"{failed}: {error}") from error
    except OSError as error:
        raise ServingError(Code.UNAVAILABLE, f"{failed}: {error}") from error


def checked_episodes(fields: Mapping[str, Any], name: str, metadata: Mapping[str, Any]) -> Episodes:
    """Raises ServingError for what is no recording of this policy's episodes."""
    try:
        return validate_episodes(fields, metadata)
    except CollectionError as error:
        raise invalid(f"The episodes do not fit {name}: {error}") from error


class Given(NamedTuple):
    """What a step starts from: batch-major ``episodes`` and a ``memory [S]``."""

    episodes: Episodes
    memory: np.ndarray


class Whose(NamedTuple):
    """How to look whose episodes they are: ``insist``: take them all the same; ``live``: the policy's version that
    ``predict`` runs is the one that is adapted; ``at_once``: so many rows may be asked for at most."""

    insist: bool = False
    live: bool = False
    at_once: int = 64


def take(predict: Predict, parent: lineage.Parent, episodes: Episodes, memory: Any, given: bool, whose: Whose) -> Made:
    """Adapt by one step from ``memory``; ``given``: it came with the request.

    Raises:
        ServingError: the memory, or what the step makes of it, cannot be computed with; the episodes are another
            controller's.
    """
    size = parent.metadata["memory"]["size"]
    start = lineage.check_memory(memory, size)
    if given:
        _check_usable(predict, parent.metadata, episodes, start, f"The memory cannot be used: with it {parent.name}")
    said = _check_on_policy(predict, parent.metadata, episodes, start, whose._replace(live=whose.live and not given))
    feeds = {"memory": start.reshape(1, size), **episodes._asdict()}
    outputs = predict(feeds, signatures.ADAPT, ("memory", "loss", "kl"))
    diagnostics = {key: float(np.asarray(outputs[key]).reshape(-1)[0]) for key in ("loss", "kl")}
    after = np.asarray(outputs["memory"], np.float32).reshape(-1)
    text = f"The step cannot be made: after it {parent.name}"
    wrong = next((key for key, value in diagnostics.items() if not np.isfinite(value)), None)
    if wrong is not None:
        raise invalid(f"{text} would have a {wrong} of {diagnostics[wrong]}")
    if not np.all(np.abs(after) <= lineage.LARGEST):
        raise invalid(f"{text} would remember numbers beyond {lineage.LARGEST:g}")
    _check_usable(predict, parent.metadata, episodes, after, text)
    count = int(episodes.mask[0].any(-1).sum())  # padding is no episode
    doubt = rewards.doubts(episodes.rewards, episodes.mask, parent.metadata)
    return Made(after, diagnostics | said, count, () if doubt is None else (doubt,))


def warmer(predict: Predict, index: warm_start.Index, metadata: Mapping[str, Any], made: Made, given: Given) -> Made:
    """The step that was made, or the memory of an adaptation in ``index`` that held-back episodes say is better."""

    def adapt(memory: np.ndarray, fit: Episodes) -> np.ndarray:
        outputs = predict({"memory": memory[None], **fit._asdict()}, signatures.ADAPT, ("memory",))
        return np.asarray(outputs["memory"], np.float32).reshape(-1)

    def step(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return predict(inputs, signatures.STEP, ())

    found = warm_start.start(index, adapt, step, metadata, given.episodes, given.memory)
    return made._replace(memory=made.memory if found.memory is None else found.memory, more=found.record)


def _check_on_policy(
    predict: Predict, metadata: Mapping[str, Any], episodes: Episodes, memory: np.ndarray, whose: Whose
) -> dict[str, float]:
    def run(signature: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return predict(inputs, signature, ())

    try:
        return check_on_policy(episodes, metadata, run, memory, whose.live, whose.insist, whose.at_once)
    except CollectionError as error:
        raise invalid(f"{str(error)[0].upper()}{str(error)[1:]}") from error


def _check_usable(
    predict: Predict, metadata: Mapping[str, Any], episodes: Episodes, memory: np.ndarray, text: str
) -> None:
    """Refuse a memory with which the policy cannot act on the episodes' largest observation."""
    _check_answers(predict, _one_row(episodes, memory), memory, text)


def _check_answers(predict: Predict, inputs: Mapping[str, np.ndarray], memory: np.ndarray, text: str) -> None:
    if not memory.size:
        return
    for name, value in predict(inputs, signatures.STEP, ()).items():
        wrong = np.asarray(value)
        if wrong.dtype.kind == "f" and not np.all(np.isfinite(wrong)):
            raise invalid(f"{text} answers {name} of {wrong[~np.isfinite(wrong)][0]}")


def _one_row(episodes: Episodes, memory: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of ``step`` for the first step of an episode."""
    played = episodes.mask[0].astype(bool)
    seen = episodes.observations[0][played]
    row = int(np.argmax(np.abs(seen.reshape(len(seen), -1).astype(np.float64)).max(1)))
    return _first_step(seen[row : row + 1], np.zeros_like(episodes.actions[0][played][row : row + 1]), memory)


def _nothing_seen(metadata: Mapping[str, Any], memory: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of ``step`` for an observation of zeros."""
    seen, seen_dtype = observation_spec(space_from_metadata(metadata["observation_space"]))
    done, done_dtype = action_spec(space_from_metadata(metadata["action_space"]))
    return _first_step(np.zeros((1, *seen), seen_dtype), np.zeros((1, *done), done_dtype), memory)


def _first_step(observations: np.ndarray, before: np.ndarray, memory: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "observations": observations,
        "previous_actions": before,
        "previous_rewards": np.zeros(1, np.float32),
        "previous_done": np.zeros(1, bool),
        "memory": memory[None],
        "seed": np.zeros(1, np.int32),
        "deterministic": np.ones(1, bool),
    }
