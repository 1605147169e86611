"""What a new user does, in one go: docs/your-own-environment.md from its environment to a policy adapted over REST.

Slow: four trainings of 200 updates. Everything that the user writes stands on the page, in 60 lines or fewer
(``test_your_own_environment.py`` counts them).
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import environment

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "your-own-environment.md").read_text(encoding="utf-8")
FIRST = PAGE[: PAGE.index("### Never worse")]
UPDATES = 200
MINUTES = 6.0
"""Of one core, for each training."""
TASKS = 100
CLOCK = """
import time
import keras


class Clock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.begun = time.process_time()

    def on_train_end(self, logs=None):
        with open("clock.txt", "a") as file:
            print(self.model.name_in_registry, time.process_time() - self.begun, file=file)
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The directory of the user, with the page's files."""
    directory = tmp_path_factory.mktemp("user")
    for name in ("quadrotor_env.py", "quadrotor.py", "robot.py"):
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


def metazoo(work, command, *more):
    """The page's command of that name, with further options."""
    (line,) = re.findall(rf"^metazoo ({command} .*quadrotor.*)$", FIRST, re.MULTILINE)
    return run(work, "-m", "metazoo.cli", *shlex.split(line), *map(str, more))


@pytest.fixture(scope="module")
def trained(work):
    """Minutes of a core for each learner's training, as long as the page's table says."""
    (work / "clock.py").write_text(CLOCK)
    metazoo(work, "train", "--updates", UPDATES, "--callback", "clock:Clock")
    lines = [line.split() for line in (work / "clock.txt").read_text().splitlines()]
    return {learner: float(seconds) / 60 for learner, seconds in lines}  # the last line of each: fit is called anew


@pytest.fixture(scope="module")
def reports(work, trained):
    places = {name: f"runs/{name}_quadrotor/savedmodels/{name}_quadrotor" for name in ("maml", "rl2", "dr", "oracle")}
    options = ("--tasks", str(TASKS), "--json")
    return {
        name: json.loads(run(work, "-m", "metazoo.cli", "evaluate", place, *options)) for name, place in places.items()
    }


def test_each_training_takes_a_few_minutes(trained):
    print(trained)
    assert set(trained) == {"domain_randomised", "rl2", "maml"} and max(trained.values()) <= MINUTES


def test_adapting_gains_and_goes_half_of_the_way_to_who_is_shown_the_task(reports):
    first = {name: reports[name]["curve"][0] for name in reports}
    for name in ("maml", "rl2"):
        last = reports[name]["curve"][-1]
        assert last["ci95"][0] > first[name]["ci95"][1] and last["gain"]["ci95"][0] > 0, (
            f"the gain of {name} is in doubt"
        )
        way = (last["mean"] - first["dr"]["mean"]) / (first["oracle"]["mean"] - first["dr"]["mean"])
        assert way >= 0.5, f"{name} went {way:.0%} of the way"


def test_it_has_a_card_a_film_and_a_file_for_devices(work, trained):
    card = metazoo(work, "card")
    assert all(other in card for other in ("dr_quadrotor", "oracle_quadrotor", "random"))
    metazoo(work, "evaluate")
    assert (work / "hover.gif").read_bytes().startswith(b"GIF8")
    metazoo(work, "export")
    assert (work / "maml_quadrotor.tflite").exists()


def test_it_is_adapted_to_a_task_and_published(work, trained):
    report = json.loads(metazoo(work, "adapt", "--json"))
    assert report["after"]["ci95"][0] > report["before"]["mean"]
    assert (work / report["published"] / "saved_model.pb").exists()


def test_the_robot_adapts_over_rest_without_tensorflow(work, trained):
    from serving.server import Server

    program = (work / "robot.py").read_text()
    with Server(work / "runs" / "maml_quadrotor" / "savedmodels", work / "adapted") as server:
        program = program.replace("http://127.0.0.1:8501", server.url)
        said = run(work, "-c", program + "\nimport sys; print('tensorflow' in sys.modules)")
    before, after = map(float, re.findall(r"return (\S+) → (\S+)", said)[0])
    assert after > before and said.splitlines()[-1] == "False"


def test_find_ranks_it_first(work, trained):
    found = json.loads(metazoo(work, "find", "--json"))["fitting"]
    assert found[0]["name"] in ("rl2_quadrotor", "maml_quadrotor")
