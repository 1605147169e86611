"""Half-cheetahs of other bodies: what the tasks of ``cheetah_bodies`` make of Gymnasium's.

Importing this module imports MuJoCo (the extra ``mujoco``), and no TensorFlow: workers do without.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import numpy as np

from metazoo.tasks.mujoco.envs import CHEETAH_SECONDS, Cheetah, control_cost
from metazoo.tasks.mujoco.rows import Seen

FLOOR, HEAD = 0, 2
"""Places among the geoms; the others are the capsules of torso and legs."""


class Built(NamedTuple):
    """What the tasks multiply: masses ``[8]`` (kg), damping of the joints ``[9]``, sizes of the geoms ``[9, 3]`` (m): a
    capsule's radius and half its length."""

    mass: np.ndarray
    damping: np.ndarray
    size: np.ndarray


class CheetahBody(Cheetah):
    """A half-cheetah that is paid for running upright. Thicker by the factor of its mass, as RoML has it.

    Inertias stay, as there.
    """

    own_model = True
    built: Built | None = None

    def set_task(self, task: Mapping[str, Any]) -> None:
        """Factors of the original by name; those left out are 1. The state is lost."""
        import mujoco

        model, factor = self.model, {"mass": 1.0, "damping": 1.0, "head": 1.0, **task}
        if self.built is None:
            self.built = Built(model.body_mass.copy(), model.dof_damping.copy(), model.geom_size.copy())
        model.body_mass[:] = self.built.mass * factor["mass"]
        model.dof_damping[:] = self.built.damping * factor["damping"]
        size = self.built.size.copy()
        size[FLOOR + 1 :, 0] *= factor["mass"]
        size[HEAD, 1] *= factor["head"]
        _resize(model, size)
        mujoco.mj_setConst(model, self.data)  # what MuJoCo derives from masses

    def step(self, action: np.ndarray):
        import mujoco

        data = self.data
        before = data.qpos[0]
        data.ctrl[:] = action
        mujoco.mj_step(self.model, data, nstep=self.frame_skip)
        position = data.qpos
        paid = (position[0] - before) / CHEETAH_SECONDS + position[1]
        return np.concatenate((position[1:], data.qvel)), float(paid - control_cost(action)), False, False, {}

    def parameters_of(self, tasks: Sequence[Mapping[str, Any]]) -> None:
        """In the models."""

    def outcomes(self, parameters: Any, before: Seen, after: Seen, actions: np.ndarray) -> tuple[np.ndarray, bool]:
        velocity = (after.qpos[:, 0] - before.qpos[:, 0]) / CHEETAH_SECONDS
        return velocity + after.qpos[:, 1] - control_cost(actions), False


def _resize(model: Any, size: np.ndarray) -> None:
    """Sizes of the capsules, with the spheres around them by which MuJoCo looks for contacts.

    It also looks by boxes, which are made with the model: that search is left out. It saves time in large scenes, and
    finds nothing that the spheres do not.
    """
    import mujoco

    model.geom_size[:] = size
    capsules = slice(FLOOR + 1, None)
    model.geom_rbound[capsules] = size[capsules, 0] + size[capsules, 1]
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)


@final
class HalfCheetahMass(CheetahBody):
    pass


@final
class HalfCheetahBody(CheetahBody):
    pass
