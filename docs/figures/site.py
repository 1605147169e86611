"""What the site has beside the pages in ``docs/``: a first page, a gallery of cards; and links out of ``docs/``.

MkDocs calls these hooks (mkdocs.yml). Pages in the tree are written for readers of the tree, so some of their links
lead to source files; on the site such a link is the file's name.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / "savedmodels"
SHOWN = (".png", ".gif")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
BLOCKS = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
DETAILS = re.compile(r"^(```\S*) [^\n]*$", re.MULTILINE)
"""What tests read behind a block's language."""


def on_files(files: Files, config: Any) -> Files:
    """Adds the first page, the cards with their pictures, and the table of all cards."""
    added = {"index.md": _moved((ROOT / "README.md").read_text("utf-8"), "README.md"), "cards.md": _table()}
    for card in sorted(ZOO.glob("*/README.md")):
        name = card.parent.name
        text = re.sub(r"\A---\n.*?\n---\n", "", card.read_text("utf-8"), flags=re.DOTALL)
        added[f"cards/{name}/README.md"] = _moved(text, f"savedmodels/{name}/README.md")
    for uri, text in added.items():
        files.append(File.generated(config, uri, content=text))
    for picture in sorted(path for path in ZOO.glob("*/*") if path.suffix in SHOWN):
        uri = f"cards/{picture.parent.name}/{picture.name}"
        files.append(File.generated(config, uri, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """A page with its links as the site has them."""
    uri = page.file.src_uri
    generated = uri in ("index.md", "cards.md") or uri.startswith("cards/")
    return DETAILS.sub(r"\1", markdown if generated else _moved(markdown, f"docs/{uri}"))


def _moved(text: str, place: str) -> str:
    """The text of the file ``place`` of the tree, for its place on the site; blocks of code stay as they are."""
    parts = BLOCKS.split(text)
    return "".join(part if i % 2 else LINK.sub(lambda found: _link(found, place), part) for i, part in enumerate(parts))


def _link(found: re.Match[str], place: str) -> str:
    picture, label, target = found.groups()
    if re.match(r"[a-z]+:|#", target):
        return found[0]
    path, hash_, anchor = target.partition("#")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
    onto, here = _on_site(there), _on_site(place)
    if onto is None:
        return f"`{there}`" if "`" in label or label == path else f"{label} (`{there}`)"
    return f"{picture}[{label}]({posixpath.relpath(onto, posixpath.dirname(here) or '.')}{hash_}{anchor})"


def _on_site(path: str) -> str | None:
    """Where a file of the tree is on the site; None for files that are not on it."""
    if path == "README.md":
        return "index.md"
    if path.startswith("savedmodels/") and (path.endswith("/README.md") or path.endswith(SHOWN)):
        return f"cards/{path.removeprefix('savedmodels/')}"
    file = ROOT / path
    if not path.startswith("docs/") or path.startswith("docs/figures"):
        return None
    if file.is_dir():
        return f"{path}/README.md".removeprefix("docs/") if (file / "README.md").is_file() else None
    return path.removeprefix("docs/")


def _table() -> str:
    """All cards: what a policy earns before and after adapting, with its curve."""
    rows = ["| policy | family | before | after | |", "|---|---|---|---|---|"]
    for directory in sorted(path.parent for path in ZOO.glob("*/README.md")):
        metadata = json.loads(max(directory.glob("*/assets.extra/metazoo.json")).read_text("utf-8"))
        curve = metadata["evaluation"]["curve"]
        name = directory.name
        ends = " | ".join(f"{point['mean']:.4g}" for point in (curve[0], curve[-1]))
        rows.append(
            f"| [{name}](cards/{name}/README.md) | {metadata['family']} | {ends} |"
            f" ![Return of {name} against what it adapted to](cards/{name}/curve.png){{ width=160 loading=lazy }} |"
        )
    return "# All policies\n\nOn test tasks of each family, by the cards.\n\n" + "\n".join(rows) + "\n"
