"""The tables of a model card: results over the curve, baselines on the same tasks, training seeds."""

from collections.abc import Mapping
from typing import Any, Final

from metazoo.cards import baselines
from metazoo.classical import settings as classical
from metazoo.presets.registry import PRESETS
from metazoo.words import count

ABOUT_BASELINES: Final = classical.ABOUT | baselines.ABOUT
"""Of those that do not say in their report what they are, as families' references do."""


def results(metadata: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """The section with the curve on all splits, and the baselines."""
    shown = curves(metadata, report)
    better = "higher" if report["higher_is_better"] else "lower"
    supervised = metadata.get("supervised", False)
    text = f"Mean {report['metric']}{'' if supervised else ' per episode'} on {report['tasks']:,} tasks of each split"
    text += f" (task seed {report['seed']}), {better} is better"
    if not supervised:
        text += f", with {'its most likely actions' if report.get('deterministic') else 'actions sampled from it'}"
    kinds = report["curve"][-1].get("by_task", [])
    drawn = f"drawn within each of the {len(kinds)} distinct ones, " if kinds else ""
    text += (
        f". Brackets: 95 % bootstrap interval over tasks, {drawn}which says how well *this* policy does on new tasks,"
        " not how much training runs differ. IQM: mean of the middle half of the tasks, with its own interval."
    )
    if report.get("online"):
        text += " The episodes of a trial are played one after another; every one is both test and experience."
    elif supervised:
        measured = "error" if report["metric"] == "mse" else "accuracy"
        text += f" All steps adapt to the same {example(metadata)}s, and the {measured} is that on others."
    else:
        text += " Every step adapts to episodes of its own and is tested on fresh ones."
    judged = all("success" in point for curve in shown.values() for point in curve)
    if judged:
        text += " Success: the share of episodes that reached the goal at any step, over tasks."
    columns = ("mean", "IQM", *(["success"] if judged else []))
    head = [*axes_of(metadata, report), *(f"{split}: {column}" for split in shown for column in columns)]
    table = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for points in zip(*shown.values(), strict=True):
        cells = list(place(points[0], metadata, report))
        for point in points:
            cells += [interval(point), interval(point, "iqm"), *([percent(point["success"])] if judged else [])]
        table.append("| " + " | ".join(cells) + " |")
    parts = ["## Results", text, "\n".join(table)]
    if kinds:
        named = any(isinstance(value, str) for value in kinds[0]["task"].values())
        said = "By kind of task" if named else f"By task, for the family has {len(kinds)} only"
        parts += [f"{said}:", _by_task(shown, metadata, report)]
    if report.get("online") and len(report["curve"]) > 1:
        parts.append(f"In the whole trial, all episodes added up: {interval(report['total'])}.")
    longer = report.get("at_horizon", {})
    for steps, point in longer.items():
        parts.append(f"With episodes of {count(int(steps), 'step')}, after all adaptation: {interval(point)}.")
    if report.get("baselines"):
        equal = "" if supervised else ", with as many episodes"
        parts += [f"On the same {report['split']} tasks{equal}:", _baselines(report)]
    return "\n\n".join(parts)


def _by_task(shown: Mapping[str, Any], metadata: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """A row for each distinct task of each split, a column for each point of the curve."""
    axis, points = axes_of(metadata, report)[0], [place(point, metadata, report)[0] for point in report["curve"]]
    lines = ["| task | split | tasks | " + " | ".join(f"{axis} {point}" for point in points) + " |"]
    lines.append("|" + "---|" * (len(points) + 3))
    for split, curve in shown.items():
        for same in zip(*(point["by_task"] for point in curve), strict=True):
            task = ", ".join(_value(name, value) for name, value in same[0]["task"].items())
            lines.append(f"| {task} | {split} | {same[0]['tasks']} | " + " | ".join(map(_with_success, same)) + " |")
    return "\n".join(lines)


def _value(name: str, value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else f"`{name}` {value:g}".replace("-", "−")


def _with_success(point: Mapping[str, Any]) -> str:
    return interval(point) + (f", {percent(point['success'])}" if "success" in point else "")


def curves(metadata: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Split → curve, the out-of-range one included if it was recorded."""
    found = {report["split"]: report["curve"]}
    outside = (metadata.get("evaluation") or {}).get("ood")
    if outside:
        found[outside["split"]] = outside["curve"]
    return found


def seeds(metadata: Mapping[str, Any]) -> list[str]:
    """The section about other trainings of the same preset, if they were recorded (``metazoo.cards.seeds``)."""
    recorded = (metadata.get("evaluation") or {}).get("seeds")
    if not recorded:
        return []
    runs, spread, shipped = recorded["runs"], recorded["spread"], metadata["provenance"]["seed"]
    columns = {"total": "whole trial"} if spread["of"] == "total" else {"before": "before", "after": "after"}
    rows = [f"| training seed | {' | '.join(columns.values())} | wall-clock |", "|" + "---|" * (len(columns) + 2)]
    for run in runs:
        cells = [f"{run['seed']}{' (this policy)' if run['seed'] == shipped else ''}"]
        cells += [*(interval(run[key]) for key in columns), f"{run['seconds'] / 60:.1f} minutes"]
        rows.append("| " + " | ".join(cells) + " |")
    what = "In a whole trial" if spread["of"] == "total" else "After adapting"
    text = (
        f"The preset was trained {len(runs)} times with different training seeds and nothing else changed; all were"
        f" evaluated on the same {recorded['tasks']:,} test tasks. {what}: mean {interval(spread)}, from"
        f" {number(spread['min'])} to {number(spread['max'])}, standard deviation {number(spread['sd'])} over"
        f" trainings. The bracket is Student's 95 % interval of the mean over trainings, with n = {len(runs)}: wide,"
        " because so few trainings say little about the next one, however many tasks each was tested on. Interquartile"
        f" mean over all trainings and tasks: {number(spread['iqm'])}."
    )
    return ["## Other trainings", text, "\n".join(rows)]


def example(metadata: Mapping[str, Any]) -> str:
    """What a supervised policy adapts to one of."""
    return metadata.get("example", "point")


def interval(point: Mapping[str, Any], of: str = "mean") -> str:
    """The mean, or another figure of it (``iqm``, ``cvar10``), with its interval; a closed form has none."""
    bounds = point.get("ci95" if of == "mean" else f"{of}_ci95")
    return number(point[of]) + (f" [{number(bounds[0])}, {number(bounds[1])}]" if bounds else "")


def percent(rate: Mapping[str, Any]) -> str:
    """A mean rate in percent, with its interval."""
    low, high = (f"{100 * bound:.0f}" for bound in rate["ci95"])
    return f"{100 * rate['mean']:.0f} % [{low}, {high}]"


def number(value: float) -> str:
    """One decimal, two where a tenth would be coarse."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def axes_of(metadata: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Heads of the columns that say which point of the curve a row is."""
    if report.get("online"):
        return ["episode"] if len(report["curve"]) > 1 else ["trial"]
    return ["steps", f"{example(metadata)}s"] if metadata.get("supervised") else ["steps", "episodes used"]


def place(point: Mapping[str, Any], metadata: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """The cells under ``axes_of``."""
    if report.get("online"):
        return [str(point["episodes"] + 1) if len(report["curve"]) > 1 else count(metadata["horizon"], "step")]
    used = metadata["horizon"] * min(1, point["steps"]) if metadata.get("supervised") else point["episodes"]
    return [str(point["steps"]), str(used)]


def _baselines(report: Mapping[str, Any]) -> str:
    baselines = report["baselines"]
    lengths = list(dict.fromkeys(steps for b in baselines.values() for steps in b.get("at_horizon", {})))
    trials = report.get("online") and len(report["curve"]) > 1
    judged = all("success" in baseline for baseline in baselines.values())
    head = [
        "baseline",
        "mean",
        *(["success"] if judged else []),
        *(["whole trial"] if trials else []),
        *(f"mean at {steps} steps" for steps in lengths),
    ]
    lines = ["| " + " | ".join([*head, "what it is"]) + " |", "|" + "---|" * (len(head) + 1)]
    for name, baseline in baselines.items():
        success = [percent(baseline["success"])] if judged else []
        others = [baseline.get("total")] if trials else []
        others += [baseline.get("at_horizon", {}).get(steps) for steps in lengths]
        what = PRESETS[name].description if name in PRESETS else baseline.get("what") or ABOUT_BASELINES.get(name, "")
        cells = [f"`{name}`", interval(baseline), *success, *(interval(b) if b else "" for b in others), what]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
