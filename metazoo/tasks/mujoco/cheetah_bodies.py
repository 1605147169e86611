"""Half-cheetahs of other bodies, as in RoML (Greenberg et al. 2023, arXiv 2301.11147): families.

What a task multiplies, and the reward, are those of the authors' code (github.com/ido90/RobustMetaRL, environments
``half_cheetah_mass`` and ``half_cheetah_body``). MuJoCo is imported when the first environment is made.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np

from metazoo.tasks.family import Range
from metazoo.tasks.mujoco.families import MujocoFamily

FACTOR = Range((0.5, 2.0), ((0.35, 0.5), (2.0, 2.8)))
"""Of what a task multiplies; uniform in its logarithm. RoML has nothing out of range: half an octave is ours."""
ORIGINAL = {"mass": 1.0, "damping": 1.0, "head": 1.0}


def factors(*names: str) -> Any:
    """Independent factors 2 ** U[−1, 1]; out of range as uniform in the logarithm, on both sides."""

    def sample(generator: np.random.Generator, split: str) -> dict[str, float]:
        if split != "ood":
            low, high = np.log(FACTOR.train)
            return {name: float(np.exp(generator.uniform(low, high))) for name in names}
        chosen = {name: FACTOR.ood[generator.integers(len(FACTOR.ood))] for name in names}
        return {name: float(np.exp(generator.uniform(*np.log(part)))) for name, part in chosen.items()}

    return sample


class BodyFamily(MujocoFamily):
    """Run forwards with an unknown body: reward velocity + height − 0.05 ‖action‖²."""

    module: ClassVar[str] = "metazoo.tasks.mujoco.cheetah_envs"
    page: ClassVar[str] = "half_cheetah_bodies"
    original: str = "HalfCheetah-v5"
    reward_unit: ClassVar[str] = "forward velocity in m/s + height of the torso in m − 0.05 ‖action‖²"


@final
class HalfCheetahMass(BodyFamily):
    """All masses are multiplied by one factor."""

    name, env, draw = "half_cheetah_mass", "HalfCheetahMass", staticmethod(factors("mass"))
    hidden: ClassVar[str] = "mass of the body"
    units: ClassVar[Mapping[str, str]] = {"mass": "times the original"}
    nominal: ClassVar[Mapping[str, float]] = {"mass": ORIGINAL["mass"]}
    ranges: ClassVar[Mapping[str, Range]] = {"mass": FACTOR}


@final
class HalfCheetahBody(BodyFamily):
    """Masses, the joints' damping and the length of the head are multiplied by a factor each."""

    name, env, draw = "half_cheetah_body", "HalfCheetahBody", staticmethod(factors(*ORIGINAL))
    hidden: ClassVar[str] = "mass, damping, size of the head"
    units: ClassVar[Mapping[str, str]] = dict.fromkeys(ORIGINAL, "times the original")
    nominal: ClassVar[Mapping[str, float]] = ORIGINAL
    ranges: ClassVar[Mapping[str, Range]] = dict.fromkeys(ORIGINAL, FACTOR)
