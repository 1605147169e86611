"""docs/the-wire.md: its tables are those of the contract and of the exports, and its blocks run as they stand."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import metazoo
from metazoo.artefact import signatures
from serving.server import Server
from tests.command import environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "the-wire.md").read_text(encoding="utf-8")
POLICIES = ("maml_cartpole", "rl2_bandit_k5_n10")
MODELS = metazoo.savedmodels_directory()

needs_policies = pytest.mark.skipif(
    not all((MODELS / name).is_dir() for name in POLICIES), reason=f"there are no pretrained {POLICIES}"
)


def blocks(language: str, info: str) -> list[str]:
    return re.findall(rf"^```{language} run={info}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def table(signature: str, role: str) -> list[tuple[str, ...]]:
    """Rows of a signature's inputs or outputs, as the page has them: name, dtype, shape."""
    section = PAGE[PAGE.index(f"\n### {signature}\n") :]
    rows = section[section.index(f"| {role} | dtype | shape") :].split("\n\n")[0].splitlines()[2:]
    return [tuple(cell.strip() for cell in row.split("|")[1:4]) for row in rows]


def row(argument: signatures.Argument) -> tuple[str, str, str]:
    more = [] if argument.dtype else ["…"]
    return f"`{argument.name}`", argument.dtype or "of the space", f"`[{', '.join([*argument.axes, *more])}]`"


@pytest.mark.parametrize("signature", signatures.INPUTS)
def test_the_tables_are_the_contract(signature):
    assert table(signature, "input") == list(map(row, signatures.INPUTS[signature]))
    found = table(signature, "output")
    distribution = [one for one in found if one[0] == "the [distribution](#sampling)"]
    assert [one for one in found if one not in distribution] == list(map(row, signatures.OUTPUTS[signature]))
    assert len(distribution) == (signature in (signatures.ACT, signatures.STEP))


def test_the_page_names_every_distribution_and_every_field():
    for kind, names in signatures.DISTRIBUTION_PARAMETERS.items():
        (line,) = re.findall(rf"^\| `{kind}` \|.*$", PAGE, re.MULTILINE)
        assert all(f"`{name}`" in line.split("|")[2] for name in names)
    for block in (*blocks("bash", "curl")[1:], *blocks("python", "requests")):
        assert all(f'"{name}"' in block for name in signatures.EPISODE_FIELDS)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wire")
    (directory / "models").mkdir()
    for name in POLICIES:
        (directory / "models" / name).symlink_to(MODELS / name)
    with Server(directory / "models", directory / "adapted", poll_seconds=0) as server:
        yield server


@needs_policies
@pytest.mark.parametrize("policy", POLICIES)
def test_the_contract_is_what_exports_have(server, policy):
    with urllib.request.urlopen(f"{server.url}/v1/models/{policy}/metadata") as answer:
        found = json.load(answer)["metadata"]["signature_def"]["signature_def"]
    online = policy.startswith("rl2")
    names = [name for name in signatures.INPUTS if name != signatures.ACT or not online]
    assert set(found) == {*names, signatures.SERVING_DEFAULT, "__saved_model_init_op"}
    for name in names:
        assert set(found[name]["inputs"]) == {one.name for one in signatures.INPUTS[name]}
        parameters = {"logits"} if name in (signatures.ACT, signatures.STEP) else set()
        assert set(found[name]["outputs"]) == {one.name for one in signatures.OUTPUTS[name]} | parameters
        for role, arguments in (("inputs", signatures.INPUTS), ("outputs", signatures.OUTPUTS)):
            for one in arguments[name]:
                kind = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}
                assert one.dtype is None or found[name][role][one.name]["dtype"] == kind[one.dtype]


def run(server: Server, program: list[str], source: str) -> str:
    """What a block prints, with the page's ports replaced by the server's."""
    source = source.replace("127.0.0.1:8501", server.url.removeprefix("http://"))
    source = source.replace("127.0.0.1:8500", server.grpc_target)
    done = subprocess.run(
        [*program, source], env=environment(PYTHONPATH=""), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_policies
def test_curl(server):
    act, adapt = blocks("bash", "curl")
    found = json.loads(run(server, ["bash", "-c"], act))
    (shown,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found["outputs"]["actions"] == json.loads(shown)["outputs"]["actions"]
    assert found["outputs"]["logits"][0] == pytest.approx(json.loads(shown)["outputs"]["logits"][0], rel=1e-5)
    decoder = json.JSONDecoder()
    printed = run(server, ["bash", "-c"], adapt)
    answer, end = decoder.raw_decode(printed)
    assert (answer["model"], answer["episodes"]) == ("maml_cartpole-curl", 2)
    after, _ = decoder.raw_decode(printed[end:].lstrip())
    assert after["outputs"]["logits"] != found["outputs"]["logits"]


@needs_policies
def test_requests(server):
    (block,) = blocks("python", "requests")
    printed = run(server, [sys.executable, "-c"], block)
    assert printed.startswith("maml_cartpole-requests 1 {")
    before, after = map(float, re.search(r"return (\S+) → (\S+)", printed).groups())
    assert after > before


@needs_policies
def test_grpc(server):
    (block,) = blocks("python", "grpc")
    assert re.search(r"pulled \[[0-4, ]+\] for \d", run(server, [sys.executable, "-c"], block))


@needs_policies
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript(server):
    (block,) = blocks("js", "fetch")
    printed = run(server, ["node", "--input-type=module", "-e"], block)
    assert re.search(r"^\d+ of 10 pulls were paid\naction [01]$", printed, re.MULTILINE)
