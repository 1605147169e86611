"""Files for devices in a zoo: made, listed, pushed, downloaded, and on the card."""

import json
import shutil
import sys
import types
from pathlib import Path

import pytest

from metazoo.artefact import device_file, store
from metazoo.cards.card import _on_a_device
from metazoo.cli import main as cli
from metazoo.edge import Policy
from metazoo.edge.publish import publish
from metazoo.hub import index, sources
from metazoo.hub import transfer as hub
from tests import toy_policy
from tests.hub.web import serving

pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A models directory with the policy ``toy`` and its file for devices; not to be changed."""
    models = tmp_path_factory.mktemp("models")
    toy_policy.export_toy(models / "toy" / "1")
    publish(models / "toy")
    return models


@pytest.fixture
def zoo(models, tmp_path, monkeypatch):
    for name in ("METAZOO_HUB", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("METAZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    hub.push([str(models / "toy")], tmp_path / "zoo")
    with serving(tmp_path / "zoo") as web:
        yield web


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["metazoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return call


def test_the_file_stands_beside_its_version(models):
    path = device_file.beside(models / "toy" / "1")
    assert path == models / "toy" / "toy.tflite"
    about = device_file.about(path)
    assert (about["version"], about["checked"], about["episodes"], about["steps"]) == (1, 100, 3, toy_policy.HORIZON)
    assert Policy(path).memory == pytest.approx(store.read_memory(models / "toy" / "1"))


def test_the_index_lists_it_apart_from_what_every_download_brings(models):
    policy = index.build(models)["toy"]
    assert policy.device == index.file_of(models / "toy" / "toy.tflite")
    assert "toy.tflite" not in policy.files
    assert index.parse(index.as_json({"toy": policy}), "here")["toy"].device == policy.device


def test_a_file_of_another_version_belongs_to_nobody(models, tmp_path):
    shutil.copytree(models / "toy", tmp_path / "toy")
    (tmp_path / "toy" / "1").rename(tmp_path / "toy" / "2")
    assert device_file.beside(tmp_path / "toy" / "2") is None
    assert index.build(tmp_path)["toy"].device is None
    assert _on_a_device(tmp_path / "toy") == []
    (tmp_path / "toy" / "toy.tflite").write_bytes(b"no archive")
    assert device_file.about(tmp_path / "toy" / "toy.tflite") is None


def test_the_card_says_its_size_and_that_it_was_checked(models):
    (line,) = _on_a_device(models / "toy")
    size = (models / "toy" / "toy.tflite").stat().st_size / 1e3
    assert line.startswith(f"On a device, [`toy.tflite`](toy.tflite) ({size:.0f} kB) does the same without TensorFlow")
    assert "on 100 random inputs of every signature" in line


def test_downloading_it(models, zoo, tmp_path, run):
    code, printed, error = run(
        "download", "toy", "--from", zoo.address, "--format", "litert", "--to", tmp_path / "robot"
    )
    assert code == 0, error
    path = tmp_path / "robot" / "toy.tflite"
    assert printed == f"{path}\n"
    assert path.read_bytes() == (models / "toy" / "toy.tflite").read_bytes()
    assert [one.name for one in path.parent.iterdir()] == ["toy.tflite"]


def test_an_ordinary_download_leaves_it_out(zoo, tmp_path):
    version = hub.download("toy", sources.parse(zoo.address), tmp_path / "models")
    assert sorted(one.name for one in version.parent.iterdir()) == ["1"]


def test_a_zoo_without_it_says_so(zoo, tmp_path, run):
    document = json.loads((tmp_path / "zoo" / index.FILE).read_text())
    del document["policies"]["toy"]["device"]
    (tmp_path / "zoo" / index.FILE).write_text(json.dumps(document))
    code, _, error = run("download", "toy", "--from", zoo.address, "--format", "litert", "--to", tmp_path / "robot")
    assert code == cli.WRONG_REQUEST
    assert "has no toy.tflite; download the policy, and metazoo export makes it." in error
    assert not list((tmp_path / "robot").glob("*"))


def test_a_file_that_is_not_the_index_s_is_refused(zoo, tmp_path, run):
    path = tmp_path / "zoo" / "toy" / "toy.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    code, _, error = run("download", "toy", "--from", zoo.address, "--format", "litert", "--to", tmp_path / "robot")
    assert code == cli.FAILED, error
    assert not list((tmp_path / "robot").glob("*"))


def test_what_is_no_policy_is_refused(tmp_path):
    (tmp_path / "foreign" / "1").mkdir(parents=True)
    (tmp_path / "foreign" / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="not a metazoo policy"):
        publish(Path(tmp_path / "foreign"))
