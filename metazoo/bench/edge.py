"""Speed, size, start-up and memory of policies on a device, beside the SavedModel's in TensorFlow, in the same run."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from metazoo.bench import timing

POLICIES: Final = "maml_cartpole", "rl2_cartpole_goal", "distilled_cartpole_tiny"
"""A network 4-64-64-2 whose weights adapt, a GRU of 64 units, and a reactive network of 182 weights."""
EPISODES, STEPS = 5, 200
SECONDS: Final = 4.0
STARTS: Final = 5
DEVICE: Final = """
import resource, sys, time
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
python = resident()
import numpy
numbers = resident()
sys.path.insert(0, sys.argv[1])
from runtime import Policy
import ai_edge_litert.interpreter
runtime = resident()
policy = Policy(sys.argv[2])
specs = policy._specs["step"]
inputs = {name: numpy.zeros(*spec) for name, spec in specs.items()}
policy.run("step", **inputs)
first = time.time() - float(sys.argv[3])
if "adapt" in policy._specs:
    policy.run("adapt", **{name: numpy.zeros(*spec) for name, spec in policy._specs["adapt"].items()})
print([first, python, numbers, runtime, resident()])
"""
TENSORFLOW: Final = """
import sys, time
import metazoo
policy = metazoo.load(sys.argv[1])
policy._run("initial_memory", rows=[0])
import numpy as np
specs = policy._model.signatures["step"].structured_input_signature[1]
policy.step(**{name: np.zeros([1, *spec.shape[1:]], spec.dtype.as_numpy_dtype) for name, spec in specs.items()})
resident = int(open("/proc/self/statm").read().split()[1]) * __import__("resource").getpagesize() / 1e6
print([time.time() - float(sys.argv[2]), resident])
"""
Row = dict[str, Any]


def measure(name: str) -> list[Row]:
    """Latencies of every signature of the policy ``name``, then start-up and resident memory of fresh processes."""
    timing.stay_on(1)
    import metazoo

    policy = metazoo.load(name)
    with tempfile.TemporaryDirectory() as work:
        path = policy.export_litert(Path(work) / f"{name}.tflite", EPISODES, STEPS)
        return [*_latencies(policy, path), _start(policy, path)]


def _latencies(policy: Any, path: Path) -> list[Row]:
    import numpy as np

    from metazoo.edge import Policy, check

    device = Policy(path)
    source = policy.source()
    rng, rows = np.random.default_rng(0), []
    for name in sorted(device._specs.keys() - {"initial_memory"}):
        given = check.random_inputs(name, device._specs[name], policy.metadata, rng, source.answer)
        ours, theirs = _calls(device._runners[name], policy, name, given)
        times = timing.take_turns(ours, theirs, seconds=SECONDS, least=50)
        (fast, p99), (slow, _) = (_percentiles(one) for one in times)
        row = {"what": f"edge {name}", "config": f"{policy.name}, LiteRT; TensorFlow {slow:.3f} ms", "threads": 1}
        rows.append({**row, "p50_ms": fast, "p99_ms": p99, "tensorflow_p50_ms": slow, "ratio": slow / fast})
    return rows


def _calls(runner: Any, policy: Any, name: str, given: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One call of a signature by each; tensors of TensorFlow are made before."""
    import tensorflow as tf

    function = policy._model.signatures[name]
    tensors = {key: tf.constant(value) for key, value in given.items()}
    return lambda: runner(**given), lambda: function(**tensors)


def _percentiles(times: list[float]) -> tuple[float, float]:
    ordered = sorted(times)
    return 1e3 * ordered[len(ordered) // 2], 1e3 * ordered[int(len(ordered) * 0.99)]


def _start(policy: Any, path: Path) -> Row:
    """Of processes that begin one after another: seconds to the first action, and MB at the end."""
    import metazoo.edge

    folder = Path(metazoo.edge.__file__).parent
    ours = sorted(_fresh(DEVICE, folder, path) for _ in range(STARTS))
    theirs = sorted(_fresh(TENSORFLOW, policy.directory) for _ in range(2))
    first, python, numbers, runtime, whole = ours[len(ours) // 2]
    return {
        "what": "edge start",
        "config": f"{policy.name}, a process to its first action; TensorFlow {1e3 * theirs[0][0]:.0f} ms",
        "threads": 1,
        "p50_ms": 1e3 * first,
        "tensorflow_p50_ms": 1e3 * theirs[0][0],
        "ratio": theirs[0][0] / first,
        "resident_mb": whole,
        "python_mb": python,
        "numpy_mb": numbers - python,
        "runtime_mb": runtime - numbers,
        "policy_mb": whole - runtime,
        "tensorflow_resident_mb": theirs[0][1],
        "bytes": path.stat().st_size,
    }


def _fresh(program: str, *arguments: Any) -> list[float]:
    import time

    command = [sys.executable, "-c", program, *map(str, arguments), repr(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
