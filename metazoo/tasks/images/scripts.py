"""The characters of DejaVu Sans by alphabet: what ``glyphs`` draws.

An alphabet is a script, told by the first word of Unicode's names, or a block of symbols. Scripts are split; symbols
are for training only.
"""

import unicodedata
from typing import Final

SPLIT: Final[dict[str, tuple[str, ...]]] = {
    "validation": ("nko", "hebrew", "old_italic", "coptic", "ogham"),
    "test": ("georgian", "armenian", "tifinagh", "lao"),
}
"""The alphabets held out; all others are learned from."""

NAMED: Final = {
    "latin": "LATIN", "greek": "GREEK", "cyrillic": "CYRILLIC", "canadian_syllabics": "CANADIAN",
    "arabic": "ARABIC", "lisu": "LISU", "georgian": "GEORGIAN", "armenian": "ARMENIAN", "tifinagh": "TIFINAGH",
    "lao": "LAO", "nko": "NKO", "old_italic": "OLD", "hebrew": "HEBREW", "ogham": "OGHAM", "coptic": "COPTIC",
}  # fmt: skip
"""Scripts, and how the names of their letters begin."""

BLOCKS: Final = {
    "currency": range(0x20A0, 0x20D0), "arrows": range(0x2190, 0x2200), "operators": range(0x2200, 0x2300),
    "technical": range(0x2300, 0x2400), "symbols": range(0x2600, 0x2700), "dingbats": range(0x2700, 0x27C0),
    "more_operators": range(0x2A00, 0x2B00),
}  # fmt: skip
"""Blocks of symbols."""


def alphabet_of(character: str) -> str:
    """The alphabet of a character, or "" where it is none of ours: no letter, or one with a mark added."""
    name = unicodedata.name(character, "")
    if not name or unicodedata.decomposition(character):
        return ""
    if unicodedata.category(character) == "Lo" or unicodedata.category(character)[:2] in ("Lu", "Ll"):
        word = name.split()[0]
        return next((alphabet for alphabet, first in NAMED.items() if first == word), "")
    return next((name for name, block in BLOCKS.items() if ord(character) in block), "")


def split_of(alphabet: str) -> str:
    """``train``, ``validation`` or ``test``."""
    return next((split for split, names in SPLIT.items() if alphabet in names), "train")
