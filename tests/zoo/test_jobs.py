"""Trainings side by side: how many at once, what is heard of them, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metazoo import cli
from metazoo.zoo import campaign, jobs
from metazoo.zoo.campaign import Options, Run, train_all
from metazoo.zoo.jobs import Job, side_by_side
from metazoo.zoo.presets import PRESETS

LOGGING = """
import os, signal, sys, time
name, seconds, code = sys.argv[1:]
def stop(*_):
    print("saving", flush=True)
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
say = lambda what: os.write(log, f"{what} {name}\\n".encode())
log = os.open(os.environ["JOBS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
say("begin")
print("working with", os.environ["TF_NUM_INTRAOP_THREADS"], flush=True)
time.sleep(float(seconds))
say("end")
print("done", name)
sys.exit(int(code))
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    """The file into which the jobs write when they begin and end."""
    monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, "-c", LOGGING))
    monkeypatch.setattr(jobs, "cores", lambda: 4)
    monkeypatch.setenv("JOBS_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def job(name: str, seconds: float = 0.0, code: int = 0) -> Job:
    return Job(name, [name, str(seconds), str(code)])


def running_at_once(log: Path) -> list[int]:
    now, most = 0, []
    for line in log.read_text().splitlines():
        now += 1 if line.startswith("begin") else -1
        most.append(now)
    return most


def test_as_many_at_once_as_asked_for_each_with_its_share_of_the_cores(log, capfd):
    ended = list(side_by_side([job(name, 0.5) for name in "abcde"], 2))
    assert sorted(done.number for done in ended) == [0, 1, 2, 3, 4]
    assert {done.code for done in ended} == {0}
    assert max(running_at_once(log)) == 2
    output = capfd.readouterr()
    assert "c: working with 2\n" in output.err and "e: done e\n" in output.err and not output.out


def test_the_exit_code_and_the_last_line_tell_what_went_wrong(log):
    ended = {done.number: done for done in side_by_side([job("good"), job("bad", code=3)], 2)}
    assert (ended[0].code, ended[1].code, ended[1].last) == (0, 3, "done bad")


def test_a_job_that_ends_makes_room_for_the_next(log):
    ended = [done.number for done in side_by_side([job("long", 3.0), job("short"), job("next")], 2)]
    assert ended == [1, 2, 0]


def interrupt_when(log: Path, lines: int) -> None:
    """Sends this process a Ctrl-C, from a process of its own, when the log has so many lines."""
    script = (
        "import os, signal, sys, time\n"
        "while not os.path.exists(sys.argv[1]) or open(sys.argv[1]).read().count('\\n') < int(sys.argv[2]):\n"
        "    time.sleep(0.02)\n"
        "os.kill(int(sys.argv[3]), signal.SIGINT)\n"
    )
    subprocess.Popen([sys.executable, "-c", script, str(log), str(lines), str(os.getpid())])


def test_ctrl_c_lets_the_running_ones_save_and_begins_no_other(log, capfd):
    interrupt_when(log, lines=2)
    began = time.monotonic()
    ended = list(side_by_side([job(name, 60) for name in "abc"], 2))
    assert time.monotonic() - began < 50
    assert sorted((done.number, done.code, done.last) for done in ended) == [(0, 130, "saving"), (1, 130, "saving")]
    assert "c:" not in capfd.readouterr().err


def test_closed_early_it_leaves_no_process_behind(log):
    ended = side_by_side([job("short"), job("long", 60), job("never")], 2)
    assert next(ended).number == 0
    while "begin long" not in log.read_text():
        time.sleep(0.02)
    began = time.monotonic()
    ended.close()
    assert time.monotonic() - began < 50
    assert "end long" not in log.read_text()


def test_a_run_is_called_as_one_would_call_it(tmp_path):
    out, export = tmp_path / "runs", tmp_path / "models"
    run = Run(PRESETS["maml_navigation"], out, 2)
    options = Options(updates=5, overrides={"tasks": "3"}, export_to=export, card=False, resume=True)
    called = ["train", "maml_navigation", "--out", str(out), "--seed", "2", "--updates", "5", "--export", str(export)]
    assert campaign._job(run, options) == Job("maml_navigation, seed 2", [*called, "--set", "tasks=3", "--no-card"]), (
        "a run that was not begun is not resumed"
    )
    run.directory.mkdir(parents=True)
    (run.directory / "run.json").write_text("{}")
    assert campaign._job(run, options).arguments[-2:] == ["--resume", "--no-card"]
    assert campaign._job(run._replace(seed=None), Options()).name == "maml_navigation"


def test_of_several_at_once_one_fails_and_one_is_interrupted(tmp_path, monkeypatch, capsys):
    """What the campaign makes of exit codes: 1 is a reason in the table, 130 ends it without one."""
    codes = {"maml_navigation": (1, "metazoo: the disk is full"), "dr_navigation": (130, "Interrupted after 1")}
    runs = [Run(PRESETS[name], tmp_path) for name in codes]

    def ended(asked, most):
        assert most == 2
        yield from (jobs.Ended(number, *codes[job.name]) for number, job in enumerate(asked))

    monkeypatch.setattr(campaign, "side_by_side", ended)
    assert not train_all(runs, tmp_path, Options(jobs=2, keep_going=True))
    assert "maml_navigation: the disk is full" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match=r"^the disk is full$"):
        train_all(runs, tmp_path, Options(jobs=2))


def test_two_presets_are_trained_at_once(tmp_path):
    names = ["maml_navigation", "dr_navigation"]
    small = ["--set", "tasks=2", "--updates", "1", "--no-card", "--jobs", "2", "--out", str(tmp_path)]
    done = subprocess.run(
        [*jobs.PROGRAM, "train", *names, *small],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "summary.json").read_text())
    assert {row["preset"]: row["updates"] for row in rows} == dict.fromkeys(names, 1)
    for name in names:
        assert (tmp_path / name / "savedmodels" / name / "1" / "saved_model.pb").is_file()
        assert f"{name}: update 1/1: validation return" in done.stderr
    assert "| sum |" in done.stdout


def test_a_number_of_jobs_below_one_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["metazoo", "train", "maml_navigation", "--jobs", "0"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == cli.WRONG_REQUEST
    assert "--jobs is 0; it must be at least 1." in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
