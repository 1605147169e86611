"""How a policy does where it is served: by its most likely actions, with noise, with a delay. On cards.

``act`` answers with the most likely action unless a caller gives a seed, while trainings and evaluations sample. And no
machine's sensors are exact, or its motors immediate.
"""

from typing import Any, Final

import numpy as np
import tensorflow as tf

from metazoo import progress, random
from metazoo.cards.baselines import Protocol
from metazoo.evaluation import CHUNK, evaluate
from metazoo.pretrained import Pretrained
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks.disturbed import disturbed
from metazoo.tasks.host_family import AnyFamily, HostFamily

NOISE: Final = 0.1
"""Standard deviation of the noise, as a share of how much each entry of an observation varies."""
TASKS: Final = 200
"""How many it is measured on at most: differences that matter are large."""


def robustness(policy: Pretrained, family: AnyFamily, protocol: Protocol) -> dict[str, Any]:
    """``modes``, ``noise`` and ``late``: first and last point of the curve, on the same tasks as without them.

    ``sampled`` is the undisturbed curve on these tasks. With noise and delay actions are sampled as in the evaluation.
    Noise and delay are left out where they mean nothing: of supervised families, where a reward says what that very
    action was worth, and where every observation is the same (bandits).
    """
    protocol = protocol._replace(tasks=min(protocol.tasks, TASKS))
    cases = {"sampled": (family, False), "modes": (family, True)}
    if not family.supervised and family.discount != 0:
        spread = observation_spread(policy, family, protocol)
        if spread.any():
            cases["noise"] = (disturbed(family, NOISE * spread), False)
            cases["late"] = (disturbed(family, late=True), False)
    found: dict[str, Any] = {"tasks": protocol.tasks, "noise_share": NOISE}
    for name, (played, modes) in cases.items():
        with progress.stage(f"{policy.name}, {name}"):
            report = evaluate(
                policy.agent(), played, name=policy.name, **protocol._replace(deterministic=modes)._asdict()
            )
        found[name] = [_brief(point) for point in (report["curve"][0], report["curve"][-1])]
    return found


def observation_spread(policy: Pretrained, family: AnyFamily, protocol: Protocol) -> np.ndarray:
    """Standard deviation of each entry of an observation over the policy's own steps before it adapts."""
    agent, tasks = policy.agent(), family.sample(min(CHUNK, protocol.tasks), protocol.split, protocol.seed)
    start, count = agent.initial_memory(), len(tf.nest.flatten(tasks)[0])
    memory, key = tf.broadcast_to(start, [count, 1, start.shape[0]]), random.key(protocol.seed)

    def play() -> Any:
        if agent.online:
            return trial(family, tasks, agent.step, memory, key, 1)[0]
        return rollout(family, tasks, agent.step, memory, key, 1)

    compiled = play if isinstance(family, HostFamily) else tf.function(play, jit_compile=True, autograph=False)
    played = compiled()
    seen = np.asarray(played.observations, np.float64)[np.asarray(played.mask) > 0]
    return seen.std(0).astype(np.float32)


def _brief(point: dict[str, Any]) -> dict[str, Any]:
    return {key: point[key] for key in ("mean", "ci95")}
