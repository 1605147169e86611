"""Where a search looks: the ranges that the learners' configs declare, or those of ``--space``. No Optuna in here."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from metazoo.algorithms.registry import LEARNERS
from metazoo.presets.preset import Preset
from metazoo.training.train import preset_value
from metazoo.words import meant

LEARNING_RATE: Final = (1e-4, 3e-2)
"""Where Adam's first learning rate is searched: it is the preset's, and of no config."""
LEARNING_RATE_ALLOWED: Final = (1e-8, 1.0)
WIDE: Final = 10.0
"""A positive range whose ends differ by this factor or more is searched in its logarithm."""
DIGITS: Final = 3
"""Significant digits of a value: those that a person would type, and that a training is repeated with."""


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    whole: bool = False

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high / self.low >= WIDE

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


class Choices(NamedTuple):
    """One of these."""

    values: tuple[Any, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.values


Space = dict[str, Range | Choices]


def space_of(preset: Preset, narrowed: Mapping[str, str]) -> Space:
    """What is searched: exactly the ``narrowed`` settings, if there are any, else all that declare a range for it.

    ``narrowed`` has ``LOW:HIGH`` or ``A,B,C`` by setting. A declared range is stretched as far as the preset's own
    value, if that is positive.

    Raises:
        ValueError: an unknown setting, a value that it does not allow, or a range that is empty.
    """
    fields = {field.name: field for field in dataclasses.fields(LEARNERS[preset.algorithm].config_class)}
    if narrowed:
        return {key: _given(preset, key, text, fields) for key, text in narrowed.items()}
    declared = {key: field.metadata.get("search") for key, field in fields.items()}
    declared["learning_rate"] = LEARNING_RATE
    return {key: _stretched(limits, preset_value(key, preset)) for key, limits in sorted(declared.items()) if limits}


def start_of(preset: Preset, space: Space) -> dict[str, Any]:
    """The preset's own values, where the space holds them: what the first trial takes."""
    values = {key: preset_value(key, preset) for key in space}
    return {key: value for key, value in values.items() if value in space[key]}


def as_settings(values: Mapping[str, Any], space: Space) -> dict[str, str]:
    """Values as ``--set`` takes them; numbers that are not whole have ``DIGITS`` significant digits."""

    def text(key: str) -> str:
        part, value = space[key], values[key]
        return f"{value:.{DIGITS}g}" if isinstance(part, Range) and not part.whole else str(value)

    return {key: text(key) for key in sorted(space)}


def _stretched(limits: tuple[float, float], value: Any) -> Range:
    low, high = limits
    return Range(min(low, value), max(high, value)) if value > 0 else Range(low, high)


def _given(preset: Preset, key: str, text: str, fields: Mapping[str, Any]) -> Range | Choices:
    if key != "learning_rate" and key not in fields:
        known = ["learning_rate", *fields]
        right = meant(key, known, f"it has {', '.join(known)}")
        raise ValueError(f"{preset.algorithm} has no setting {key!r}; {right}")
    kind: Any = float if key == "learning_rate" else type(fields[key].default)
    allowed = LEARNING_RATE_ALLOWED if key == "learning_rate" else fields[key].metadata["allowed"]
    low, colon, high = text.partition(":")
    if not colon:
        return Choices(tuple(dict.fromkeys(_value(key, part, kind, allowed) for part in text.split(","))))
    if kind is str:
        raise ValueError(f"--space {key} is {text!r}; it must be names with commas between them, no range.")
    ends = _value(key, low, kind, allowed), _value(key, high, kind, allowed)
    if ends[0] >= ends[1]:
        raise ValueError(f"--space {key} is {text!r}; the first number must be below the second.")
    return Range(*ends, whole=kind is int)


def _value(key: str, text: str, kind: Any, allowed: tuple[Any, ...]) -> Any:
    """The value that ``text`` says, if the setting allows it."""
    if kind is str:
        if text not in allowed:
            raise ValueError(f"--space {key} has {text!r}; {meant(text, allowed)}")
        return text
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not allowed[0] <= value <= allowed[1]:
        what = "whole numbers" if kind is int else "numbers"
        raise ValueError(f"--space {key} has {text!r}; it must be {what} from {allowed[0]:,} to {allowed[1]:,}.")
    return value
