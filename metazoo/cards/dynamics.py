"""How well models of dynamics predict after a few transitions of a task, one beside the others.

    python -m metazoo.cards.dynamics savedmodels/maml_pendulum_dynamics savedmodels/rebal_pendulum_dynamics ...

On the same test tasks: −log p of the query sets in nats (NLL), mean with its 95 % interval over tasks; how much more
each other's is than the first policy's, the interval of paired differences; and calibration, how much of what happened
lies inside a predicted interval of 50 % and of 90 %. ``from_scratch`` is the first policy's network with weights that
nothing trained, trained on the support set alone: by Adam on −log p, with the rate and the number of steps that are
best on validation tasks.
"""

import argparse
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf
from scipy import stats

from metazoo import progress, random
from metazoo.algorithms.common import inner_loop
from metazoo.policies.networks import mlp
from metazoo.policies.policy import Policy
from metazoo.pretrained import Pretrained, family_of, load
from metazoo.rollouts import supervised
from metazoo.rollouts.agent import Agent
from metazoo.summaries import summary
from metazoo.tasks.dynamics.families import Dynamics
from metazoo.types import Episodes

TASKS, VALIDATION_TASKS, CHUNK = 300, 40, 20
RATES: Final = (3e-3, 1e-2)
STEPS: Final = (30, 100, 300)
INSIDE: Final = (0.5, 0.9)
DECAYS = 0.9, 0.999
"""Of Adam's averages."""


class Judged(NamedTuple):
    """Of every test task: ``nll [M]`` in nats a transition, and the share of numbers ``inside`` each of the predicted
    central intervals, ``[M, 2]``."""

    nll: np.ndarray
    inside: np.ndarray


Predict = Callable[[Episodes, Episodes, tf.Tensor], dict[str, tf.Tensor]]
"""(support, query, key) → ``loc`` and ``scale [M, T, O]`` of the query set's transitions."""


def of_agent(agent: Agent, steps: int) -> Predict:
    """A policy's predictions after so many calls of ``adapt``."""

    def predict(support: Episodes, query: Episodes, key: tf.Tensor) -> dict[str, tf.Tensor]:
        memory = tf.broadcast_to(agent.initial_memory(), [query.mask.shape[1], 1, agent.initial_memory().shape[0]])
        for _ in range(steps):
            memory = agent.adapt(memory, support)
        memory = tf.repeat(memory, query.mask.shape[0], 1) if agent.online else memory
        return supervised.answered(query, agent.step, memory, key)[1].parameters

    return predict


def from_scratch(policy: Policy, rate: float, steps: int) -> Predict:
    """The network's predictions after Adam on each support set by itself, from its initial weights."""
    start = policy.flat_weights()

    def of_task(batch: inner_loop.Samples) -> tf.Tensor:
        def body(t: tf.Tensor, theta: tf.Tensor, mean: tf.Tensor, square: tf.Tensor) -> tuple[tf.Tensor, ...]:
            slope, _, _ = inner_loop.gradient(policy, theta, batch, "log_loss")
            mean = DECAYS[0] * mean + (1.0 - DECAYS[0]) * slope
            square = DECAYS[1] * square + (1.0 - DECAYS[1]) * slope**2
            made = tf.cast(t + 1, tf.float32)
            first, second = mean / (1.0 - DECAYS[0] ** made), square / (1.0 - DECAYS[1] ** made)
            return t + 1, theta - rate * first / (tf.sqrt(second) + 1e-8), mean, square

        begin = (tf.constant(0), start, tf.zeros_like(start), tf.zeros_like(start))
        return tf.while_loop(lambda t, *_: t < steps, body, begin, parallel_iterations=1)[1]

    def predict(support: Episodes, query: Episodes, key: tf.Tensor) -> dict[str, tf.Tensor]:
        weights = tf.map_fn(of_task, inner_loop.shots(support), fn_output_signature=tf.float32)
        return policy.apply(weights, inner_loop.shots(query).observations)

    return predict


def judge(predict: Predict, family: Dynamics, split: str, tasks: int, seed: int = 0) -> Judged:
    """Predictions on the first sets of a split's tasks; the same tasks and sets for whoever predicts."""
    sampled = family.sample(tasks, split, seed)
    keys = random.fold(random.fold(random.key(seed), 1), tf.range(tasks))

    @tf.function(jit_compile=True, autograph=False)
    def of_chunk(part: Any, keys: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        support, query = supervised.rounds(family, part, keys, 2)
        found, right = predict(support, query, keys), inner_loop.shots(query).actions
        error = (right - found["loc"]) / found["scale"]
        log_prob = -0.5 * error**2 - tf.math.log(found["scale"]) - 0.5 * np.log(2.0 * np.pi)
        shares = [tf.reduce_mean(tf.cast(tf.abs(error) < stats.norm.ppf(0.5 + p / 2.0), tf.float32), 2) for p in INSIDE]
        return -tf.reduce_mean(tf.reduce_sum(log_prob, 2), 1), tf.reduce_mean(tf.stack(shares, -1), 1)

    nll, inside = [], []
    for start in range(0, tasks, CHUNK):
        part = tf.nest.map_structure(lambda field, i=start: field[i : i + CHUNK], (sampled, keys))
        one, other = of_chunk(*part)
        nll.append(one.numpy())
        inside.append(other.numpy())
    return Judged(np.concatenate(nll), np.concatenate(inside))


def best_from_scratch(policy: Policy, family: Dynamics) -> tuple[float, int]:
    """The rate and the number of steps, among ``RATES`` and ``STEPS``, with the lowest NLL on validation tasks."""
    tried = [(rate, steps) for rate in RATES for steps in STEPS]
    with progress.stage(f"{family.name}, from scratch", len(tried)) as advance:

        def mean(rate: float, steps: int) -> float:
            found = judge(from_scratch(policy, rate, steps), family, "validation", VALIDATION_TASKS).nll.mean()
            advance(1)
            return float(found)

        return min(tried, key=lambda one: mean(*one))


def untrained(policy: Pretrained, family: Dynamics) -> Policy:
    """The policy's network as it was before its training."""
    seed = policy.metadata["provenance"]["seed"]
    spaces = family.observation_space, family.action_space
    return Policy(mlp(*spaces, **policy.metadata["network"], seed=seed), *spaces)


def compare(policies: list[Pretrained], seen: int, tasks: int = TASKS) -> dict[str, Any]:
    """The figures of all policies and of ``from_scratch`` after ``seen`` transitions, by name; the first policy is the
    one that the others' ``worse_by`` refers to."""
    family: Any = family_of(policies[0].metadata, seen=seen)
    rate, steps = best_from_scratch(scratch := untrained(policies[0], family), family)
    predictors = {one.name: of_agent(one.agent(), one.metadata["adapt"]["steps"]) for one in policies}
    predictors[f"{policies[0].name} before adapting"] = of_agent(policies[0].agent(), 0)
    predictors[f"from_scratch (rate {rate:g}, {steps} steps)"] = from_scratch(scratch, rate, steps)
    judged = {}
    for name, predict in predictors.items():
        with progress.stage(f"{name}, {tasks} test tasks"):
            judged[name] = judge(predict, family, "test", tasks)
    first = judged[policies[0].name].nll
    return {name: _figures(one, first) for name, one in judged.items()}


def _figures(one: Judged, first: np.ndarray) -> dict[str, Any]:
    inside = {f"{share:.0%}": float(value) for share, value in zip(INSIDE, one.inside.mean(0), strict=True)}
    return {"nll": summary(one.nll), "worse_by": summary(one.nll - first), "inside": inside}


def table(found: dict[str, Any]) -> str:
    """``compare``'s figures as a table of Markdown."""

    def cell(figure: dict[str, Any]) -> str:
        return f"{figure['mean']:.2f} [{figure['ci95'][0]:.2f}, {figure['ci95'][1]:.2f}]"

    lines = ["| model | NLL | worse than the first by | inside 50 % | inside 90 % |", "|---|---|---|---|---|"]
    for place, (name, one) in enumerate(found.items()):
        inside = " | ".join(f"{100 * share:.0f} %" for share in one["inside"].values())
        lines.append(f"| {name} | {cell(one['nll'])} | {cell(one['worse_by']) if place else '–'} | {inside} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How well models of dynamics predict.")
    parser.add_argument("policies", nargs="+", help="names or directories; the others are compared with the first")
    parser.add_argument("--seen", type=int, nargs="+", default=[50], help="transitions of a support set")
    parser.add_argument("--tasks", type=int, default=TASKS)
    options = parser.parse_args()
    given = [load(place) for place in options.policies]
    for count in options.seen:
        print(
            f"After {count} transitions, {options.tasks} test tasks:\n\n{table(compare(given, count, options.tasks))}\n"
        )
