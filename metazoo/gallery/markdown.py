"""Model cards as HTML that holds nothing but text, tables, pictures of the policy and links out: no markup of its own.

markdown-it escapes HTML in a card, and refuses links that run something (``javascript:``).
"""

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

OUTSIDE: Final = re.compile(r"https?://[^\s]+")
FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def html_of(card: str, files: str) -> str:
    """The card, without its first heading; the files beside it are found under the path ``files``.

    Links into the documentation, which is not served, become plain text. Pictures from elsewhere are left out.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(re.sub(r"\A\s*# .*\n", "", card))
    for token in tokens:
        if token.children:
            token.children = _links(token.children, files)
        if token.tag in ("h1", "h2", "h3"):
            token.tag = f"h{int(token.tag[1]) + 1}"  # the page's own heading is the first
    return str(parser.renderer.render(_in_frames(tokens), parser.options, {}))


def _links(tokens: Sequence[Any], files: str) -> list[Any]:
    """Links and pictures that lead somewhere; of the others what stands in them."""
    kept, open_links = [], []
    for token in tokens:
        if token.type == "link_open":
            place = _place(str(token.attrs.get("href", "")), files)
            open_links.append(place is not None)
            if place is None:
                continue
            token.attrs = {"href": place}
            if OUTSIDE.match(place):
                token.attrs |= {"rel": "noopener noreferrer", "target": "_blank"}
        elif token.type == "link_close" and not open_links.pop():
            continue
        elif token.type == "image":
            place = _place(str(token.attrs.get("src", "")), files)
            if place is None or OUTSIDE.match(place):
                continue
            token.attrs = {"src": place, "alt": token.content, "loading": "lazy"}
        kept.append(token)
    return kept


def _place(target: str, files: str) -> str | None:
    if OUTSIDE.fullmatch(target):
        return target
    return f"{files}/{quote(target)}" if FILE.fullmatch(target) else None


def _in_frames(tokens: Sequence[Any]) -> list[Any]:
    """Every table in a box that scrolls by itself, so that the page does not; the keyboard reaches it."""
    from markdown_it.token import Token

    framed: list[Any] = []
    for token in tokens:
        if token.type == "table_open":
            about = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": "Table"}
            framed.append(Token("frame_open", "div", 1, attrs=dict(about), block=True))
        framed.append(token)
        if token.type == "table_close":
            framed.append(Token("frame_close", "div", -1, block=True))
    return framed
