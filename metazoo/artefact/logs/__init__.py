"""Logs of other programs as ``Episodes``: lists of dicts, tables, recorded topics, Minari's data sets, and files.

Every kind becomes ``record.Record``, one episode as it was recorded, and all of them pass ``validate_episodes``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metazoo.artefact.episodes import validate_episodes
from metazoo.artefact.logs import files, minari, steps, table, topics
from metazoo.artefact.logs.record import stack
from metazoo.artefact.signatures import EPISODE_FIELDS
from metazoo.artefact.spaces import CollectionError
from metazoo.types import Episodes

KINDS = (
    "Episodes, a mapping of their arrays, a list of dicts, a table of columns, recorded topics with their mapping, a "
    "Minari data set, or the name of a file"
)


def is_log(given: Any) -> bool:
    """Whether these are recorded episodes, or meant to be, rather than an environment."""
    if isinstance(given, str):
        return given.startswith(minari.PREFIX) or Path(given).suffix in files.SUFFIXES
    return isinstance(given, Episodes | Mapping | list | Path) or hasattr(given, "iterate_episodes") or _is_table(given)


def load_episodes(
    given: Any, metadata: Mapping[str, Any], topic_map: Mapping[str, Any] | str | Path | None = None
) -> Episodes:
    """Recorded episodes of any kind as ``adapt`` takes them: batch-first, one row, ``[1, K, T, ...]``, padded.

    Args:
        given: ``Episodes``; a mapping of the arrays ``EPISODE_FIELDS``; a list of dicts, one a step or one an episode,
            or of lists of them (``logs.steps``); columns of numbers by name, such as a ``pandas.DataFrame``
            (``logs.table``); ``{topic: [(seconds, message), ...]}`` with ``topic_map`` (``logs.topics``); a Minari data
            set; or a file's name: ``.npz``, ``.json``, ``.jsonl``, ``.csv``, ``minari:ID``.
        metadata: the policy's, for its spaces. Observations may be as the environment gave them, or flattened as the
            policy sees them.
        topic_map: where in the topics each field is, or the name of a JSON file that says it.

    Raises:
        CollectionError: none of these, or unusable; one sentence that names the episode, the step and the value.
    """
    if isinstance(given, str | Path):
        given = files.read(given)
    if topic_map is not None:
        where = files.json_of(Path(topic_map)) if isinstance(topic_map, str | Path) else topic_map
        return stack(topics.records(given, where), metadata)
    fields = given._asdict() if hasattr(given, "_asdict") else given
    if isinstance(fields, Mapping) and not set(EPISODE_FIELDS[:4]).isdisjoint(fields):  # a table has ends, too
        return validate_episodes(fields, metadata)
    if hasattr(given, "iterate_episodes"):
        return stack(minari.records(given), metadata)
    if isinstance(given, list | tuple):
        return stack(steps.records(given), metadata)
    if _is_table(given):
        return stack(steps.records(table.rows(given)), metadata)
    raise CollectionError(f"a {type(given).__name__} is no recorded episodes: need {KINDS}")


def _is_table(given: Any) -> bool:
    return hasattr(given, "keys") and hasattr(given, "__getitem__")
