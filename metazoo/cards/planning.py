"""What a planner earns in the first episode of a task, beside the same planner on the true model.

    python -m metazoo.cards.planning mpc_pendulum

The planner on the true model knows the task: what it earns more is what not knowing it costs.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common import planning
from metazoo.algorithms.mpc import MPCConfig
from metazoo.evaluation import play_tasks
from metazoo.pretrained import Pretrained, family_of, load
from metazoo.summaries import summary
from metazoo.tasks.families.controllers import earned
from metazoo.tasks.family import TaskFamily

TASKS = 200


def settings_of(config: dict[str, Any]) -> planning.Settings:
    """How an exported planner plans."""
    plain = MPCConfig(**config)
    return planning.Settings(plain.ahead, plain.held, plain.candidates, plain.best, plain.rounds)


def on_the_true_model(family: TaskFamily, settings: planning.Settings) -> Callable[[Any, Any], tf.Tensor]:
    """Actions ``[M, 1, ...]`` of tasks and states ``[M, 1, ...]``, planned in the family itself; noise is not foreseen,
    and neither is an episode's end."""

    def act(task: Any, state: Any) -> tf.Tensor:
        def advance(state: Any, actions: tf.Tensor) -> tuple[Any, tf.Tensor]:
            after = family.step(task, state, actions, None)
            return after.state, after.rewards

        rows = random.fold(random.key(0), tf.range(tf.shape(tf.nest.flatten(state)[0])[0]))
        found = planning.plan(advance, state, rows, family.action_space, settings)
        return planning.actions_of(found.mean, family.action_space)[:, None]

    return act


def compare(policy: Pretrained, tasks: int = TASKS, seed: int = 0) -> dict[str, Any]:
    """Returns of the first episode of test tasks: the policy's, as it acts and by its modes, and the true model's."""
    family: Any = family_of(policy.metadata)
    sampled = family.sample(tasks, "test", seed)
    played = [play_tasks(policy.agent(), family, sampled, 1, 0, seed, modes)[0][0, :, 0] for modes in (False, True)]
    known = earned(family, sampled, on_the_true_model(family, settings_of(policy.metadata["config"])))[:, 0]
    return {
        policy.name: summary(played[0]),
        f"{policy.name}, modes": summary(played[1]),
        "the same planner on the true model": summary(known),
        "modes less than the true model": summary(known - played[1]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What a planner earns beside one that knows the task.")
    parser.add_argument("policy")
    parser.add_argument("--tasks", type=int, default=TASKS)
    options = parser.parse_args()
    for name, one in compare(load(options.policy), options.tasks).items():
        low, high = np.round(one["ci95"], 1)
        print(f"{name}: {one['mean']:.1f} [{low}, {high}]")
