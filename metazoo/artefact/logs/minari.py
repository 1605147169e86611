"""Data sets of Minari (https://minari.farama.org), read and written; needs the extra ``minari``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from metazoo.artefact.logs.record import Record
from metazoo.artefact.spaces import CollectionError, space_from_metadata, unflatten_observation
from metazoo.types import Episodes

PREFIX: Final = "minari:"
"""Before a data set's id, where a file's name may stand."""


def load(identifier: str) -> Any:
    """The local data set of that id (``MINARI_DATASETS_PATH``). Raises CollectionError."""
    minari = _library()
    try:
        return minari.load_dataset(identifier)
    except Exception as error:  # whatever reads its files
        raise CollectionError(f"Minari's data set {identifier!r} cannot be read: {_line(error)}") from error


def records(data: Any) -> Iterator[Record]:
    """The episodes of a ``minari.MinariDataset``."""
    for one in data.iterate_episodes():
        seen = [_at(one.observations, step) for step in range(len(one.rewards) + 1)]
        yield Record(seen, one.actions, one.rewards, one.terminations, one.truncations)


def save(identifier: str, episodes: Episodes, metadata: Mapping[str, Any]) -> Any:
    """Write recorded episodes ``[1, K, T, ...]`` as a new local data set, and return it.

    Observations are as the environment gave them; actions as the policy sampled them, not clipped.

    Args:
        identifier: such as ``cartpole/adapting-v0``.
        episodes: as ``collect`` records them.
        metadata: the policy's, for its spaces and its name.

    Raises:
        CollectionError: Minari is not installed, or refuses: the id is malformed, or there is such a data set.
    """
    library = _library()
    from minari.data_collector import EpisodeBuffer

    spaces = {f"{role}_space": space_from_metadata(metadata[f"{role}_space"]) for role in ("observation", "action")}
    buffers = [EpisodeBuffer(**one) for one in _played(episodes, spaces["observation_space"])]
    try:
        return library.create_dataset_from_buffers(
            identifier, buffers, algorithm_name=metadata["name"], data_format="hdf5", jpeg_encoding=False, **spaces
        )
    except (ValueError, TypeError, OSError) as error:  # a malformed id, without a version, is a TypeError
        raise CollectionError(f"Minari does not write {identifier!r}: {_line(error)}") from error


def _played(episodes: Episodes, space: Any) -> Iterator[dict[str, Any]]:
    """An episode each, without padding."""
    fields = Episodes(*(np.asarray(field)[0] for field in episodes))
    for number, length in enumerate(fields.mask.sum(-1).astype(int)):
        seen = [*fields.observations[number, :length], fields.final_observations[number]]
        yield {
            "observations": _together([unflatten_observation(space, one) for one in seen]),
            "actions": list(fields.actions[number, :length]),
            "rewards": fields.rewards[number, :length].tolist(),
            "terminations": fields.terminated[number, :length].tolist(),
            "truncations": fields.truncated[number, :length].tolist(),
        }


def _together(seen: Sequence[Any]) -> Any:
    """As Minari keeps them: lists inside dicts and tuples, not the other way round."""
    if isinstance(seen[0], Mapping):
        return {name: _together([one[name] for one in seen]) for name in seen[0]}
    if isinstance(seen[0], tuple):
        return tuple(_together(parts) for parts in zip(*seen, strict=True))
    return list(seen)


def _at(observations: Any, step: int) -> Any:
    """The reverse: one observation."""
    if isinstance(observations, Mapping):
        return {name: _at(part, step) for name, part in observations.items()}
    if isinstance(observations, tuple):
        return tuple(_at(part, step) for part in observations)
    return observations[step]


def _library() -> Any:
    try:
        import minari
    except ImportError as error:
        raise CollectionError("Minari's data sets need pip install 'metazoo[minari]'") from error
    return minari


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
