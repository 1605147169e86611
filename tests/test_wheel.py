"""The wheel: built without a network, installed alone in an empty place, it has the zoo and everything to use it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from metazoo import savedmodels_directory
from metazoo.hub import listing

pytest.importorskip("build")
pytest.importorskip("hatchling")

ROOT = Path(__file__).resolve().parent.parent

USE = """
import sys
from pathlib import Path
import numpy as np
import metazoo
from metazoo.hub import listing
from serving.server import Server

assert str(Path(metazoo.__file__).resolve()).startswith(sys.argv[1]), metazoo.__file__
models = metazoo.savedmodels_directory()
chosen = Path("chosen")
chosen.mkdir()
for name in sys.argv[2:]:
    (chosen / name).symlink_to(models / name)
for name, version in listing.policies(chosen).items():
    policy = metazoo.load(name)
    recorded = {"bool": bool, "float32": np.float32, "int32": np.int32}
    inputs = policy._model.signatures["adapt"].structured_input_signature[1]
    shapes = {key: [1 if size is None else size for size in spec.shape] for key, spec in inputs.items()}
    arrays = {key: np.zeros(shapes[key], recorded[spec.dtype.name]) for key, spec in inputs.items()}
    arrays["mask"][:] = 1
    arrays["memory"][:] = policy.memory
    adapted = policy._run("adapt", **arrays)["memory"]
    assert adapted.shape == (1, policy.memory.size) and np.all(np.isfinite(adapted)), name
with Server(chosen, Path("adapted"), rest_port=0, grpc_port=0) as server:
    served = {policy["name"] for policy in server.adapter.list()["policies"]}
assert served == set(sys.argv[2:]), served
print(len(served))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory with what the wheel holds, as an installation would have it."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    (wheel,) = out.glob("metazoo-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"


def run(installed, directory, *arguments):
    """This Python, in an empty directory, with the wheel's files alone to import metazoo from."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_it_holds_every_policy_with_its_card_and_no_tests(installed):
    shipped = listing.policies(savedmodels_directory())
    inside = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    for name, version in shipped.items():
        assert {f"metazoo/_savedmodels/{name}/{version.name}/saved_model.pb"} < inside
    assert "metazoo/_savedmodels/maml_cartpole/README.md" in inside
    page = ROOT / "metazoo" / "gallery" / "page"
    assert {file.relative_to(ROOT).as_posix() for file in page.iterdir()} < inside
    tops = {path.split("/")[0] for path in inside}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"metazoo", "serving"}


def test_in_an_empty_directory_it_lists_its_zoo(installed, tmp_path):
    rows = json.loads(run(installed, tmp_path, "-m", "metazoo.cli.main", "list", "--json"))
    assert {row["name"] for row in rows} == set(listing.policies(savedmodels_directory()))


def use(installed, directory, names):
    counted = run(installed, directory, "-c", USE, str(installed.resolve()), *names)
    assert int(counted.split()[-1]) == len(names)


def test_its_policies_load_adapt_and_are_served(installed, tmp_path):
    """One of each algorithm."""
    rows = listing.entries(savedmodels_directory())
    use(installed, tmp_path, {row["algorithm"]: row["name"] for row in rows}.values())


@pytest.mark.slow
def test_every_policy_of_it_loads_adapts_and_is_served(installed, tmp_path):
    use(installed, tmp_path, listing.policies(savedmodels_directory()))
