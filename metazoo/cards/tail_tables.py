"""The tables of a model card for what a mean hides: who lost by adapting, the worst tenth, parameters, disturbances."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from metazoo.cards.card_tables import axes_of, interval, number, place
from metazoo.words import count

CASES: Final = {
    "sampled": "actions sampled from it, as in the table above",
    "modes": "its most likely actions: what `act` answers without a seed",
    "noise": "noise on every observation, of {noise:.0%} of how much each entry varies while it plays",
    "late": "actions that act one step late",
}

EXPLAINED: Final = "explain.png"
"""The sheet of ``metazoo explain --record``, beside the card."""


def tail(metadata: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Who lost by adapting, and how the worst tenth of the tasks do; nothing of reports from before this was measured,
    and of policies that do not adapt."""
    points = [point for point in report["curve"] if "gain" in point]
    if not points:
        return []
    before = "in its first episode" if report.get("online") else "before the first step"
    lower = "less than" if report["higher_is_better"] else "more than"
    text = (
        f"Of each of the {report['tasks']:,} {report['split']} tasks: whether it had {lower} {before} (*worse*), and"
        " its gain since then. *Worst tenth*: the mean of the 10 % of tasks with the least (conditional value at risk,"
        " CVaR). What a task has is itself a mean over few episodes, so some are worse by luck alone. Brackets: 95 %"
        " intervals over tasks."
    )
    head = [
        axes_of(metadata, report)[0],
        "worse",
        "gain: mean",
        "gain: worst tenth",
        f"{report['metric']}: worst tenth",
    ]
    rows = [_row([place(point, metadata, report)[0], *_tail_cells(point)]) for point in points]
    first = report["curve"][0]
    start = _row([place(first, metadata, report)[0], "", "", "", interval(first, "cvar10")])
    return ["## The tail", text, "\n".join([*_header(head), start, *rows])]


def _tail_cells(point: Mapping[str, Any]) -> list[str]:
    gain = point["gain"]
    low, high = (f"{100 * end:.1f}" for end in gain["worse_ci95"])
    worse = f"{100 * gain['worse']:.1f} % [{low}, {high}]"
    return [worse, interval(gain), interval(gain, "cvar10"), interval(point, "cvar10")]


def parameters(report: Mapping[str, Any]) -> list[str]:
    """First and last point of the curve by each task parameter, if there are few."""
    cut = report.get("by_parameter")
    if not cut:
        return []
    text = f"The same {report['split']} tasks in four equally full parts by each parameter: first and last row above."
    rows = [
        _row([f"`{name}`", f"{_value(part['low'])} to {_value(part['high'])}", number(part["before"]), _after(part)])
        for name, parts in cut.items()
        for part in parts
    ]
    return ["## By task parameter", text, "\n".join([*_header(["parameter", "tasks with", "first", "last"]), *rows])]


def _after(part: Mapping[str, Any]) -> str:
    return interval({"mean": part["after"], "ci95": part["ci95"]})


def served(report: Mapping[str, Any]) -> list[str]:
    """How it does by its modes, with noise and with a delay, if that was measured."""
    measured = report.get("robustness")
    if not measured:
        return []
    single = len(report["curve"]) == 1
    which = "the row" if single else "first and last row"
    disturbed = " It was trained without noise and delay." if "noise" in measured else ""
    text = f"On {measured['tasks']} {report['split']} tasks: {which} of the table of results.{disturbed}"
    rows = [
        _row([what.format(noise=measured["noise_share"]).replace("%", " %"), *map(interval, measured[name][single:])])
        for name, what in CASES.items()
        if name in measured
    ]
    columns = [report["metric"]] if single else ["first", "last"]
    return ["## As it is served", text, "\n".join([*_header(["with", *columns]), *rows])]


def explained(base_path: Path, metadata: Mapping[str, Any]) -> list[str]:
    """What ``metazoo explain --record`` found; nothing where it was not run."""
    found = metadata.get("explained")
    if not found:
        return []
    said = "\n".join(f"- {sentence}" for sentence in found["sentences"].values())
    picture = [f"![What adapting changed]({EXPLAINED})"] if (base_path / EXPLAINED).is_file() else []
    command = f"By `metazoo explain {metadata['name']}`, on {count(found['tasks'], 'test task')}."
    return ["## What adapting changed", said, *picture, command]


def _value(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _header(cells: list[str]) -> list[str]:
    return [_row(cells), "|" + "---|" * len(cells)]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
