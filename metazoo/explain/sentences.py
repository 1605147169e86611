"""A sentence for each of the five pictures, from the numbers of a report."""

from collections.abc import Mapping
from typing import Any

from metazoo.words import count

READ, PARTLY = 0.5, 0.1
"""R² from which a parameter counts as found out, and as found out in part."""
HALF, ALL_BUT = 0.5, 0.9
"""Shares of the gain above which steps of the head alone count as part of adapting, and as all of it."""


def sentences(report: Mapping[str, Any]) -> dict[str, str]:
    """By the picture's name; of pictures that there are none of, why."""
    return {
        "actions": _actions(report),
        "layers": _layers(report),
        "trajectories": _trajectories(report),
        "identified": _identified(report),
        "memory": _memory(report),
    }


def _actions(report: Mapping[str, Any]) -> str:
    found = report["actions"]
    if found is None:
        return "Every observation is the same, so there are no states to compare actions over."
    return f"Over the slice shown, adapting changed the {found['what']} by {found['change']:.2f} on average."


def _layers(report: Mapping[str, Any]) -> str:
    found = report["layers"]
    if found is None:
        return "Its weights stay as they are: what it knows about a task is in its memory."
    most = max(found["moved"], key=found["moved"].get)
    text = f"The {most} moved farthest, by {100 * found['moved'][most]:.1f} % of its length"
    if found["share_of_head"] is None or abs(found["gain"]) < 1e-6:
        return text + "."
    share = found["share_of_head"]
    kind = "more than reuse of features"
    if share > HALF:
        kind = "reuse of features" if share > ALL_BUT else "in part reuse of features"
    return f"{text}; steps of the head alone get {100 * share:.0f} % of the gain: {kind}."


def _trajectories(report: Mapping[str, Any]) -> str:
    first, last = report["shown"]["before"], report["shown"]["after"]
    if report["points"]:
        first, last = -first / report["points"], -last / report["points"]
        return f"On the task shown, the squared error goes from {first:.3g} to {last:.3g}."
    if report["one_episode"]:
        return f"Its trial is one episode, in which it learns while it plays; on the task shown it returns {last:.4g}."
    return f"On the task shown, the return goes from {first:.4g} to {last:.4g}."


def _identified(report: Mapping[str, Any]) -> str:
    r2 = report["identified"]["r2"]
    if not r2:
        return "The tasks do not differ in any number, so there is nothing to find out."
    clear = [f"{name} ({value:.2f})" for name, value in _sorted(r2) if value >= READ]
    partly = [f"{name} ({value:.2f})" for name, value in _sorted(r2) if PARTLY <= value < READ]
    nothing = [name for name, value in _sorted(r2) if value < PARTLY]
    parts = [
        f"what it adapted to tells {', '.join(clear)}" if clear else "",
        f"{'in part ' if clear else 'what it adapted to tells in part '}{', '.join(partly)}" if partly else "",
        f"{'and ' if clear or partly else 'what it adapted to tells '}nothing of {', '.join(nothing)}"
        if nothing
        else "",
    ]
    text = "; ".join(part for part in parts if part)
    return f"R² of a linear probe: {text}."


def _sorted(r2: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(r2.items(), key=lambda one: -one[1])


def _memory(report: Mapping[str, Any]) -> str:
    found = report["memory"]
    if found is None:
        return "It adapts between episodes, so its memory does not change within one."
    if found["from_best_play"]:
        name, missed = next(iter(found["from_best_play"].items()))
        return (
            f"On average {sum(missed) / len(missed):.3f} nats a pull from {name.replace('_', ' ')} play;"
            f" at the last pull {missed[-1]:.3f}."
        )
    if not found["r2"]:
        return "The tasks do not differ in any number, so there is nothing to decode."
    best = max(found["r2"], key=lambda name: found["r2"][name][-1])
    curve = found["r2"][best]
    known = next((step for step, value in zip(found["steps"], curve, strict=True) if value >= 0.9 * curve[-1]), None)
    if curve[-1] < PARTLY or known is None:
        return f"No parameter can be read from the memory by a linear probe; {best} best, to R² {curve[-1]:.2f}."
    after = count(known, "step")
    return f"The memory tells {best} best, to R² {curve[-1]:.2f}; after {after} it knows nine tenths of that."
