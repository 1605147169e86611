"""The hidden parameters of a task as sliders: what a visitor may choose, and what that may be."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import tensorflow as tf

from metazoo.tasks.family import Range
from metazoo.tasks.host_family import AnyFamily

MOST: Final = 12
"""Numbers of a task that can be chosen one by one; of larger ones there are surprises only."""
SAMPLES: Final = 512
FEW: Final = 4
"""Values that are offered one by one if a parameter has no others."""
STEPS: Final = 200
"""Of a slider."""


def values(tasks: Any) -> np.ndarray:
    """The parameters of tasks ``[M, ...]``, side by side: ``[M, P]``."""
    fields = [np.asarray(field, np.float64) for field in tasks]
    return np.concatenate([field.reshape(len(field), -1) for field in fields], 1)


def names(family: AnyFamily) -> list[str]:
    """Of each of ``values``' columns, such as ``target`` and ``goal 1``; none where there are too many."""
    found = [label for field, value in _sampled(family, "train", 1).items() for label in _labels(field, value)]
    return found if len(found) <= MOST else []


def sliders(family: AnyFamily) -> list[dict[str, Any]]:
    """One for each number of a task: its field and place there, label, unit, bounds, step, and the training range
    (``train``); ``choices`` where it has few values. None where there are too many."""
    if not names(family):
        return []
    train = _sampled(family, "train", SAMPLES)
    ood = _sampled(family, "ood", SAMPLES) if family.out_of_range else train
    made = []
    for field, inside in train.items():
        declared = family.parameter_ranges().get(field)
        flat = [part[field].reshape(SAMPLES, -1) for part in (train, ood)]
        for place, label in enumerate(_labels(field, inside)):
            columns = flat[0][:, place], flat[1][:, place]
            made.append(
                {
                    "field": field,
                    "place": place if inside.ndim > 1 else None,
                    "label": label,
                    "unit": family.units.get(field, ""),
                    "nominal": family.nominal.get(field),
                    **_bounds(declared, *columns),
                }
            )
    return made


def task_of(family: AnyFamily, given: Mapping[str, Any]) -> Any:
    """The family's Task ``[1, ...]`` with the parameters that a visitor chose; those left out are a training task's.

    Raises:
        ValueError: an unknown parameter, a wrong shape, or a number beyond its slider.
    """
    drawn = {name: np.array(field) for name, field in family.sample(1, "train", 0)._asdict().items()}
    limits = {(one["field"], one["place"]): one for one in sliders(family)}
    for name, value in given.items():
        if name not in drawn:
            raise ValueError(f"{family.name} has no task parameter {name!r:.80}; it has {', '.join(drawn)}.")
        drawn[name][0] = _checked(name, value, drawn[name][0].shape, limits)
    return family.Task(*(tf.constant(drawn[name]) for name in family.Task._fields))


def _checked(name: str, value: Any, shape: tuple[int, ...], limits: Mapping[Any, Mapping[str, Any]]) -> np.ndarray:
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        array = np.full((0,), np.nan)
    if array.shape != shape or not np.all(np.isfinite(array)):
        kind = f"a list of {shape[0]} numbers" if shape else "a number"
        raise ValueError(f"the task parameter {name} is {value!r:.80}; it must be {kind}.")
    for place, number in enumerate(array.ravel().tolist()):
        limit = limits.get((name, place if shape else None))
        if limit is None or not limit["low"] - 1e-5 <= number <= limit["high"] + 1e-5:
            bounds = "left to chance" if limit is None else f"from {limit['low']:g} to {limit['high']:g}"
            raise ValueError(f"the task parameter {name} is {number:g}; it must be {bounds}.")
    return array


def _sampled(family: AnyFamily, split: str, count: int) -> dict[str, np.ndarray]:
    return {name: np.asarray(field) for name, field in family.sample(count, split, 0)._asdict().items()}


def _labels(field: str, sampled: np.ndarray) -> list[str]:
    plain = field.replace("_", " ")
    if sampled.ndim == 1:
        return [plain]
    size = math.prod(sampled.shape[1:])
    if field == "goal" and size == 2:
        return ["goal x", "goal y"]
    singular = {"means": "arm"}.get(field, plain)
    return [f"{singular} {i + 1}" for i in range(size)]


def _bounds(declared: Range | None, train: np.ndarray, ood: np.ndarray) -> dict[str, Any]:
    together = np.unique(np.concatenate([train, ood]))
    if declared is None and len(together) <= FEW:
        low, high, step = float(together[0]), float(together[-1]), float(np.diff(together).min(initial=1.0))
        return {"low": low, "high": high, "step": step, "train": [low, high], "choices": together.tolist()}
    if declared is None and np.array_equal(together, together.round()):
        ends = float(together[0]), float(together[-1])
        return {"low": ends[0], "high": ends[1], "step": 1.0, "train": [train.min().item(), train.max().item()]}
    if declared is None:
        inside, ends = _outward(train.min(), train.max()), _outward(together[0], together[-1])
    else:
        inside = declared.train
        every = [edge for part in (declared.train, *declared.ood) for edge in part]
        ends = (-max(every) if min(every) > 0 > train.min() else min(every)), max(every)  # a motor turned round
    step = 10.0 ** math.floor(math.log10(max(ends[1] - ends[0], 1e-9) / STEPS * 2))
    return {"low": ends[0], "high": ends[1], "step": step, "train": [float(edge) for edge in inside]}


def _outward(low: float, high: float) -> tuple[float, float]:
    """The bounds of samples, to a tenth of what they span."""
    grain = 10.0 ** math.floor(math.log10(max(float(high) - float(low), 1e-9)) - 0.3)
    return round(math.floor(low / grain) * grain, 9), round(math.ceil(high / grain) * grain, 9)
