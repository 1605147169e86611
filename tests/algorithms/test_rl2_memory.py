"""Long trials fit in memory: a whole update in a process of its own, whose largest size the system keeps."""

import subprocess
import sys

import pytest

UPDATE = """
import dataclasses, resource
import keras
from metazoo.algorithms.common.learner import updates
from metazoo.presets.registry import PRESETS
from metazoo.training.train import build

preset = PRESETS["rl2_bandit_k5_n100"]
config = {**preset.config, "tasks": 512}
family_args = {"arms": 5, "horizon": 1000}
learner = build(dataclasses.replace(preset, config=config, family_args=family_args))
learner.compile(keras.optimizers.Adam(1e-3), jit_compile=True)
learner.fit(updates(0, 2), verbose=0, shuffle=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_512_trials_of_1000_steps_fit_in_8_gib():
    done = subprocess.run([sys.executable, "-c", UPDATE], capture_output=True, text=True, check=True, timeout=600)
    assert float(done.stdout.split()[-1]) < 8
