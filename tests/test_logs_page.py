"""docs/logs.md: its blocks run in order, and its command takes the file that they write."""

import contextlib
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import metazoo
from metazoo.artefact import store
from metazoo.cli import main as cli

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "logs.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not (metazoo.savedmodels_directory() / "maml_cartpole").is_dir(), reason="no pretrained policy")
def test_the_page_runs_and_so_does_its_command_on_the_table(tmp_path, monkeypatch, capsys):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "logs"}
    source = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    exec(compile(source, "logs.md", "exec"), names)
    before, after = map(float, re.search(r"return (\S+) → (\S+)", capsys.readouterr().out).groups())
    assert after > before
    (line,) = re.findall(r"^metazoo adapt \S+ --episodes-file table.csv .*$", PAGE, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with contextlib.suppress(SystemExit):
        cli.main()
    memory = store.read_memory(tmp_path / "adapted" / "maml_cartpole-table" / "1")
    np.testing.assert_allclose(memory, names["adapted"].memory, atol=1e-5)
