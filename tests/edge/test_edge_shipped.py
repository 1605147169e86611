"""Every policy that comes along, as a device has it: builtins only, small, and the SavedModel's answers."""

import json
import sys

import pytest

import metazoo
from metazoo import savedmodels_directory
from metazoo.artefact import device_file, store
from metazoo.cli import main as cli
from metazoo.edge import check, convert, export, runtime
from metazoo.hub import listing

pytest.importorskip("ai_edge_litert")

SHIPPED = listing.policies(savedmodels_directory())
FEW = ("maml_cartpole", "rl2_bandit_k5_n10")
"""One of every kind of memory."""
SMALL, MOST_BYTES = 5_000, 150_000
"""Weights of a policy, and bytes of its file."""


def checked(name: str, path, inputs: int) -> None:
    policy = metazoo.load(name)
    content, metadata = runtime._read(policy.export_litert(path))
    source = policy.source()
    check.require_equal(export.compare(source, content, inputs, seed=1))
    assert not {"CUSTOM", "DELEGATE"} & set(convert.builtin_operations(content))
    assert metadata["edge"]["episodes"] == policy.metadata["adapt"]["episodes"]
    if listing.summary(policy.metadata)["parameters"] <= SMALL:
        assert path.stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("name", FEW)
def test_some_of_every_kind(tmp_path, name):
    checked(name, tmp_path / "policy.tflite", inputs=10)


@pytest.mark.parametrize("name", SHIPPED)
def test_its_file_for_devices_comes_along(name):
    """``python -m metazoo.edge.publish savedmodels/NAME`` makes it, and compares it."""
    path, metadata = device_file.beside(SHIPPED[name]), store.read_metadata(SHIPPED[name])
    about = device_file.about(path)
    assert about["checked"] == 100
    assert (about["episodes"], about["steps"]) == (metadata["adapt"]["episodes"], metadata["horizon"])
    content, _ = runtime._read(path)
    assert not {"CUSTOM", "DELEGATE"} & set(convert.builtin_operations(content))
    weights = listing.summary(metadata)["parameters"]
    assert path.stat().st_size <= (MOST_BYTES if weights <= SMALL else 2 * MOST_BYTES)
    assert len(runtime.Policy(path).memory) == metadata["memory"]["size"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_policy(tmp_path, name):
    checked(name, tmp_path / "policy.tflite", inputs=100)


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["metazoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return call


def test_the_command(tmp_path, run):
    path = tmp_path / "tiny.tflite"
    code, printed, error = run("export", "distilled_cartpole_tiny", "--out", path, "--episodes", 2, "--steps", 9)
    assert code == 0, error
    size = path.stat().st_size / 1e3
    assert printed == f"{path}  {size:.0f} kB, answers as distilled_cartpole_tiny version 1 does\n"
    device = metazoo.edge.Policy(path)
    assert (device.episodes, device.steps) == (2, 9)
    code, printed, error = run("export", SHIPPED["distilled_cartpole_tiny"], "--out", path, "--json")
    assert code == 0, error
    assert json.loads(printed)["files"] == [{"file": str(path), "bytes": path.stat().st_size}]


@pytest.mark.parametrize("weights", [pytest.param("float16", marks=pytest.mark.slow), "int8"])
def test_smaller_weights_say_what_they_cost(tmp_path, run, weights):
    path = tmp_path / "small.tflite"
    code, printed, error = run("export", "dr_cartpole", f"--{weights}", "--out", path, "--json")
    assert code == 0, error
    said = json.loads(printed)
    assert said["files"][0]["bytes"] < 15_000, "the file of 32 bits has 18,000 of weights"
    assert 150 < said["mean"][weights] <= 200
    assert said["mean"]["savedmodel"] == pytest.approx(said["mean"][weights], abs=10)
    device = metazoo.edge.Policy(path)
    assert device.metadata["edge"]["weights"] == weights
    assert device.act([0.0, 0.0, 0.1, 0.5]) in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody"], "there is no policy 'nobody'"),
        (["maml_cartpole", "--format", "coreml"], "--format is 'coreml'"),
        (["maml_cartpole", "--episodes", "0"], "--episodes is 0; it must be an integer from 1"),
        (["maml_cartpole", "--steps", "many"], "--steps is 'many'"),
        (["maml_cartpole", "--out", "policy.onnx"], "its name must end in .tflite"),
        (["maml_cartpole", "--format", "onnx", "--episodes", "3"], "which --format onnx leaves out"),
        (["maml_cartpole", "--int8", "--steps", "3"], "which --int8 leaves out"),
        (["maml_cartpole", "--int8", "--float16"], "without --int8"),
        (["maml_cartpole", "--int8", "--format", "onnx"], "is for --format litert"),
        (["rl2_bandit_k5_n10", "--int8"], "has no act"),
        (["maml_cartpole", "--out", "nowhere/policy.tflite"], "there is no directory"),
    ],
)
def test_wrong_requests_are_one_sentence_and_write_nothing(tmp_path, monkeypatch, run, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    code, _, error = run("export", *arguments)
    lines = [line for line in error.splitlines() if line.startswith("metazoo: ")]
    assert code == cli.WRONG_REQUEST
    assert len(lines) == 1
    assert sentence in lines[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_same_policy_gives_the_same_file(tmp_path):
    policy = metazoo.load("distilled_cartpole_tiny")
    one, other = (policy.export_litert(tmp_path / name).read_bytes() for name in ("one.tflite", "other.tflite"))
    assert one == other
    assert store.sha256(tmp_path / "one.tflite") == store.sha256(tmp_path / "other.tflite")
