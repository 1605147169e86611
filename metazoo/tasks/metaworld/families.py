"""Meta-World's ML1 (Yu et al. 2019): one manipulation, with objects and a hidden goal in places that differ.

    family = MetaWorldML1("reach-v3")

Not in ``FAMILIES``, because Meta-World cannot be installed beside the tested set of packages: 3.1 needs exactly MuJoCo
3.3.0, and 3.0 takes any MuJoCo but fails on 4.0. In an environment of its own it works: ``docs/install.md``.
"""

from typing import Any, ClassVar, Final, final

import numpy as np

from metazoo.artefact.spaces import CollectionError
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.gym.rows import Imported

MISSING: Final = "Meta-World is not installed, or not beside a MuJoCo it runs on: pip install metaworld==3.1.1"
SEEDS: Final = {"train": 0, "test": 1, "validation": 2}
"""Of ML1's own draws: its test tasks are those of the seed after the training tasks'."""


@final
class MetaWorldML1(GymFamily):
    """Tasks of ML1: ``placement`` ``[n]``, positions of the objects and the goal (m), 50 for each split.

    Observation ``[39]`` with zeros for the goal, action ``[4]`` in ±1, Meta-World's reward, 500 steps. No tasks are
    out of range.

    Raises:
        CollectionError: Meta-World is not installed, or has no such environment.
    """

    reward_unit: ClassVar[str] = "Meta-World's own"

    def __init__(self, env_name: str = "reach-v3", horizon: int = 500, workers: int = 2, rows: int = 50):
        self.env_name = env_name
        make = Imported("metazoo.tasks.metaworld.envs", "ML1Env", MISSING)
        name = f"metaworld_{env_name.replace('-', '_')}"
        arguments = {"env_name": env_name}
        super().__init__(make, self._draw_placement, horizon, name=name, env_args=arguments, workers=workers, rows=rows)

    def _draw_placement(self, generator: np.random.Generator, split: str) -> dict[str, Any]:
        if split not in SEEDS:
            raise ValueError("ML1 has no tasks out of range; choose one of train, validation, test.")
        try:
            from metazoo.tasks.metaworld.envs import placements
        except ImportError as error:
            raise CollectionError(MISSING) from error
        choice = placements(self.env_name, SEEDS[split])
        return {"placement": choice[generator.integers(len(choice))]}
