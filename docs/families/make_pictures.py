"""Draw the pictures of the pages in this directory: ``python docs/families/make_pictures.py``.

Everything is computed from the families themselves.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from metazoo.tasks.cartpole import ANGLE_LIMIT, CartPole, CartPoleGoal, CartPoleState, best_fixed_position
from metazoo.tasks.family import per_episode
from metazoo.tasks.navigation import Navigation

HERE = Path(__file__).parent
SPLIT_COLOURS = {"train": "#1f6f8b", "ood": "#d1495b"}
ONE_KEY = tf.zeros((1, 1), tf.uint32)


def save(figure, name: str) -> None:
    """Write a PNG small enough for git."""
    figure.savefig(HERE / f"{name}.png", dpi=80, bbox_inches="tight")
    plt.close(figure)


def draw_cart(axes, half_length: float, position: float = 0.0, angle: float = 0.0) -> None:
    """A cart on its track with a pole of full length ``2 · half_length``."""
    axes.axhline(0, color="black", linewidth=1)
    axes.add_patch(plt.Rectangle((position - 0.2, -0.12), 0.4, 0.24, facecolor="black"))
    tip = position + 2 * half_length * np.sin(angle), 2 * half_length * np.cos(angle)
    axes.plot([position, tip[0]], [0, tip[1]], color="#ca9865", linewidth=6, solid_capstyle="round")
    axes.set_aspect("equal")
    axes.set_yticks([])


def cartpole() -> None:
    """Left: the cart and its parameters. Right: the same pushes on tasks of two splits."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), width_ratios=(1, 1.2))
    draw_cart(left, 0.5, angle=0.15)
    left.annotate("", (0.75, 0), (0.2, 0), arrowprops={"arrowstyle": "->", "color": "#d1495b", "lw": 2})
    left.text(0.5, 0.1, "force", color="#d1495b", ha="center")
    left.text(-0.35, 0.55, "pole mass,\nlength $2l$", ha="center")
    left.text(0, -0.36, "cart mass", ha="center")
    left.annotate("", (1.1, 0.5), (1.1, 0.95), arrowprops={"arrowstyle": "->"})
    left.text(1.16, 0.72, "gravity", va="center")
    left.set(xlim=(-1, 1.7), ylim=(-0.5, 1.2), xlabel="position $x$ [m]")

    family, count, steps = CartPole(), 12, 45
    for split, colour in SPLIT_COLOURS.items():
        task = per_episode(family.sample(count, split, 2))
        zeros = tf.zeros((count, 1))
        state = CartPoleState(zeros, zeros, zeros + 0.02, zeros)
        angles, up = [], np.ones(count, bool)
        for t in range(steps):
            angles.append(np.where(up, np.degrees(state.angle[:, 0]), np.nan))
            after = family.step(task, state, tf.fill((count, 1), (t // 5) % 2), tf.zeros((count, 1), tf.uint32))
            state, up = after.state, up & ~after.terminated.numpy()[:, 0]
        lines = right.plot(np.arange(steps) * 0.02, angles, color=colour, alpha=0.7, linewidth=1.2)
        lines[0].set_label({"train": "training ranges", "ood": "out of range"}[split])
    limit = np.degrees(ANGLE_LIMIT)
    right.axhspan(-limit, limit, color="0.94", zorder=0)
    right.set(xlabel="time [s]", ylabel="pole angle [°]", ylim=(-14, 14), xlim=(-0.02, 1.3))
    right.legend(loc="lower right", frameon=False, title="the same pushes, 24 tasks")
    save(figure, "cartpole")


def cartpole_goal() -> None:
    """The hidden reward of five tasks, and what a fixed position earns over the whole family."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), width_ratios=(1, 1.2))
    draw_cart(left, 0.5, angle=-0.05)
    left.axvline(0.9, color="#d1495b", linestyle="--")
    left.text(0.95, 1.05, "hidden\ntarget $x^*$", color="#d1495b", va="center")
    left.set(xlim=(-1, 2), ylim=(-0.3, 1.4), xlabel="position $x$ [m]")

    positions = np.linspace(-2.4, 2.4, 481)
    for target in (-1.4, -0.7, 0.0, 0.8, 1.5):
        right.plot(positions, np.maximum(0, 1 - np.abs(positions - target)), color="#d1495b", alpha=0.5, linewidth=1)
    low, high = CartPoleGoal.TARGET.train
    targets = low + (high - low) * (np.arange(1500) + 0.5) / 1500
    mean = np.maximum(0, 1 - np.abs(positions[:, None] - targets)).mean(1)
    _, bound = best_fixed_position(targets)
    right.plot(
        positions, mean, color="#1f6f8b", linewidth=2.5, label=f"mean over the family: at most {bound:.1f} of 200"
    )
    right.plot([], [], color="#d1495b", alpha=0.6, label="five tasks")
    right.set(xlabel="position $x$ [m]", ylabel="reward per step", ylim=(0, 1.4))
    right.legend(loc="upper center", frameon=False, fontsize=9)
    save(figure, "cartpole_goal")


def straight_walk(goals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns ``[N]`` and paths ``[T, N, 2]`` of walking straight to goals ``[N, 2]`` that are known."""
    family = Navigation()
    task = per_episode(family.Task(tf.constant(goals, tf.float32)))
    state = family.reset(task, tf.zeros((len(goals), 1), tf.uint32))
    total, going, path = np.zeros(len(goals)), np.ones(len(goals), bool), []
    for _ in range(family.horizon):
        path.append(state.position.numpy()[:, 0])
        actions = task.goal - state.position
        largest = tf.reduce_max(tf.abs(actions), -1, keepdims=True)
        actions = actions * tf.minimum(1.0, 0.1 / tf.maximum(largest, 1e-6))
        after = family.step(task, state, actions, ONE_KEY)
        total += np.where(going, after.rewards.numpy()[:, 0], 0.0)
        going &= ~after.terminated.numpy()[:, 0]
        state = after.state
    return total, np.array(path)


def navigation() -> None:
    """Goals of two splits, and the straight walks to four of them."""
    figure, axes = plt.subplots(figsize=(4.6, 4.4))
    family = Navigation()
    for split, colour in reversed(SPLIT_COLOURS.items()):
        goals = family.sample(250, split, 1).goal.numpy()
        label = {"train": "training goals", "ood": "out of range"}[split]
        axes.scatter(*goals.T, s=7, color=colour, label=label, linewidths=0)
    quadrants = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    chosen = np.array([goals[np.argmax(goals @ corner)] for corner in quadrants])  # the last in each corner
    _, path = straight_walk(chosen)
    for walk in path.swapaxes(0, 1):
        axes.plot(*walk[:8].T, color="0.35", linewidth=1, marker=".", markersize=5)
    axes.plot(0, 0, "o", color="black", label="start")
    axes.set(xlim=(-0.75, 0.75), ylim=(-0.75, 0.75), aspect="equal", xlabel="$x$", ylabel="$y$")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=3, frameon=False, fontsize=9)
    save(figure, "navigation")


if __name__ == "__main__":
    for draw in (cartpole, cartpole_goal, navigation):
        draw()
    returns, _ = straight_walk(Navigation().sample(10_000, "test").goal.numpy())
    print(f"navigation, walking straight to a known goal: {returns.mean():.3f}")
