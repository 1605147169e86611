"""A tiny policy that honours the export contract, for tests of the store and of serving.

Fast weights: a linear categorical policy for CartPole-v1, memory ``[S] = [W (4x2), b (2), inner steps]``, and an
``adapt`` that is one REINFORCE step with a written-out gradient. Real maths, a second to export.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from metazoo.artefact import signatures, store

OBSERVATIONS, ACTIONS, GAMMA, STEP_SIZE = 4, 2, 0.99, 0.1
SIZE = (OBSERVATIONS + 1) * ACTIONS + 1
HORIZON = 30

METADATA = {
    "format": signatures.FORMAT,
    "name": "toy",
    "family": "toy",
    "algorithm": "maml",
    "config": {"inner_step_size": STEP_SIZE},
    "observation_space": {
        "type": "Box", "shape": [4], "dtype": "float32",
        "low": [-4.800000190734863, None, -0.41887903213500977, None],
        "high": [4.800000190734863, None, 0.41887903213500977, None],
    },
    "action_space": {"type": "Discrete", "n": 2, "start": 0},
    "distribution": "categorical",
    "memory": {"kind": "fast_weights", "size": SIZE, "online": False},
    "horizon": HORIZON,
    "adapt": {"episodes": 3, "steps": 1},
    "provenance": {},
    "evaluation": {},
}  # fmt: skip


def spec(name, dtype, *shape):
    return tf.TensorSpec([None, *shape], dtype, name=name)


class ToyPolicy(tf.Module):
    def __init__(self, seed=0):
        super().__init__()
        weights = np.random.default_rng(seed).normal(0, 0.3, SIZE).astype(np.float32)
        weights[-1] = 0
        self.memory = tf.Variable(weights, name="memory")

    @tf.function(input_signature=[spec("observations", tf.float32, OBSERVATIONS)])
    def act(self, observations):
        logits = _logits(self.memory[None], observations[:, None])[:, 0]
        return {"actions": tf.argmax(logits, -1, tf.int32), "logits": logits}

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
        logits = _logits(memory, observations[:, None])[:, 0]
        noise = -tf.math.log(-tf.math.log(_uniform(seed)))
        sampled = tf.argmax(logits + noise, -1, tf.int32)
        actions = tf.where(deterministic, tf.argmax(logits, -1, tf.int32), sampled)
        log_probs = tf.gather(tf.nn.log_softmax(logits), actions, batch_dims=1)
        return {"actions": actions, "logits": logits, "log_probs": log_probs, "memory": tf.identity(memory)}

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
        flat, shape = _merge(observations), tf.shape(rewards)
        logits = _logits(memory, flat)
        taken, mask_flat = tf.one_hot(tf.reshape(actions, [shape[0], -1]), ACTIONS), tf.reshape(mask, [shape[0], -1])
        advantages = tf.reshape(_advantages(rewards * mask, mask), [shape[0], -1]) * mask_flat
        count = tf.reduce_sum(mask_flat, 1)
        push = (taken - tf.nn.softmax(logits)) * (advantages / count[:, None])[..., None]
        inputs = tf.concat([flat, tf.ones_like(flat[..., :1])], -1)
        gradient = tf.reshape(tf.einsum("bni,bna->bia", inputs, push), [shape[0], SIZE - 1])
        adapted = memory + tf.concat([STEP_SIZE * gradient, tf.ones_like(memory[:, :1])], 1)
        before, after = tf.nn.log_softmax(logits), tf.nn.log_softmax(_logits(adapted, flat))
        loss = -tf.reduce_sum(tf.reduce_sum(before * taken, -1) * advantages, 1) / count
        kl = tf.reduce_sum(tf.reduce_sum(tf.exp(before) * (before - after), -1) * mask_flat, 1) / count
        return {"memory": adapted, "loss": loss, "kl": kl}


def _logits(memory, observations):
    """``[B, N, A]`` from memory ``[B, S]`` and observations ``[B, N, O]``."""
    split = OBSERVATIONS * ACTIONS
    weights = tf.reshape(memory[:, :split], [-1, OBSERVATIONS, ACTIONS])
    return tf.matmul(observations, weights) + memory[:, None, split : split + ACTIONS]


def _merge(observations):
    shape = tf.shape(observations)
    return tf.reshape(observations, [shape[0], shape[1] * shape[2], OBSERVATIONS])


def _advantages(rewards, mask):
    returns = tf.scan(
        lambda carry, reward: reward + GAMMA * carry,
        tf.transpose(rewards, [2, 0, 1]), tf.zeros_like(rewards[:, :, 0]), reverse=True,
    )  # fmt: skip
    returns = tf.transpose(returns, [1, 2, 0])
    count = tf.reduce_sum(mask, [1, 2], keepdims=True)
    centred = (returns - tf.reduce_sum(returns * mask, [1, 2], keepdims=True) / count) * mask
    return centred * tf.math.rsqrt(tf.reduce_sum(centred**2, [1, 2], keepdims=True) / count + 1e-6)


def _uniform(seed):
    """``[B, A]`` in (0, 1), row b from ``seed[b]`` alone."""
    bits = tf.bitcast(seed, tf.uint32)[:, None] * tf.constant(2654435761, tf.uint32)
    bits = bits + _counters()
    for multiplier in (2246822519, 3266489917):
        bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(15, tf.uint32)))
        bits = bits * tf.constant(multiplier, tf.uint32)
    bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(16, tf.uint32)))
    return (tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32) + 0.5) / 2.0**23


def _counters():
    return tf.constant([[668265263 * (index + 1) % 2**32 for index in range(ACTIONS)]], tf.uint32)


def example_inputs(signature, rows=1, episodes=2, steps=5):
    """Valid inputs of a signature, by name."""
    rng = np.random.default_rng(7)
    observations = rng.normal(size=(rows, OBSERVATIONS)).astype(np.float32)
    memory = rng.normal(size=(rows, SIZE)).astype(np.float32)
    if signature in (signatures.ACT, signatures.SERVING_DEFAULT):
        return {"observations": observations}
    if signature == signatures.INITIAL_MEMORY:
        return {"rows": np.zeros(rows, np.int32)}
    if signature == signatures.STEP:
        return {
            "observations": observations, "previous_actions": np.zeros(rows, np.int32),
            "previous_rewards": np.zeros(rows, np.float32), "previous_done": np.zeros(rows, bool),
            "memory": memory, "seed": np.arange(rows, dtype=np.int32), "deterministic": np.zeros(rows, bool),
        }  # fmt: skip
    shape = (rows, episodes, steps)
    ends = np.zeros(shape, bool)
    ends[..., -1] = True
    return {
        "memory": memory,
        "observations": rng.normal(size=(*shape, OBSERVATIONS)).astype(np.float32),
        "final_observations": rng.normal(size=(rows, episodes, OBSERVATIONS)).astype(np.float32),
        "actions": rng.integers(0, ACTIONS, shape).astype(np.int32),
        "rewards": rng.normal(size=shape).astype(np.float32),
        "terminated": ends, "truncated": np.zeros(shape, bool), "mask": np.ones(shape, np.float32),
    }  # fmt: skip


def export_toy(version_dir, seed=0, name="toy", pad_bytes=0, more=None):
    """Save the toy policy with metadata, warm-up records and checksums; returns the directory as a Path.

    ``more``: from the policy to further signatures, or others in place of the usual ones.
    """
    policy = ToyPolicy(seed)
    if pad_bytes:
        policy.ballast = tf.Variable(np.zeros(pad_bytes, np.uint8))
    endpoints = {
        signatures.SERVING_DEFAULT: policy.act,
        signatures.ACT: policy.act,
        signatures.INITIAL_MEMORY: policy.initial_memory,
        signatures.STEP: policy.step,
        signatures.ADAPT: policy.adapt,
    }
    usual = list(endpoints)
    endpoints |= more(policy) if more else {}
    tf.saved_model.save(policy, str(version_dir), signatures=endpoints)
    path = Path(version_dir)
    (path / "assets.extra").mkdir()
    store.write_metadata(path, {**METADATA, "name": name})
    write_warmup(path, {signature: example_inputs(signature) for signature in usual})
    store.write_checksums(path)
    return path


def write_warmup(path, requests):
    """Write one Predict record per signature."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    with tf.io.TFRecordWriter(str(Path(path, signatures.WARMUP_FILE))) as writer:
        for signature, inputs in requests.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = "any", signature
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
