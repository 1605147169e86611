"""A file of recorded episodes and the policies: which it fits, how well, what a step would do, and as arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metazoo.artefact import rewards, store
from metazoo.artefact.episodes import save_episodes
from metazoo.artefact.logs import load_episodes
from metazoo.artefact.spaces import CollectionError
from metazoo.pretrained import load
from metazoo.types import Episodes


def fits(file: Path, versions: Sequence[Path]) -> list[dict[str, Any]]:
    """A row for each version directory, those that fit first.

    Keys: name, fits; ``reason`` where it does not; else episodes, steps, returns, and what adapting by it says: loss,
    kl, log_prob and expected_log_prob (where the policy samples), ``refused`` (why the server would not adapt by it,
    null if it would), ``doubts`` (about the rewards' unit, or null).
    """
    rows = [_row(file, version) for version in versions]
    return sorted(rows, key=lambda row: (not row["fits"], row.get("refused") is not None, row["name"]))


def convert(file: Path, version: Path, out: Path) -> None:
    """Writes the episodes of a file of any kind to ``out`` as the server takes them: an ``.npz`` of arrays.

    Raises:
        CollectionError: they do not fit the policy, or are unusable; without the file's place on this machine.
    """
    try:
        save_episodes(out, load_episodes(file, store.read_metadata(version) or {}))
    except CollectionError as error:
        raise CollectionError(_without(error, file)) from error


def _without(error: Exception, file: Path) -> str:
    """What it says, and not where the file is: nobody gave it that name."""
    return str(error).replace(str(file), "the file")


def _row(file: Path, version: Path) -> dict[str, Any]:
    metadata = store.read_metadata(version) or {}
    name = version.parent.name
    try:
        episodes = load_episodes(file, metadata)
    except CollectionError as error:
        return {"name": name, "fits": False, "reason": _without(error, file)}
    returns = (episodes.rewards * episodes.mask).sum(-1)[0]
    return {
        "name": name,
        "fits": True,
        "episodes": len(returns),
        "steps": int(episodes.mask.sum()),
        "returns": [round(float(one), 4) for one in returns],
        "doubts": rewards.doubts(episodes.rewards, episodes.mask, metadata),
        **_step(version, episodes),
    }


def _step(version: Path, episodes: Episodes) -> dict[str, Any]:
    """What one inner step says; of a policy that does not adapt nothing."""
    policy, refused = load(version), None
    if not policy.metadata["memory"]["size"]:
        return {"refused": "it does not adapt: it carries nothing about a task", "diagnostics": {}}
    try:
        adapted = policy.adapt(episodes)
    except CollectionError as error:
        refused, adapted = str(error), policy.adapt(episodes, off_policy=True)
    said = {key: float(value) for key, value in adapted.metadata["adapted"]["diagnostics"].items()}
    return {"refused": refused, "diagnostics": {key: value for key, value in said.items() if np.isfinite(value)}}
