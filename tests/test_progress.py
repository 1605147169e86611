"""What long work says of itself: lines where no terminal shows bars, and nothing unless a command asked for it."""

import threading
import time

import pytest

from metazoo import progress


def test_nothing_is_said_unless_a_command_asked_for_it(capsys):
    with progress.stage("training", 10) as advance:
        advance(5)
    assert capsys.readouterr() == ("", "")


def test_lines_tell_the_stages_how_far_they_are_and_how_long_they_take(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with progress.shown(), progress.stage("recording the card"), progress.stage("tasks", 200) as advance:
        advance(50)
        told = wait_for(capsys, "50 of 200")
    first, *later = told.splitlines()
    assert first == "0:00  recording the card"
    line = next(line for line in later if "50 of 200" in line)
    assert line.startswith("0:00  recording the card, tasks 50 of 200, 0:0") and line.endswith(" left")
    assert threading.active_count() == 1 or not [one for one in threading.enumerate() if "_tell" in one.name]


def test_what_was_done_before_a_resume_is_not_counted_as_this_run_s_speed():
    stage = progress._Stage("updates", 100, 90)
    stage.began -= 10.0
    assert stage.left() == "", "nothing was made yet"
    stage.done += 5
    assert stage.left() == ", 0:10 left" or stage.left() == ", 0:09 left"


def test_a_lost_terminal_ends_no_work(monkeypatch):
    class Gone:
        def write(self, text):
            raise OSError("gone")

        def isatty(self):
            return False

    monkeypatch.setattr("sys.stderr", Gone())
    with progress.shown(), progress.stage("training"):
        progress.say("still here")


def wait_for(capsys, text):
    told = ""
    for _ in range(200):
        told += capsys.readouterr().err
        if text in told:
            return told
        time.sleep(0.02)
    return pytest.fail(f"nothing said {text!r}: {told!r}")
