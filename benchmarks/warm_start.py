"""Warm starts: what they bring with 200 published adaptations, and how long the nearest of 1,000 takes.

    python benchmarks/warm_start.py NAME [--published 200] [--tasks 200]
    python benchmarks/warm_start.py NAME --time [--published 1000]

Cold: two rounds of episodes, two inner steps from the meta-policy. Warm: the same two rounds; after the first one the
nearest published adaptation is taken over where held-back episodes say so, and one inner step follows on the second.
Published ones are of training tasks, the others are test tasks; each is measured on the same 20 episodes of every task.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

TESTED = 20


def published(policy, family, count: int, directory: Path) -> None:
    """Adapts to ``count`` training tasks as the policy was trained to, and publishes the results."""
    from metazoo.artefact import lineage
    from metazoo.artefact.warm_start import sketch
    from metazoo.explain.played import play
    from metazoo.similarity.embeddings import embed

    parent = lineage.Parent(policy.name, policy.version, policy.directory, policy.metadata)
    tasks, adapt = family.sample(min(count, 200), "train", 5), policy.metadata["adapt"]
    memories = play(policy, family, tasks, 5).memories
    firsts = embed(policy, family, tasks, adapt["episodes"], 6)
    for number in range(count):
        memory = memories[number % len(memories)]
        record = {"from": policy.name, "from_version": policy.version, "task": f"t{number}", "steps": adapt["steps"],
                  "episodes": adapt["steps"] * adapt["episodes"],
                  "sketch": sketch(firsts[number % len(memories)]).tolist()}  # fmt: skip
        lineage.publish(parent, directory, lineage.Target(f"{policy.name}-t{number}", record), memory)


def measure(policy, family, directory: Path, count: int) -> dict:
    import tensorflow as tf

    from metazoo import axes, random
    from metazoo.artefact import signatures, warm_start
    from metazoo.rollouts import returns
    from metazoo.rollouts.graph import rollout
    from metazoo.types import Episodes

    agent, episodes = policy.agent(), policy.metadata["adapt"]["episodes"]
    tasks, key, start = family.sample(count, "test", 0), random.key(11), policy.memory
    index = warm_start.Index(directory, policy.name, policy.version, start)

    @tf.function(jit_compile=True, autograph=False)
    def round_of(memory, number):
        played = rollout(family, tasks, agent.step, memory, random.fold(key, number), episodes)
        return played, agent.adapt(memory, played)

    @tf.function(jit_compile=True, autograph=False)
    def tested(memory):
        return returns.episode_returns(rollout(family, tasks, agent.step, memory, random.fold(key, 99), TESTED))

    def adapt(memory, fit):
        return policy._run(signatures.ADAPT, memory=memory[None], **fit._asdict())["memory"][0]

    first = np.repeat(start[None, None], count, 0)
    played, once = round_of(first, 1)
    rows = Episodes(*(np.asarray(field) for field in axes.batch_major(played)))
    warm, near, taken, seconds = np.asarray(once).copy(), np.asarray(once).copy(), 0, []
    index.refresh()
    for i in range(count):
        one = Episodes(*(field[i : i + 1] for field in rows))
        begun = time.perf_counter()
        found = warm_start.start(index, adapt, lambda inputs: policy.step(**inputs), policy.metadata, one, start)
        seconds.append(time.perf_counter() - begun)
        near[i, 0] = index.nearest(np.asarray(once)[i, 0] - start, 1)[0].memory
        near[i, 0, -1] = 1.0
        if found.memory is not None:
            warm[i, 0], taken = found.memory, taken + 1
    arms = {"before": first, "cold, 1 step": once, "warm, taken over": warm, "nearest, always": near}
    arms |= {"cold, 2 steps": round_of(once, 2)[1], "warm, then 1 step": round_of(warm, 2)[1]}
    arms["nearest always, then 1 step"] = round_of(near, 2)[1]
    earned = {name: np.asarray(tested(np.asarray(memory))) for name, memory in arms.items()}
    return {"name": policy.name, "published": len(index), "tasks": count, "taken over": taken / count,
            "decision_ms": 1e3 * float(np.median(seconds)), "returns": summary(earned)}  # fmt: skip


def summary(earned: dict[str, np.ndarray]) -> dict:
    """Mean over tasks, and against two cold steps: the difference, and on how many tasks it is worse for certain."""
    from metazoo.summaries import bootstrap_interval

    cold, found = earned["cold, 2 steps"], {}
    for name, mine in earned.items():
        change = mine.mean(1) - cold.mean(1)
        noise = np.sqrt((mine.var(1, ddof=1) + cold.var(1, ddof=1)) / TESTED)
        found[name] = {
            "mean": round(float(mine.mean()), 2),
            "to two cold steps": round(float(change.mean()), 2),
            "ci95": [round(end, 2) for end in bootstrap_interval(lambda x, axis: x.mean(axis), change)],
            "lower": float((change < 0).mean()),
            "lower by 2 standard errors": float((change < -2 * noise).mean()),
        }
    return found


def timed(policy, directory: Path) -> dict:
    from metazoo.artefact.warm_start import Index

    index = Index(directory, policy.name, policy.version, policy.memory)
    begun = time.perf_counter()
    index.refresh()
    first = time.perf_counter() - begun
    rng, seconds, alone = np.random.default_rng(0), [], []
    for _ in range(200):
        step = rng.normal(size=policy.memory.size)
        begun = time.perf_counter()
        index.refresh()
        middle = time.perf_counter()
        index.nearest(step)
        seconds.append(time.perf_counter() - begun)
        alone.append(time.perf_counter() - middle)
    return {"name": policy.name, "published": len(index), "weights": policy.memory.size - 1,
            "first_ms": round(1e3 * first, 1), "nearest_p50_ms": round(1e3 * float(np.median(alone)), 2),
            "nearest_p99_ms": round(1e3 * float(np.percentile(alone, 99)), 2),
            "p50_ms": round(1e3 * float(np.median(seconds)), 2),
            "p99_ms": round(1e3 * float(np.percentile(seconds, 99)), 2)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--published", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--time", action="store_true")
    asked = parser.parse_args()
    import metazoo
    from metazoo.pretrained import family_of

    policy = metazoo.load(asked.name)
    family = family_of(policy.metadata)
    with tempfile.TemporaryDirectory() as there:
        published(policy, family, asked.published, Path(there))
        found = timed(policy, Path(there)) if asked.time else measure(policy, family, Path(there), asked.tasks)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
