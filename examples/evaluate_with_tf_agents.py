"""Measure a policy of the zoo with TF-Agents: its driver, its metric, our tasks.

    python examples/evaluate_with_tf_agents.py maml_cartpole --tasks 200 --episodes 10 --steps 1

plays the episodes of ``metazoo evaluate maml_cartpole`` with the same options and ``--deterministic``: the same tasks,
start states and noise, so the returns are the same. With ``--family``, the policy is one of TF-Agents, in a directory
of PolicySaver:

    python examples/evaluate_with_tf_agents.py runs/cartpole_teacher --family cartpole --tasks 200 --episodes 10
"""

import argparse

import metazoo  # isort: skip  before TF-Agents, which needs to be told of Keras 2
import tensorflow as tf
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.metrics.tf_metrics import AverageReturnMetric
from tf_agents.utils import common

from metazoo.pretrained import family_of
from metazoo.rollouts.graph import rollout
from metazoo.tasks.registry import IN_GRAPH
from metazoo.tf_agents.environments import FamilyEnvironment, evaluation_keys
from metazoo.tf_agents.policies import ZooPolicy


def average_return(environment, policy, episodes):
    """The mean return of ``episodes`` episodes, as TF-Agents measures it."""
    metric = AverageReturnMetric(batch_size=environment.batch_size, buffer_size=episodes)
    driver = DynamicEpisodeDriver(environment, policy, [metric], num_episodes=episodes)
    common.function(driver.run)()
    return float(metric.result())


def evaluate(name, split="test", tasks=200, episodes=10, steps=1, seed=0, deterministic=True):
    """The average return after 0, 1, … inner steps; of a policy that remembers its steps, that of its whole trial."""
    policy = metazoo.load(name)
    family, agent = family_of(policy.metadata), policy.agent()
    sampled = family.sample(tasks, split, seed)
    if agent.online:
        keys, number = evaluation_keys(tasks, seed, online=True), episodes * (steps + 1)
        environment = FamilyEnvironment(family, sampled, keys=keys, episodes=number)
        return [average_return(environment, ZooPolicy(policy, deterministic, keys=keys), tasks * number)]

    @tf.function(jit_compile=True, autograph=False)
    def adapted(memory, keys):
        played = rollout(family, sampled, agent.step, memory[:, None], keys, episodes, deterministic)
        return agent.adapt(memory[:, None], played)[:, 0]

    memory, found = tf.broadcast_to(policy.memory, [tasks, policy.memory.size]), []
    for made in range(steps + 1):
        keys = evaluation_keys(tasks, seed, made)
        environment = FamilyEnvironment(family, sampled, keys=keys, episodes=episodes)
        found.append(average_return(environment, ZooPolicy(policy, deterministic, memory, keys=keys), tasks * episodes))
        if made < steps:
            memory = adapted(memory, keys)
    return found


def evaluate_saved(directory, family, split="test", tasks=200, episodes=10, seed=0):
    """The average return of a policy that PolicySaver wrote, which plays as it was saved: sampled, or greedy."""
    family = IN_GRAPH[family]()
    sampled, keys = family.sample(tasks, split, seed), evaluation_keys(tasks, seed)
    environment = FamilyEnvironment(family, sampled, keys=keys, episodes=episodes)
    return average_return(environment, tf.saved_model.load(directory), tasks * episodes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the zoo, or a directory")
    parser.add_argument("--family", choices=sorted(IN_GRAPH), help="what a policy of TF-Agents is measured on")
    parser.add_argument("--split", default="test")
    for option, default in {"tasks": 200, "episodes": 10, "steps": 1, "seed": 0}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--sampled", action="store_true", help="sample actions, as evaluate does by default")
    given = parser.parse_args()
    if given.family:
        print(evaluate_saved(given.name, given.family, given.split, given.tasks, given.episodes, given.seed))
    else:
        protocol = given.tasks, given.episodes, given.steps, given.seed, not given.sampled
        print(*evaluate(given.name, given.split, *protocol))


if __name__ == "__main__":
    main()
