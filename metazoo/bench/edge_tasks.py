"""The return that a policy's ``.tflite`` file earns on test tasks, played by a process that has no TensorFlow.

The tasks, the protocol and every random draw are those of ``metazoo evaluate``: only ``step`` and ``adapt`` are asked
of the other process. So the SavedModel, played on the same tasks, must earn the same.
"""

import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import axes, random
from metazoo.artefact import signatures
from metazoo.evaluation import judging_player
from metazoo.pretrained import Pretrained, family_of
from metazoo.rollouts.agent import Agent
from metazoo.tasks.host_family import HostFamily
from metazoo.types import Episodes, StepInputs, StepOutputs

TASKS: Final = 50
PROGRAM: Final = """
import pickle, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from runtime import Policy
policy, requests, answers = Policy(sys.argv[2]), sys.stdin.buffer, sys.stdout.buffer
assert "tensorflow" not in sys.modules
memory = None
while True:
    signature, inputs = pickle.load(requests)
    memory = inputs.pop("memory", memory)
    rows = len(inputs["seed"]) if signature == "step" else len(memory)
    run, share = policy._runners[signature], rows // len(memory)
    made = []
    for row in range(rows):
        given = {name: value[row:row + 1] for name, value in inputs.items()}
        made.append(run(memory=memory[row // share:row // share + 1], **given))
    pickle.dump({name: np.concatenate([one[name] for one in made]) for name in made[0]}, answers, 5)
    answers.flush()
"""


class Device:
    """A process with ai-edge-litert and NumPy alone that answers for a file; a context manager."""

    def __init__(self, path: Path, python: str = sys.executable):
        from metazoo.edge import runtime

        command = [python, "-c", PROGRAM, str(Path(runtime.__file__).parent), str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._memory = np.zeros(0, np.float32)

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A signature on many rows, one after another. The memory travels when it is another than before."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the device's process has no pipes")
        known = np.array_equal(inputs["memory"], self._memory)
        self._memory = inputs["memory"]
        sent = {name: value for name, value in inputs.items() if name != "memory" or not known}
        pickle.dump((signature, sent), self._process.stdin, 5)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)


def agent(device: Device, policy: Pretrained) -> Agent:
    """The policy in the device's process, as evaluation plays it."""
    online, size = policy.metadata["memory"]["online"], policy.memory.size
    specs = policy._model.signatures[signatures.STEP].structured_outputs

    def step(inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any) -> StepOutputs:
        lead = key.shape
        rows = lead.num_elements()
        fields = [tf.reshape(one, [rows, *one.shape[2:]]) for one in inputs]
        given = (tf.reshape(memory, [-1, size]), tf.reshape(tf.bitcast(key, tf.int32), [rows]))
        flags = tf.reshape(tf.broadcast_to(deterministic, lead), [rows])

        def ask(*values: np.ndarray) -> list[np.ndarray]:
            names = *StepInputs._fields, "memory", "seed", "deterministic"
            answer = device.ask(signatures.STEP, dict(zip(names, values, strict=True)))
            return [answer["actions"], answer["log_probs"], answer["memory"] if online else values[4][:0]]

        dtypes = [specs["actions"].dtype, tf.float32, tf.float32]
        actions, log_probs, after = tf.numpy_function(ask, [*fields, *given, flags], dtypes)
        actions = tf.reshape(actions, [*lead, *specs["actions"].shape[1:]])
        after = tf.reshape(after, [*lead, size]) if online else memory
        return StepOutputs(actions, {}, tf.reshape(log_probs, lead), after)

    def adapt(memory: tf.Tensor, episodes: Episodes) -> tf.Tensor:
        def ask(*values: np.ndarray) -> np.ndarray:
            return device.ask(signatures.ADAPT, dict(zip(("memory", *Episodes._fields), values, strict=True)))["memory"]

        after = tf.numpy_function(ask, [memory[:, 0], *axes.batch_major(episodes)], tf.float32)
        return tf.reshape(after, memory.shape)

    return Agent(lambda: tf.constant(policy.memory), step, adapt, online)


class Earned(NamedTuple):
    """Returns (mean squared errors of supervised families) after all adaptation on the first of the card's tasks,
    ``[tasks]``: of the device's process, and of the SavedModel; and the card's mean and interval over all its tasks."""

    device: np.ndarray
    saved_model: np.ndarray
    card: float
    interval: tuple[float, float]


def earned(policy: Pretrained, path: Path, tasks: int = TASKS, python: str = sys.executable) -> Earned:
    """Plays the first ``tasks`` of the card's with the file ``path``, and with the SavedModel."""
    card, trained, family = policy.metadata["evaluation"], policy.metadata["adapt"], family_of(policy.metadata)
    sampled = family.sample(tasks, card["split"], card["seed"])
    keys = random.fold(random.fold(random.key(card["seed"]), 1), tf.range(tasks))

    def play(one: Agent) -> np.ndarray:
        played: Any = judging_player(one, family, trained["episodes"], trained["steps"], card["deterministic"])
        if not isinstance(family, HostFamily):
            played = tf.function(played.python_function, autograph=False)  # XLA cannot ask another process
        last = played(sampled, keys)[0].numpy()[-1].mean(-1)
        return -last if family.supervised else last

    with Device(path, python) as device:
        ours = play(agent(device, policy))
    point = card["curve"][-1]
    return Earned(ours, play(policy.agent()), point["mean"], tuple(point["ci95"]))


class Lost(NamedTuple):
    """Mean returns (errors of supervised families) with modes as actions, before adapting, over a number of tasks."""

    before: float
    after: float


def lost(policy: Pretrained, path: Path, tasks: int = TASKS) -> Lost:
    """What a file that has ``act`` alone earns on the first of the card's test tasks, beside the SavedModel on them.

    Raises:
        ValueError: the family of the policy is not known here.
    """
    from metazoo.edge import Policy

    trained, family = policy.metadata["adapt"], family_of(policy.metadata)
    run = Policy(path)._runners[signatures.ACT]
    dtype = policy._model.signatures[signatures.ACT].structured_outputs["actions"].dtype
    sampled = family.sample(tasks, "test", 0)
    keys = random.fold(random.key(0), tf.range(tasks))

    def ask(observations: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [run(observations=observations[row : row + 1])["actions"] for row in range(len(observations))]
        )

    def step(inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any) -> StepOutputs:
        seen, lead = inputs.observations, key.shape
        rows = tf.reshape(seen, [lead.num_elements(), *seen.shape[2:]])
        actions = tf.numpy_function(ask, [rows], dtype)
        return StepOutputs(tf.reshape(actions, [*lead, *family.action_space.shape]), {}, tf.zeros(lead), memory)

    def play(one: Agent) -> float:
        played: Any = judging_player(one, family, min(trained["episodes"], 5), 0, True)
        if not isinstance(family, HostFamily):
            played = tf.function(played.python_function, autograph=False)
        earned = float(tf.reduce_mean(played(sampled, keys)[0]))
        return -earned if family.supervised else earned

    whole = policy.agent()
    return Lost(play(whole), play(Agent(whole.initial_memory, step, whole.adapt)))
