"""docs/your-own-environment.md as it stands, and adapting to changed environments of Gymnasium's and of a user's."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import keras
import pytest

import metazoo
from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.maml import MAML, MAMLConfig
from metazoo.policies.networks import network_for
from metazoo.policies.policy import Policy
from metazoo.tasks import own
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.testing import check_family
from metazoo.training.export import export
from tests.own_families import working_in

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "your-own-environment.md").read_text(encoding="utf-8")

needs_cartpole = pytest.mark.skipif(
    not (metazoo.savedmodels_directory() / "maml_cartpole").is_dir(), reason="there is no pretrained maml_cartpole"
)


def blocks(info: str) -> str:
    """The page's Python blocks whose opening line ends with ``info``."""
    return "\n".join(re.findall(rf"^```python{info}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def command_line(directory: Path, *arguments: str) -> dict:
    """``metazoo ... --json`` in a directory, as the installed program: the directory is not on Python's path."""
    code = f"import sys; sys.path[:] = [{str(ROOT)!r}, *sys.path[1:]]; from metazoo.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--json"],
        cwd=directory, env={**os.environ, "PYTHONSAFEPATH": "1"}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow  # it trains for half a minute
@needs_cartpole
def test_the_page_runs_and_so_does_the_command_on_its_environment(tmp_path, monkeypatch, capsys):
    (tmp_path / "heating.py").write_text(blocks(" file=heating.py"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    exec(compile(blocks(""), "your-own-environment.md", "exec"), {"__name__": "page"})
    (before, after), (unadapted, adapted) = (
        map(float, pair) for pair in re.findall(r"return (\S+) → (\S+)", capsys.readouterr().out)
    )
    assert after > before and adapted > unadapted + 3.0
    sys.modules.pop("heating")
    command = re.search(r"^metazoo (adapt models/heating .*)$", PAGE, re.MULTILINE)
    report = command_line(tmp_path, *command.group(1).split())
    assert report["after"]["mean"] > report["before"]["mean"]
    assert (tmp_path / report["published"] / "saved_model.pb").exists()


def test_the_pages_family_keeps_its_contract_and_is_short(tmp_path):
    """All that a user writes to get from an environment to a served policy: the file, and the page's commands."""
    files = {name: blocks(f" file={name}") for name in ("quadrotor_env.py", "quadrotor.py", "robot.py")}
    text = "\n".join(files.values())
    (commands,) = (
        block.splitlines() for block in re.findall(r"^```\n(metazoo train .*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    )
    assert [line.split()[1] for line in commands] == ["train", "evaluate", "card", "find", "adapt", "export", "serve"]
    assert len([line for line in text.splitlines() if line.strip()]) + len(commands) <= 60
    with working_in(tmp_path):
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        family = own.made_from("quadrotor:Quadrotor", {})
        check_family(family)
        shown = own.made_from("quadrotor:Quadrotor", {family.reveals[0]: True})
        assert shown.observation_space.shape == (7,) and family.observation_space.shape == (4,)
        env = family.environment({"thrust": -0.3}, render_mode="rgb_array")
        env.reset(seed=0)
        assert env.render().shape == (200, 200, 3) and env.unwrapped.thrust == -3.0


@pytest.mark.slow  # the README does so too
@needs_cartpole
def test_the_pages_cartpole_command(tmp_path, monkeypatch):
    from metazoo.tasks.views import make as gym_make

    command = re.search(r"^metazoo adapt maml_cartpole .*$", PAGE, re.MULTILINE).group(0)
    arguments = dict(pair.split("=") for pair in re.findall(r"--env-arg (\S+)", command))
    env = gym_make.make("CartPole-v1", {**arguments, "max_episode_steps": "200"})
    cart = env.unwrapped
    assert (cart.force_mag, cart.length) == (-8.0, 0.8) and cart.polemass_length == pytest.approx(0.08)
    policy = metazoo.load("maml_cartpole")
    assert policy.adapt(env, episodes=5, steps=2).evaluate(env, 10).mean() > policy.evaluate(env, 10).mean() + 20


@pytest.mark.slow  # the page above is the same road
def test_pendulum_with_another_gravity_on_a_policy_trained_briefly(tmp_path):
    family = GymFamily("Pendulum-v1", {"g": (6.0, 14.0)}, horizon=30)
    network = network_for(family.observation_space, family.action_space, hidden=(16,))
    policy = Policy(network, family.observation_space, family.action_space)
    learner = MAML(policy, family, MAMLConfig(tasks=4, episodes=5, clip_norm=0.5, inner_rate=0.02))
    learner.compile(keras.optimizers.Adam(1e-2))
    learner.fit(updates(0, 10), shuffle=False, verbose=0)
    directory = export(learner, tmp_path / "pendulum" / "1", {"name": "pendulum", "adapt": {"episodes": 5, "steps": 1}})
    env = gym.make("Pendulum-v1", g=4.0)
    adapted = metazoo.load(directory).adapt(env, episodes=3, steps=2)
    assert adapted.evaluate(env, 2).shape == (2,)
    assert adapted.metadata["adapted"]["diagnostics"]["kl"] > 0.0
    report = command_line(
        tmp_path, "adapt", str(directory), "--env", "Pendulum-v1", "--env-arg", "g=4", "--episodes", "3", "--steps", "1"
    )
    assert report["steps"] == 1 and report["before"]["mean"] < 0.0
