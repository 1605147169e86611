"""``metazoo explain --record``: an explanation on the policy's card."""

from pathlib import Path

from metazoo.artefact import store
from metazoo.cards.card import write_card
from metazoo.cards.tail_tables import EXPLAINED
from metazoo.explain import pictures
from metazoo.explain.explain import Explanation


def record(version: Path, found: Explanation) -> Path:
    """Writes the report into the version's metadata, the sheet beside it, and the card again; returns the card.

    Raises:
        ValueError: the policy was not evaluated, so it has no card.
    """
    metadata = store.read_metadata(version) or {}
    if not metadata.get("evaluation"):
        raise ValueError(f"{version} was not evaluated; metazoo evaluate {version} --record makes its card first.")
    metadata["explained"] = found.report
    store.replace_metadata(version, metadata)
    pictures.draw_sheet(found, version.parent / EXPLAINED)
    return write_card(version.parent, metadata, metadata["evaluation"])
