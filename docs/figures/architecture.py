"""The diagrams of docs/architecture.md, from the imports of the code: python docs/figures/architecture.py [--check]

An arrow says "imports"; one that follows from others is left out. With --check nothing is written: the exit code says
whether the page is current.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
Graph = dict[str, set[str]]


def rooms(package: str) -> Graph:
    """Room → the rooms of the same package that it imports. A room is a folder, or a module at the top."""
    found: Graph = defaultdict(set)
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts[1:]
        if parts == ("__init__",):
            continue
        room = room_of(parts)
        found[room]
        for imported in imports(path):
            others = imported.split(".")[1:]
            if imported.startswith(f"{package}.") and others and exists(package, others[0]):
                found[room] |= {room_of(others)} - {room}
    return dict(found)


def room_of(parts: Sequence[str]) -> str:
    """The check kit is a room of its own in ``tasks``: it tries a family all the way, to an exported policy."""
    return "tasks.testing" if tuple(parts[:2]) == ("tasks", "testing") else parts[0]


def exists(package: str, room: str) -> bool:
    return (ROOT / package / room).is_dir() or (ROOT / package / f"{room}.py").is_file()


def imports(path: Path) -> set[str]:
    """The modules, or names in modules, that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        room = waiting.pop()
        if room not in seen:
            seen.add(room)
            waiting.extend(graph.get(room, ()))
    return seen


def reduced(graph: Graph) -> Graph:
    """Without the arrows that others imply. The graph has no circle, or ValueError names a room that is in one."""
    behind = {room: reachable(graph, room) for room in graph}
    for room, others in behind.items():
        if room in others:
            raise ValueError(f"{room} imports itself through other rooms.")
    return {
        room: {other for other in direct if not any(other in behind[via] for via in direct if via != other)}
        for room, direct in graph.items()
    }


def mermaid(package: str) -> str:
    graph = reduced(rooms(package))
    lines = [f"    {room} --> {other}" for room in sorted(graph) for other in sorted(graph[room])]
    alone = sorted(room for room in graph if not graph[room] and not any(room in others for others in graph.values()))
    return "\n".join(["```mermaid", "flowchart TD", *(f"    {room}" for room in alone), *lines, "```"])


def drawn(page: str) -> str:
    """The page with its diagrams as the code is now."""
    for package in ("metazoo", "serving"):
        start, end = f"<!-- diagram: {package} -->\n", "\n<!-- end -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}{mermaid(package)}{end}{after}"
    return page


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    now = drawn(page)
    if "--check" in sys.argv[1:]:
        if now != page:
            print("docs/architecture.md is not current: python docs/figures/architecture.py", file=sys.stderr)
        return int(now != page)
    PAGE.write_text(now, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
