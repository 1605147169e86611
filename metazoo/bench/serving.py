"""Speed of serving: latencies and rates of ``metazoo serve``, client and server on one core."""

import re
import subprocess
import sys
import tempfile
from typing import Any, Final

from metazoo.bench import serving_load

POLICY: Final = "maml_cartpole"
"""A network 4-64-64-2, as published comparisons have it; if it is not served, the first that is."""
EPISODES: Final = 5


def measure(name: str, models: str | None = None) -> list[dict[str, Any]]:
    """Latencies and rates of ``metazoo serve``, client and server on one core.

    ``models``: the directory to serve; None: the policies that come with metazoo.
    """
    with tempfile.TemporaryDirectory() as adapted:
        command = [sys.executable, "-m", "metazoo.cli.main", "serve", "--rest-port", "0", "--grpc-port", "0"]
        command += ["--adapted", adapted, *(["--models", models] if models else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                lines = [server.stdout.readline() for _ in range(2)] if server.stdout else []
                addresses = re.findall(r"(?:REST|gRPC)\s+(\S+)", "".join(lines))
                if len(addresses) != 2:
                    raise RuntimeError(f"metazoo serve did not start: it printed {lines}")
                return _serving_rows(*addresses)
            finally:
                server.terminate()


def _serving_rows(url: str, target: str) -> list[dict[str, Any]]:
    from metazoo.collect import flatten_observation
    from metazoo.tasks.views import make as gym_make
    from serving.client.client import Client

    client = Client(url)
    served = [one for one in client.policies() if not one["memory"]["online"]]
    if not served:
        raise RuntimeError("there is no feed-forward policy to serve: metazoo list shows what there is")
    names = [one["name"] for one in served]
    policy = POLICY if POLICY in names else names[0]
    metadata = client.metadata(policy)
    env = gym_make.make_task(metadata, {})
    observation = flatten_observation(env.observation_space, env.reset(seed=0)[0])
    episodes = client.play(policy, env, EPISODES, seed=0).episodes
    rows = serving_load.rows(url, target, policy, observation)
    return [*rows, *serving_load.adapt_rows(client, policy, episodes, observation)]
