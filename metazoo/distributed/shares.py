"""How an update is cut: into shares of its tasks, whose number is fixed for a training, however many workers there are.

The gradient of a meta-objective is a mean over tasks. Every share plays its tasks and answers with its part of that
mean; the parts are added in the shares' order. So what is computed, and in which order, does not depend on who does it.
"""

import dataclasses
from typing import Any, Final

from metazoo.algorithms.registry import LEARNERS
from metazoo.presets.preset import Preset
from metazoo.words import count

USUAL: Final = 4
"""Shares where nobody says how many: so many, or the next larger number that the tasks can be cut into."""


def config_of(preset: Preset) -> Any:
    """The settings of the preset's learner."""
    return LEARNERS[preset.algorithm].config_class(**preset.config)


def possible(config: Any) -> list[int]:
    """Into how many equal shares the tasks of an update can be cut: whole replicas, a part of every minibatch each."""
    numbers = (number for number in range(1, config.tasks + 1) if config.tasks % number == 0)
    return [number for number in numbers if _allowed(config, number)]


def shares_for(preset: Preset, asked: int | None, workers: int) -> int:
    """How many shares a preset's updates have.

    Raises:
        ValueError: the tasks cannot be cut into so many, there are more workers than shares, or the outer step is none
            that gradients alone decide.
    """
    config = config_of(preset)
    if getattr(config, "outer", "") == "trpo":
        raise ValueError(
            f"{preset.name} has outer=trpo, whose line search takes all tasks at once: train it without --ray."
        )
    counts = possible(config)
    if asked is not None and asked not in counts:
        raise ValueError(
            f"--shares is {asked}; the {config.tasks} tasks of {preset.name} can be cut into {_or(counts)}."
        )
    usual = next((number for number in counts if number >= USUAL), counts[-1])
    shares = usual if asked is None else asked
    if workers > counts[-1]:
        raise ValueError(
            f"--workers is {workers}; the {config.tasks} tasks of {preset.name} make at most"
            f" {count(counts[-1], 'share')}, and every worker needs one."
        )
    if workers > shares:
        enough = next(number for number in counts if number >= workers)
        raise ValueError(
            f"--workers is {workers}; {preset.name} is cut into {count(shares, 'share')}, and every worker needs"
            f" one: --shares {enough} makes enough (and, by rounding, other weights)."
        )
    return shares


def share_of(preset: Preset, shares: int) -> Preset:
    """The preset with one share's tasks. Its gradients are not clipped: what is to be clipped is their sum."""
    config = {**preset.config, "tasks": config_of(preset).tasks // shares}
    if "clip_norm" in {field.name for field in dataclasses.fields(LEARNERS[preset.algorithm].config_class)}:
        config["clip_norm"] = 0.0
    return dataclasses.replace(preset, config=config)


def _allowed(config: Any, shares: int) -> bool:
    try:
        dataclasses.replace(config, tasks=config.tasks // shares)
    except ValueError:  # replicas, or minibatches, that do not divide a share's tasks
        return False
    return True


def _or(counts: list[int]) -> str:
    return f"{', '.join(map(str, counts[:-1]))} or {counts[-1]} shares" if counts[1:] else f"{counts[0]} share only"
