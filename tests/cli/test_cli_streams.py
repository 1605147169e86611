"""The program where its output has nowhere to go, or a poor alphabet: figures arrive, exit codes are as promised."""

import json
import os
import re
import subprocess
import sys

import pytest

from metazoo.artefact.places import savedmodels_directory
from metazoo.demo.main import POLICY
from tests import toy_policy
from tests.command import COMMAND, environment, metazoo

QUICK = ("ascii", "shift_jis", "utf-16")
ENCODINGS = [*QUICK, *(pytest.param(one, marks=pytest.mark.slow) for one in ("cp1252", "latin-1", "cp437", "koi8-r"))]
TEXTS = (["list"], ["card", "rl2_navigation"], ["card", "maml_sinusoid"], ["train", "--help"], ["--help"])


def redirected(redirection: str, *words) -> subprocess.CompletedProcess:
    """The call by way of a shell, which redirects."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment(), check=False)


@pytest.fixture(scope="module")
def whole():
    """What the calls print where every character can be shown."""
    return [metazoo(*words, text=False, PYTHONIOENCODING="utf-8").stdout.decode() for words in TEXTS]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoding_that_lacks_characters_shows_others_for_them(encoding, whole):
    for words, expected in zip(TEXTS, whole, strict=True):
        done = metazoo(*words, text=False, PYTHONIOENCODING=encoding)
        shown = done.stdout.decode(encoding)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        assert expected and len(shown.splitlines()) == len(expected.splitlines())
        if encoding.startswith("utf"):
            assert shown == expected


def test_what_stands_for_a_character_can_be_read():
    shown = metazoo("card", "rl2_navigation", PYTHONIOENCODING="ascii").stdout
    assert "RL2 ([Duan et al. 2016]" in shown and "[-" in shown and "?" not in shown.replace("?**", "")


def test_a_message_that_its_encoding_lacks_is_still_one_sentence():
    done = metazoo("card", "märchen²→", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("metazoo: there is no policy 'marchen2->'; ")


@pytest.mark.parametrize("stream", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_a_missing_standard_error_changes_no_exit_code(stream):
    assert redirected(stream, "card", "chess").returncode == 2
    assert redirected(stream, "evaluate", "chess", "--tasks", "0").returncode == 2
    assert redirected(stream, "train", "--moon").returncode == 2
    good = redirected(stream, "list", "--json")
    assert good.returncode == 0 and len(json.loads(good.stdout)) > 10


def test_a_missing_standard_output_is_no_failure_but_a_full_one_is():
    assert redirected(">&-", "list").returncode == 0
    assert redirected(">&- 2>&- <&-", "list").returncode == 0
    for words in (["list"], ["list", "--json"], ["card", "maml_cartpole"], ["--version"]):
        full = redirected(">/dev/full", *words)
        assert full.returncode == 1
        assert "No space left on device" in full.stderr and "Traceback" not in full.stderr
    assert redirected(">/dev/full 2>/dev/full", "list").returncode == 1


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["card", "maml_cartpole"], ["train", "--help"]])
def test_a_reader_that_leaves_ends_it_quietly_with_the_code_of_other_programs(words):
    for unbuffered in ("", "1"):  # the pipe breaks when it is written to, or at the end
        read, write = os.pipe()
        os.close(read)
        command = [*COMMAND, *words]
        given = {**environment(), "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=200, env=given, check=False)
        os.close(write)
        assert (done.returncode, done.stderr) == (141, b""), done.stderr


def test_the_first_line_is_all_that_head_wants():
    pipeline = ["bash", "-c", 'set -o pipefail; "$@" | head -1', "bash", *COMMAND, "list"]
    done = subprocess.run(pipeline, capture_output=True, text=True, timeout=200, env=environment(), check=False)
    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""
    assert done.returncode in (0, 141)  # 0 where everything was written before ``head`` ended


@pytest.mark.slow  # the next test is the quick one
def test_the_work_itself_needs_no_standard_error(tmp_path):
    """TensorFlow's start moves it about."""
    toy_policy.export_toy(tmp_path / "toy" / "1")
    words = ["adapt", tmp_path / "toy", "--env", "CartPole-v1", "--episodes", 1, "--steps", 1, "--test-episodes", 2]
    done = redirected("2>&-", *words, "--json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["published"] == str(tmp_path / "out" / "toy-CartPole-v1" / "1")


@pytest.mark.skipif(
    not (savedmodels_directory() / "maml_cartpole").is_dir(), reason="there is no pretrained maml_cartpole"
)
def test_standard_error_holds_our_lines_alone():
    """TensorFlow's C++ speaks of processors and drivers while it starts, and again when whole numbers are turned about
    on a processor without AVX-512; the test's environment does not silence it."""
    words = ["adapt", "maml_cartpole", "--env", "CartPole-v1", "--episodes", 1, "--steps", 1, "--test-episodes", 2]
    done = metazoo(*words)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if not re.match(r"\d+:\d\d  \w", line)] == []


SMALL = {
    "demo": """
from metazoo.demo import main as demo, tasks
tasks.TASKS = {"left": tasks.TASKS["left"]}
demo.TEST_EPISODES = 2
""",
    "bench": """
from metazoo import bench
bench.GROUPS["families"] = bench.GROUPS["families"]._replace(names=lambda: ["bandit"])
""",
    "train": "",
}
"""Sizes for a test, set when TensorFlow has been loaded by the command as always."""
PROGRAM = """
import sys
from metazoo.cli import main, support

def load(*given, real=support.load_tensorflow, **named):
    loaded = real(*given, **named)
    exec(SMALLER)
    return loaded

support.load_tensorflow = load
main.main()
"""
OURS = re.compile(r"\d+:\d\d  \w|update \d+/\d+: |REST |gRPC ")


@pytest.mark.parametrize(
    ("words", "codes"),  # ``adapt`` above is the quick one
    [
        pytest.param(
            ["demo", "--models", "MODELS", "--out", "OUT"], (0, 1), marks=pytest.mark.slow
        ),  # a toy need not get better
        pytest.param(["bench", "families"], (0,), marks=pytest.mark.slow),  # TensorFlow starts twice, and compiles
        pytest.param(
            ["train", "maml_sinusoid", "--updates", "1", "--set", "tasks=2", "--no-card", "--out", "OUT"],
            (0,),
            marks=pytest.mark.slow,  # half a minute, most of it the compiler's
        ),
    ],
    ids=["demo", "bench", "train"],
)
def test_long_commands_are_quiet_too(tmp_path, words, codes):
    toy_policy.export_toy(tmp_path / "models" / POLICY / "1", name=POLICY)
    places = {"MODELS": tmp_path / "models", "OUT": tmp_path / "out"}
    program = PROGRAM.replace("SMALLER", repr(SMALL[words[0]]))
    command = [sys.executable, "-c", program, *[str(places.get(word, word)) for word in words]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment(), check=False)
    assert done.returncode in codes, done.stderr
    assert [line for line in done.stderr.splitlines() if line and not OURS.match(line)] == []
