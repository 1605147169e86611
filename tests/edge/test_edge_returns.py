"""What policies earn on test tasks in a process that has no TensorFlow, beside the SavedModel on the same tasks."""

import numpy as np
import pytest

import metazoo
from metazoo.artefact import device_file, store
from metazoo.bench import edge_tasks
from metazoo.hub import listing
from tests.edge import device

pytest.importorskip("ai_edge_litert")

SHIPPED = listing.policies(metazoo.savedmodels_directory())
FEW = ("rl2_bandit_k5_n10", "metasgd_sinusoid")
"""A memory that every step changes, and one that inner steps change; played in a second."""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return str(device.make(tmp_path_factory.mktemp("device")))


def played(name: str, tasks: int, python: str) -> edge_tasks.Earned:
    if "half_cheetah" in name:
        pytest.importorskip("mujoco")
    return edge_tasks.earned(metazoo.load(name), device_file.beside(SHIPPED[name]), tasks, python)


@pytest.mark.parametrize("name", [FEW[0], pytest.param(FEW[1], marks=pytest.mark.slow)])
def test_it_earns_the_same_on_the_same_tasks(name, python):
    earned = played(name, 10, python)
    np.testing.assert_allclose(earned.device, earned.saved_model, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_policy_earns_on_50_tasks_what_its_card_says(name, python):
    """A last bit may send a single episode another way, so means are compared. The card's interval is of all its tasks:
    that of 50 is as much wider as the root of their share, and 4.5 standard errors are never left by chance."""
    earned = played(name, 50, python)
    tasks = store.read_metadata(SHIPPED[name])["evaluation"]["tasks"]
    spread = np.diff(earned.interval)[0] / (2 * 1.96) * np.sqrt(tasks)
    assert abs(earned.device.mean() - earned.saved_model.mean()) <= 0.1 * spread
    assert abs(earned.device.mean() - earned.card) <= 4.5 * spread / np.sqrt(50)


def test_a_device_whose_file_cannot_be_read_is_noticed(tmp_path, python):
    (tmp_path / "policy.tflite").write_bytes(b"nothing")
    with edge_tasks.Device(tmp_path / "policy.tflite", python) as one, pytest.raises((EOFError, BrokenPipeError)):
        one.ask("step", {"memory": np.zeros((1, 1), np.float32), "seed": np.zeros(1, np.int32)})
