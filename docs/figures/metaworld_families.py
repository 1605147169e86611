"""Draw the picture of Meta-World's page: ``MUJOCO_GL=egl python docs/figures/metaworld_families.py``.

Each kind of task after 60 steps of Meta-World's own script, rendered by its environment (EGL needs no screen).
"""

import io
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from metaworld.policies import ENV_POLICY_MAP
from PIL import Image

from metazoo.tasks.metaworld.envs import SawyerEnv, placements
from metazoo.tasks.metaworld.kinds import REWRITTEN

HERE = Path(__file__).parents[1] / "families"


def scene(name: str) -> Any:
    """The picture of a kind, ``[240, 240, 3]``."""
    env, script = SawyerEnv((name,), render_mode="rgb_array"), ENV_POLICY_MAP[name]()
    env.set_task({"placement": placements(name, 0)[0]})
    seen, _ = env.reset()
    for _ in range(60):
        shown = np.concatenate([seen[:-3], env.env._target_pos])
        seen, *_ = env.step(np.clip(script.get_action(shown), -1, 1).astype(np.float32))
    return env.render()[::2, ::2]


figure, axes = plt.subplots(2, 8, figsize=(13, 3.7), layout="constrained")
for axis, name in zip(axes.flat, REWRITTEN, strict=True):
    axis.imshow(scene(name))
    axis.set_axis_off()
    axis.set_title(name.removesuffix("-v3"), fontsize=9)
picture = io.BytesIO()
figure.savefig(picture, dpi=72, bbox_inches="tight")
Image.open(picture).convert("RGB").quantize(64).save(HERE / "metaworld.png", optimize=True)
