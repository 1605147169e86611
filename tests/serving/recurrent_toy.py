"""A tiny recurrent policy that honours the export contract, for tests of memories that live with the client.

Its memory ``[S] = [steps seen, sum of rewards, episodes ended]`` is counted up by ``step``, and ``adapt`` does the same
for recorded episodes at once, closing steps included, as the contract demands of online memories.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from metazoo.artefact import signatures, store
from tests import toy_policy
from tests.toy_policy import OBSERVATIONS, spec, write_warmup

SIZE = 3
METADATA = {
    **toy_policy.METADATA,
    "name": "recurrent",
    "algorithm": "rl2",
    "memory": {"kind": "recurrent", "size": SIZE, "online": True},
}


class RecurrentToy(tf.Module):
    def __init__(self):
        super().__init__()
        self.memory = tf.Variable(np.zeros(SIZE, np.float32), name="memory")

    @tf.function(input_signature=[spec("rows", tf.int32)])
    def initial_memory(self, rows):
        return {"memory": tf.tile(self.memory[None], [tf.size(rows), 1])}

    @tf.function(
        input_signature=[
            spec("observations", tf.float32, OBSERVATIONS),
            spec("previous_actions", tf.int32),
            spec("previous_rewards", tf.float32),
            spec("previous_done", tf.bool),
            spec("memory", tf.float32, SIZE),
            spec("seed", tf.int32),
            spec("deterministic", tf.bool),
        ]
    )
    def step(self, observations, previous_actions, previous_rewards, previous_done, memory, seed, deterministic):
        seen = tf.stack([tf.ones_like(previous_rewards), previous_rewards, tf.cast(previous_done, tf.float32)], -1)
        after = memory + seen
        logits = tf.stack([after[:, 1], observations[:, 0] - after[:, 2]], -1)
        logits = 0.1 * logits + 0.0 * tf.cast(previous_actions, tf.float32)[:, None]  # every input is used
        chance = tf.cast(tf.math.floormod(seed, 1009), tf.float32) / 1009.0
        sampled = tf.cast(chance < tf.nn.softmax(logits)[:, 1], tf.int32)
        actions = tf.where(deterministic, tf.argmax(logits, -1, tf.int32), sampled)
        log_probs = tf.gather(tf.nn.log_softmax(logits), actions, batch_dims=1)
        return {"actions": actions, "logits": logits, "log_probs": log_probs, "memory": after}

    @tf.function(
        input_signature=[
            spec("memory", tf.float32, SIZE),
            spec("observations", tf.float32, None, None, OBSERVATIONS),
            spec("final_observations", tf.float32, None, OBSERVATIONS),
            spec("actions", tf.int32, None, None),
            spec("rewards", tf.float32, None, None),
            spec("terminated", tf.bool, None, None),
            spec("truncated", tf.bool, None, None),
            spec("mask", tf.float32, None, None),
        ]
    )
    def adapt(self, memory, observations, final_observations, actions, rewards, terminated, truncated, mask):
        episodes = tf.cast(tf.shape(rewards)[1], tf.float32)
        unused = (
            tf.reduce_sum(observations) + tf.reduce_sum(final_observations) + tf.cast(tf.reduce_sum(actions), "float32")
        )
        ended = tf.reduce_any(terminated | truncated, [1, 2])
        steps = tf.reduce_sum(mask, [1, 2]) + episodes
        total = tf.reduce_sum(rewards * mask, [1, 2])
        seen = tf.stack([steps, total, tf.ones_like(total) * episodes], -1)
        nothing = 0.0 * (total + unused + tf.cast(ended, tf.float32))
        return {"memory": memory + seen, "loss": nothing, "kl": nothing}


def export(version_dir):
    """Save it as ``toy_policy.export_toy`` does; there is no ``act``, and ``step`` is the default."""
    policy = RecurrentToy()
    endpoints = {
        signatures.SERVING_DEFAULT: policy.step,
        signatures.INITIAL_MEMORY: policy.initial_memory,
        signatures.STEP: policy.step,
        signatures.ADAPT: policy.adapt,
    }
    tf.saved_model.save(policy, str(version_dir), signatures=endpoints)
    path = Path(version_dir)
    (path / "assets.extra").mkdir()
    store.write_metadata(path, METADATA)
    requests = {}
    for signature in endpoints:
        kind = signatures.STEP if signature == signatures.SERVING_DEFAULT else signature
        inputs = toy_policy.example_inputs(kind)
        requests[signature] = {**inputs, "memory": inputs["memory"][:, :SIZE]} if "memory" in inputs else inputs
    write_warmup(path, requests)
    store.write_checksums(path)
    return path
