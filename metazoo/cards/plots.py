"""Pictures of reports (``metazoo evaluate --json``). Matplotlib is imported when one is drawn."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from metazoo.cards import dots
from metazoo.cards.card_tables import number
from metazoo.cards.styles import BASELINE, COLORS, DPI, SIZE, SMALL, WIDTH, style_of
from metazoo.words import count

SUFFIXES = (".png", ".svg")
MAX_TICKS = 9
LABEL_GAP = 0.055
"""Least distance between the labels of two baselines, in heights of the axes."""
MARGIN = 0.5
"""How far baselines may stretch the axis beyond the curves, in heights of the curves; farther ones are only named."""
TICK_GAP = 0.04
"""Least distance between two ticks, in widths of the axes."""
LEAST_HEIGHT = 0.05
"""Of the curves, as a share of their values: flat ones have almost none."""
SIDES = 0.08
"""Left free on either side of a single curve, in widths of the curve."""
DIGIT = 0.018
"""The width of a digit, in widths of the axes where long names beside them make them narrow."""
STEEP = 0.3
"""From which share of the picture's height on a line between two points may cross the number above the lower one."""


def adaptation_curve(reports: list[dict[str, Any]], file: Path) -> Path:
    """Draws return against adaptation steps, one line with its 95 % band per report, and writes ``file``.

    Below the steps stands how many episodes of the new task they took. Baselines are labelled at the right: horizontal
    lines, or curves of those that adapt. Where curves would be points, or lie on each other, dots with intervals stand
    in their place, and the rewards of the steps where a trial is one episode (``metazoo.cards.dots``). The picture is
    the same bytes whenever it is drawn from the same reports.

    Raises:
        ValueError: no reports, or a file name that ends in neither .png nor .svg.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    file = Path(file)
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"the picture's file is {file.name!r}; its name must end in {' or '.join(SUFFIXES)}.")
    if not reports:
        raise ValueError("there are 0 reports to draw; give at least one policy.")
    with rc_context({"svg.hashsalt": "metazoo", "svg.fonttype": "none", "font.size": SIZE}):
        figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
        if len(reports) == 1 and "by_step" in reports[0]:
            dots.draw_trial(figure, reports[0])
        elif all(len(report["curve"]) == 1 for report in reports):
            dots.draw_points(figure, reports)
        elif dots.are_close(reports):
            dots.draw_comparison(figure, reports, _names(reports), _titles(reports))
        else:
            _draw_curves(figure, reports)
        dated = {"Date": None} if file.suffix.lower() == ".svg" else {"Software": None}
        figure.savefig(file, dpi=DPI, metadata=dated)
    return file


def _draw_curves(figure: Any, reports: list[dict[str, Any]]) -> None:
    axes, axis = figure.add_subplot(), _axis(reports)
    for report, name, color in zip(reports, _names(reports), _cycle(len(reports)), strict=True):
        _draw_curve(axes, report, color, axis, name, spread=_has_spread(reports))
    if len(reports) == 1:
        _write_means(axes, reports[0]["curve"], axis)
    else:
        columns = 2 if _cost(reports) else 1
        figure.legend(loc="outside lower left", ncols=columns, frameon=False, borderaxespad=0.6)
    far = _draw_baselines(axes, _baselines(reports), axis)
    _label(axes, reports, far)


def _cycle(count: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _axis(reports: list[dict[str, Any]]) -> str:
    """What curves run over: inner steps, or the episodes played where one of the policies learns at every step."""
    return "episodes" if any(report.get("online") for report in reports) else "steps"


def _names(reports: list[dict[str, Any]]) -> list[str]:
    """What policies are called; with what a step costs where it costs some more than others."""
    if _axis(reports) == "episodes" or _cost(reports) is not None:
        return [report["name"] for report in reports]
    return [f"{report['name']} ({_cost_of_step(report)})" for report in reports]


def _cost_of_step(report: dict[str, Any]) -> str:
    last = report["curve"][-1]
    return (
        f"{report['horizon']} points" if _points([report]) else f"{last['episodes'] // last['steps']} episodes a step"
    )


def _titles(reports: list[dict[str, Any]]) -> list[str]:
    """Of each point of the longest curve: what was made or played of the new task before it."""
    longest = max((report["curve"] for report in reports), key=len)
    if _axis(reports) == "episodes":
        return [f"after {count(point['episodes'], 'episode')}" for point in longest]
    cost, what = _cost(reports), "point" if _points(reports) else "episode"
    steps = [point["steps"] for point in longest]
    return [f"after {count(made, 'step')}" + (f",\n{count(cost[made], what)}" if cost else "") for made in steps]


def _draw_curve(axes: Any, report: dict[str, Any], color: str, axis: str, label: str, spread: bool) -> None:
    """The mean over tasks with its interval, and how far tasks lie apart; points where there are few."""
    steps = [point[axis] for point in report["curve"]]
    means = [point["mean"] for point in report["curve"]]
    low, high = zip(*(point["ci95"] for point in report["curve"]), strict=True)
    if spread:
        lowest, highest = zip(*(_middle(point) for point in report["curve"]), strict=True)
        axes.fill_between(steps, lowest, highest, color=color, alpha=0.08, linewidth=0)
    axes.fill_between(steps, low, high, color=color, alpha=0.25, linewidth=0)
    few = len(steps) <= MAX_TICKS
    axes.plot(steps, means, color=color, linewidth=2, marker="o" if few else None, markersize=6, label=label)


def _has_spread(reports: list[dict[str, Any]]) -> bool:
    """Whether to show it: of several policies the bands would lie on each other."""
    return len(reports) == 1 and all("per_task" in p or "middle80" in p for p in reports[0]["curve"])


def _middle(point: dict[str, Any]) -> tuple[float, float]:
    """Between which returns the middle 80 % of the tasks lie."""
    if "middle80" in point:
        return tuple(point["middle80"])
    ordered = sorted(point["per_task"])
    return ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]


def _write_means(axes: Any, curve: list[dict[str, Any]], axis: str) -> None:
    """The numbers above the points, where there is room for them, away from a line that climbs to the next point."""
    means = [point["mean"] for point in curve]
    steep = STEEP * axes.dataLim.height
    left = DIGIT * len(number(means[0])) if _alignment(means, 0, steep) == "right" else 0.0
    axes.margins(x=max(SIDES, left / (1 - 2 * left)))  # the first number must not lie on the axis
    for i, point in enumerate(curve if len(curve) <= MAX_TICKS else ()):
        axes.annotate(
            number(point["mean"]),
            xy=(point[axis], point["ci95"][1]),
            xytext=(0, 7),
            textcoords="offset points",
            ha=_alignment(means, i, steep),
            fontsize=SMALL,
            bbox={"boxstyle": "square,pad=0", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )


def _alignment(means: list[float], i: int, steep: float) -> str:
    """Which part of the number above point ``i`` stands over it, by where a line goes up from it."""
    before, after = (0 <= j < len(means) and means[j] - means[i] > steep for j in (i - 1, i + 1))
    return "center" if before == after else "left" if before else "right"


def _baselines(reports: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """(name, report) of every baseline, best last; one that several reports share stands there once.

    Those that do not adapt are the same however many episodes a report lets them play, which moves their means a
    little: of these the one stays that played most.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for report in sorted(reports, key=lambda report: -len(report["curve"])):
        for name, baseline in report.get("baselines", {}).items():
            mine = round(float(baseline["mean"]), 6) if "curve" in baseline else report.get("horizon")
            found.setdefault((name, mine), baseline)
    return sorted(((key[0], baseline) for key, baseline in found.items()), key=lambda item: item[1]["mean"])


def _draw_baselines(axes: Any, baselines: list[tuple[str, dict[str, Any]]], axis: str) -> list[str]:
    """Lines or curves, labels outside on the right, moved apart where lines are close. Returns those left out because
    they are far from the learners' curves."""
    low, high = axes.dataLim.intervaly
    reach = MARGIN * max(high - low, LEAST_HEIGHT * max(abs(low), abs(high)))
    near = [item for item in baselines if low - reach <= item[1]["mean"] <= high + reach]
    far = [_labelled(*item) for item in baselines if item not in near]
    for name, baseline in near:
        style = {**style_of(name).line(), "linewidth": 1, "zorder": 1}
        if "curve" in baseline:
            points = [(point[axis], point["mean"]) for point in baseline["curve"]]
            axes.plot(*zip(*points, strict=True), **style)
        else:
            axes.axhline(baseline["mean"], **style)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_ylim(max(axes.get_ylim()[0], low - reach), min(axes.get_ylim()[1], high + reach))
    bottom, top = axes.get_ylim()
    heights = [(baseline["mean"] - bottom) / (top - bottom) for _, baseline in near]
    for item, height, place in zip(near, heights, _spread(heights), strict=True):
        axes.annotate(
            _labelled(*item),
            xy=(1.0, height),
            xytext=(1.03, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=SMALL,
            color=BASELINE,
            arrowprops={
                "arrowstyle": "-",
                "color": BASELINE,
                "linewidth": 0.7,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0.0, 0.5),
            },
        )
    return far


def _labelled(name: str, baseline: dict[str, Any]) -> str:
    return f"{name.replace('_', ' ')}  {number(baseline['mean'])}"


def _spread(heights: Iterable[float]) -> list[float]:
    """Ascending heights moved as little as needed to lie ``LABEL_GAP`` apart: groups that touch share their room."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _edge(groups[-1], -1) - _edge(groups[-2], 1) < LABEL_GAP:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_edge(group, -1) + i * LABEL_GAP for group in groups for i in range(len(group))]


def _edge(group: list[float], side: int) -> float:
    """Where the lowest (−1) or the highest (1) label of a group stands."""
    return sum(group) / len(group) + side * (len(group) - 1) * LABEL_GAP / 2


def _points(reports: list[dict[str, Any]]) -> bool:
    """Whether policies adapt to points, as in supervised families, not to episodes."""
    return all(report.get("metric", "return") != "return" for report in reports)


def _cost(reports: list[dict[str, Any]]) -> dict[int, int] | None:
    """steps → episodes, or points, that they took, or None where the reports differ."""
    cost: dict[int, int] = {}
    for report in reports:
        each = report["horizon"] if _points([report]) else 1
        for point in report["curve"]:
            if cost.setdefault(point["steps"], each * point["episodes"]) != each * point["episodes"]:
                return None
    return cost


def _apart(ticks: list[int]) -> list[int]:
    """The ticks whose labels have room: a policy's few episodes may stand beside the many of another."""
    kept = ticks[:1]
    for tick in ticks[1:]:
        if tick - kept[-1] >= TICK_GAP * (ticks[-1] - ticks[0]):
            kept.append(tick)
    return kept


def _label(axes: Any, reports: list[dict[str, Any]], far: list[str]) -> None:
    first, axis = reports[0], _axis(reports)
    cost = _cost(reports) if axis == "steps" else None
    steps = sorted({point[axis] for report in reports for point in report["curve"]})
    stride = next(n * 10**power for power in range(9) for n in (1, 2, 5) if len(steps) <= MAX_TICKS * n * 10**power)
    steps = _apart(steps[::stride])
    axes.set_xticks(steps, [f"{step}\n{cost[step]}" if cost else f"{step}" for step in steps])
    below = f"\nfar off: {', '.join(far)}" if far else ""
    name = "adaptation steps" if axis == "steps" else "episodes of the new task played before"
    what = "points" if _points(reports) else "episodes"
    axes.set_xlabel(f"{name}\n{what} of the new task, in all{below}" if cost else name + below)
    metrics = {report.get("metric", "return") for report in reports}
    better = "higher" if first.get("higher_is_better", True) else "lower"
    unit = " per episode" if metrics == {"return"} else ""
    axes.set_ylabel(f"{' / '.join(sorted(metrics))}{unit} ({better} is better)")
    name = f"{first['name']}: " if len(reports) == 1 else ""
    splits = " and ".join(sorted({report["split"] for report in reports}))
    counts = sorted({report["tasks"] for report in reports})
    tasks = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    shown = "mean, 95 % interval, 80 % of tasks" if _has_spread(reports) else "mean and 95 % interval"
    axes.set_title(f"{name}{tasks} {splits} tasks, {shown}", fontsize=SIZE + 1, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
