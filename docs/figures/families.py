"""Draw the pictures of the families' pages: ``python docs/figures/families.py``.

Everything is computed from the families themselves.
"""

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image

from metazoo import random
from metazoo.tasks.dynamics.families import PendulumDynamics
from metazoo.tasks.families.acrobot import Acrobot
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.cartpole import ANGLE_LIMIT, CartPole, CartPoleGoal, CartPoleState, best_fixed_position
from metazoo.tasks.families.darkroom import DarkRoom
from metazoo.tasks.families.grid_search import snake
from metazoo.tasks.families.gridworld import Gridworld
from metazoo.tasks.families.gridworld import optimal_returns as gridworld_oracle
from metazoo.tasks.families.mountain_car import MountainCarContinuous
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.families.navigation import optimal_returns as navigation_optimum
from metazoo.tasks.families.pendulum import Pendulum, PendulumState
from metazoo.tasks.families.pendulum_hidden import ANGLE_COST, PendulumHidden, hold, wrapped
from metazoo.tasks.families.sinusoid import Sinusoid, SinusoidState
from metazoo.tasks.families.tabular_mdp import TabularMDP, optimal_returns
from metazoo.tasks.family import TaskFamily, per_episode
from metazoo.tasks.images.classes import ImageClasses
from metazoo.tasks.images.glyphs import Glyphs
from metazoo.tasks.images.omniglot import Omniglot

HERE = Path(__file__).parents[1] / "families"
SPLIT_COLOURS = {"train": "#1f6f8b", "ood": "#d1495b"}
ONE_KEY = tf.zeros((1, 1), tf.uint32)


def save(figure, name: str) -> None:
    """Write a PNG small enough for git: 256 colours."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=80, bbox_inches="tight")
    plt.close(figure)
    Image.open(picture).convert("RGB").quantize(256).save(HERE / f"{name}.png", optimize=True)


def play(family: TaskFamily, split: str, state, actions: list) -> np.ndarray:
    """States ``[T, N, fields]`` of the split's tasks from start states ``[N, 1]`` under one sequence of actions.

    NaN once the episode has terminated.
    """
    count = tf.nest.flatten(state)[0].shape[0]
    task = per_episode(family.sample(count, split, 2))
    states, going = [], np.ones((count, 1), bool)
    for action in actions:
        states.append(np.where(going, np.concatenate([field.numpy() for field in state], 1), np.nan))
        batch = tf.broadcast_to(tf.constant(action), (count, 1, *family.action_space.shape))
        after = family.step(task, state, batch, tf.zeros((count, 1), tf.uint32))
        state, going = after.state, going & ~after.terminated.numpy()
    return np.array(states)


def draw_lines(axes, split: str, colour: str, time_step: float, values: np.ndarray) -> None:
    """Time series ``[T, N]`` in one colour with one legend entry."""
    lines = axes.plot(np.arange(len(values)) * time_step, values, color=colour, alpha=0.7, linewidth=1.1)
    lines[0].set_label({"train": "training ranges", "ood": "out of range"}[split])


def legend_beside(axes, title: str) -> None:
    """The legend to the right of the axes, where no line runs through it."""
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title=title, alignment="left")


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

    family, count = CartPole(), 12
    for split, colour in SPLIT_COLOURS.items():
        zeros = tf.zeros((count, 1))
        start = CartPoleState(zeros, zeros, zeros + 0.02, zeros)
        states = play(family, split, start, [(t // 5) % 2 for t in range(45)])
        angles = np.degrees(states[..., 2])
        draw_lines(right, split, colour, 0.02, angles)
    limit = np.degrees(ANGLE_LIMIT)
    right.axhspan(-limit, limit, color="0.94", zorder=0)
    right.set(xlabel="time [s]", ylabel="pole angle [°]", ylim=(-14, 14), xlim=(0, 0.9))
    legend_beside(right, "the same pushes,\n24 tasks")
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
    low, high = CartPoleGoal.ranges["target"].train
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


def pendulum() -> None:
    """The swing under one push back and forth."""
    figure, axes = plt.subplots(figsize=(6.4, 3))
    for split, colour in SPLIT_COLOURS.items():
        start = type(Pendulum().reset(None, ONE_KEY))(tf.fill((8, 1), np.pi), tf.zeros((8, 1)))
        states = play(Pendulum(), split, start, [[2.0 if (t // 14) % 2 else -2.0] for t in range(80)])
        draw_lines(axes, split, colour, 0.05, np.degrees(states[..., 0]) - 180)
    for upright in (-180, 180):
        axes.axhline(upright, color="black", linewidth=1, linestyle="--")
    axes.text(0.05, 186, "upright")
    axes.set(
        xlabel="time [s]", ylabel="angle from hanging [°]", xlim=(0, 4), ylim=(-210, 230), yticks=range(-180, 181, 90)
    )
    legend_beside(axes, "the same torques,\n16 tasks")
    save(figure, "pendulum")


def pendulum_hidden() -> None:
    """Left: the reward of resting at an angle, for five targets and on average. Right: who knows the target."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    family, angles = PendulumHidden(), np.linspace(-np.pi, np.pi, 400, endpoint=False, dtype=np.float32)
    for i, target in enumerate((-2.6, -1.2, 0.2, 1.0, 2.2)):
        rewards = -np.square(wrapped(tf.constant(angles - target)))
        label = {"label": "five targets"} if i == 0 else {}
        left.plot(np.degrees(angles), rewards, color="#d1495b", alpha=0.55, linewidth=1, **label)
    mean = np.full(len(angles), -ANGLE_COST)
    left.plot(np.degrees(angles), mean, color="#1f6f8b", linewidth=2.5, label="mean over all targets: −π²/3")
    left.set(xlabel="angle from upright [°]", ylabel="reward of a step, at rest")
    left.set(xticks=range(-180, 181, 90), ylim=(-10.3, 0.5))
    left.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=9)
    for split, colour in SPLIT_COLOURS.items():
        task = per_episode(family.sample(12, split, 1))
        state, errors = PendulumState(tf.fill((12, 1), np.pi), tf.zeros((12, 1))), []
        for _ in range(40):
            errors.append(np.degrees(wrapped(state.angle - task.target))[:, 0])
            state = family.step(task, state, hold(task, state)[..., None], ONE_KEY).state
        draw_lines(right, split, colour, 0.05, np.array(errors))
    right.set(xlabel="time [s]", ylabel="angle from the target [°]", xlim=(0, 2), yticks=range(-180, 181, 90))
    legend_beside(right, "who knows the target,\n24 tasks")
    save(figure, "pendulum_hidden")


def acrobot() -> None:
    """The height of the tip under one sequence of torques."""
    figure, axes = plt.subplots(figsize=(6.4, 3))
    for split, colour in SPLIT_COLOURS.items():
        start = type(Acrobot().reset(None, ONE_KEY))(*[tf.zeros((8, 1))] * 4)
        states = play(Acrobot(), split, start, [2 if (t // 6) % 2 else 0 for t in range(80)])
        draw_lines(axes, split, colour, 0.2, -np.cos(states[..., 0]) - np.cos(states[..., 0] + states[..., 1]))
    axes.axhline(1.0, color="black", linewidth=1, linestyle="--")
    axes.text(0.1, 1.07, "goal")
    axes.set(xlabel="time [s]", ylabel="height of the tip\n(links of length 1)", xlim=(0, 16), ylim=(-2.1, 1.4))
    legend_beside(axes, "the same torques,\n16 tasks")
    save(figure, "acrobot")


def mountain_car() -> None:
    """Left: the valley and the range of flags. Right: driving with the swing."""
    family = MountainCarContinuous()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), gridspec_kw={"wspace": 0.35})
    x = np.linspace(-1.2, 0.6, 200)
    left.plot(x, np.sin(3 * x), color="black")
    goal = family.ranges["goal"]
    for interval, colour in ((goal.train, "train"), *((part, "ood") for part in goal.ood)):
        flags = np.linspace(*interval, 20)
        left.plot(flags, np.sin(3 * flags), color=SPLIT_COLOURS[colour], linewidth=6, alpha=0.7)
    left.plot(-0.5, np.sin(-1.5) + 0.06, "o", color="black")
    left.text(-0.5, np.sin(-1.5) + 0.2, "start", ha="center")
    left.text(0.1, 0.9, "flags", ha="right")
    left.set(xlabel="position", yticks=[], ylim=(-1.15, 1.25))
    for split, colour in SPLIT_COLOURS.items():
        start = type(family.reset(None, ONE_KEY))(tf.fill((8, 1), -0.5), tf.zeros((8, 1)))
        states = play(family, split, start, [[1.0 if (t // 22) % 2 else -1.0] for t in range(120)])
        draw_lines(right, split, colour, 1, states[..., 0])
    right.set(xlabel="step", ylabel="position", xlim=(0, 120))
    legend_beside(right, "the same throttle,\n16 tasks")
    save(figure, "mountain_car_continuous")


def bandit() -> None:
    """The arms of forty tasks of each split, each sorted."""
    figure, panels = plt.subplots(1, 2, figsize=(8, 2), sharey=True)
    for axes, split in zip(panels, SPLIT_COLOURS, strict=True):
        means = np.sort(Bandit().sample(40, split, 1).means.numpy(), 1)
        means = means[np.argsort(means[:, -1])]
        image = axes.imshow(means.T, origin="lower", vmin=0, vmax=1, cmap="viridis", aspect="auto")
        axes.set(xlabel="task", yticks=[], title={"train": "training", "ood": "out of range"}[split])
    panels[0].set_ylabel("arms, sorted")
    figure.colorbar(image, ax=panels, label="mean reward")
    save(figure, "bandit")


def tabular_mdp() -> None:
    """Transition probabilities of one action of one MDP of each split."""
    figure, panels = plt.subplots(1, 2, figsize=(6.6, 2.8), sharey=True)
    for axes, split in zip(panels, SPLIT_COLOURS, strict=True):
        matrix = TabularMDP().sample(1, split, 3).transitions.numpy()[0, :, 0]
        image = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
        axes.set(xlabel="next state", xticks=range(0, 10, 3), title={"train": "training", "ood": "out of range"}[split])
    panels[0].set_ylabel("state")
    figure.colorbar(image, ax=panels, label="probability")
    save(figure, "tabular_mdp")


def gridworld() -> None:
    """Start, possible goals, and a shortest path to one."""
    figure, axes = plt.subplots(figsize=(3, 3))
    goals = np.unique(Gridworld().sample(2000, "train").goal.numpy(), axis=0)
    for x in range(5):
        for y in range(5):
            colour = "#a8d5ba" if [x, y] in goals.tolist() else "white"
            axes.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="0.5"))
    axes.plot([0, 0, 0, 1, 2, 3], [0, 1, 2, 2, 2, 2], color="black", marker=".")
    axes.plot(3, 2, "*", color="#d1495b", markersize=16)
    axes.text(0.12, 0.05, "start")
    axes.set(xlim=(-0.5, 4.5), ylim=(-0.5, 4.5), aspect="equal", xticks=range(5), yticks=range(5))
    save(figure, "gridworld")


def darkroom() -> None:
    """Left: the best search of a first episode. Right: mean reward of a step, searching, knowing, and neither."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.3), width_ratios=(1, 1.3), layout="constrained")
    cells, room = np.array([(0, 0), *snake(10)]), DarkRoom()
    for edge in np.arange(-0.5, 10):
        left.plot([edge, edge], [-0.5, 9.5], color="0.85", linewidth=0.8)
        left.plot([-0.5, 9.5], [edge, edge], color="0.85", linewidth=0.8)
    left.plot(*cells.T, color="#1f6f8b", linewidth=1.5)
    left.plot(0, 0, "o", color="black")
    left.plot(6, 3, "*", color="#d1495b", markersize=15)
    left.text(0.3, 0.2, "start")
    left.set(xlim=(-0.5, 9.5), ylim=(-0.5, 9.5), aspect="equal", xticks=range(0, 10, 3), yticks=range(0, 10, 3))
    steps = np.arange(1, room.horizon + 1)
    distances = room.goals("train").sum(1)
    right.plot(steps, (distances[:, None] <= steps).mean(0), color="#1f6f8b", linestyle="--", label="knowing the goal")
    right.plot(steps, steps / 100, color="#1f6f8b", label="best search")
    right.plot(steps, np.full(100, 0.01), color="#d1495b", label="without reacting")
    right.set(xlabel="step of the episode", ylabel="mean reward of the step", xlim=(0, 100), ylim=(0, 1.05))
    right.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9)
    save(figure, "darkroom")


def sinusoid() -> None:
    """Five tasks, and their mean over the family."""
    figure, axes = plt.subplots(figsize=(5.4, 2.8))
    x = np.linspace(-5, 5, 200, dtype=np.float32)
    family = Sinusoid()
    tasks = family.sample(5, "test", 2)
    y = family.targets(per_episode(tasks), SinusoidState(tf.constant(np.tile(x, (5, 1))))).numpy()[..., 0]
    axes.plot(x, y.T, color="#d1495b", alpha=0.55, linewidth=1)
    axes.plot(x, -2 / np.pi * 2.55 * np.cos(x), color="#1f6f8b", linewidth=2.5, label="best without adapting")
    axes.plot([], [], color="#d1495b", alpha=0.6, label="five tasks")
    axes.set(xlabel="$x$", ylabel="$y$", ylim=(-5, 7.4))
    axes.legend(frameon=False, loc="upper center", ncols=2)
    save(figure, "sinusoid")


def figures() -> None:
    """Print what the pages quote."""
    goals = Navigation().sample(20_000, "test").goal.numpy()
    print(f"navigation, the optimum for known goals: {navigation_optimum(goals).mean():.3f}")
    print(f"navigation, walking straight to known goals: {straight_walk(goals)[0].mean():.3f}")
    mdps = TabularMDP().sample(2_000, "test")
    print(f"tabular_mdp, oracle per episode: {optimal_returns(mdps).mean():.2f}")
    grids = Gridworld().sample(21_000, "test")
    for words, slip in (("", grids.slip), (" without slipping", tf.zeros(21_000))):
        returns = gridworld_oracle(grids._replace(slip=slip))
        print(f"gridworld{words}, oracle per episode: {returns.mean():.2f}")
    swings = PendulumHidden().sample(2_000, "test")
    for name, one in PendulumHidden().references(swings).items():
        print(f"pendulum_hidden, {name}: {one.returns.mean():.1f}")
    cars, robots = (MountainCarContinuous(), "with_the_swing"), (Acrobot(), "pumping")
    for family, name in (cars, robots, (CartPole(), "regulator"), (CartPole(horizon=500), "regulator")):
        for split in ("test", "ood"):
            returns = family.references(family.sample(2_000, split))[name].returns
            found = f"mean {returns.mean():.1f}, least {returns.min():.1f}"
            print(f"{family.name}, {family.horizon} steps, {name}, {split}: {found}")
    for family in (Gridworld(slips=False), DarkRoom()):
        goals = np.unique(family.sample(5_000, "test").goal.numpy(), axis=0).astype(np.float32)
        tasks = family.Task(goals, *([np.zeros(len(goals))] if family.name == "gridworld" else []))
        means = {name: round(float(one.returns.mean()), 4) for name, one in family.references(tasks).items()}
        print(f"{family.name}, exact, {len(goals)} goals: {means}")


def images(family: ImageClasses) -> None:
    """A task of each of two splits: five characters, the support set's drawing and three of the query set's."""
    figure, panels = plt.subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
    for axes, split in zip(panels, ("train", "test"), strict=True):
        support, query = family.sets(family.sample(1, split, 4), tf.constant([7], tf.uint32))
        shown = [np.asarray(one.observations)[:, 0, 0] for one in (support, query)]
        drawn = np.concatenate(shown)[: 4 * family.ways].reshape(4, family.ways, 28, 28)
        axes.imshow(255 - drawn.transpose(0, 2, 1, 3).reshape(4 * 28, -1), cmap="gray", vmin=0, vmax=255)
        axes.axhline(27.5, color="#d1495b", linewidth=1.5)
        axes.set(title=f"{split}: support above, query below", xlabel="label", yticks=[])
        axes.set_xticks(np.arange(family.ways) * 28 + 13.5, range(family.ways))
    save(figure, family.name)


def glyphs() -> None:
    images(Glyphs())


def omniglot() -> None:
    images(Omniglot())


def dynamics() -> None:
    """The change of the speed by the angle, under the actions that explore, of three worlds of each split."""
    figure, panels = plt.subplots(1, 2, figsize=(7.2, 2.6), layout="constrained", sharey=True)
    for axes, split in zip(panels, ("train", "ood"), strict=True):
        family = PendulumDynamics(seen=200)
        tasks = family.sample(3, split, 1)
        support, _ = family.sets(tasks, random.spread(random.key(2), 3))
        seen, change = support.observations.numpy()[:, :, 0], support.actions.numpy()[:, :, 0, 2] * family.change[2]
        for m in range(3):
            label = f"g {tasks.gravity[m]:.1f}, m {tasks.mass[m]:.1f}, l {tasks.length[m]:.1f}"
            axes.plot(
                np.degrees(np.arctan2(seen[:, m, 1], seen[:, m, 0])), change[:, m], ".", markersize=3, label=label
            )
        axes.set(title=split, xlabel="angle from upright (°)")
        axes.legend(fontsize=7)
    panels[0].set_ylabel("change of θ̇ in a step (rad/s)")
    save(figure, "dynamics")


PHYSICS = [cartpole, cartpole_goal, navigation, pendulum, pendulum_hidden, acrobot, mountain_car]
TABLES = [bandit, tabular_mdp, gridworld, darkroom, sinusoid, glyphs, omniglot, dynamics]

if __name__ == "__main__":
    for draw in PHYSICS + TABLES:
        draw()
    figures()
