"""Is anything forgotten? Returns on ten tasks, and again after a hundred later ones, on the same episodes, as JSON.

python benchmarks/continual.py [NAME]
"""

import json
import sys
import tempfile

import numpy as np

FIRST, LATER, EPISODES = 10, 100, 5


def main(name: str) -> None:
    import metazoo
    from metazoo.pretrained import family_of
    from metazoo.similarity.continual import Memories
    from metazoo.tasks.views.make import make_task

    policy = metazoo.load(name)
    tasks = family_of(policy.metadata).sample(FIRST + LATER, "test", 0)

    def environment(number: int):
        fields = {key: json.dumps(np.asarray(field)[number].tolist()) for key, field in tasks._asdict().items()}
        return make_task(policy.metadata, fields)

    with tempfile.TemporaryDirectory() as directory:
        memories = Memories(policy, directory, quota=FIRST + LATER)

        def returns() -> np.ndarray:
            return np.array([
                memories.meet(environment(i), f"task-{i}").evaluate(environment(i), EPISODES) for i in range(FIRST)
            ])  # fmt: skip

        for i in range(FIRST):
            memories.meet(environment(i), f"task-{i}", episodes=4, steps=1, seed=i)
        before = returns()
        for i in range(FIRST, FIRST + LATER):
            memories.meet(environment(i), f"task-{i}", episodes=4, steps=1, seed=i)
        after = returns()
        kept = len(memories.names)
    changed = float(np.abs(after - before).max())
    print(json.dumps({"name": name, "kept": kept, "before": before.mean(), "after": after.mean(),
                      "largest change of a return": changed}, indent=2))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "maml_navigation")
