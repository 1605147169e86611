"""``metazoo bench``: speed on one processor core.

Every measurement runs in a process of its own, pinned to one core, so that nothing of the caller's is measured with
it. Learner figures count the nominal environment steps of all rollouts over whole updates, after compilation.
"""

import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

GROUPS: Final = ("learners", "families", "serving")
WARM_UPDATES: Final = 2
UPDATES_PER_FIT: Final = 10
SECONDS: Final = 6.0
"""How long a measurement repeats what it times."""


class LearnerBench(NamedTuple):
    """A learner's update: the preset that gives the settings, and the sizes of published comparisons."""

    preset: str
    config: dict[str, Any]
    hidden: tuple[int, ...]


LEARNERS: Final = {
    "maml/cartpole": LearnerBench("maml_cartpole", {"tasks": 20, "episodes": 20, "inner_steps": 1}, (64, 64)),
    "maml/navigation": LearnerBench("maml_navigation", {"tasks": 40, "episodes": 20, "inner_steps": 1}, (100, 100)),
}
PEERS: Final = {"cartpole": "CartPole-v1"}
"""Family → the Gymnasium environment with the same equations."""
COPIES: Final = 1024


def run(what: str = "all") -> list[dict[str, Any]]:
    """Measure a group (or ``all``) in subprocesses pinned to one core.

    Returns:
        Rows of DESIGN §8's ``bench --json``.

    Raises:
        ValueError: an unknown group.
        RuntimeError: a measurement failed; the message ends with the last line of its standard error.
    """
    if what not in (*GROUPS, "all"):
        raise ValueError(f"there is no benchmark {what!r}; choose {', '.join(GROUPS)} or all.")
    names = [name for group in GROUPS if what in (group, "all") for name in MEASUREMENTS[group]]
    return [row for name in names for row in _in_subprocess(name)]


def _in_subprocess(name: str) -> list[dict[str, Any]]:
    environment = {
        **os.environ,
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    command = [sys.executable, "-m", "metazoo.bench", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the benchmark {name} failed: {(done.stderr.splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _pin() -> None:
    """Keep this process on one core, the last it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _repeated(action: Callable[[], Any], seconds: float = SECONDS, least: int = 5) -> Iterator[float]:
    """Times of ``action`` in seconds, for about ``seconds``."""
    end, made = time.perf_counter() + seconds, 0
    while made < least or time.perf_counter() < end:
        start = time.perf_counter()
        action()
        yield time.perf_counter() - start
        made += 1


# --- learners ------------------------------------------------------------------------------------------------------


def measure_learner(name: str) -> list[dict[str, Any]]:
    """Env steps per second of whole updates, rollouts and meta-gradient included: the median over updates."""
    import dataclasses

    import keras

    from metazoo.algorithms.learner import updates
    from metazoo.zoo.presets import PRESETS
    from metazoo.zoo.train import build

    bench = LEARNERS[name]
    preset = PRESETS[bench.preset]
    config = {**preset.config, **bench.config}
    learner = build(dataclasses.replace(preset, config=config, network={**preset.network, "hidden": bench.hidden}))
    learner.compile(keras.optimizers.Adam(preset.learning_rate), jit_compile=True)
    learner.fit(updates(0, WARM_UPDATES), verbose=0, shuffle=False)
    starts = itertools.count(WARM_UPDATES, UPDATES_PER_FIT)

    def fit() -> None:
        start = next(starts)
        learner.fit(updates(start, start + UPDATES_PER_FIT), verbose=0, shuffle=False)

    seconds = statistics.median(_repeated(fit)) / UPDATES_PER_FIT
    sizes = f"{config['tasks']} tasks x {config['episodes']} episodes x {learner.family.horizon} steps"
    network = "-".join(map(str, bench.hidden))
    return [
        {
            "what": name,
            "config": f"{sizes}, {config['inner_steps']} inner step, second order, MLP {network}",
            "threads": 1,
            "env_steps_per_s": round(learner.env_steps_per_update / seconds),
        }
    ]


# --- families ------------------------------------------------------------------------------------------------------


def measure_family(name: str) -> list[dict[str, Any]]:
    """Steps per second of ``COPIES`` environments with random actions, begun anew when they end; and of the peer."""
    import tensorflow as tf

    from metazoo import random
    from metazoo.tasks.family import per_episode
    from metazoo.tasks.registry import FAMILIES
    from metazoo.types import Discrete

    family = FAMILIES[name]()
    space = family.action_space

    def draw(key: tf.Tensor) -> tf.Tensor:
        if isinstance(space, Discrete):
            return random.integers(key, space.n) + space.start
        return random.uniform(random.spread(key, *space.shape), space.low, space.high)

    @tf.function(jit_compile=True, autograph=False)
    def play(seed: tf.Tensor) -> tf.Tensor:
        task = per_episode(family.sample(COPIES, "train", seed))
        rows = random.fold(random.key(seed), tf.range(COPIES))[:, None]

        def body(t, state, total):
            key = random.fold(rows, t + 1)
            after = family.step(task, state, draw(random.fold(key, 0)), random.fold(key, 1))
            fresh = family.reset(task, random.fold(key, 2))
            state = tf.nest.map_structure(partial(_choose, after.terminated), fresh, after.state)
            return t + 1, state, total + tf.reduce_sum(after.rewards)

        start = (tf.constant(0), family.reset(task, random.fold(rows, 0)), tf.constant(0.0))
        return tf.while_loop(lambda t, *_: t < family.horizon, body, start, parallel_iterations=1)[2]

    seeds = itertools.count()
    play(tf.constant(next(seeds))).numpy()
    seconds = statistics.median(_repeated(lambda: play(tf.constant(next(seeds))).numpy()))
    config = f"{COPIES} environments, random actions"
    rows = [{"what": name, "config": config, "threads": 1, "env_steps_per_s": round(COPIES * family.horizon / seconds)}]
    return rows + ([_gymnasium(PEERS[name], config)] if name in PEERS else [])


def _choose(where: Any, new: Any, old: Any) -> Any:
    """Entries of ``new`` where ``where [M, E]``, else of ``old``; both ``[M, E, ...]``."""
    import tensorflow as tf

    return tf.where(tf.reshape(where, [*where.shape, *[1] * (new.shape.rank - where.shape.rank)]), new, old)


def _gymnasium(env_id: str, config: str) -> dict[str, Any]:
    """Gymnasium's own vectorised environment, in the same process and with random actions too."""
    import gymnasium as gym
    import numpy as np

    envs = gym.make_vec(env_id, num_envs=COPIES, vectorization_mode="vector_entry_point")
    rng, actions = np.random.default_rng(0), envs.single_action_space
    envs.reset(seed=0)
    seconds = statistics.median(_repeated(lambda: envs.step(rng.integers(actions.n, size=COPIES))))
    envs.close()
    return {"what": f"gymnasium/{env_id}", "config": config, "threads": 1, "env_steps_per_s": round(COPIES / seconds)}


# --- serving -------------------------------------------------------------------------------------------------------


def measure_serving(name: str, models: str | None = None) -> list[dict[str, Any]]:
    """Latencies of one connection to ``metazoo serve``, client and server on one core.

    ``models``: the directory to serve; None: the policies that come with metazoo.
    """
    import re
    import tempfile

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
    import numpy as np

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
        times = np.array(list(_repeated(action, least=200)))
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


MEASUREMENTS: Final[dict[str, dict[str, Callable[[str], list[dict[str, Any]]]]]] = {
    "learners": dict.fromkeys(LEARNERS, measure_learner),
    "families": dict.fromkeys(("cartpole", "cartpole_goal", "navigation"), measure_family),
    "serving": {"serving": measure_serving},
}

if __name__ == "__main__":
    _pin()
    wanted = sys.argv[1]
    measure = next(group[wanted] for group in MEASUREMENTS.values() if wanted in group)
    result = measure(wanted)
    print(json.dumps(result))
