"""Logs of every kind become the same ``Episodes``, and adapt a policy as those do."""

import contextlib
import json
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import metazoo
from metazoo import collect as c
from metazoo.artefact.logs import is_log
from metazoo.artefact.spaces import space_to_metadata
from metazoo.cli import main as cli
from metazoo.types import Episodes
from tests import toy_policy

LIMIT = 12
"""CartPole falls within it in some of the episodes below, and is cut off in others."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return metazoo.load(toy_policy.export_toy(tmp_path_factory.mktemp("models") / "toy" / "1"))


@pytest.fixture(scope="module")
def played(policy):
    """What our own collector records, and what a loop of somebody else's writes down of the same episodes."""
    env = Falling(gym.make("CartPole-v1", max_episode_steps=LIMIT))
    episodes = c.collect(env, policy.step, episodes=4, seed=3, memory=policy.memory).episodes
    flags = episodes.terminated.any(-1)
    assert flags.any() and not flags.all()
    return episodes, list(written(env, episodes))


class Falling(gym.Wrapper):
    """Terminates early where the pole leans to the right, so that both ends occur."""

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated or observation[2] > 0.05, truncated, info


def written(env, episodes):
    """Each episode as dicts of steps, by playing the recorded actions again in a plain loop."""
    generator = np.random.default_rng(3)
    for actions, mask in zip(episodes.actions[0], episodes.mask[0], strict=True):
        observation, _ = env.reset(seed=int(generator.integers(2**31)))
        steps = []
        for action in actions[mask > 0]:
            generator.integers(-(2**31), 2**31, 1, dtype=np.int64)  # the collector's seed of this step
            after, reward, terminated, truncated, _ = env.step(int(action))
            steps.append(
                {"observation": observation, "action": int(action), "reward": reward, "terminated": bool(terminated),
                 "truncated": bool(truncated), "next_observation": after}
            )  # fmt: skip
            observation = after
        yield steps


def same(found, expected):
    for name, value in expected._asdict().items():
        assert getattr(found, name).dtype == value.dtype, name
        np.testing.assert_array_equal(getattr(found, name), value, name)


def flat(steps):
    return [step for episode in steps for step in episode]


def of_episodes(steps):
    """Dicts of episodes, with one observation more than actions."""
    return [
        {
            "observations": [step["observation"] for step in one] + [one[-1]["next_observation"]],
            **{f"{name}s": np.array([step[name] for step in one]) for name in ("action", "reward")},
            "terminated": one[-1]["terminated"],
        }
        for one in steps
    ]


def closed(steps):
    """Without next observations: a last step that has nothing but one."""
    bare = [[{k: v for k, v in step.items() if k != "next_observation"} for step in one] for one in steps]
    return flat([*one, {"observation": full[-1]["next_observation"]}] for one, full in zip(bare, steps, strict=True))


def columns(steps):
    rows = [dict(step, episode=number) for number, one in enumerate(steps) for step in one]
    table = {name: np.array([row[name] for row in rows]) for name in ("action", "reward", "terminated", "episode")}
    for role in ("observation", "next_observation"):
        table |= {f"{role}_{i}": np.array([row[role][i] for row in rows]) for i in range(4)}
    return table


class Frame:
    """What a pandas.DataFrame offers here: its keys are its columns."""

    def __init__(self, table):
        self._table = table

    def keys(self):
        return list(self._table)

    def __getitem__(self, name):
        return self._table[name]


FORMS = {
    "lists of steps": lambda steps: steps,
    "steps in a row": flat,
    "closing steps": closed,
    "episodes": of_episodes,
    "columns": columns,
    "a frame": lambda steps: Frame(columns(steps)),
    "vectors": lambda steps: {
        name: np.array([step[name] for step in flat(steps)]) for name in steps[0][0] if name != "info"
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_episodes(policy, played, form):
    episodes, steps = played
    log = FORMS[form](steps)
    assert is_log(log)
    same(c.load_episodes(log, policy.metadata), episodes)


def test_a_policy_adapts_to_logs_as_to_episodes_and_refuses_another_controllers(policy, played):
    episodes, steps = played
    expected = policy.adapt(episodes)
    for form in ("closing steps", "columns"):
        found = policy.adapt(FORMS[form](steps))
        np.testing.assert_array_equal(found.memory, expected.memory)
        assert found.metadata["adapted"]["diagnostics"] == expected.metadata["adapted"]["diagnostics"]
    always_left = [dict(step, action=0) for step in flat(steps)] * 8
    with pytest.raises(c.CollectionError, match="were not sampled from toy"):
        policy.adapt(always_left)
    assert policy.adapt(always_left, off_policy=True).metadata["adapted"]["episodes"] == 32


# --- topics ----------------------------------------------------------------------------------------------------------

MAP = {
    "observations": ["/cart.x", "/cart.v", "/pole"],
    "actions": "/cmd.push",
    "rewards": "/reward.data",
    "terminated": "/end.fell",
    "truncated": "/end.late",
}


class Message:
    """As ROS' messages are: attributes."""

    def __init__(self, **fields):
        vars(self).update(fields)


def bag(steps, start=100.0):
    """Sensors at 100 Hz of which two parts come at different moments, the command, and rewards in two parts."""
    topics = {name: [] for name in ("/cart", "/pole", "/cmd", "/reward", "/end")}
    time = start

    def sense(observation):
        x, v, angle, rate = (float(number) for number in observation)
        topics["/cart"].append((time, Message(x=x, v=v)))
        topics["/pole"].append((time + 0.001, [angle, rate]))

    for episode in steps:
        for step in episode:
            sense(step["observation"])
            topics["/cmd"].append((time + 0.002, {"push": step["action"]}))
            topics["/reward"] += [(time + 0.004, {"data": step["reward"] / 2}), (time + 0.008, {"data": 0.5})]
            time += 0.01
        sense(episode[-1]["next_observation"])
        ended = {"fell": episode[-1]["terminated"], "late": episode[-1]["truncated"]}
        topics["/end"] += [(time - 0.005, {"fell": False, "late": False}), (time + 0.002, ended)]
        time += 3.0
    return topics


def test_recorded_topics_are_the_same_episodes(policy, played):
    episodes, steps = played
    same(c.load_episodes(bag(steps), policy.metadata, MAP), episodes)


def test_a_recording_that_stops_is_truncated(policy, played):
    _, steps = played
    without = {name: value for name, value in MAP.items() if name not in ("terminated", "truncated")}
    found = c.load_episodes(bag(steps[:1]), policy.metadata, without)
    assert found.truncated[0, 0, -1] and not found.terminated.any()
    np.testing.assert_array_equal(found.final_observations[0, 0], steps[0][-1]["next_observation"])


@pytest.mark.parametrize(
    ("change", "topic_map", "message"),
    [
        ({}, {"action": "/cmd"}, "the map has 'action'; did you mean actions"),
        ({}, {"actions": []}, "the map lacks 'actions'"),
        ({}, {"rewards": "/rewards.data"}, "no topic '/rewards': did you mean /reward"),
        ({}, {"actions": "/cmd.pull"}, "/cmd.pull: a message has no 'pull'"),
        ({"/cmd": [(99.0, {"push": 1})]}, {}, "/cart.x has no message up to 99 s"),
        ({"/cmd": [(1e4, {"push": 1})]}, {}, "no observation follows the action at 10000 s"),
        ({"/cmd": [3]}, {}, r"'/cmd' is not a list of \(seconds, message\)"),
        ({"/reward": [(1.0, {"data": "much"})]}, {}, "/reward.data is a str: it must be a number"),
    ],
)
def test_wrong_topics_are_one_sentence(policy, played, change, topic_map, message):
    recording = {**bag(played[1]), **change}
    with pytest.raises(c.CollectionError, match=message):
        c.load_episodes(recording, policy.metadata, {**MAP, **topic_map})


# --- files -----------------------------------------------------------------------------------------------------------


def plain(steps):
    return [{k: v.tolist() if hasattr(v, "tolist") else v for k, v in step.items()} for step in steps]


def as_csv(steps):
    table = {**columns(steps), "terminated": ["true" if step["terminated"] else "" for step in flat(steps)]}
    lines = [",".join(table), *(",".join(str(one) for one in row) for row in zip(*table.values(), strict=True))]
    return "\n".join(lines) + "\n"


def files(directory, steps):
    """The episodes as a file of each kind."""
    (directory / "steps.json").write_text(json.dumps([plain(one) for one in steps]))
    (directory / "steps.jsonl").write_text("".join(json.dumps(one) + "\n" for one in plain(flat(steps))))
    (directory / "table.csv").write_text(as_csv(steps), encoding="utf-8-sig")
    np.savez(directory / "table.npz", **columns(steps))
    return ("steps.json", "steps.jsonl", "table.csv", "table.npz")


def test_files_are_the_same_episodes(policy, played, tmp_path):
    episodes, steps = played
    for name in files(tmp_path, steps):
        assert is_log(str(tmp_path / name))
        same(c.load_episodes(tmp_path / name, policy.metadata), episodes)


def test_the_command_takes_a_recording_and_its_map(policy, played, tmp_path, monkeypatch, capsys):
    episodes, steps = played
    topics = {
        name: [(time, message if isinstance(message, list | dict) else vars(message)) for time, message in messages]
        for name, messages in bag(steps).items()
    }
    (tmp_path / "monday.json").write_text(json.dumps(topics))
    (tmp_path / "map.json").write_text(json.dumps(MAP))
    words = ["--episodes-file", tmp_path / "monday.json", "--topic-map", tmp_path / "map.json", "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", ["metazoo", "adapt", str(policy.directory), *map(str, words), "--json"])
    with contextlib.suppress(SystemExit):
        cli.main()
    assert json.loads(capsys.readouterr().out)["published"] == str(tmp_path / "toy-monday" / "1")
    np.testing.assert_array_equal(metazoo.load(tmp_path / "toy-monday").memory, policy.adapt(episodes).memory)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "a.json is not JSON: it has"),
        ("a.jsonl", "{}\n[", "a.jsonl is not JSON: line 2 has"),
        ("a.csv", "reward,action\n1,2\n3\n", "has 1 values in line 3: its first line names 2"),
        ("a.csv", "reward,action\n1,left\n", "the column 'action' is not of numbers"),
        ("a.csv", "", "the table has no column 'observation'"),
        ("a.parquet", "", "is not an .npz file of plain arrays, nor .json, .jsonl or .csv"),
    ],
)
def test_wrong_files_are_one_sentence(policy, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(c.CollectionError, match=message):
        c.load_episodes(tmp_path / name, policy.metadata)


STEP = {"observation": [0.0] * 4, "action": 1, "reward": 1.0, "next_observation": [0.0] * 4}


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([], "no episodes in the log"),
        ([3], "entry 0 of the log is a int"),
        ([[]], "episode 0 has no steps"),
        ([[3]], "step 0 of episode 0 is a int"),
        ([{**STEP, "done": True}], "has 'done', which does not say whether"),
        ([{"obs": [0.0] * 4, "act": 1}], "episode 0 lacks 'observations': it has 'obs', 'act'"),
        ([{k: v for k, v in STEP.items() if k != "next_observation"}], "step 0 of episode 0, its last, lacks 'next_"),
        ([[STEP, {**STEP, "action": None}, STEP]], "step 1 of episode 0 lacks 'action'"),
        ([{**STEP, "observation": [0.0] * 3}], r"in episode 0 at step 0 observations have shape \[3\]; need \[4\]"),
        ([{**STEP, "observation": [np.nan] * 4}], "in episode 0 at step 0 observations has nan in it"),
        ([{**STEP, "action": 2}], r"actions hold 2 at \[0, 0\], which is not in Discrete"),
        ([{**STEP, "action": [1, 0]}], "actions of episode 0 are unusable: need one number"),
        ([{**STEP, "terminated": "yes"}], "terminated of episode 0 is .*: it must be true or false"),
        ([[{**STEP, "terminated": True}, STEP]], "episode 0 ends at step 0 although its last played step is 1"),
        ([{"observations": [[0.0] * 4] * 2, "actions": [1, 1], "rewards": [1, 1]}], "2 rewards and 2 observations"),
        ({"reward": [1.0], "action": [1]}, "the table has no column 'observation'"),
        ({"reward": [1.0], "action": [1, 1], "observation": [[0.0] * 4]}, "different lengths: observation 1, action 2"),
        ({"reward": [1.0], "action": [1], "observation_1": [0.0]}, "1 columns observation_N, but no observation_0"),
        (3, "a int is no recorded episodes: need Episodes, a mapping"),
    ],
)  # fmt: skip
def test_wrong_logs_are_one_sentence(policy, log, message):
    with pytest.raises(c.CollectionError, match=message):
        c.load_episodes(log, policy.metadata)


# --- Minari ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return pytest.importorskip("minari")


def test_minari_is_written_and_read(policy, played, library):
    episodes, steps = played
    data = c.save_minari("toy/played-v0", episodes, policy.metadata)
    first = next(iter(library.load_dataset("toy/played-v0").iterate_episodes()))  # as Minari's own users read it
    np.testing.assert_array_equal(first.observations[-1], steps[0][-1]["next_observation"])
    assert first.actions.tolist() == [step["action"] for step in steps[0]]
    for log in (data, "minari:toy/played-v0"):
        assert is_log(log)
        same(c.load_episodes(log, policy.metadata), episodes)
    np.testing.assert_array_equal(policy.adapt("minari:toy/played-v0").memory, policy.adapt(episodes).memory)
    with pytest.raises(c.CollectionError, match="Minari does not write 'toy/played-v0'.*already"):
        c.save_minari("toy/played-v0", episodes, policy.metadata)
    with pytest.raises(c.CollectionError, match="data set 'toy/gone-v0' cannot be read"):
        policy.adapt("minari:toy/gone-v0")


def test_minari_keeps_structured_observations_and_continuous_actions(library):
    space = spaces.Dict(
        place=spaces.Tuple((spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,)))), image=spaces.MultiBinary(2)
    )
    action = spaces.Box(-1.0, 1.0, (2,))
    metadata = {
        "name": "odd", "observation_space": space_to_metadata(space), "action_space": space_to_metadata(action),
    }  # fmt: skip
    space.seed(0)
    seen = [spaces.flatten(space, space.sample()).astype(np.float32) for _ in range(4)]
    fields = {
        "observations": np.array([[seen[:3]]]), "final_observations": np.array([seen[3:]]),
        "actions": np.full((1, 1, 3, 2), 2.5, np.float32), "rewards": np.ones((1, 1, 3), np.float32),
        "terminated": np.array([[[False, False, True]]]), "truncated": np.zeros((1, 1, 3), bool),
        "mask": np.ones((1, 1, 3), np.float32),
    }  # fmt: skip
    episodes = Episodes(**fields)
    data = c.save_minari("odd-v0", episodes, metadata)
    assert data[0].observations["place"][1].shape == (4, 2)
    same(c.load_episodes(data, metadata), episodes)


def test_without_minari_one_sentence_says_so(policy, played, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    for use in (lambda: policy.adapt("minari:x-v0"), lambda: c.save_minari("x-v0", played[0], policy.metadata)):
        with pytest.raises(c.CollectionError, match=r"need pip install 'metazoo\[minari\]'"):
            use()
