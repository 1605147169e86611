"""The documentation's Python and the examples run as they stand, on the pretrained policies."""

import json
import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import metazoo
from metazoo.artefact import store
from serving.server import Server
from tests.command import environment
from tests.served import pretrained

ROOT = Path(__file__).resolve().parent.parent
MODELS = metazoo.savedmodels_directory()


def needs(name):
    return pytest.mark.skipif(not (MODELS / name).is_dir(), reason=f"there is no pretrained {name}")


def python_blocks(document: str) -> str:
    text = (ROOT / document).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


@needs("maml_cartpole_goal")
def test_the_quickstart_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    served = pretrained(tmp_path / "served", "maml_cartpole_goal")
    source = python_blocks("docs/quickstart.md").replace("metazoo.savedmodels_directory()", repr(str(served)))
    exec(compile(source, "quickstart.md", "exec"), {"__name__": "quickstart"})
    printed = capsys.readouterr().out
    before, after = map(float, re.search(r"return (\S+) before, (\S+) after", printed).groups())
    assert after > before
    assert "adapted/maml_cartpole_goal-left/1" in printed
    assert "maml_cartpole_goal-again 1" in printed


@needs("maml_cartpole")
def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    source = python_blocks("README.md")
    with Server(pretrained(tmp_path / "models", "maml_cartpole"), tmp_path / "served") as server:
        exec(compile(source.replace("http://127.0.0.1:8501", server.url), "README.md", "exec"), names)
    assert store.verify(tmp_path / "adapted" / "maml_cartpole-reversed" / "1")
    assert names["result"].model == "maml_cartpole-my-robot"


@needs("maml_cartpole")
def test_the_first_block_of_the_serving_page_can_be_pasted(tmp_path):
    """Into a shell, with what it answers; of the pretrained policies one is served, on a free port."""
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    block, answer = re.search(r"```bash\n(.*?)```\s*```json\n(.*?)```", page, re.DOTALL).groups()
    pretrained(tmp_path / "models", "maml_cartpole")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given = f"--models models --rest-port {port} --grpc-port 0"
    program = f'metazoo() {{ exec "{sys.executable}" -m metazoo.cli "$@" {given} >served; }}\n'
    script = f"{program}{block.replace('8501', port)}\nkill %1; wait %1 2>/dev/null\n"
    done = subprocess.run(
        ["bash", "-m", "-c", script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    (found,), (expected,) = (json.loads(text)["predictions"] for text in (done.stdout, answer))
    assert found["actions"] == expected["actions"], done.stderr
    assert found["logits"] == pytest.approx(expected["logits"], rel=1e-5)  # the last digit is the processor's


@pytest.mark.slow  # the README does so too
@needs("maml_cartpole")
def test_the_example_in_process(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["example", "--out", str(tmp_path), "--steps", "1"])
    runpy.run_path(str(ROOT / "examples" / "adapt_to_your_env.py"), run_name="__main__")
    assert f"published {tmp_path / 'maml_cartpole-reversed' / '1'}" in capsys.readouterr().out


@pytest.mark.slow  # the README does so too
@needs("maml_cartpole")
def test_the_example_through_a_server(tmp_path, monkeypatch, capsys):
    with Server(pretrained(tmp_path / "models", "maml_cartpole"), tmp_path / "adapted") as server:
        monkeypatch.setattr(sys, "argv", ["example", "--url", server.url, "--steps", "1"])
        runpy.run_path(str(ROOT / "examples" / "adapt_through_a_server.py"), run_name="__main__")
    assert "maml_cartpole-reversed, version 1: return" in capsys.readouterr().out
