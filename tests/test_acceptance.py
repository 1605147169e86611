"""What a new user does, in one go: docs/your-own-environment.md from its environment to a policy adapted over REST.

Slow: four trainings of 200 updates. Everything that the user writes stands on the page, in 60 lines or fewer
(``test_your_own_environment.py`` counts them).
"""

import json
import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import environment

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "your-own-environment.md").read_text(encoding="utf-8")
UPDATES = 200
MINUTES = 6.0
"""Of one core, for each training."""
TASKS = 100
ADAPTS = """
import sys
from quadrotor_env import QuadrotorEnv
from gymnasium.wrappers import TimeLimit
from serving.client import Client

env = TimeLimit(QuadrotorEnv(thrust=-1.0, mass=1.2), 50)
client = Client(sys.argv[1])
before = client.play("maml_quadrotor", env, 20, seed=1).returns.mean()
made = client.adapt("maml_quadrotor", env, episodes=4, steps=2, task="mine", keep_better=5)
print(before, client.play(made.model, env, 20, seed=1).returns.mean(), "tensorflow" in sys.modules)
"""
FINDS = """
import json
import metazoo
from quadrotor import Quadrotor

found = metazoo.find(Quadrotor().environment({"thrust": -1.0, "mass": 1.2}), try_out=True, budget=8)
print(json.dumps([row["name"] for row in found.fitting]))
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The directory of the user, with the page's two files."""
    directory = tmp_path_factory.mktemp("user")
    for name in ("quadrotor_env.py", "quadrotor.py"):
        (block,) = re.findall(rf"^```python file={name}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        (directory / name).write_text(block)
    return directory


def run(work, *program):
    paths = os.pathsep.join([str(ROOT), str(work)])
    one = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *program], cwd=work, env=environment(PYTHONPATH=paths, **one), capture_output=True, text=True,
        timeout=5400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def metazoo(work, *words):
    return run(work, "-m", "metazoo.cli", *map(str, words))


@pytest.fixture(scope="module")
def trained(work):
    """The page's first command, as long as its table says; minutes of a core for each of the four trainings."""
    command = re.search(r"^metazoo (train --family quadrotor:Quadrotor .*--oracle)$", PAGE, re.MULTILINE).group(1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    metazoo(work, *shlex.split(command), "--updates", UPDATES)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60 / 4


def policy(work, name):
    return work / "runs" / f"{name}_quadrotor" / "savedmodels" / f"{name}_quadrotor"


@pytest.fixture(scope="module")
def reports(work, trained):
    return {
        name: json.loads(metazoo(work, "evaluate", policy(work, name), "--tasks", TASKS, "--json"))
        for name in ("maml", "rl2", "dr", "oracle")
    }


def test_each_training_takes_a_few_minutes(trained):
    assert trained <= MINUTES


def test_adapting_gains_and_goes_half_of_the_way_to_who_is_shown_the_task(reports):
    first = {name: reports[name]["curve"][0] for name in reports}
    for name in ("maml", "rl2"):
        last = reports[name]["curve"][-1]
        assert last["ci95"][0] > first[name]["ci95"][1], f"the gain of {name} is in doubt"
        way = (last["mean"] - first["dr"]["mean"]) / (first["oracle"]["mean"] - first["dr"]["mean"])
        assert way >= 0.5, f"{name} went {way:.0%} of the way"


def test_it_has_a_card_a_film_and_a_file_for_devices(work, trained):
    model = policy(work, "maml")
    card = metazoo(work, "card", model)
    assert all(other in card for other in ("dr_quadrotor", "oracle_quadrotor", "random"))
    metazoo(work, "evaluate", model, "--tasks", 10, "--video", "hover.gif")
    assert (work / "hover.gif").read_bytes().startswith(b"GIF8")
    metazoo(work, "export", model, "--format", "litert")
    assert list(work.rglob("maml_quadrotor.tflite"))


def test_it_is_served_and_adapted_by_a_process_without_tensorflow(work, trained):
    from serving.server import Server

    with Server(policy(work, "maml").parent, work / "adapted") as server:
        before, after, tensorflow = run(work, "-c", ADAPTS, server.url).split()
    assert float(after) > float(before) and tensorflow == "False"


def test_find_ranks_it_first(work, trained):
    found = json.loads(run(work, "-c", FINDS))
    assert found[0] in ("rl2_quadrotor", "maml_quadrotor")
