"""What must be true of the repository as a whole: its files, its sizes, and how fast it starts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 350
START_SECONDS = 0.5

# Put together here, so that this file does not contain them.
MACHINE_PATHS = [path.encode() for path in ("/" + "root", "/" + "work/", "/tmp/" + "probe", "/" + "home/")]
MARKDOWN_LINK = re.compile(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in a fresh process, in the repository."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def broken_links(document: Path) -> list[str]:
    """Relative links (and pictures) of a Markdown file that lead nowhere."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = (match[1] or match[2] for match in MARKDOWN_LINK.finditer(text))
    local = (target.split("#")[0] for target in targets if not re.match(r"[a-z]+:", target))
    return [target for target in local if target and not (document.parent / target).exists()]


def test_every_room_is_in_the_guide_of_the_architecture():
    """A newcomer looks there first; a room that it does not name would never be found."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    guide = page[page.index("## Where do I look?") : page.index("## Memory")]
    rooms = [
        path.relative_to(ROOT).as_posix()
        for package in ("metazoo", "serving")
        for path in (ROOT / package).iterdir()
        if path.suffix == ".py" or any(path.glob("*.py"))
    ]
    assert len(rooms) > 30
    assert not [room for room in rooms if not room.endswith("__init__.py") and f"(../{room}" not in guide]


def test_no_file_names_a_path_of_one_machine():
    found = [
        f"{path.relative_to(ROOT)}: {mark.decode()}"
        for path in tracked_files()
        for mark in MACHINE_PATHS
        if mark in path.read_bytes()
    ]
    assert not found


def test_constraints_are_exact_and_without_urls():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    odd = [
        pin for pin in pins if not re.fullmatch(r'[a-z0-9._-]+==[0-9][a-z0-9.]*(; python_version < "[0-9.]+")?', pin)
    ]
    assert not odd
    assert "://" not in "\n".join(lines)


def test_modules_stay_small():
    modules = [path for package in ("metazoo", "serving") for path in (ROOT / package).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert lengths
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


def test_documentation_links_lead_somewhere():
    documents = [path for path in tracked_files() if path.suffix == ".md"]
    broken = {str(path.relative_to(ROOT)): links for path in documents if (links := broken_links(path))}
    assert not broken


def test_a_broken_link_is_found(tmp_path):
    document = tmp_path / "page.md"
    document.write_text(
        '[a](page.md#x) [b](gone.md) [c](https://example.org/y) <img src="gone.png">\n```\n[d](no)\n```\n'
    )
    assert broken_links(document) == ["gone.md", "gone.png"]


def test_the_diagrams_of_the_architecture_are_current():
    done = run("docs/figures/architecture.py", "--check")
    assert done.returncode == 0, done.stderr


def test_importing_metazoo_is_cheap():
    heavy = "tensorflow keras numpy gymnasium tensorflow_probability matplotlib grpc starlette"
    done = run("-c", f"import sys, metazoo; print([name for name in {heavy.split()} if name in sys.modules])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_environments_are_registered_for_programs_that_use_gymnasium():
    """Without TensorFlow, until one is made; other tests make them."""
    told = "print(gymnasium.spec('metazoo/CartPole-v0').id, 'tensorflow' in sys.modules)"
    done = run("-c", f"import sys, gymnasium, metazoo; {told}")
    assert done.stdout.split() == ["metazoo/CartPole-v0", "False"], done.stderr


def test_help_answers_quickly():
    """In time of a processor: the other tests are using the processors, too."""

    def seconds() -> float:
        start = os.times()
        done = run(
            "-c", "import sys; from metazoo.cli.main import main; sys.argv = ['metazoo', '--help']; sys.exit(main())"
        )
        assert done.returncode == 0, done.stderr
        assert "adapt" in done.stdout
        end = os.times()
        return end.children_user - start.children_user + end.children_system - start.children_system

    assert min(seconds() for _ in range(3)) < START_SECONDS


LOAD_FIRST = "import tensorflow as tf\n"
TOUCH_FIRST = "import tensorflow as tf\ntf.keras.layers\n"
USE_TFP = "import metazoo, tensorflow_probability as tfp\nprint(float(tfp.distributions.Normal(0., 1.).mean()))\n"


def run_without_flag(source: str) -> subprocess.CompletedProcess[str]:
    return run("-c", f"import os\nos.environ.pop('TF_USE_LEGACY_KERAS', None)\n{source}")


def test_keras_2_is_asked_for_in_time_even_after_importing_tensorflow():
    done = run_without_flag(LOAD_FIRST + USE_TFP)
    assert done.stdout.strip() == "0.0", done.stderr


@pytest.mark.slow
def test_importing_metazoo_after_using_tf_keras_says_what_to_do():
    done = run_without_flag(TOUCH_FIRST + USE_TFP)
    assert done.returncode != 0
    assert "import metazoo before tf.keras is used" in done.stderr.splitlines()[-1]


def test_a_contrary_keras_flag_is_refused():
    done = run("-c", "import metazoo", TF_USE_LEGACY_KERAS="0")
    assert "TF_USE_LEGACY_KERAS is '0'" in done.stderr.splitlines()[-1]


def test_the_policies_that_come_along_are_found():
    done = run("-c", "import metazoo; print(metazoo.savedmodels_directory())")
    assert Path(done.stdout.strip()) == ROOT / "savedmodels"
