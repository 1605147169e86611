"""The notebooks run from top to bottom, and are kept without outputs."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def executed(name, directory):
    """The text that the notebook's cells print, joined."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    nbclient.NotebookClient(notebook, timeout=1500, resources={"metadata": {"path": str(directory)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(str(one.get("text", "")) + str(one.get("data", {}).get("text/plain", "")) for one in outputs)


def test_the_quickstart_adapts_explains_and_serves(tmp_path):
    printed = executed("quickstart.ipynb", tmp_path)
    assert "R² of a linear probe" in printed and "'actions'" in printed


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_family_of_ones_own_is_trained(tmp_path):
    printed = executed("own_environment.ipynb", tmp_path)
    assert "return before" in printed and (tmp_path / "models").is_dir()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_they_are_kept_without_outputs(name):
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
