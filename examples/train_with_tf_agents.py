"""Train a PPO agent of TF-Agents, and save its policy so that a student of the zoo can learn from it.

    python examples/train_with_tf_agents.py --env CartPole-v1 --out runs/cartpole_v1         # Gymnasium's CartPole
    python examples/train_with_tf_agents.py --family cartpole --out runs/cartpole_teacher    # a family of the zoo

The second steps a batch of the family's tasks in the graph. Either way everything between two iterations is one graph:
driver, replay buffer, and the epochs of PPO, all with fixed shapes.
"""

import argparse
import time

import metazoo  # noqa: F401  # isort: skip  before TF-Agents, which needs to be told of Keras 2
import gymnasium as gym
import tensorflow as tf
from tf_agents.agents.ppo import ppo_clip_agent
from tf_agents.drivers import dynamic_episode_driver, dynamic_step_driver
from tf_agents.environments import tf_py_environment
from tf_agents.metrics import tf_metrics
from tf_agents.networks import actor_distribution_network, value_network
from tf_agents.policies import actor_policy, policy_saver
from tf_agents.replay_buffers import tf_uniform_replay_buffer
from tf_agents.utils import common

from metazoo.tasks.registry import IN_GRAPH
from metazoo.tf_agents.environments import FamilyEnvironment, GymnasiumEnvironment

STEPS = 128
"""Of every row, between two iterations of training."""


def make_environment(arguments, rows, seed):
    """A batched TF-Agents environment: ``rows`` tasks of a family, or ``rows`` copies of a Gymnasium environment."""
    if arguments.family:
        family = IN_GRAPH[arguments.family]()
        return FamilyEnvironment(family, family.sample(rows, "train", seed), seed)
    vector = gym.make_vec(arguments.env, rows, vectorization_mode="sync")
    return tf_py_environment.TFPyEnvironment(GymnasiumEnvironment(vector, seed))


def make_agent(environment, units, learning_rate):
    """PPO with a small network of its own for the actor and for the critic; observations are taken as they are."""
    seen, action = environment.observation_spec(), environment.action_spec()
    actor = actor_distribution_network.ActorDistributionNetwork(
        seen, action, fc_layer_params=(units, units), activation_fn=tf.nn.tanh
    )
    critic = value_network.ValueNetwork(seen, fc_layer_params=(64, 64), activation_fn=tf.nn.tanh)
    agent = ppo_clip_agent.PPOClipAgent(
        environment.time_step_spec(),
        action,
        optimizer=tf.compat.v1.train.AdamOptimizer(learning_rate),
        actor_net=actor,
        value_net=critic,
        entropy_regularization=0.005,
        importance_ratio_clipping=0.2,
        discount_factor=0.99,
        lambda_value=0.95,
        num_epochs=10,
        normalize_observations=False,
        normalize_rewards=False,  # a constant reward has no deviation to divide by
        use_gae=True,
        gradient_clipping=None,
    )
    agent.initialize()
    return agent


def make_iteration(agent, environment):
    """One iteration as a graph: ``STEPS`` steps of every row, then training on them."""
    rows = environment.batch_size
    buffer = tf_uniform_replay_buffer.TFUniformReplayBuffer(
        agent.collect_data_spec, rows, 2 * STEPS
    )  # room for resets, not counted
    driver = dynamic_step_driver.DynamicStepDriver(
        environment, agent.collect_policy, [buffer.add_batch], num_steps=STEPS * rows
    )

    @common.function
    def iteration(time_step):
        buffer.clear()
        time_step, _ = driver.run(time_step)
        played = tf.nest.map_structure(lambda field: field[:, :STEPS], buffer.gather_all())
        played = tf.nest.map_structure(lambda x: tf.ensure_shape(x, [rows, STEPS, *x.shape[2:]]), played)
        return time_step, agent.train(experience=played).loss

    return iteration


def average_return(environment, policy, episodes):
    """TF-Agents' own measure of a policy."""
    metric = tf_metrics.AverageReturnMetric(batch_size=environment.batch_size, buffer_size=episodes)
    driver = dynamic_episode_driver.DynamicEpisodeDriver(environment, policy, [metric], num_episodes=episodes)
    common.function(driver.run)()
    return float(metric.result())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="CartPole-v1", help="a Gymnasium id")
    parser.add_argument("--family", choices=sorted(IN_GRAPH), help="a family of the zoo, instead of --env")
    parser.add_argument("--out", required=True, help="directory for PolicySaver")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    tf.random.set_seed(arguments.seed)
    environment = make_environment(arguments, arguments.rows, arguments.seed)
    agent = make_agent(environment, arguments.units, arguments.learning_rate)
    iteration, time_step = make_iteration(agent, environment), environment.reset()
    start = time.monotonic()
    for done in range(1, arguments.iterations + 1):
        time_step, loss = iteration(time_step)
        if done == 1:
            start = time.monotonic()  # the first one traces
        if done % 10 == 0:
            speed = (done - 1) * STEPS * arguments.rows / (time.monotonic() - start)
            print(f"iteration {done:4}  loss {loss:8.3f}  {speed:,.0f} steps/s")
    fresh = make_environment(arguments, arguments.rows, arguments.seed + 1000)
    print(f"average return {average_return(fresh, agent.policy, 5 * arguments.rows):.1f}")
    actor = actor_policy.ActorPolicy(environment.time_step_spec(), environment.action_spec(), agent.actor_net)
    policy_saver.PolicySaver(actor).save(arguments.out)  # without the critic, which collect_policy brings along
    print(f"saved {arguments.out}")


if __name__ == "__main__":
    main()
