"""Worker processes: the same episodes as in this process, and no accident hangs or leaves a process behind."""

import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from metazoo.artefact.spaces import CollectionError
from metazoo.tasks.gym.family import GymFamily
from tests.host_envs import Bad, Point, UnloadableElsewhere

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def goals(generator, split):
    return {"goal": generator.uniform(-1.0, 1.0)}


def alive(pid):
    """Whether the process runs; one that has ended but was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pids, seconds=10.0):
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def play(family, steps=6, count=5):
    """Everything that comes out of ``steps`` steps with fixed actions."""
    playing, record = (
        np.ones(count, bool),
        [family.reset(family.sample(count), np.arange(count, dtype=np.uint32)).copy()],
    )
    for t in range(steps):
        after = family.step(np.full((count, 1), 0.1 * t, np.float32), playing)
        record += [field.copy() for field in after]
        playing &= ~(after.terminated | after.truncated)
    return record


def bad(what, workers, **settings):
    """Episodes whose goals alternate in sign; those above 0 misbehave at their third step."""

    def sample(generator, split):
        return {"goal": float(np.sign(generator.uniform(-1.0, 1.0)))}

    marker = settings.pop("marker", "")
    return GymFamily(Bad, sample, 10, env_args={"what": what, "marker": marker}, workers=workers, **settings)


@pytest.fixture(scope="module")
def expected():
    return play(GymFamily(Point, goals, 10, env_args={"noise": 0.1}))


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_any_number_of_workers_plays_the_same_episodes(workers, expected):
    family = GymFamily(Point, goals, 10, env_args={"noise": 0.1}, workers=workers)
    for _ in range(2):
        for one, other in zip(play(family), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    pids = family.processes
    assert len(pids) == workers and all(map(alive, pids))
    family.close()
    assert gone(pids) and family.processes == []


class Joining(GymFamily):
    """One of its processes is the one that plays."""

    joins = True


@pytest.mark.parametrize("workers", [0, 1, 2, 7])
def test_the_process_that_plays_may_be_one_of_them(workers, expected):
    family = Joining(Point, goals, 10, env_args={"noise": 0.1}, workers=workers)
    for one, other in zip(play(family), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(family.processes) == max(0, workers - 1)
    for one, other in zip(play(family, 3, 1), play(GymFamily(Point, goals, 10, env_args={"noise": 0.1}), 3, 1),
                          strict=True):  # fmt: skip
        np.testing.assert_array_equal(one, other)
    pids = family.processes
    family.close()
    assert gone(pids)


@pytest.mark.parametrize("killed_at", [0, 3])
def test_a_killed_worker_is_brought_back_beside_the_process_that_plays(killed_at, expected, caplog):
    family = Joining(Point, goals, 10, env_args={"noise": 0.1}, workers=2)
    count, playing = 5, np.ones(5, bool)
    record = [family.reset(family.sample(count), np.arange(count, dtype=np.uint32)).copy()]
    for t in range(6):
        if t == killed_at:
            os.kill(family.processes[0], signal.SIGKILL)
        after = family.step(np.full((count, 1), 0.1 * t, np.float32), playing)
        record += [field.copy() for field in after]
        playing &= ~(after.terminated | after.truncated)
    for one, other in zip(record, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "died with exit status -9" in caplog.text
    family.close()


@pytest.mark.parametrize("signs", [(1.0, -1.0), (-1.0, 1.0)], ids=["in the worker", "in this process"])
def test_a_bad_environment_is_named_wherever_it_is_and_nothing_is_left(signs):
    family = Joining(Bad, goals, 10, env_args={"what": "raise"}, workers=2)
    tasks, playing = family.Task(np.array(signs, np.float32)), np.ones(2, bool)
    family.reset(tasks, np.zeros(2, np.uint32))
    pids = family.processes
    with pytest.raises(CollectionError, match="Bad with goal=1.0 failed at step 2 on action .* the gripper fell off"):
        for _ in range(3):
            family.step(np.zeros((2, 1), np.float32), playing)
    assert gone(pids) and family.processes == []
    assert np.isfinite(family.reset(tasks, np.zeros(2, np.uint32))).all()
    family.close()


def test_a_killed_worker_is_reported_restarted_and_brought_to_where_it_was(expected, caplog):
    family = GymFamily(Point, goals, 10, env_args={"noise": 0.1}, workers=2)
    count, playing = 5, np.ones(5, bool)
    record = [family.reset(family.sample(count), np.arange(count, dtype=np.uint32)).copy()]
    for t in range(6):
        if t == 3:
            os.kill(family.processes[1], signal.SIGKILL)
        after = family.step(np.full((count, 1), 0.1 * t, np.float32), playing)
        record += [field.copy() for field in after]
        playing &= ~(after.terminated | after.truncated)
    for one, other in zip(record, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    sentence = caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.WARNING
    assert "worker 1 of Point (at step 3 of 3 episodes, in the one with goal=" in sentence
    assert "died with exit status -9; it is started again" in sentence
    family.close()


def test_a_worker_that_died_between_episodes_is_restarted_too(expected):
    family = GymFamily(Point, goals, 10, env_args={"noise": 0.1}, workers=2)
    play(family)
    os.kill(family.processes[0], signal.SIGKILL)
    for one, other in zip(play(family), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    family.close()


def test_an_environment_that_takes_its_process_down_once_is_survived(tmp_path, caplog):
    family = bad("die once", 1, marker=str(tmp_path / "died"))
    play(family)
    assert "died with exit status 7" in caplog.text
    family.close()


FAULTS = {
    "nan": "gave an observation with nan in it at step 2",
    "nan reward": "gave the reward nan at step 2: it must be finite",
    "shape": r"gave a wrong observation at step 2: .*\[2\]",
    "no number": "gave the reward 'much' at step 2: it must be a number",
    "raise": r"failed at step 2 on action \[0.2\]: RuntimeError: the gripper fell off",
    "four values": "answered step with a tuple of 4 values at step 2",
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("what", FAULTS)
def test_bad_environments_are_named_with_their_task_the_step_and_the_value(what, workers):
    family = bad(what, workers)
    for _ in range(2):  # and a family that failed can be used again
        with pytest.raises(CollectionError, match=f"Bad with goal=1.0 {FAULTS[what]}"):
            play(family)
        assert family.processes == []


def test_an_environment_that_never_returns_is_ended_and_named():
    family = bad("hang", 2, time_limit=0.5)
    family.reset(family.sample(1), np.zeros(1, np.uint32))
    pids = family.processes
    start = time.monotonic()
    with pytest.raises(CollectionError, match="at step 2 .* with goal=1.0.* did not answer within 0.5 seconds"):
        play(family)
    assert time.monotonic() - start < 8.0 and gone(pids)


def test_an_environment_that_always_takes_its_process_down_is_refused():
    family = bad("die", 1)
    with pytest.raises(CollectionError, match=r"at step 2 .*goal=1.0\) died twice, with exit status 7"):
        play(family)
    assert family.processes == []


def test_what_cannot_be_made_in_the_worker_is_refused_there():
    family = GymFamily(Point, {"goal": (0, 1)}, 9, workers=1)
    family._recipe.arguments["wall"] = UnloadableElsewhere()
    with pytest.raises(CollectionError, match="a worker cannot load the environment: RuntimeError: not here"):
        play(family)


SCRIPT = """
import gymnasium as gym, numpy as np, sys, os, signal, time
from metazoo.tasks.gym.board import Layout
from metazoo.tasks.gym.pool import Pool
from metazoo.tasks.gym.rows import Recipe
from tests.host_envs import Point

class Mine(Point):  # of the main program: workers get it by value
    pass

gym.register("Mine-v0", entry_point=Mine)
pools = [Pool(Recipe(make, {}), Layout.of(Mine(), 4), 1, 60.0) for make in (Mine, "Mine-v0")]
for pool in pools:
    pool.begin([{"goal": 0.5}] * 4, np.arange(4))
    pool.step()
    print(*pool.processes, flush=True)
exec(sys.argv[1])
"""


@pytest.mark.parametrize(
    "ending",
    ["pass", "raise RuntimeError('mine')", "sys.exit(3)", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)",
     # started in the background of a shell, Python would ignore SIGINT
     "signal.signal(signal.SIGINT, signal.default_int_handler); os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"],
)  # fmt: skip
def test_no_worker_outlives_its_parent_however_that_ends(ending):
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ending], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    assert gone(pids)


def test_a_family_that_is_forgotten_ends_its_workers():
    family = GymFamily(Point, goals, 10, workers=1)
    play(family)
    pids = family.processes
    del family
    assert gone(pids)
