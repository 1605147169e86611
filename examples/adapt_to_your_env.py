"""Adapt a pretrained policy to an environment of your own, in this process.

    python examples/adapt_to_your_env.py

The environment is plain Gymnasium CartPole whose motor is weaker and connected the wrong way round.
"""

import argparse

import gymnasium as gym

import metazoo


def make_env() -> gym.Env:
    """Your environment; anything with the policy's observation and action spaces will do."""
    env = gym.make("CartPole-v1", max_episode_steps=200)
    env.unwrapped.force_mag = -8.0
    return env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", default="maml_cartpole", help="a name (metazoo list) or a directory")
    parser.add_argument("--episodes", type=int, default=5, help="episodes to adapt with, in each step")
    parser.add_argument("--steps", type=int, default=2, help="gradient steps, each on fresh episodes")
    parser.add_argument("--out", default="adapted", help="where the adapted policy is published")
    arguments = parser.parse_args()

    env = make_env()
    policy = metazoo.load(arguments.policy)
    adapted = policy.adapt(env, episodes=arguments.episodes, steps=arguments.steps, seed=0)
    print(f"return before {policy.evaluate(env, episodes=10).mean():.1f}")
    print(f"return after  {adapted.evaluate(env, episodes=10).mean():.1f}")
    print(f"published {adapted.publish(arguments.out, task='reversed')}")


if __name__ == "__main__":
    main()
