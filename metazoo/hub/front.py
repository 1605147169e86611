"""What a zoo shows to who visits it: a README with the index of its policies, and a film of one at play.

As the Hugging Face Hub expects it of reinforcement learning: ``model-index`` and tags in the README's head, and
``replay.mp4`` (or a GIF) at the repository's root.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from metazoo.hub.index import Index
from metazoo.words import count

README: Final = "README.md"
REPLAYS: Final = ("replay.mp4", "replay.gif")
TAGS: Final = ("reinforcement-learning", "meta-reinforcement-learning")
MARK: Final = "<!-- metazoo push writes this page anew; without this line it leaves it alone -->"


def replay_beside(version: Path) -> Path | None:
    """The film of a policy at play that stands beside its versions, if there is one."""
    return next((path for name in REPLAYS if (path := version.parent / name).is_file()), None)


def is_ours(page: bytes | None) -> bool:
    """Whether a README may be written anew: there is none, or ``push`` has written it."""
    return page is None or MARK.encode() in page


def readme(policies: Index, address: str, replay: str | None) -> bytes:
    """The page of a zoo; ``replay``: the name of the film beside it."""
    rows: list[tuple[str, Mapping[str, Any]]] = [(name, policy.summary) for name, policy in sorted(policies.items())]
    lines = ["---", *_head(rows), "---", MARK, "", f"# {count(len(rows), 'meta-policy')}", ""]
    lines += [
        "Each was trained on a family of tasks, adapts to a new one in a few episodes, and is a SavedModel that stock",
        "TF Serving can serve. Made with metazoo.",
        "",
    ]
    lines += [f"![A policy at play]({replay})", ""] if replay and replay.endswith(".gif") else []
    lines += ["| policy | family | algorithm | adapts in | before → after |", "|---|---|---|---|---|"]
    lines += [f"| [`{name}`]({name}/{README}) | {_cells(said)} |" for name, said in rows]
    first = f"{address.rstrip('/')}/{rows[0][0]}" if rows else address
    lines += ["", "```python", "import metazoo", "", f"policy = metazoo.load({json.dumps(first)})", "```", ""]
    return "\n".join(lines).encode()


def _head(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """The YAML of the page's head."""
    tags = {str(said[key]) for _, said in rows for key in ("family", "algorithm") if said.get(key)}
    yield from ("library_name: metazoo", "pipeline_tag: reinforcement-learning", "tags:")
    yield from (f"- {json.dumps(tag)}" for tag in (*TAGS, *sorted(tags)))
    measured = [(name, said) for name, said in rows if _numbers(said)]
    if measured:
        yield "model-index:"
    for name, said in measured:
        yield from _result(name, said)


def _result(name: str, said: Mapping[str, Any]) -> Iterator[str]:
    family, metric = said.get("family"), said.get("metric")
    yield from (f"- name: {json.dumps(name)}", "  results:", "  - task:", "      type: reinforcement-learning")
    yield from ("      name: reinforcement-learning", "    dataset:")
    yield f"      name: {json.dumps(f'metazoo {family}, test tasks')}"
    yield from (f"      type: {json.dumps(f'metazoo/{family}')}", "      split: test", "    metrics:")
    for when, value in _numbers(said).items():
        yield f"    - type: {'mean_reward' if metric == 'return' else json.dumps(metric)}"
        yield f"      value: {round(value, 4)}"
        yield f"      name: {json.dumps(f'mean {metric} {when} adapting')}"
        yield "      verified: false"


def _numbers(said: Mapping[str, Any]) -> dict[str, float]:
    return {when: said[when] for when in ("before", "after") if isinstance(said.get(when), int | float)}


def _cells(said: Mapping[str, Any]) -> str:
    figures = " → ".join(f"{value:.1f}" for value in _numbers(said).values())
    return " | ".join(str(said.get(key) or "") for key in ("family", "algorithm", "adapts_in")) + f" | {figures}"
