"""Whether pages for users can be read quickly: no paragraph above 90 words, no sentence above 35.

    python docs/figures/readability.py [PAGE...]

A page is read up to its heading "Details", if it has one: what comes then is for readers who have time. Code, tables
and pictures are not read.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARAGRAPH, SENTENCE = 90, 35
LINKS = re.compile(r"(\[[^\]]*\]\([^)]*\)[ ()·]*)+")
"""A list of links is looked through, not read."""
PAGES = ("README.md", *(f"docs/{name}.md" for name in (
    "install", "quickstart", "your-own-environment", "logs", "gallery", "explain", "hub", "edge", "tuning",
    "federated", "training", "serving", "which-tasks", "continual",
)))  # fmt: skip


def too_long(text: str) -> list[str]:
    """What is too long in a page's text, with the number of its words."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.split(r"^## Details", text, maxsplit=1, flags=re.MULTILINE)[0]
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found = []
    for block in re.split(r"\n\s*\n", text):
        for paragraph in re.split(r"\n(?=\s*(?:[-*]|\d+\.) )", block):
            if paragraph.lstrip().startswith(("|", "#", "<", "![")):
                continue
            if LINKS.fullmatch(" ".join(paragraph.split())):
                continue
            plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
            plain = re.sub(r"`[^`]*`", "code", plain)
            parts = [(PARAGRAPH, "paragraph", plain)]
            parts += [(SENTENCE, "sentence", one) for one in re.split(r"(?<=[.:;?!])\s+", plain)]
            for most, what, part in parts:
                words = len(re.findall(r"[^\W_]+(?:[-'.,][^\W_]+)*", part))
                if words > most:
                    found.append(f"{what} of {words} words: {part[:80]}…")
    return found


if __name__ == "__main__":
    pages = [Path(page) for page in sys.argv[1:]] or [ROOT / page for page in PAGES]
    complaints = [f"{page.name}: {one}" for page in pages for one in too_long(page.read_text("utf-8"))]
    print("\n".join(complaints))
    sys.exit(bool(complaints))
