"""What a federation agrees on: the preset, who takes part when, and how much each client plays. Imports nothing heavy.

A client gets it as text with every message and keeps nothing else, so a federation is resumed without its clients
knowing. The order of turns is fixed before anything is learned: privacy's accounting rests on that.
"""

import dataclasses
import json
import math
import random
from dataclasses import dataclass
from typing import Any, Final

from metazoo.presets.preset import Preset, settings_of
from metazoo.words import count

ALGORITHMS: Final = ("maml", "anil", "meta_sgd", "reptile", "domain_randomised")
"""Learners whose update is one mean over tasks, so that a mean over clients is the same update."""
FIRST_ORDER: Final = ("maml", "anil", "meta_sgd")
"""Those that have a second derivative to leave out (FedMeta's first-order variant, Chen et al. 2018)."""
STEPS: Final = ("adam", "average")
VALIDATORS: Final = 100
"""The most clients that are asked for their return."""
SAMPLED: Final = 20
"""Clients of a round where nobody says, or all if there are fewer."""


@dataclass(frozen=True)
class Federation:
    """``preset`` as clients train it: ``tasks`` of its config are those of one client in one round."""

    preset: Preset
    clients: int
    sampled: int
    rounds: int
    step: str = "adam"
    """How the server uses the mean update: as a gradient for Adam, or as the new weights (FedAvg)."""
    dropout: float = 0.0
    """Probability that a client drops out of a round, for trials of what that does."""
    private: bool = False
    """Whether clients send no figures beside their update: what nobody adds noise to must not leave them."""
    seed: int = 0

    def __post_init__(self):
        _require(self)

    @property
    def tasks(self) -> int:
        """Of one client in one round."""
        return self.preset.config["tasks"]

    @property
    def turns(self) -> int:
        """In how many rounds the most asked client is asked."""
        return math.ceil(self.rounds * self.sampled / self.clients)

    def turn(self, number: int) -> list[int]:
        """The clients of round ``number``, counted from 1: in one order, over and over."""
        order = list(range(self.clients))
        random.Random(self.seed).shuffle(order)
        first = (number - 1) * self.sampled
        return sorted(order[(first + i) % self.clients] for i in range(self.sampled))

    @property
    def validators(self) -> range:
        """The clients that are asked for their return: all, or some spread over the slices."""
        return range(0, self.clients, -(-self.clients // VALIDATORS))

    def drops(self, client: int, number: int) -> bool:
        """Whether a client drops out of a round."""
        return random.Random(f"{self.seed} {client} {number}").random() < self.dropout

    def as_text(self) -> str:
        """For clients, and for ``run.json``."""
        return json.dumps(self.as_settings(), sort_keys=True)

    def as_settings(self) -> dict[str, Any]:
        return {**vars(self), "preset": settings_of(self.preset)}


def federation_from(text: str) -> Federation:
    """What ``as_text`` wrote."""
    said = json.loads(text)
    return Federation(**{**said, "preset": Preset(**said["preset"])})


def federation_of(
    preset: Preset,
    clients: int,
    rounds: int,
    *,
    sampled: int | None = None,
    tasks: int | None = None,
    step: str = "adam",
    dropout: float = 0.0,
    private: bool = False,
    seed: int | None = None,
    second_order: bool = False,
) -> Federation:
    """A preset among ``clients``, by default with as many tasks in all as its central training has.

    Clients' gradients are not clipped: the server clips their mean, as a central training does.

    Raises:
        ValueError: the preset's update is no mean over tasks, or numbers do not go together.
    """
    if preset.algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise ValueError(
            f"{preset.name} is trained by {preset.algorithm}, whose update is no mean over clients; choose a preset of"
            f" {known}."
        )
    sampled = min(SAMPLED, clients) if sampled is None else sampled
    central = preset.updates * preset.config.get("tasks", SAMPLED)
    mine = max(1, round(central / max(1, rounds * sampled))) if tasks is None else tasks
    config = {**preset.config, "tasks": mine}
    if preset.algorithm in FIRST_ORDER and not second_order:
        config["first_order"] = 1
    changed = dataclasses.replace(preset, config=config)
    seed = preset.seed if seed is None else seed
    return Federation(changed, clients, sampled, rounds, step, dropout, private, seed)


def _require(one: Federation) -> None:
    config = one.preset.config
    for what, value, low, high in (
        ("clients", one.clients, 2, 100_000),
        ("rounds", one.rounds, 1, 10_000_000),
        ("sampled", one.sampled, 1, one.clients),
        ("tasks", one.tasks, 1, 10_000),
    ):
        if not low <= value <= high:
            raise ValueError(f"{what} is {value}; with {count(one.clients, 'client')} it must be from {low} to {high}.")
    if not 0.0 <= one.dropout < 1.0:
        raise ValueError(f"dropout is {one.dropout}; it must be at least 0 and below 1.")
    if one.step not in STEPS:
        raise ValueError(f"step is {one.step!r}; choose {' or '.join(STEPS)}.")
    if config.get("epochs", 1) > 1 or config.get("outer") == "trpo":
        what = f"epochs={config['epochs']}" if config.get("epochs", 1) > 1 else "outer=trpo"
        raise ValueError(f"{one.preset.name} has {what}; a federation's round is one step along a gradient.")
    if config.get("replicas", 1) > 1:
        raise ValueError(f"replicas is {config['replicas']}; among clients it must be 1.")
