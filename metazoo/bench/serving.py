"""Speed of serving: latencies of one connection to ``metazoo serve``, client and server on one core."""

import io
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np

from metazoo.bench.timing import take_turns


def measure(name: str, models: str | None = None) -> list[dict[str, Any]]:
    """Latencies of one connection to ``metazoo serve``, client and server on one core.

    ``models``: the directory to serve; None: the policies that come with metazoo.
    """
    with tempfile.TemporaryDirectory() as adapted:
        command = [sys.executable, "-m", "metazoo.cli", "serve", "--rest-port", "0", "--grpc-port", "0"]
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
    from metazoo import gym_make, signatures
    from serving.client import Client

    rest, grpc = Client(url), Client(url, grpc=target)
    served = [one for one in rest.policies() if not one["memory"]["online"]]
    if not served:
        raise RuntimeError("there is no feed-forward policy to serve: metazoo list shows what there is")
    policy = served[0]["name"]
    metadata = rest.metadata(policy)
    env, kept = gym_make.make_task(metadata, {}), served[0]["adapt"]["episodes"]
    observations = np.stack([env.reset(seed=0)[0]])

    def row(what: str, config: str, action: Callable[[], Any]) -> dict[str, Any]:
        for _ in range(20):
            action()
        times = np.array(take_turns(action, least=200)[0])
        p50, p99 = np.percentile(times, [50, 99]) * 1e3
        return {
            "what": what,
            "config": f"{policy}, {config}",
            "threads": 1,
            "requests_per_s": round(1 / times.mean()),
            "p50_ms": round(float(p50), 3),
            "p99_ms": round(float(p99), 3),
        }

    inputs = {"observations": observations}
    rows = [
        row("rest/act-1", "1 connection, 1 row", lambda: rest.predict(policy, inputs, signatures.ACT)),
        row("grpc/act-1", "1 connection, 1 row", lambda: grpc.predict(policy, inputs, signatures.ACT)),
    ]
    episodes = rest.play(policy, env, kept, seed=0).episodes
    body = io.BytesIO()
    np.savez(body, **episodes._asdict())
    request = urllib.request.Request(f"{url}/zoo/v1/policies/{policy}:adapt?task=bench", body.getvalue())
    config = f"{kept} episodes of {episodes.rewards.shape[-1]} steps, published, a new connection each"
    return [*rows, row("adapt/rest", config, lambda: urllib.request.urlopen(request).read())]
