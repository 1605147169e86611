"""``act`` and ``step`` as ONNX models, run by ONNX Runtime."""

import base64
import json
import sys

import numpy as np
import pytest

import metazoo
from metazoo.cli import main as cli
from metazoo.edge import check, convert, export
from metazoo.edge.errors import ConversionError
from tests.exports import export_small

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(("algorithm", "kind"), [("maml", "categorical"), ("promp", "gaussian"), ("rl2", "gaussian")])
def test_answers_are_the_savedmodels(tmp_path, algorithm, kind):
    policy = metazoo.load(export_small(tmp_path, algorithm, kind)[1])
    written = policy.export_onnx(tmp_path / "robot.onnx")
    names = ["step"] if algorithm == "rl2" else ["act", "step"]
    assert [one.name for one in written] == [f"robot.{name}.onnx" for name in names]
    models = {name: path.read_bytes() for name, path in zip(names, written, strict=True)}
    found = export.compare_onnx(policy.source(), models, inputs=50, seed=3)
    assert found.keys() == set(names)
    check.require_equal(found)


def test_the_metadata_says_what_the_policy_is(tmp_path):
    policy = metazoo.load(export_small(tmp_path, "maml", "categorical")[1])
    policy.memory = policy.memory + 1.0
    for path in policy.export_onnx(tmp_path / "robot"):
        onnx.checker.check_model(onnx.load(str(path)), full_check=True)
        kept = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
        assert json.loads(kept["metazoo"])["memory"] == policy.metadata["memory"]
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(kept["memory"]), "<f4"), policy.memory)


def test_adapt_is_refused_with_its_operation(tmp_path):
    from metazoo.edge.onnx_graph import to_onnx

    policy = metazoo.load(export_small(tmp_path, "maml", "categorical")[1])
    function = convert.fixed(policy._model, policy.memory, convert.Sizes(2, 3), "adapt")
    with pytest.raises(ConversionError, match=r"the operation \w+ has no place in ONNX's table"):
        to_onnx(function, {})


def test_another_answer_is_not_written(tmp_path, monkeypatch):
    policy = metazoo.load(export_small(tmp_path / "models", "maml", "categorical")[1])
    honest = convert.fixed
    monkeypatch.setattr(convert, "fixed", lambda model, memory, *rest: honest(model, memory * 1.01, *rest))
    with pytest.raises(ConversionError, match="act differs from the SavedModel's"):
        policy.export_onnx(tmp_path / "robot.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["models"]


def test_the_command(tmp_path, monkeypatch, capsys):
    command = ["metazoo", "export", "distilled_cartpole_tiny", "--format", "onnx", "--out", str(tmp_path / "tiny.onnx")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        str(tmp_path / f"tiny.{name}.onnx") for name in ("act", "step")
    ]
