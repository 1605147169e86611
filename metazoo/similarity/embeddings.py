"""A task as a vector: what a few episodes of it change in a policy's memory.

Of a recurrent policy that is the memory after the episodes, less the first one. Of a policy with fast weights it is one
inner step, −α ∘ ∇L(θ), whose step sizes α go out again where entries are divided by their second moments
(``metazoo.similarity.space``): the inner gradient as an embedding of the task (Achille et al. 2019, Task2Vec, arXiv
1902.03545, use the diagonal of the Fisher matrix).
"""

from typing import Any

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.pretrained import Pretrained
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks.host_family import AnyFamily, HostFamily


def embed(policy: Pretrained, family: AnyFamily, tasks: Any, episodes: int, seed: int) -> np.ndarray:
    """Embeddings ``[M, S]`` of ``tasks [M, ...]``, each from ``episodes`` that the policy plays of it.

    Raises:
        ValueError: the policy does not adapt: it sees no difference between tasks.
    """
    check_adapts(policy)
    agent = policy.agent()
    start, count = agent.initial_memory(), len(tf.nest.flatten(tasks)[0])
    key = random.fold(random.key(seed), 1)

    def after(tasks: Any) -> tf.Tensor:
        memory = tf.broadcast_to(start, [count, 1, start.shape[0]])
        if agent.online:
            return trial(family, tasks, agent.step, memory, key, episodes)[1] - start
        played = rollout(family, tasks, agent.step, memory, key, episodes, family.supervised)
        return agent.adapt(memory, played) - start

    run = after if isinstance(family, HostFamily) else tf.function(after, jit_compile=True, autograph=False)
    return np.asarray(run(tasks))[:, 0]


def embed_environment(policy: Pretrained, env: Any, episodes: int, seed: int) -> np.ndarray:
    """The embedding ``[S]`` of a ``gymnasium.Env``. Raises collect.CollectionError where it does not fit the policy."""
    check_adapts(policy)
    return policy.adapt(env, episodes=episodes, steps=1, seed=seed).memory - policy.memory


def check_adapts(policy: Pretrained) -> None:
    """Raises ValueError for a policy that does not adapt."""
    memory = policy.metadata["memory"]
    if memory["kind"] == "none" or not memory["size"]:
        raise ValueError(f"{policy.name} does not adapt, so all tasks are alike to it.")
