"""Dots with intervals: pictures of reports whose curves would be single points, or lie on each other."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from metazoo.cards.card_tables import number
from metazoo.cards.styles import BASELINE, COLORS, SIZE, SMALL, WIDTH, style_of
from metazoo.words import count

CLOSE: Final = 0.03
"""Curves nearer than this share of the picture's height, at their last points, are told apart by dots only."""
PANELS: Final = 3
ROW: Final = 0.3
"""Height of a row, in inches."""
AROUND: Final = 1.2
"""Height of title and axis."""
REACH: Final = 0.6
"""How far baselines may stretch an axis beyond the policies, in widths of these; farther ones are arrows at its end."""
LEAST: Final = 0.03
"""Of what the policies span, as a share of their values: a single one has almost no width."""
NUMBERS: Final = 0.4
"""Room right of the dots for the numbers, in widths of what is drawn."""


class Row(NamedTuple):
    """A line of a picture of dots; without a point there is nothing to be seen in this panel."""

    name: str
    color: str
    point: Mapping[str, Any] | None
    own: bool
    """Whether it is one of the policies, not a baseline."""


def are_close(reports: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the curves of several policies cannot be told apart at the end of the shortest."""
    shared = min(len(report["curve"]) for report in reports) - 1
    if len(reports) < 2 or shared < 1:
        return False
    means = [point["mean"] for report in reports for point in report["curve"]]
    ends = sorted(report["curve"][shared]["mean"] for report in reports)
    height = max(means) - min(means)
    return any(after - before < CLOSE * height for before, after in zip(ends, ends[1:], strict=False))


def draw_points(figure: Any, reports: Sequence[Mapping[str, Any]]) -> None:
    """Policies whose curves are a point: at the usual horizon and, where that was measured, at a longer one."""
    lengths = list(dict.fromkeys(steps for report in reports for steps in report.get("at_horizon", {})))
    panels = [("" if not lengths else f"episodes of {count(reports[0]['horizon'], 'step')}", _rows(reports, 0))]
    panels += [(f"of {count(int(steps), 'step')}", _at_horizon(reports, steps)) for steps in lengths]
    _draw(figure, reports, panels)


def draw_comparison(
    figure: Any, reports: Sequence[Mapping[str, Any]], names: Sequence[str], titles: Sequence[str]
) -> None:
    """Policies whose curves lie on each other: a panel for each of a few points of the curves, which have ``titles``.
    ``names`` are what the policies are called."""
    panels = [(titles[at], _rows(reports, at, names)) for at in _places(reports)]
    _draw(figure, reports, panels)


def draw_trial(figure: Any, report: Mapping[str, Any]) -> None:
    """A trial of one episode: the reward of each step, and the return. The rows of the one are the other's key."""
    figure.set_size_inches(WIDTH, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    steps = range(1, len(report["by_step"]["mean"]) + 1)
    rows = _rows([report], 0)
    drawn = {name: one["by_step"] for name, one in report["baselines"].items() if "by_step" in one}
    for name, one in drawn.items():
        left.plot(steps, one["mean"], **style_of(name).line(), linewidth=1)
    left.fill_between(steps, report["by_step"]["low"], report["by_step"]["high"], color=COLORS[0], alpha=0.25, lw=0)
    left.plot(steps, report["by_step"]["mean"], color=COLORS[0], linewidth=2.5)
    left.set(xlabel="step of the trial", ylabel="mean reward of the step", xlim=(1, len(steps)))
    left.grid(axis="y", color="0.92", linewidth=0.8)
    left.spines[["top", "right"]].set_visible(False)
    _panel(right, rows, named=True)
    right.set_xlabel("return of the trial")
    figure.suptitle(
        f"{report['name']}: {_tasks([report])}, mean and 95 % interval", fontsize=SIZE + 1, x=0.01, ha="left"
    )


def _places(reports: Sequence[Mapping[str, Any]]) -> list[int]:
    """Points of the curves that get a panel: the first after adapting, the ends, and what lies between."""
    ends = sorted({len(report["curve"]) - 1 for report in reports})
    chosen = [*dict.fromkeys([1, *ends])][-PANELS:]
    between = [at for at in range(2, ends[0]) if at not in chosen]
    return sorted([*chosen, *between[: PANELS - len(chosen)]])


def _rows(reports: Sequence[Mapping[str, Any]], at: int, names: Sequence[str] = ()) -> list[Row]:
    """The policies in the order given and then the baselines, best first, at a point of their curves."""
    named = zip(reports, names or [report["name"] for report in reports], strict=True)
    own = [Row(name, COLORS[i % len(COLORS)], _at(report["curve"], at), True) for i, (report, name) in enumerate(named)]
    found: dict[str, Mapping[str, Any]] = {}
    for report in reports:
        for name, baseline in report.get("baselines", {}).items():
            found.setdefault(name, baseline)
    better = -1 if reports[0].get("higher_is_better", True) else 1
    ordered = sorted(found.items(), key=lambda item: better * item[1]["mean"])
    others = [
        Row(name, style_of(name).color, _at(one.get("curve") or [one] * (at + 1), at), False) for name, one in ordered
    ]
    return own + others


def _at(curve: Sequence[Mapping[str, Any]], at: int) -> Mapping[str, Any] | None:
    return curve[at] if at < len(curve) else None


def _at_horizon(reports: Sequence[Mapping[str, Any]], steps: str) -> list[Row]:
    """The rows of ``_rows``, with what was measured in longer episodes."""
    everything = {report["name"]: report for report in reports}
    for report in reports:
        everything = {**report.get("baselines", {}), **everything}
    return [row._replace(point=everything[row.name].get("at_horizon", {}).get(steps)) for row in _rows(reports, 0)]


def _draw(figure: Any, reports: Sequence[Mapping[str, Any]], panels: Sequence[tuple[str, list[Row]]]) -> None:
    rows = len(panels[0][1])
    figure.set_size_inches(WIDTH, AROUND + ROW * max(rows, 3))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for i, (one, (title, drawn)) in enumerate(zip(axes, panels, strict=True)):
        _panel(one, drawn, named=i == 0)
        one.set_title(title, fontsize=SIZE)
    better = "higher" if reports[0].get("higher_is_better", True) else "lower"
    metrics = " / ".join(sorted({report.get("metric", "return") for report in reports}))
    figure.supxlabel(f"{metrics}{' per episode' if metrics == 'return' else ''} ({better} is better)", fontsize=SIZE)
    name = f"{reports[0]['name']}: " if len(reports) == 1 else ""
    figure.suptitle(f"{name}{_tasks(reports)}, mean and 95 % interval", fontsize=SIZE + 1, x=0.01, ha="left")


def _tasks(reports: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted({report["tasks"] for report in reports})
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"{many} {' and '.join(sorted({report['split'] for report in reports}))} tasks"


def _panel(axes: Any, rows: Sequence[Row], named: bool) -> None:
    """A dot with its interval in every row, the number beside it; who lies far off is an arrow at the end."""
    low, high = _limits(rows)
    axes.set_xlim(low - 0.06 * (high - low), high + NUMBERS * (high - low))
    for place, row in enumerate(rows):
        if row.point is None:
            continue
        mean, (first, last) = row.point["mean"], row.point.get("ci95") or (row.point["mean"],) * 2
        where = min(max(mean, low), high)
        marker = "o" if where == mean else "<" if mean < low else ">"
        if where == mean:
            axes.plot([first, last], [place, place], color=row.color, linewidth=3, alpha=0.45, solid_capstyle="butt")
        axes.plot([where], [place], marker=marker, color=row.color, markersize=7 if row.own else 5, linestyle="none")
        weight = "bold" if row.own else "normal"
        beside = max(where, last) if where == mean else where
        axes.annotate(
            number(mean),
            (beside, place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            fontweight=weight,
        )
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [row.name.replace("_", " ") if not row.own else row.name for row in rows])
    axes.tick_params(axis="y", length=0, labelleft=named, labelsize=SMALL)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.locator_params(axis="x", nbins=4)
    for label, row in zip(axes.get_yticklabels() if named else (), rows, strict=named):
        label.set_color("black" if row.own else BASELINE)
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    """What is drawn to scale: the policies, and those near them; all beside a single policy that has none near it."""
    own = [row.point for row in rows if row.own and row.point]
    others = [row.point for row in rows if not row.own and row.point]
    low, high = _span(own)
    reach = REACH * max(high - low, LEAST * max(abs(low), abs(high)))
    near = [point for point in others if low - reach <= point["mean"] <= high + reach]
    if not near and len(own) == 1:
        near = others
    low, high = _span([*own, *near])
    pad = LEAST * max(abs(low), abs(high), 1e-9) if high == low else 0.0
    return low - pad, high + pad


def _span(points: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """From the lowest to the highest end of the intervals."""
    ends = [end for point in points for end in (point["mean"], *(point.get("ci95") or ()))]
    return min(ends), max(ends)
