"""Draw the pictures of the MuJoCo families' pages: ``MUJOCO_GL=egl python docs/figures/mujoco_families.py``.

Scenes are rendered by MuJoCo (EGL needs no screen), curves are computed from the families themselves.
"""

import io
import json
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from metazoo.tasks.mujoco.cheetah_bodies import HalfCheetahBody
from metazoo.tasks.mujoco.families import AntGoal, HalfCheetahVel, HopperParams

plt.rcParams["axes.titlesize"] = 10

HERE = Path(__file__).parents[1] / "families"
COLOURS = {"train": "#1f6f8b", "ood": "#d1495b"}


def legend_below(axes) -> None:
    """Below the axis, where no data lies."""
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def save(figure, name: str) -> None:
    """Write a PNG small enough for git: 128 colours."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=100, bbox_inches="tight")
    plt.close(figure)
    Image.open(picture).convert("RGB").quantize(128).save(HERE / f"{name}.png", optimize=True)


RENDER = """
import json
import sys
import numpy as np
from metazoo.tasks.mujoco import cheetah_envs, envs

env = {**vars(envs), **vars(cheetah_envs)}[sys.argv[1]]()
if len(sys.argv) > 4:
    env.set_task(json.loads(sys.argv[4]))
env.mujoco_renderer.default_cam_config = {**env.mujoco_renderer.default_cam_config, "distance": float(sys.argv[3])}
env.reset(seed=1)
draws = np.random.default_rng(1)
for _ in range(int(sys.argv[2])):
    env.step(draws.uniform(-1, 1, env.action_space.shape).astype(np.float32))
sys.stdout.buffer.write(env.mujoco_renderer.render("rgb_array").tobytes())
"""


def scene(axes, env: str, title: str, steps: int, distance: float, **task: float) -> None:
    """An environment after some random steps; in a process of its own, because EGL and TensorFlow crash in one."""
    given = [env, str(steps), str(distance), *([json.dumps(task)] if task else [])]
    done = subprocess.run([sys.executable, "-c", RENDER, *given], capture_output=True, check=True)
    axes.imshow(np.frombuffer(done.stdout, np.uint8).reshape(480, 480, 3))
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)


def half_cheetah() -> None:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 2.9), layout="constrained")
    scene(left, "HalfCheetahDir", "HalfCheetah-v5", 10, 4.0)
    speed = np.linspace(-3, 3, 200)
    for sign, colour in ((1, COLOURS["train"]), (-1, COLOURS["ood"])):
        middle.plot(speed, sign * speed, color=colour, label=f"direction {sign}")
    middle.set(xlabel="velocity (m/s)", title="half_cheetah_dir: reward of a step")
    legend_below(middle)
    family = HalfCheetahVel(workers=0, rows=1)
    for split, colour in COLOURS.items():
        for i, target in enumerate(family.sample(4, split).velocity.numpy()):
            label = {"label": split} if i == 0 else {}
            right.plot(speed, -np.abs(speed - target), color=colour, linewidth=1, **label)
    right.set(xlabel="velocity (m/s)", title="half_cheetah_vel: reward of a step")
    legend_below(right)
    save(figure, "half_cheetah")


def half_cheetah_bodies() -> None:
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 2.9), layout="constrained")
    scene(axes[0], "HalfCheetahBody", "mass × 0.5, head × 0.5", 10, 4.0, mass=0.5, damping=1.0, head=0.5)
    scene(axes[1], "HalfCheetahBody", "mass × 2, head × 2", 10, 4.0, mass=2.0, damping=1.0, head=2.0)
    draws = np.random.default_rng(0).uniform(-1, 1, (40, 6)).astype(np.float32)
    for split, colour in COLOURS.items():
        family = HalfCheetahBody(workers=0, rows=16)
        family.reset(family.sample(16, split), np.zeros(16, np.uint32))
        steps = [family.step(np.repeat(action[None], 16, 0), np.ones(16, bool)).rewards.copy() for action in draws]
        label = {"train": "training range", "ood": "out of range"}[split]
        axes[2].plot(np.cumsum(steps, 0), color=colour, linewidth=0.8, label=[label] + [None] * 15)
    axes[2].set(xlabel="step", ylabel="rewards so far", title="16 bodies each, same start and actions")
    legend_below(axes[2])
    save(figure, "half_cheetah_bodies")


def ant() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.2), layout="constrained")
    scene(left, "AntGoal", "Ant-v5", 15, 5.0)
    family = AntGoal(workers=0, rows=1)
    for split, colour in COLOURS.items():
        right.scatter(*family.sample(200, split).goal.numpy().T, s=6, color=colour, label=split)
    right.plot(0, 0, "k+")
    right.set(xlabel="x (m)", ylabel="y (m)", title="ant_goal: 200 goals of a split", aspect="equal")
    legend_below(right)
    save(figure, "ant")


def random_bodies() -> None:
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3), layout="constrained")
    scene(axes[0], "HopperBody", "Hopper-v5", 3, 4.5)
    scene(axes[1], "Walker2dBody", "Walker2d-v5", 3, 5.0)
    draws = np.random.default_rng(0).uniform(-1, 1, (60, 16, 3)).astype(np.float32)
    for split, colour in COLOURS.items():
        family = HopperParams(workers=0, rows=16)
        playing, heights = np.ones(16, bool), []
        seen = family.reset(family.sample(16, split), np.zeros(16, np.uint32))
        for actions in draws:
            heights.append(np.where(playing, seen[:, 0], np.nan))
            after = family.step(np.repeat(actions[:1], 16, 0), playing)
            seen, playing = after.observations, playing & ~after.terminated
        axes[2].plot(np.array(heights), color=colour, linewidth=0.8, label=[split] + [None] * 15)
    axes[2].set(xlabel="step", ylabel="height (m)", title="16 hoppers, same start and actions")
    legend_below(axes[2])
    save(figure, "random_bodies")


if __name__ == "__main__":
    half_cheetah()
    half_cheetah_bodies()
    ant()
    random_bodies()
