"""What a task family draws its tasks from, as text for model cards."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metazoo.tasks.host_family import AnyFamily

SAMPLES = 2000
FEW = 4
"""Values that are listed one by one if a parameter has no others."""


class RangeRow(NamedTuple):
    """One task parameter: its unit, intervals, and value in the original environment, as text."""

    name: str
    unit: str
    train: str
    ood: str
    nominal: str
    sampled: bool


def range_rows(family: AnyFamily) -> list[RangeRow]:
    """A row for every parameter of the family's tasks: exact where the family says its ``ranges``, else from samples,
    all values where there are few."""
    declared = family.parameter_ranges()
    splits = ("train", "ood" if family.out_of_range else "train")
    tasks = {
        name: family.sample(SAMPLES, split, seed=0)._asdict()
        for name, split in zip(("train", "ood"), splits, strict=True)
    }
    rows = []
    for name in family.Task._fields:
        train, ood = (np.asarray(tasks[split][name]) for split in ("train", "ood"))
        few = name not in declared and max(len(np.unique(values)) for values in (train, ood)) <= FEW
        if name in declared:
            sign = "± " if declared[name].train[0] > 0 and train.min() < 0 else ""
            one = declared[name]
            inside, outside = (sign + _intervals(part) for part in ([one.train], one.ood or [one.train]))
        elif few:
            inside, outside = (" or ".join(map(_number, np.unique(values))) for values in (train, ood))
        else:
            inside, outside = (f"~ {_intervals([(values.min(), values.max())])}" for values in (train, ood))
        outside = outside if family.out_of_range else "none"
        nominal = family.nominal.get(name)
        unit, sampled = family.units.get(name, ""), name not in declared and not few
        rows.append(RangeRow(name, unit, inside, outside, "" if nominal is None else f"{nominal:g}", sampled))
    return rows


def _intervals(intervals: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{_number(low)} to {_number(high)}" for low, high in intervals)


def _number(value: float) -> str:
    return f"{round(float(value), 2):g}".replace("-", "−")
