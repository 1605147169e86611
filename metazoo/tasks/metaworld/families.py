"""Meta-World's benchmarks (Yu et al. 2019, McLean et al. 2025): a robot arm with objects and a hidden goal.

ML1: one kind of manipulation, with objects and goal in places that differ. ML10 and ML45: many kinds, and test tasks of
kinds that were never trained on. Needs the extra ``metaworld``, which is imported when the first environment is made.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, final

import numpy as np

from metazoo.artefact.spaces import CollectionError
from metazoo.cores import cores
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.gym.rows import Imported

MISSING: Final = "Meta-World is not installed: pip install 'metazoo[metaworld]'"
SEEDS: Final = {"train": 0, "test": 1, "validation": 2}
"""Of ML1's own draws: its test tasks are those of the seed after the training tasks'."""
GOALS: Final = 50
"""Placements that Meta-World has of a kind in each split."""
LONGEST: Final = 500
"""Steps after which Meta-World's environments must be reset."""
NUMBERS: Final = 6
"""Of the longest placement."""


class MetaWorldFamily(GymFamily):
    """Tasks of some kinds in ``train`` and ``test``: a kind is drawn, then one of the 50 placements of a split.

    ``train_placements`` above 50 is more to train on than Meta-World's protocol has: the same draws, gone on with.
    Validation and test keep their 50.

    Observation ``[39]`` with zeros for the goal, action ``[4]`` in ±1, Meta-World's reward of version v2, 500 steps,
    success as Meta-World has it. No tasks are out of range.

    Raises:
        CollectionError: Meta-World is not installed, or has no such environment.
        ValueError: a horizon above Meta-World's own, or no placements to train on.
    """

    joins = True
    played_by: ClassVar[tuple[str, ...]] = ("metaworld", "mujoco")
    hidden: ClassVar[str] = "place of the goal"
    page: ClassVar[str] = "metaworld"
    reward_unit: ClassVar[str] = "Meta-World's own (v2), from 0 to 10"
    units: ClassVar[Mapping[str, str]] = {"placement": "m"}

    def __init__(
        self,
        name: str,
        train: tuple[str, ...],
        test: tuple[str, ...],
        horizon: int = LONGEST,
        workers: int | None = None,
        rows: int = 100,
        train_placements: int = GOALS,
    ):
        if horizon > LONGEST:
            raise ValueError(f"horizon is {horizon}; Meta-World's environments end after {LONGEST} steps.")
        if train_placements < 1:
            raise ValueError(f"train_placements is {train_placements}; there must be at least 1 to train on.")
        workers = min(2, cores()) if workers is None else workers
        self.counts = {**dict.fromkeys(SEEDS, GOALS), "train": train_placements}
        self.kinds = {"train": train, "validation": train, "test": test}
        self.env_names = tuple(dict.fromkeys((*train, *test)))
        make = Imported("metazoo.tasks.metaworld.envs", "SawyerEnv", MISSING, "metazoo.tasks.metaworld.rows:SawyerRows")
        arguments = {"env_names": self.env_names}
        super().__init__(make, self._draw_task, horizon, name=name, env_args=arguments, workers=workers, rows=rows)
        self.out_of_range = False

    def _draw_task(self, generator: np.random.Generator, split: str) -> dict[str, Any]:
        if split not in SEEDS:
            raise ValueError(f"{self.page} has no tasks out of range; choose one of train, validation, test.")
        try:
            from metazoo.tasks.metaworld.envs import placements
        except ImportError as error:
            raise CollectionError(MISSING) from error
        kinds = self.kinds[split]
        kind = kinds[generator.integers(len(kinds))] if len(kinds) > 1 else kinds[0]
        choice = placements(kind, SEEDS[split], self.counts[split])
        placement = choice[generator.integers(len(choice))]
        if len(self.env_names) == 1:
            return {"placement": placement}
        padded = np.zeros(NUMBERS)
        padded[: len(placement)] = placement
        return {"kind": float(self.env_names.index(kind)), "placement": padded}


class ML1(MetaWorldFamily):
    """One kind of task, ``original``: 50 placements to train on, 50 others to test on."""

    name: str
    original: str

    def __init__(
        self,
        horizon: int = LONGEST,
        workers: int | None = None,
        rows: int = 100,
        train_placements: int = GOALS,
    ):
        one = (self.original,)
        super().__init__(self.name, one, one, horizon, workers, rows, train_placements)


@final
class MetaWorldML1(MetaWorldFamily):
    """ML1 of any of Meta-World's 50 environments, by its name: ``MetaWorldML1("hammer-v3")``."""

    def __init__(
        self,
        env_name: str = "reach-v3",
        horizon: int = LONGEST,
        workers: int | None = None,
        rows: int = 100,
        train_placements: int = GOALS,
    ):
        name = f"metaworld_{env_name.removesuffix('-v3').replace('-', '_')}"
        super().__init__(name, (env_name,), (env_name,), horizon, workers, rows, train_placements)


class ManyKinds(MetaWorldFamily):
    """Kinds to train on, and others to test on: tasks have a ``kind``, its number, beside the placement."""

    name: str
    original: str
    hidden: ClassVar[str] = "kind of the task, place of the goal"
    units: ClassVar[Mapping[str, str]] = {"kind": "", "placement": "m"}

    def __init__(
        self,
        horizon: int = LONGEST,
        workers: int | None = None,
        rows: int = 100,
        train_placements: int = GOALS,
    ):
        try:
            from metazoo.tasks.metaworld.envs import kinds_of
        except ImportError as error:
            raise CollectionError(MISSING) from error
        super().__init__(self.name, *kinds_of(self.original), horizon, workers, rows, train_placements)

    def kinds_of(self, tasks: Any) -> list[str]:
        return [self.env_names[int(kind)] for kind in np.asarray(tasks.kind)]


@final
class ML10(ManyKinds):
    """Meta-World's ML10: 10 kinds to train on, 5 others to test on."""

    name, original = "metaworld_ml10", "ML10"


@final
class ML45(ManyKinds):
    """Meta-World's ML45: 45 kinds to train on, 5 others to test on."""

    name, original = "metaworld_ml45", "ML45"


@final
class Reach(ML1):
    """The gripper reaches a hidden point."""

    name, original = "metaworld_reach", "reach-v3"


@final
class Push(ML1):
    """A puck is pushed to a hidden place on the table."""

    name, original = "metaworld_push", "push-v3"


@final
class PickPlace(ML1):
    """A puck is lifted to a hidden point."""

    name, original = "metaworld_pick_place", "pick-place-v3"


@final
class DoorOpen(ML1):
    """A door is pulled open."""

    name, original = "metaworld_door_open", "door-open-v3"


@final
class DrawerClose(ML1):
    """A drawer is pushed shut."""

    name, original = "metaworld_drawer_close", "drawer-close-v3"


@final
class ButtonPressTopdown(ML1):
    """A button is pressed from above."""

    name, original = "metaworld_button_press_topdown", "button-press-topdown-v3"


@final
class PegInsertSide(ML1):
    """A peg is put into a hole from the side."""

    name, original = "metaworld_peg_insert_side", "peg-insert-side-v3"


@final
class WindowOpen(ML1):
    """A window is slid open."""

    name, original = "metaworld_window_open", "window-open-v3"


@final
class Sweep(ML1):
    """A puck is swept off the table."""

    name, original = "metaworld_sweep", "sweep-v3"


@final
class Basketball(ML1):
    """A ball is dropped into a basket."""

    name, original = "metaworld_basketball", "basketball-v3"


@final
class DrawerOpen(ML1):
    """A drawer is pulled open."""

    name, original = "metaworld_drawer_open", "drawer-open-v3"


@final
class DoorClose(ML1):
    """A door is pushed shut."""

    name, original = "metaworld_door_close", "door-close-v3"


@final
class ShelfPlace(ML1):
    """A puck is put onto a shelf."""

    name, original = "metaworld_shelf_place", "shelf-place-v3"


@final
class SweepInto(ML1):
    """A puck is swept into a hole."""

    name, original = "metaworld_sweep_into", "sweep-into-v3"


@final
class LeverPull(ML1):
    """A lever is pulled up."""

    name, original = "metaworld_lever_pull", "lever-pull-v3"


@final
class ButtonPress(ML1):
    """A button is pressed from the front."""

    name, original = "metaworld_button_press", "button-press-v3"
