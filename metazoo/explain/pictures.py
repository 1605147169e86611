"""The five pictures of an explanation, singly or on one sheet. Matplotlib is imported when they are drawn."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from metazoo.cards.styles import COLORS, SMALL
from metazoo.explain.explain import Explanation
from metazoo.words import count

BEFORE, AFTER = "#777777", COLORS[0]
NAMES: Final = ("actions", "layers", "trajectories", "identified", "memory")
WIDTH: Final = 88
"""Letters of a sentence in a line above its picture."""
COLOURS: Final = 256
"""Of a sheet."""
SHEET: Final = 8.8
"""Inches across."""
ABOVE: Final = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "frameon": False, "borderaxespad": 0.2}
"""Of legends: above the axes, where no data lies."""


def draw(found: Explanation, directory: Path) -> list[Path]:
    """Writes ``explain-NAME.png`` for each picture that there is, and returns their paths."""
    from matplotlib.figure import Figure

    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in shown(found):
        figure = Figure(figsize=(8.4, 3.4) if name == "actions" else (6.4, 4.4), layout="constrained")
        _panel(figure, found, name)
        paths.append(directory / f"explain-{name}.png")
        figure.savefig(paths[-1], dpi=130, metadata={"Software": None})
    return paths


def draw_sheet(found: Explanation, file: Path) -> Path:
    """All pictures in one file, two in a row, the action's on top."""
    from matplotlib.figure import Figure

    names = [name for name in shown(found) if name != "actions"]
    wide = found.slice is not None
    rows = int(wide) + (len(names) + 1) // 2
    figure = Figure(figsize=(SHEET, 3.7 * rows), layout="constrained")
    parts = figure.subfigures(rows, 1, squeeze=False)[:, 0]
    if wide:
        _panel(parts[0], found, "actions")
    for row, part in enumerate(parts[int(wide) :]):
        for side, name in zip(part.subfigures(1, 2), names[2 * row : 2 * row + 2], strict=False):
            _panel(side, found, name)
    _save_small(figure, file)
    return file


def _save_small(figure: Any, file: Path) -> None:
    """With 256 colours: it stands beside every policy of a repository."""
    from PIL import Image

    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, metadata={"Software": None})
    Image.open(picture).convert("RGB").quantize(COLOURS).save(file, optimize=True)


def shown(found: Explanation) -> list[str]:
    """The names of the pictures that this explanation has."""
    there = {
        "actions": found.slice is not None,
        "layers": found.report["layers"] is not None,
        "trajectories": _path_entries(found) is not None,
        "identified": bool(found.parameters),
        "memory": found.decoded is not None and bool(found.decoded.r2 or found.divergence),
    }
    return [name for name in NAMES if there[name]]


def _panel(figure: Any, found: Explanation, name: str) -> None:
    """One picture with its sentence, in a figure or a part of one."""
    import textwrap

    drawing: dict[str, Callable[[Any, Explanation], None]] = {
        "actions": _actions,
        "layers": _layers,
        "trajectories": _trajectories,
        "identified": _identified,
        "memory": _memory,
    }
    drawing[name](figure, found)
    width = WIDTH if name == "actions" else WIDTH * 2 // 3
    figure.suptitle("\n".join(textwrap.wrap(found.report["sentences"][name], width)), fontsize=10, x=0.01, ha="left")


def _actions(figure: Any, found: Explanation) -> None:
    cut = found.slice
    assert cut is not None
    if len(cut.entries) == 1:
        axes = figure.subplots()
        axes.plot(cut.grid[0], cut.before, color=BEFORE, label="before")
        axes.plot(cut.grid[0], cut.after, color=AFTER, label="after")
        axes.set(xlabel=f"observation {cut.entries[0]}", ylabel=cut.what)
        axes.legend(**ABOVE, ncols=2)
        return
    panels = figure.subplots(1, 3, sharey=True)
    extent = (cut.grid[0][0], cut.grid[0][-1], cut.grid[1][0], cut.grid[1][-1])
    low, high = min(cut.before.min(), cut.after.min()), max(cut.before.max(), cut.after.max())
    most = max(np.abs(cut.after - cut.before).max(), 1e-9)
    look: dict[str, Any] = {"origin": "lower", "extent": extent, "aspect": "auto"}
    level = panels[0].imshow(cut.before, vmin=low, vmax=high, cmap="viridis", **look)
    panels[1].imshow(cut.after, vmin=low, vmax=high, cmap="viridis", **look)
    change = panels[2].imshow(cut.after - cut.before, vmin=-most, vmax=most, cmap="RdBu_r", **look)
    for axes, title in zip(panels, ("before", "after", "difference"), strict=True):
        axes.set(title=title, xlabel=f"observation {cut.entries[0]}")
    panels[0].set_ylabel(f"observation {cut.entries[1]}")
    figure.colorbar(level, ax=panels[:2], label=cut.what, pad=0.01)
    figure.colorbar(change, ax=panels[2], label="after − before")


def _layers(figure: Any, found: Explanation) -> None:
    axes, moved = figure.subplots(), found.report["layers"]["moved"]
    shares = [100 * value for value in moved.values()]
    bars = axes.barh(list(moved), shares, color=AFTER)
    axes.bar_label(bars, [f"{share:.1f} %" for share in shares], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set(xlabel="moved, % of the layer's length (median over tasks)")
    axes.spines[["top", "right"]].set_visible(False)


def _path_entries(found: Explanation) -> tuple[int, ...] | None:
    """Which entries of an observation paths are drawn over."""
    if found.slice is not None:
        return found.slice.entries if len(found.slice.entries) == 2 else None
    return None


def _trajectories(figure: Any, found: Explanation) -> None:
    axes, entries = figure.subplots(), _path_entries(found)
    assert entries is not None
    for label, color, episodes in (("before", BEFORE, found.played.before), ("after", AFTER, found.played.after)):
        for number in range(min(4, episodes.mask.shape[2])):
            length = int(episodes.mask[:, found.shown, number].sum())
            path = episodes.observations[:length, found.shown, number].reshape(length, -1)[:, list(entries)]
            axes.plot(*path.T, color=color, linewidth=1.2, alpha=0.8, label=None if number else label)
            axes.plot(*path[-1], marker="o", markersize=4, color=color)
    axes.set(xlabel=f"observation {entries[0]}", ylabel=f"observation {entries[1]}")
    axes.legend(**ABOVE, ncols=2, title="dots: where it ended", alignment="left")


def _identified(figure: Any, found: Explanation) -> None:
    """The map of tasks, once for each of the parameters that can be read best."""
    r2 = found.report["identified"]["r2"]
    names = sorted(r2, key=lambda name: -r2[name])[:4]
    rows = 1 if len(names) < 3 else 2
    panels = np.atleast_1d(figure.subplots(rows, -(-len(names) // rows), squeeze=False)).ravel()
    for axes, name in zip(panels, names, strict=False):
        axes.scatter(*found.embedding.T, c=found.parameters[name], cmap="viridis", s=9)
        axes.set_title(f"{name}: R² {r2[name]:.2f}", fontsize=SMALL)
        axes.set(xticks=[], yticks=[])
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("second component", fontsize=SMALL)
    panels[0].set_xlabel(f"first component, {count(found.report['tasks'], 'task')}", fontsize=SMALL)


def _memory(figure: Any, found: Explanation) -> None:
    axes, known = figure.subplots(), found.decoded
    assert known is not None
    if found.divergence:
        for color, (name, missed) in zip(COLORS, found.divergence.items(), strict=False):
            axes.plot(np.arange(1, len(missed) + 1), missed, color=color, label=f"from {name.replace('_', ' ')} play")
        axes.set(xlabel="pull", ylabel="−log π(best arms), nats", ylim=(0, None))
    else:
        best = sorted(known.r2, key=lambda name: -known.r2[name][-1])[: len(COLORS)]
        for color, name in zip(COLORS, best, strict=False):
            axes.plot(known.steps, known.r2[name], marker="o", markersize=3, color=color, label=name)
        axes.axhline(0, color="#BBBBBB", linewidth=1)
        axes.set(xlabel="steps of the trial", ylabel="R² of the parameter", xscale="log", ylim=(-0.25, 1.02))
    axes.legend(**ABOVE, ncols=2, fontsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
