"""The runtime of a device: the same episodes and the same memory as with TensorFlow, without it; and its sentences."""

import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import metazoo
from metazoo import collect
from metazoo.artefact import device_file
from metazoo.edge import EdgeError, Policy, runtime
from tests.edge import device
from tests.exports import export_small

pytest.importorskip("ai_edge_litert")

RUNTIME = Path(runtime.__file__)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def exported(models, algorithm, kind):
    policy = metazoo.load(export_small(models / f"{algorithm}-{kind}", algorithm, kind, horizon=20)[1])
    return policy, policy.export_litert(models / f"{algorithm}-{kind}.tflite")


@pytest.fixture(scope="module")
def maml(models):
    return exported(models, "maml", "categorical")


@pytest.fixture(scope="module")
def rl2(models):
    return exported(models, "rl2", "categorical")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return device.make(tmp_path_factory.mktemp("device"))


class Mover(gym.Env):
    """A point that is pushed, with continuous actions and some luck."""

    observation_space = gym.spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = gym.spaces.Box(-0.1, 0.1, (2,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.normal(0, 0.1, 2).astype(np.float32)
        return self.at.copy(), {}

    def step(self, action):
        assert np.all(np.abs(action) <= 0.1), "an action that was not clipped"
        self.at = self.at + action
        return self.at.copy(), -float(np.sum(self.at**2)), bool(self.np_random.random() < 0.1), False, {}


def test_the_package_says_what_it_reads():
    assert runtime.FORMAT == device_file.FORMAT


@pytest.mark.parametrize(("algorithm", "kind", "make"), [
    ("maml", "categorical", lambda: gym.make("CartPole-v1")),
    ("rl2", "categorical", lambda: gym.make("CartPole-v1")),
    ("promp", "gaussian", Mover),
])  # fmt: skip
def test_it_plays_and_adapts_as_metazoo_does(models, maml, rl2, algorithm, kind, make):
    policy, path = {"maml": maml, "rl2": rl2}.get(algorithm) or exported(models, algorithm, kind)
    here, env = Policy(path), make()
    played = here.play(env, seed=3)
    online = policy.metadata["memory"]["online"]
    options = {"episodes": 3, "seed": 3, "memory": policy.memory, "horizon": policy.metadata["horizon"]}
    expected = collect.collect(make(), policy.step, **options, online=online)
    for name, value in expected.episodes._asdict().items():
        np.testing.assert_allclose(played[name], value, atol=1e-4, err_msg=name)
    assert np.allclose(here.memory, expected.memory, atol=1e-5) == online or not online
    here = Policy(path)
    here.adapt(make(), rounds=2, seed=5)
    np.testing.assert_allclose(here.memory, policy.adapt(make(), steps=2, seed=5).memory, atol=1e-4)
    assert not np.allclose(here.memory, policy.memory, atol=1e-3)


def test_recorded_episodes_are_padded(maml):
    policy, path = maml
    played = collect.collect(gym.make("CartPole-v1"), policy.step, episodes=2, seed=0, memory=policy.memory, horizon=15)
    here = Policy(path)
    said = here.adapt(played.episodes._asdict())
    adapted = policy.adapt(played.episodes)
    np.testing.assert_allclose(here.memory, adapted.memory, atol=1e-4)
    assert said["kl"] == pytest.approx(adapted.metadata["adapted"]["diagnostics"]["kl"], abs=1e-4)


def test_acting(maml, rl2):
    policy, path = maml
    here, rng = Policy(path), np.random.default_rng(0)
    observations = rng.normal(size=(20, 4)).astype(np.float32)
    for seed, observation in enumerate(observations):
        assert here.act(observation) == policy.act(observation)
        assert here.act(observation, deterministic=False, seed=seed) == policy.act(observation, False, seed)
    with pytest.raises(EdgeError, match="remembers its steps"):
        Policy(rl2[1]).act(observations[0])


# --- a process without TensorFlow -------------------------------------------------------------------------------------

PROGRAM = """
import json, sys
import gymnasium as gym
{imported}
policy = Policy(sys.argv[1], memory_file=sys.argv[2])
before = policy.memory.tolist()
said = policy.adapt(gym.make("CartPole-v1"), rounds=1, seed=int(sys.argv[3]))
loaded = [name for name in ("tensorflow", "keras", "metazoo") if name in sys.modules]
print(json.dumps({{"before": before, "after": policy.memory.tolist(), "loaded": loaded, **said}}))
"""


def test_a_copy_of_the_runtime_adapts_without_tensorflow_and_remembers_it(tmp_path, python, maml):
    policy, path = maml
    shutil.copy(RUNTIME, tmp_path / "robot_policy.py")
    program = PROGRAM.format(imported="from robot_policy import Policy")
    memory = tmp_path / "memory.npz"
    first, second = (json.loads(device.run(python, program, path, memory, seed, path=tmp_path)) for seed in (4, 5))
    assert first["loaded"] == []
    np.testing.assert_allclose(first["before"], policy.memory, atol=1e-7)
    adapted = policy.adapt(gym.make("CartPole-v1"), steps=1, seed=4)
    np.testing.assert_allclose(first["after"], adapted.memory, atol=1e-4)
    assert second["before"] == first["after"], "it forgot between two power cycles"
    again = adapted.adapt(gym.make("CartPole-v1"), steps=1, seed=5)
    np.testing.assert_allclose(second["after"], again.memory, atol=1e-3)


def test_the_package_can_be_imported_without_tensorflow(tmp_path, python, maml):
    (tmp_path / "metazoo").symlink_to(RUNTIME.parents[1])
    program = PROGRAM.format(imported="from metazoo.edge import Policy")
    said = json.loads(device.run(python, program, maml[1], tmp_path / "memory.npz", 4, path=tmp_path))
    assert said["loaded"] == ["metazoo"]


def test_there_is_no_tensorflow_on_the_device(python):
    assert "ModuleNotFoundError: No module named 'tensorflow'" in device.run(python, "import tensorflow", fails=True)


# --- what cannot be used ----------------------------------------------------------------------------------------------


def refusal(call, *arguments, **options) -> str:
    """The one sentence that a call is refused with."""
    with pytest.raises(EdgeError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def with_metadata(path: Path, target: Path, **changes) -> Path:
    content, metadata = runtime._read(path)
    metadata["edge"] |= changes
    whole = io.BytesIO(content)
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr("metazoo.json", json.dumps(metadata))
    target.write_bytes(whole.getvalue())
    return target


def test_files_that_are_no_policies(tmp_path, maml):
    path, whole = tmp_path / "policy.tflite", maml[1].read_bytes()
    assert "there is no file" in refusal(Policy, path)
    for content in (b"", b"TFL3", whole[:-1], whole[: len(whole) // 2], whole[:100], runtime._read(maml[1])[0]):
        path.write_bytes(content)
        assert "no policy of metazoo for LiteRT, or it was cut off" in refusal(Policy, path)
    changed = bytearray(whole)
    changed[len(runtime._read(maml[1])[0]) // 2] ^= 1
    path.write_bytes(changed)
    assert "was changed since it was exported" in refusal(Policy, path)
    assert "has the format 2, and this runtime reads 1" in refusal(Policy, with_metadata(maml[1], path, format=2))


def test_wrong_inputs_change_and_write_nothing(tmp_path, maml):
    _, path = maml
    here, env = Policy(path, memory_file=tmp_path / "memory.npz"), gym.make("CartPole-v1")
    before, good = here.memory.copy(), here.play(env, seed=0)
    bad = {**good, "rewards": np.full_like(good["rewards"], np.nan)}
    assert refusal(here.adapt, bad) == "rewards holds nan; all values must be finite."
    wider = {name: np.repeat(value, 2, axis=1) for name, value in good.items()}
    assert "at most 3 episodes of 20 steps" in refusal(here.adapt, wider)
    longer = {k: v if k == "final_observations" else np.repeat(v, 2, axis=2) for k, v in good.items()}
    assert "at most 3 episodes of 20 steps" in refusal(here.adapt, longer)
    assert "must be within [1, 3, 20, 4]" in refusal(
        here.adapt, {**good, "observations": good["observations"][..., :3]}
    )
    assert "they need" in refusal(here.adapt, {"rewards": good["rewards"]})
    assert "was exported for 1 to 3" in refusal(here.play, env, episodes=4)
    assert "it must be at least 1" in refusal(here.adapt, good, rounds=2)
    assert refusal(here.act, np.zeros(3)) == "observations has shape [1, 3]; it must be [1, 4]."
    assert "observations holds inf" in refusal(here.act, np.array([0, np.inf, 0, 0]))
    assert "no signature 'fly'; it has act, adapt" in refusal(here.run, "fly")
    assert "it takes ['observations']" in refusal(here.run, "act", observation=np.zeros((1, 4)))
    whole = {name: np.zeros(*spec) for name, spec in here._specs["step"].items()}
    assert "previous_actions holds float64" in refusal(
        here.run, "step", **{**whole, "previous_actions": np.array([0.5])}
    )
    np.testing.assert_array_equal(here.memory, before)
    assert not list(tmp_path.iterdir())


def test_an_environment_that_answers_nan_changes_nothing(tmp_path, rl2):
    class Broken(gym.Wrapper):
        def step(self, action):
            observation, _, *rest = self.env.step(action)
            return observation, np.nan, *rest

    here = Policy(rl2[1], memory_file=tmp_path / "memory.npz")
    before = here.memory.copy()
    assert "reward is nan at step 0" in refusal(here.adapt, Broken(gym.make("CartPole-v1")))
    np.testing.assert_array_equal(here.memory, before)
    assert not list(tmp_path.iterdir())


# --- the memory -------------------------------------------------------------------------------------------------------


def test_a_power_cut_leaves_the_old_memory(tmp_path, maml, monkeypatch):
    here = Policy(maml[1], memory_file=tmp_path / "memory.npz")
    here.adapt(gym.make("CartPole-v1"), rounds=1, seed=0)
    kept = here.memory.copy()

    def cut(*arguments):
        raise KeyboardInterrupt

    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, cut)
            with pytest.raises(KeyboardInterrupt):
                here.adapt(gym.make("CartPole-v1"), rounds=1, seed=1)
        np.testing.assert_array_equal(Policy(maml[1], memory_file=tmp_path / "memory.npz").memory, kept)
        assert [one.name for one in tmp_path.iterdir()] == ["memory.npz"]


def test_forgetting(tmp_path, maml):
    here = Policy(maml[1], memory_file=tmp_path / "memory.npz")
    here.adapt(gym.make("CartPole-v1"), rounds=1, seed=0)
    here.reset()
    np.testing.assert_array_equal(here.memory, maml[0].memory)
    np.testing.assert_array_equal(Policy(maml[1], memory_file=tmp_path / "memory.npz").memory, maml[0].memory)


def test_memories_that_cannot_be_used(tmp_path, maml, rl2):
    memory = tmp_path / "memory.npz"
    Policy(rl2[1], memory_file=memory).adapt(gym.make("CartPole-v1"), seed=0)
    assert "another policy's" in refusal(Policy, maml[1], memory_file=memory)
    whole = memory.read_bytes()
    for content in (b"", whole[:-1], whole[:40], b"nonsense"):
        memory.write_bytes(content)
        assert "cannot be read; delete it" in refusal(Policy, rl2[1], memory_file=memory)
        assert memory.read_bytes() == content


CORRIDOR = """
import json, sys
import numpy as np

class Corridor:
    def reset(self, seed=None):
        self.x, self.t = np.zeros(4, np.float32), 0
        return self.x.copy(), {}

    def step(self, action):
        self.x[self.t % 4] += 0.1 if int(action) else -0.1
        self.t += 1
        return self.x.copy(), float(self.x.sum()), self.t == 17, False, {}
"""


@pytest.mark.parametrize("policy", ["maml", "rl2"])
def test_the_thirty_lines_of_the_page_adapt_as_the_runtime_does(policy, request, python):
    """Both play the same episodes, because both draw the same seeds here; so both end with the same memory."""
    page = (Path(__file__).parents[2] / "docs" / "edge.md").read_text("utf-8")
    short = re.search(r"^```python runtime\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    file = request.getfixturevalue(policy)[1]
    code = CORRIDOR + short.replace("np.random.randint(2**31, size=1, dtype=np.int32)", "np.array([7], np.int32)")
    code += """
policy = Policy(sys.argv[1]); first = policy.memory.copy(); policy.adapt(Corridor())
print(json.dumps([first.tolist(), policy.memory.tolist(), int(policy.step(np.ones(4)))]))
"""
    first, adapted, action = json.loads(device.run(python, code, file))
    long = (
        CORRIDOR
        + """
import runtime
class Same:
    def integers(self, *bounds, **dtype): return 7
np.random.default_rng = lambda seed: Same()
policy = runtime.Policy(sys.argv[1]); first = policy.memory.copy(); policy.adapt(Corridor(), rounds=1)
answer = policy._step(np.ones(4, np.float32), policy._no_action(), 0.0, False, policy.memory, 7, True)
print(json.dumps([first.tolist(), policy.memory.tolist(), int(answer[0])]))
"""
    )
    expected = json.loads(device.run(python, long, file, path=RUNTIME.parent))
    assert first[0] == expected[0] and action == expected[2]
    np.testing.assert_allclose(adapted[0], expected[1], rtol=1e-6, atol=1e-7)
    assert np.abs(np.array(adapted[0]) - first[0]).max() > 1e-4, "it learned something"
