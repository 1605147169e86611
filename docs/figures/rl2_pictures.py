"""Pictures of docs/algorithms/rl2.md: python docs/figures/rl2_pictures.py [DIRECTORY of savedmodels]

regret.png   regret over pulls of the RL² policy and of the classical algorithms, on the same test tasks
memory.png   the probability of each arm over one trial, beside what the pulls had shown until then
"""

import sys
from pathlib import Path

from metazoo.cli import support as cli_support

cli_support.load_tensorflow()

import matplotlib  # noqa: E402

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import metazoo  # noqa: E402
from metazoo import random  # noqa: E402
from metazoo.cards.styles import COLORS, DPI, SIZE, SMALL, WIDTH, style_of  # noqa: E402
from metazoo.classical.bandits import play_bandit, regret  # noqa: E402
from metazoo.classical.settings import bandit_algorithms  # noqa: E402
from metazoo.pretrained import Pretrained, family_of  # noqa: E402
from metazoo.rollouts.graph import trial  # noqa: E402

POLICY, TASKS, SEED = "rl2_bandit_k5_n100", 2000, 0
SHOWN = {
    "epsilon_greedy": "ε-greedy",
    "thompson": "Thompson",
    "optimistic_thompson": "optimistic Thompson",
    "ucb1": "UCB1",
    "gittins": "Gittins",
}
IMAGES = Path(__file__).parents[1] / "images"


def played(policy: Pretrained) -> tuple[np.ndarray, np.ndarray]:
    """Arms pulled ``[tasks, pulls]`` and the tasks' means ``[tasks, arms]``."""
    family, agent = family_of(policy.metadata), policy.agent()
    tasks = family.sample(TASKS, "test", SEED)
    memory = tf.repeat(agent.initial_memory()[None, None], TASKS, 0)
    play = tf.function(lambda: trial(family, tasks, agent.step, memory, random.key(SEED), 1)[0], jit_compile=True)
    return play().actions.numpy()[:, :, 0].T, tasks.means.numpy()


def draw_regret(policy: Pretrained) -> None:
    arms, means = played(policy)
    curves = {"RL²": regret(means, arms)}
    algorithms = bandit_algorithms(means.shape[1], arms.shape[1])
    for name, label in SHOWN.items():
        _, chosen = play_bandit(algorithms[name], means, arms.shape[1], SEED)
        curves[label] = regret(means, chosen)
    figure, axes = plt.subplots(figsize=(WIDTH, 4.4), layout="constrained")
    pulls, styles = np.arange(1, arms.shape[1] + 1), {SHOWN[name]: style_of(name) for name in SHOWN}
    for name, values in sorted(curves.items(), key=lambda one: -one[1][:, -1].mean()):
        mean, error = values.mean(0), 1.96 * values.std(0) / np.sqrt(len(values))
        style = styles[name].line() if name in styles else {"color": COLORS[0]}
        axes.plot(pulls, mean, label=name, linewidth=1.2 if name in styles else 2.5, **style)
        axes.fill_between(pulls, mean - error, mean + error, alpha=0.15, color=style["color"], linewidth=0)
    axes.set(
        xlabel="pulls", ylabel="regret: reward lost against the best arm, summed", xlim=(1, len(pulls)), ylim=(0, None)
    )
    axes.set_title(f"{means.shape[1]} Bernoulli arms, {TASKS:,} test tasks, mean and 95 % interval", fontsize=SIZE)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), title="at the last pull,\nworst first")
    figure.savefig(IMAGES / "rl2_regret.png", dpi=DPI)


def draw_memory(policy: Pretrained) -> None:
    family, agent = family_of(policy.metadata), policy.agent()
    candidates = np.sort(family.sample(200, "test", SEED).means.numpy(), 1)
    close = np.abs(candidates[:, -1] - 0.65) + np.abs(candidates[:, -1] - candidates[:, -2] - 0.15)
    means, pulls = family.sample(200, "test", SEED).means.numpy()[close.argmin()], family.horizon  # not an easy one
    state = {
        "observations": np.ones((1, 1), np.float32),
        "previous_actions": np.zeros(1, np.int32),
        "previous_rewards": np.zeros(1, np.float32),
        "previous_done": np.zeros(1, bool),
        "memory": agent.initial_memory().numpy()[None],
        "deterministic": np.zeros(1, bool),
    }
    rng, shares, chosen, rewards = np.random.default_rng(3), [], [], []
    for pull in range(pulls):
        answer = policy.step(**{**state, "seed": np.array([pull], np.int32)})
        weights = np.exp(answer["logits"][0] - answer["logits"][0].max())
        shares.append(weights / weights.sum())
        arm, reward = answer["actions"], (rng.random(1) < means[answer["actions"]]).astype(np.float32)
        chosen.append(int(arm[0]))
        rewards.append(float(reward[0]))
        state |= {"previous_actions": arm, "previous_rewards": reward, "memory": answer["memory"]}
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    colours = plt.get_cmap("tab10")(range(len(means)))
    labels = [f"arm {arm + 1}, pays {mean:.2f}" for arm, mean in enumerate(means)]
    axes.stackplot(range(1, pulls + 1), np.array(shares).T, colors=colours, alpha=0.6, labels=labels)
    for pull, (arm, reward) in enumerate(zip(chosen, rewards, strict=True)):
        axes.plot(pull + 1, 1.06, "|", color=colours[arm], markersize=9 if reward else 3, markeredgewidth=1.6)
    axes.set(xlabel="pull; above: the arm pulled, long where it paid", ylabel="probability of each arm")
    axes.set(xlim=(1, pulls), ylim=(0, 1.12), yticks=np.linspace(0, 1, 6))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=SMALL)
    figure.savefig(IMAGES / "rl2_memory.png", dpi=DPI)


def main() -> None:
    models = Path(sys.argv[1]) if len(sys.argv) > 1 else metazoo.savedmodels_directory()
    policy = metazoo.load(models / POLICY)
    draw_regret(policy)
    draw_memory(policy)


if __name__ == "__main__":
    main()
