"""``metazoo adapt --images`` and ``metazoo download --data``, as a user types them."""

import json
import re
import runpy
import sys

import numpy as np
import pytest

from metazoo.algorithms.prototypical import Prototypical
from metazoo.artefact import store
from metazoo.cli import main as cli
from metazoo.policies.convolutions import conv
from metazoo.policies.policy import Policy
from metazoo.pretrained import load
from metazoo.tasks.images import image_set
from metazoo.training.export import export
from tests.command import ROOT, metazoo
from tests.images import SET, Pictures, write_folder

NAMES = ("alef", "bet", "gimel")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    family = Pictures(ways=4, shots=2, queries=2)
    model = conv(family.observation_space, family.action_space, 1, 4, head=False)
    learner = Prototypical(Policy(model, family.observation_space, family.action_space), family)
    metadata = {"name": "small", "adapt": {"episodes": 1, "steps": 1}, "network": {}, "provenance": {"seed": 0}}
    return export(learner, tmp_path_factory.mktemp("models") / "small" / "1", metadata)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two drawings of each of three characters; of others three, without ink at their borders."""
    images = SET.images[:3, :5].copy()
    images[..., [0, -1]] = images[..., [0, -1], :] = 0
    at = tmp_path_factory.mktemp("pictures")
    known, asked = images[:, :2].reshape(-1, 28, 28), images[:, 2:].reshape(-1, 28, 28)
    return (
        write_folder(at / "known", known, np.repeat(np.arange(3), 2), NAMES),
        write_folder(at / "asked", asked, np.repeat(np.arange(3), 3), NAMES),
    )


def test_a_folder_is_adapted_to_measured_and_published(policy, folders, tmp_path):
    known, asked = map(str, folders)
    done = metazoo("adapt", policy, "--images", known, "--test-images", asked, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["classes"] == list(NAMES) and result["images"] == 6 and result["steps"] == 1
    assert result["left_out"]["of"] == 6 and result["after"]["of"] == 9
    assert result["after"]["right"] >= 7 > result["before"]["right"], "made-up characters are easy to tell apart"
    version = tmp_path / "out" / "small-known" / "1"
    assert result["published"] == str(version) and store.verify(version)
    assert load(version).metadata["adapted"]["classes"] == list(NAMES)


def test_one_picture_of_a_class_is_said_in_a_sentence(run, policy, tmp_path):
    images = SET.images[:2, :2].copy()
    images[..., [0, -1]] = images[..., [0, -1], :] = 0
    folder = write_folder(tmp_path / "few", images.reshape(-1, 28, 28)[:3], np.array([0, 0, 1]), NAMES)
    code, printed, error = run("adapt", policy, "--images", folder)
    assert code == 0, error
    assert "of 2 right" in printed and "one picture only of bet: a second one would tell" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "nowhere"], "there is no folder nowhere"),
        (["--images", ".", "--task", "x=1"], "give one of --env ID"),
        (["--task", "x=1", "--convert"], "--convert needs --images DIR"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(run, policy, arguments, message):
    code, printed, error = run("adapt", policy, *arguments)
    assert code == cli.WRONG_REQUEST and not printed and f"metazoo: {message}" in error


def test_data_is_asked_for_alone(run):
    code, _, error = run("download", "maml_cartpole", "--data", "glyphs")
    assert code == cli.WRONG_REQUEST and "or --data glyphs or omniglot alone" in error


def test_the_example_asks_a_server_about_an_encoded_picture(policy, folders, tmp_path, monkeypatch, capsys):
    known, _ = folders
    given = ["example", "--policy", str(policy), "--images", str(known), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", given)
    runpy.run_path(str(ROOT / "examples" / "classify_pictures.py"), run_name="__main__")
    assert re.search(r"^alef/00.png is 'alef'$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.slow
def test_glyphs_are_drawn_into_the_cache(tmp_path):
    done = metazoo("download", "--data", "glyphs", METAZOO_CACHE=tmp_path)
    assert done.returncode == 0, done.stderr
    images = image_set.read(tmp_path / "glyphs.npz")
    assert len(images.images) > 2_000 and images.checksum() in done.stdout
