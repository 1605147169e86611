"""Adapt a served policy over the network and play what the server published.

    metazoo serve &
    python examples/adapt_through_a_server.py

The client needs no TensorFlow: episodes are played here, the gradient step is made by the server.
"""

import argparse

import gymnasium as gym

from serving.client import Client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8501", help="the server's REST address")
    parser.add_argument("--policy", default="maml_cartpole", help="a served policy")
    parser.add_argument("--episodes", type=int, default=5, help="episodes to adapt with, in each step")
    parser.add_argument("--steps", type=int, default=2, help="gradient steps, each on fresh episodes")
    arguments = parser.parse_args()

    env = gym.make("CartPole-v1", max_episode_steps=200)
    env.unwrapped.force_mag = -8.0
    client = Client(arguments.url)
    adaptation = client.adapt(
        arguments.policy, env, episodes=arguments.episodes, steps=arguments.steps, task="reversed"
    )
    for number, one in enumerate(adaptation.rounds):
        print(f"after {number} steps: return {one.returns.mean():.1f}, then {one.timings}")
    returns = client.play(adaptation.model, env, episodes=10, seed=1).returns
    print(f"{adaptation.model}, version {adaptation.version}: return {returns.mean():.1f}")
    client.close()


if __name__ == "__main__":
    main()
