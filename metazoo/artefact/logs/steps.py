"""Lists of dicts: one a step, or one an episode.

A step is ``{"observation", "action", "reward", "terminated", "truncated"}``, and in the last step of an episode
``"next_observation"``, unless a dict without an action follows, which has the last observation alone. An episode is
``{"observations": T + 1 of them, "actions", "rewards", "terminated", "truncated"}``, where the ends are one truth
value, or one for each step.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from metazoo.artefact.logs.record import Record
from metazoo.artefact.spaces import CollectionError

ENDS = ("terminated", "truncated")


def records(given: Sequence[Any]) -> Iterator[Record]:
    """Episodes from dicts of steps, from lists of such dicts (an episode each), or from dicts of episodes.

    Raises:
        CollectionError: something else; or a key is missing, or written differently.
    """
    for number, one in enumerate(_episodes(given)):
        if isinstance(one, Mapping):
            yield _of_episode(number, one)
        else:
            yield _of_steps(number, one)


def _episodes(given: Sequence[Any]) -> Iterator[Any]:
    """What each episode was recorded as: a dict, or a list of steps."""
    if all(isinstance(one, Mapping) and ("observation" in one or "action" in one) for one in given):
        yield from _split(given)
        return
    for number, one in enumerate(given):
        if not isinstance(one, Mapping | list | tuple):
            raise CollectionError(
                f"entry {number} of the log is a {type(one).__name__}: need a dict, or a list of dicts"
            )
        yield one


def _split(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Steps one after the other, cut where an episode ends or the number in ``episode`` changes."""
    episode: list[Mapping[str, Any]] = []
    for row in rows:
        ended = bool(episode) and (_ended(episode) or row.get("episode") != episode[-1].get("episode"))
        if ended and not (_is_closing(row) and row.get("episode") == episode[-1].get("episode")):
            yield episode
            episode = []
        episode.append(row)
    if episode:
        yield episode


def _ended(episode: Sequence[Mapping[str, Any]]) -> bool:
    last = episode[-1]
    return _is_closing(last) or any(np.any(last.get(name, False)) for name in ENDS)


def _is_closing(row: Mapping[str, Any]) -> bool:
    return row.get("action") is None


def _of_steps(number: int, rows: Sequence[Any]) -> Record:
    for step, row in enumerate(rows):
        _check_keys(f"step {step} of episode {number}", row, "observation")
    closed = bool(rows) and _is_closing(rows[-1])
    played = rows[:-1] if closed else rows
    if not played:
        raise CollectionError(f"episode {number} has no steps: leave it out")
    columns = {name: _column(number, played, name) for name in ("observation", "action", "reward")}
    final = rows[-1]["observation"] if closed else _final(number, played)
    ends = [[row.get(name, False) for row in played] for name in ENDS]
    return Record([*columns["observation"], final], columns["action"], columns["reward"], *ends)


def _final(number: int, played: Sequence[Mapping[str, Any]]) -> Any:
    if played[-1].get("next_observation") is None:
        raise CollectionError(
            f"step {len(played) - 1} of episode {number}, its last, lacks 'next_observation': a policy must know how "
            "an episode ended; a step with an observation and no action may follow instead"
        )
    return played[-1]["next_observation"]


def _of_episode(number: int, given: Mapping[str, Any]) -> Record:
    where = f"episode {number}"
    _check_keys(where, given, "observations")
    observations, actions, rewards = (_value(where, given, name) for name in ("observations", "actions", "rewards"))
    final = [given["final_observation"]] if "final_observation" in given else []
    return Record([*observations, *final], actions, rewards, *(given.get(name, False) for name in ENDS))


def _column(number: int, rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [_value(f"step {step} of episode {number}", row, name) for step, row in enumerate(rows)]


def _value(where: str, row: Mapping[str, Any], name: str) -> Any:
    if row.get(name) is None:
        raise CollectionError(f"{where} lacks {name!r}: it has {', '.join(map(repr, row))}")
    return row[name]


def _check_keys(where: str, row: Any, needed: str) -> None:
    if not isinstance(row, Mapping):
        raise CollectionError(f"{where} is a {type(row).__name__}: need a dict")
    for key in ("done", "dones"):
        if key in row:
            raise CollectionError(
                f"{where} has {key!r}, which does not say whether it ended by itself or was cut off: give 'terminated' "
                "and 'truncated'"
            )
    if needed not in row:
        raise CollectionError(f"{where} lacks {needed!r}: it has {', '.join(map(repr, row)) or 'nothing'}")
