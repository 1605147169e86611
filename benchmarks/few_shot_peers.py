"""Seconds of an update of 5-way 1-shot MAML, here and in PyTorch: conv 4 × 32, 16 tasks, one core.

    taskset -c 0 python benchmarks/few_shot_peers.py                         # metazoo, in this environment
    taskset -c 0 OTHER/bin/python benchmarks/few_shot_peers.py --torch       # an environment with torch and higher

Both make the same update: one inner step of second order on 5 images, the outer gradient from 25 query images of each
task, Adam. Random images of equal sizes; layer normalisation as ours.
"""

import argparse
import os
import time

os.environ.update(OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", TF_USE_LEGACY_KERAS="1")

import numpy as np

TASKS, WAYS, QUERIES, FILTERS = 16, 5, 5, 32


def measured(update, seconds: float) -> float:
    """Milliseconds of processor time of an update, the best of five rounds."""
    update()
    best = float("inf")
    for _ in range(5):
        start, made = time.process_time(), 0
        while time.process_time() - start < seconds / 5:
            update()
            made += 1
        best = min(best, (time.process_time() - start) / made)
    return 1e3 * best


def ours():
    import keras
    import tensorflow as tf

    from metazoo.algorithms.maml import MAML, MAMLConfig
    from metazoo.policies.convolutions import conv
    from metazoo.policies.policy import Policy
    from metazoo.tasks.images.glyphs import Glyphs
    from metazoo.types import Episodes

    family = Glyphs(WAYS, 1, QUERIES)
    policy = Policy(conv(family.observation_space, family.action_space, 4, FILTERS), family.observation_space,
                    family.action_space)  # fmt: skip
    learner = MAML(policy, family, MAMLConfig(tasks=TASKS, step_sizes="fixed", inner_rate=0.4))
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(learner.trainable_variables)
    rng = np.random.default_rng(0)

    def episodes(shots):
        shape = (WAYS * shots, TASKS, 1)
        zeros, never = np.zeros(shape, np.float32), np.zeros(shape, bool)
        images = rng.integers(0, 256, (*shape, 28, 28), np.uint8)
        labels = np.broadcast_to(np.tile(np.arange(WAYS, dtype=np.int32), shots)[:, None, None], shape)
        return Episodes(*map(tf.constant, (images, images[-1], labels, zeros, never, never, zeros + 1)))

    rounds = [episodes(1), episodes(QUERIES)]

    @tf.function(jit_compile=True, autograph=False)
    def update():
        weights = learner.current_weights()
        gradients, metrics = learner.meta_gradient(weights, learner.prepare(weights, rounds))
        optimizer.apply(gradients, learner.meta_variables)
        return metrics["loss"]

    return lambda: float(update())


def theirs(library: str):
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers, channels = [], 1
    for _ in range(4):
        layers += [nn.Conv2d(channels, FILTERS, 3, 2, 1), nn.GroupNorm(1, FILTERS), nn.ReLU()]
        channels = FILTERS
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * FILTERS, WAYS))
    outer = torch.optim.Adam(model.parameters(), 1e-3)
    labels = torch.arange(WAYS)
    support = torch.rand(TASKS, WAYS, 1, 28, 28)
    query = torch.rand(TASKS, WAYS * QUERIES, 1, 28, 28)

    def with_higher():
        import higher

        inner = torch.optim.SGD(model.parameters(), 0.4)
        for one, asked in zip(support, query, strict=True):
            with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (fast, step):
                step.step(functional.cross_entropy(fast(one), labels))
                (functional.cross_entropy(fast(asked), labels.repeat(QUERIES)) / TASKS).backward()

    def with_learn2learn():
        import learn2learn

        maml = learn2learn.algorithms.MAML(model, lr=0.4)
        for one, asked in zip(support, query, strict=True):
            fast = maml.clone()
            fast.adapt(functional.cross_entropy(fast(one), labels))
            (functional.cross_entropy(fast(asked), labels.repeat(QUERIES)) / TASKS).backward()

    def with_torch():
        from torch.func import functional_call

        names = dict(model.named_parameters())
        for one, asked in zip(support, query, strict=True):
            loss = functional.cross_entropy(functional_call(model, names, one), labels)
            slopes = torch.autograd.grad(loss, names.values(), create_graph=True)
            fast = {name: value - 0.4 * slope for (name, value), slope in zip(names.items(), slopes, strict=True)}
            (functional.cross_entropy(functional_call(model, fast, asked), labels.repeat(QUERIES)) / TASKS).backward()

    gradient = {"higher": with_higher, "learn2learn": with_learn2learn, "torch": with_torch}[library]

    def update():
        outer.zero_grad()
        gradient()
        outer.step()

    return update


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", action="store_true", help="measure higher, learn2learn and torch.func instead")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    for name in ("higher", "learn2learn", "torch") if arguments.torch else ("metazoo",):
        try:
            update = theirs(name) if arguments.torch else ours()
            print(f"{name}: {measured(update, arguments.seconds):.1f} ms of a core for an update", flush=True)
        except ImportError as missing:
            print(f"{name}: {missing}")


if __name__ == "__main__":
    main()
