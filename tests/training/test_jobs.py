"""Trainings side by side: how many at once, what is heard of them, Ctrl-C, and that none is left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from metazoo.cli import main as cli
from metazoo.presets.registry import PRESETS
from metazoo.training import campaign, jobs
from metazoo.training.campaign import Options, Run, train_all
from metazoo.training.jobs import Ended, Job, Jobs

STAND_IN = """
from metazoo.training.jobs import enter
enter()
import os, signal, sys, time
name, until, code = sys.argv[1:]  # until: seconds, or what must stand in the log
path = os.environ["JOBS_LOG"]
log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
say = lambda what: os.write(log, f"{what} {name} {os.getpid()}\\n".encode())
asked = 0
def stop(*_):
    global asked
    asked += 1
    say(f"asked{asked}")
    if name != "stubborn":
        print("saving", flush=True)
        sys.exit(130)
signal.signal(signal.SIGINT, stop)
say("begin")
print("with cores", *sorted(os.sched_getaffinity(0)), "and threads", os.environ["TF_NUM_INTRAOP_THREADS"], flush=True)
if until.isdigit():
    end = time.monotonic() + int(until)
    while time.monotonic() < end:
        time.sleep(0.05)
else:
    while until not in open(path).read():
        time.sleep(0.02)
say("end")
if code == "-9":
    os.kill(os.getpid(), signal.SIGKILL)
if code != "0":
    print("metazoo: the disk is full", flush=True)
print("bye", flush=True)
sys.exit(int(code))
"""
WAIT_SECONDS = 100


@pytest.fixture
def log(tmp_path, monkeypatch):
    """The file into which the jobs write when they begin, are asked to end, and end."""
    monkeypatch.setattr(jobs, "PROGRAM", STAND_IN)
    monkeypatch.setenv("JOBS_LOG", str(tmp_path / "log"))
    for name in jobs.THREADS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "log"


def job(name: str, until: str | int = 0, code: int = 0) -> Job:
    return Job(name, [name, str(until), str(code)])


def run_all(asked: list[Job], most: int) -> list[Ended]:
    with Jobs(asked, most) as running:
        return list(running)


def wait_for(what: str, log: Path) -> str:
    """The log's text when ``what`` stands in it."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if log.exists() and what in (text := log.read_text()):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{what!r} was not logged within {WAIT_SECONDS} s")


def pids(text: str) -> list[int]:
    return [int(line.split()[-1]) for line in text.splitlines() if line.startswith("begin")]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_as_many_at_once_as_asked_for(log, capfd):
    ended = run_all([job(name, 1) for name in "abcde"], 2)
    assert sorted(ended) == [Ended(number, 0, "") for number in range(5)]
    now = most = 0
    for line in log.read_text().splitlines():
        now += 1 if line.startswith("begin") else -1
        most = max(most, now)
    assert most == 2
    output = capfd.readouterr()
    assert "c: with cores" in output.err and "e: bye\n" in output.err and not output.out


def test_each_has_its_share_of_the_cores(log, capfd, monkeypatch):
    mine = sorted(os.sched_getaffinity(0))
    run_all([job("a", "begin b"), job("b", "begin a")], 2)
    lines = capfd.readouterr().err
    if len(mine) == 1:
        assert lines.count(f"with cores {mine[0]} and threads 1\n") == 2
    else:
        half = round(len(mine) / 2)
        for part in (mine[:half], mine[half:]):
            assert f"with cores {' '.join(map(str, part))} and threads {len(part)}\n" in lines
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    run_all([job("c")], 2)
    assert f"c: with cores {' '.join(map(str, mine))} and threads 7\n" in capfd.readouterr().err, "one has them all"


@pytest.mark.parametrize(
    ("number", "parts", "shares"),
    [(2, [0, 1], [[0], [1]]), (2, [3, 5, 7], [[3, 5], [7]]), (1, [0, 1], [[0, 1]]), (3, [4, 6], [[4], [6], [4]])],
)
def test_shares(number, parts, shares, monkeypatch):
    monkeypatch.setattr(jobs, "core_numbers", lambda: parts)
    assert jobs._shares(number) == shares


def test_a_job_that_ends_makes_room_for_the_next(log):
    assert [ended.number for ended in run_all([job("long", "end next"), job("short"), job("next")], 2)] == [1, 2, 0]


def test_what_went_wrong(log):
    ended = sorted(run_all([job("good"), job("bad", code=3), job("killed", code=-9)], 3))
    assert ended == [Ended(0, 0, ""), Ended(1, 3, "the disk is full"), Ended(2, -9, "")]
    assert str(campaign._failure(ended[1])) == "the disk is full"
    assert str(campaign._failure(ended[2])) == "ended by SIGKILL."
    assert str(campaign._failure(Ended(0, 7, ""))) == "exit code 7."
    assert isinstance(campaign._failure(Ended(0, 2, "no such key")), ValueError)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_the_running_ones_save_and_no_other_is_begun(log, number):
    with Jobs([job(name, 60) for name in "abc"], 2) as running:
        ended = iter(running)
        first = next_after(ended, lambda: (wait_for("begin a", log), wait_for("begin b", log)), number)
        rest = [first, *ended]
    assert sorted(rest) == [Ended(number, 130, "") for number in range(3)]
    text = log.read_text()
    assert text.count("asked1") == 2 and "asked2" not in text and "begin c" not in text


def next_after(ended, ready, number: int) -> Ended:
    """The next job that ends, after this process was sent a signal once ``ready()``: a timer's thread sends it."""
    thread = threading.Thread(target=lambda: (ready(), os.kill(os.getpid(), number)))
    thread.start()
    try:
        return next(ended)
    finally:
        thread.join()


def test_asked_three_times_a_stubborn_one_is_killed(log):
    def insist():
        wait_for("begin stubborn", log)
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGINT)
            wait_for(f"asked{count}", log)

    with Jobs([job("stubborn", 60)], 1) as running:
        assert next_after(iter(running), insist, signal.SIGINT) == Ended(0, -signal.SIGKILL, "")


def test_left_early_it_leaves_no_process_behind(log):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="enough"), Jobs([job("short"), job("long", 60), job("never")], 2) as running:
        assert next(iter(running)).number == 0
        text = wait_for("begin long", log)
        raise RuntimeError("enough")
    assert not any(alive(pid) for pid in pids(text))
    text = log.read_text()
    assert "asked1 long" in text and "asked2" not in text and "never" not in text
    assert signal.getsignal(signal.SIGINT) is before


PARENT = """
import sys
from metazoo.training import jobs
jobs.PROGRAM = open(sys.argv[1]).read()
with jobs.Jobs([jobs.Job("long", ["long", "60", "0"])], 1) as running:
    print(list(running))
"""


@pytest.fixture
def parent(log, tmp_path):
    """A process that runs one long job, begun already."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    command = [sys.executable, "-c", PARENT, str(tmp_path / "stand_in.py")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for("begin long", log)
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def test_a_job_whose_parent_was_killed_saves_and_ends(parent, log):
    parent.kill()
    pid = pids(wait_for("asked1", log))[0]
    end = time.monotonic() + WAIT_SECONDS
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(pid)


def test_nobody_listening_is_no_reason_to_hang(parent, log):
    parent.stderr.close()
    parent.send_signal(signal.SIGINT)
    assert parent.wait(WAIT_SECONDS) == 0
    assert "code=130" in parent.stdout.read()


def test_a_run_is_called_as_one_would_call_it(tmp_path):
    out, export = tmp_path / "runs", tmp_path / "models"
    run = Run(PRESETS["maml_navigation"], out, 2)
    options = Options(updates=5, overrides={"tasks": "3"}, export_to=export, card=False, resume=True)
    called = ["train", "maml_navigation", "--seed", "2", "--updates", "5", "--set", "tasks=3"]
    places = ["--out", str(out), "--export", str(export)]
    expected = Job("maml_navigation, seed 2", [*called, *places, "--no-card"])
    assert campaign._job(run, options) == expected, "a run that was not begun is not resumed"
    run.directory.mkdir(parents=True)
    (run.directory / "run.json").write_text("{}")
    assert campaign._job(run, options).arguments[-2:] == ["--resume", "--no-card"]
    assert campaign._job(run._replace(seed=None), Options()).name == "maml_navigation"


def test_of_several_at_once_one_fails_and_one_is_interrupted(log, tmp_path, monkeypatch, capfd):
    runs = [Run(PRESETS[name], tmp_path) for name in ("maml_navigation", "dr_navigation")]
    stand_ins = {"maml_navigation": job("bad", code=1), "dr_navigation": job("interrupted", code=130)}
    monkeypatch.setattr(campaign, "_job", lambda run, options: stand_ins[run.name])
    assert not train_all(runs, tmp_path, Options(jobs=2, keep_going=True))
    assert "maml_navigation: the disk is full" in capfd.readouterr().err
    assert [row["state"] for row in json.loads((tmp_path / "summary.json").read_text())] == ["failed: the disk is full"]
    stand_ins |= {"maml_navigation": job("bad", "begin good", 1), "dr_navigation": job("good", 60)}
    with pytest.raises(RuntimeError, match=r"^the disk is full$"):
        train_all(runs, tmp_path, Options(jobs=2))
    assert "asked1 good" in log.read_text(), "what the others have is saved"


def test_the_same_run_twice_is_refused(tmp_path):
    run = Run(PRESETS["maml_navigation"], tmp_path, 1)
    with pytest.raises(ValueError, match="maml_navigation, seed 1 is to be trained twice in .*; name each run once"):
        train_all([run, run], tmp_path, Options(jobs=2))


@pytest.mark.slow  # three processes of TensorFlow's: the tests above say how jobs are called, run and heard
def test_two_presets_are_trained_at_once(tmp_path):
    names = ["maml_navigation", "dr_navigation"]
    small = ["--set", "tasks=2", "--updates", "1", "--no-card", "--jobs", "2", "--out", str(tmp_path)]
    command = [sys.executable, "-c", "from metazoo.cli.main import main; main()", "train", *names, *small]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "summary.json").read_text())
    assert [(row["preset"], row["updates"]) for row in rows] == [(name, 1) for name in names], "in the order asked for"
    for name in names:
        assert (tmp_path / name / "savedmodels" / name / "1" / "saved_model.pb").is_file()
        assert f"{name}: update 1/1: validation return" in done.stderr
    assert "| sum |" in done.stdout


def test_a_number_of_jobs_below_one_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["metazoo", "train", "maml_navigation", "--jobs", "0"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == cli.WRONG_REQUEST
    assert "--jobs is 0; it must be an integer from 1 to 1,000." in capsys.readouterr().err
