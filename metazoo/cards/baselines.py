"""What ``metazoo evaluate`` compares a policy with: on the same tasks, with the same number of episodes of each.

- ``random``: uniformly random actions.
- The presets that the policy's own names as ``baselines`` and that are installed, played without adapting.
- ``fine_tuning``: the domain-randomised policy among them, adapted by plain gradient steps (multi-task pretraining).
- ``from_scratch``: the same network with its initial weights, adapted alike.
- The classical algorithms for bandits and tabular MDPs.
- What the family itself knows to be possible (``references``): closed forms, optima, a controller that knows the task.

Fine-tuning and training from scratch play the episodes that the policy plays, and make a gradient step after each
round, as it does. Their step sizes stand with the family (``gradient_rates``): the best of ``RATES`` on validation
tasks, which ``python -m metazoo.cards.baselines PRESET`` finds.
"""

import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import progress, random
from metazoo.algorithms.common.learner import agent_of
from metazoo.algorithms.maml import MAML, MAMLConfig
from metazoo.artefact import store
from metazoo.artefact.places import savedmodels_directory
from metazoo.classical.comparison import FAMILIES as FAMILIES_WITH_CLASSICS
from metazoo.classical.comparison import bandit_rewards, classical_baselines
from metazoo.evaluation import evaluate, player
from metazoo.policies.networks import mlp
from metazoo.policies.policy import Policy
from metazoo.presets.registry import PRESETS
from metazoo.pretrained import Pretrained, family_of, load
from metazoo.rollouts.agent import random_agent
from metazoo.summaries import by_step, summary
from metazoo.tasks import own
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.host_family import AnyFamily

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
VALIDATION_TASKS = 50
ABOUT: Final = {
    "random": "uniformly random actions",
    "fine_tuning": "domain randomisation's weights, after as many plain policy-gradient steps on as many episodes",
    "from_scratch": "untrained weights, after the same steps",
}
"""What a model card says of the baselines that are made here."""


class Protocol(NamedTuple):
    """How all are evaluated: ``episodes`` a round, ``steps`` rounds of adapting."""

    split: str
    tasks: int
    episodes: int
    steps: int
    seed: int
    deterministic: bool

    def without_adapting(self) -> "Protocol":
        """As many episodes in one round as the whole trial of those who adapt, so that totals compare."""
        return self._replace(episodes=self.episodes * (self.steps + 1), steps=0)


def baselines(policy: Pretrained, family: AnyFamily, protocol: Protocol, long_horizon: int | None) -> dict[str, Any]:
    """The reports of ``policy``'s baselines by name; ``long_horizon`` adds ``at_horizon`` to those of presets.

    Policies that are compared share most of theirs, so in one process each is evaluated once.
    """
    plain = protocol.without_adapting()
    which = json.dumps(own.identity(policy.metadata), sort_keys=True)
    found = {"random": _random(which, plain)}
    for directory in _installed(policy):
        metadata = store.read_metadata(directory) or {}
        found[metadata["name"]] = _without_adapting(directory, plain, long_horizon)
        same_view = metadata.get("family_args") == policy.metadata.get("family_args")
        if metadata["algorithm"] == "domain_randomised" and same_view and protocol.steps and family.gradient_rates:
            found |= _by_gradient_steps(directory, protocol)
    return found | _classical(family, plain) | _references(which, *protocol[:2], protocol.seed)


@functools.cache
def _random(which: str, protocol: Protocol) -> dict[str, Any]:
    family = family_of(json.loads(which)[0])
    return _brief(evaluate(random_agent(family), family, name="random", **protocol._asdict()))


@functools.cache
def _without_adapting(directory: Path, protocol: Protocol, long_horizon: int | None) -> dict[str, Any]:
    other = load(directory)
    longer = family_of(other.metadata, horizon=long_horizon) if long_horizon else None
    family = family_of(other.metadata)
    report = evaluate(other.agent(), family, name=other.name, long=longer, **protocol._asdict())
    return _brief({**report, **({"what": said} if (said := other.metadata.get("description")) else {})})


@functools.cache
def _by_gradient_steps(directory: Path, protocol: Protocol) -> dict[str, dict[str, Any]]:
    """Fine-tuning of the domain-randomised policy in ``directory``, and training from scratch."""
    pretrained = load(directory)
    family = family_of(pretrained.metadata)
    found = {}
    for name, learner in gradient_learners(pretrained, family).items():
        rate = family.gradient_rates[name]
        report = evaluate(agent_of(at_rate(learner, rate)), family, name=name, **protocol._asdict())
        found[name] = _brief({**report, "step_size": rate})
    return found


def gradient_learners(pretrained: Pretrained, family: AnyFamily) -> dict[str, MAML]:
    """The plain inner loop from the weights of a domain-randomised policy, and from those it started with."""
    network, seed = pretrained.metadata["network"], pretrained.metadata["provenance"]["seed"]
    learners: dict[str, MAML] = {}
    inner: dict[str, Any] = {} if family.discount is None else {"inner_gamma": family.discount}
    for name in ("fine_tuning", "from_scratch"):
        model = mlp(family.observation_space, family.action_space, **network, seed=seed)
        if name == "fine_tuning":
            tensors = store.read_checkpoint(pretrained.directory)
            for i, variable in enumerate(model.trainable_variables):
                variable.assign(tensors[f"parameters/{i}/.ATTRIBUTES/VARIABLE_VALUE"])
        policy = Policy(model, family.observation_space, family.action_space)
        learners[name] = MAML(policy, family, MAMLConfig(inner_rate=1.0, step_sizes="scalar", **inner))
    return learners


def at_rate(learner: MAML, rate: float) -> MAML:
    """The learner with this inner step size."""
    learner.rates.assign([[rate - 1.0]])  # its step size is inner_rate · (1 + rates)
    return learner


def choose_step_sizes(name: str) -> dict[str, dict[float, float]]:
    """Mean return over the inner steps on validation tasks, for both learners and all ``RATES``, in the protocol of
    the preset ``name``, whose domain-randomised baseline must be installed."""
    preset = PRESETS[name]
    pretrained = next(load(other) for other in preset.baselines if PRESETS[other].family_args == preset.family_args)
    family = family_of(pretrained.metadata)
    tasks = family.sample(VALIDATION_TASKS, "validation", 1)
    scores: dict[str, dict[float, float]] = {}
    for learner_name, learner in gradient_learners(pretrained, family).items():
        play = player(agent_of(learner), family, preset.episodes, preset.steps)
        of_rate = {rate: (at_rate(learner, rate), play(tasks, random.key(0))[0])[1] for rate in RATES}
        scores[learner_name] = {rate: float(tf.reduce_mean(curve[1:])) for rate, curve in of_rate.items()}
    return scores


def _installed(policy: Pretrained) -> Iterator[Path]:
    """The newest versions of the baselines that its preset names: those beside it, or those that come along.

    A user's own policy says their names itself; they are beside it too, or in run directories beside its own.
    """
    preset, models = PRESETS.get(policy.name), Path(policy.directory).parent.parent
    places = [models, models.parent.parent, savedmodels_directory()]
    for name in policy.metadata.get("baselines", ()) if preset is None else preset.baselines:
        for place in (places[0] / name, places[1] / name / "savedmodels" / name, places[2] / name):
            if (found := _newest(place)) and (store.read_metadata(found) or {}).get("family") == policy.metadata[
                "family"
            ]:
                yield found
                break


def _newest(place: Path) -> Path | None:
    return store.latest(place) if place.is_dir() and store.versions(place) else None


def _classical(family: AnyFamily, protocol: Protocol) -> dict[str, Any]:
    """Algorithms that keep what they learn over the episodes of a trial: means are over all of them."""
    if family.name not in FAMILIES_WITH_CLASSICS:
        return {}
    tasks = family.sample(protocol.tasks, protocol.split, protocol.seed)
    with progress.stage("classical algorithms"):
        if isinstance(family, Bandit) and protocol.episodes == 1:
            return {name: _of_trials(one) for name, one in bandit_rewards(family, tasks, 1, protocol.seed).items()}
        earned = classical_baselines(family, tasks, protocol.episodes, protocol.seed)
    return {name: {**summary(one.mean(1)), "total": summary(one.sum(1))} for name, one in earned.items()}


def _of_trials(rewards: np.ndarray) -> dict[str, Any]:
    """Of one episode each, ``rewards [tasks, steps]``."""
    whole = summary(rewards.sum(1))
    return {**whole, "total": whole, "by_step": by_step(rewards)}


@functools.cache
def _references(which: str, split: str, tasks: int, seed: int) -> dict[str, dict[str, Any]]:
    """What the family knows to be possible on these tasks."""
    family = family_of(json.loads(which)[0])
    known = family.references(family.sample(tasks, split, seed))
    return {name: {**summary(np.asarray(one.returns)), "what": one.what} for name, one in known.items()}


def _brief(report: dict[str, Any]) -> dict[str, Any]:
    """What a report's reader needs of a baseline: the figures after its last step, and its curve if it has one."""
    kept = {key: report[key] for key in ("total", "at_horizon", "step_size", "what") if key in report}
    curve = [{key: value for key, value in point.items() if key != "per_task"} for point in report["curve"]]
    last = {key: curve[-1][key] for key in ("mean", "iqm", "ci95", "iqm_ci95", "success") if key in curve[-1]}
    return {**last, **kept, **({"curve": curve} if len(curve) > 1 else {})}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        for learner_name, by_rate in choose_step_sizes(argument).items():
            print(argument, learner_name, " ".join(f"{rate:g}: {score:.2f}" for rate, score in by_rate.items()))
