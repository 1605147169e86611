"""collect: what an environment and a `step` callable turn into, and every way it can be refused."""

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from metazoo import collect as c

SPACES = [
    spaces.Box(-1.0, 1.0, (3,), np.float32),
    spaces.Box(np.array([-4.8, -np.inf], np.float32), np.array([4.8, np.inf], np.float32)),
    spaces.Box(np.array([[0, 1], [2, 3]], np.float64), np.array([[9, np.inf], [9, 9]]), dtype=np.float64),
    spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Box(-np.inf, np.inf, (), np.float32),
    spaces.Discrete(4, start=2),
    spaces.MultiDiscrete([2, 3], start=[1, 0]),
    spaces.MultiBinary(5),
    spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Tuple([spaces.Box(0, 1, (2,)), spaces.MultiBinary(2)])}),
    spaces.Box(-np.inf, np.inf, (2,), np.int64),
    spaces.Box(0, np.iinfo(np.uint64).max, (2,), np.uint64),
    spaces.Box(np.array([-np.inf, 0.0]), np.array([2.0**40 + 1, 5.0]), dtype=np.int64),
    spaces.Box(np.array([-np.inf, 0.0]), np.array([7.0, np.inf]), dtype=np.int32),
    spaces.Box(-(2**63), 2**63 - 2, (1, 2), np.int64),
    spaces.Box(-128, 127, (3,), np.int8),
    spaces.Box(0, 1, (2,), np.bool_),
    spaces.Box(-1e300, 1e300, (2,), np.float64),
    spaces.Box(0.0, 1.0, (0, 3), np.float32),
    spaces.Box(0.0, 1.0, (2, 0), np.int32),
    spaces.Discrete(3, dtype=np.int32),
    spaces.MultiDiscrete([2, 3], dtype=np.uint8, start=[1, 0]),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    spaces.MultiBinary((2, 3)),
    spaces.Dict({"counts": spaces.Box(-np.inf, np.inf, (2,), np.int64)}),
]


class CountingEnv(gym.Env):
    """Observation: [episode, step]. Ends (terminated) after `length` steps; reward is the step number plus one."""

    def __init__(self, length=3, action_space=None, faults=None):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = action_space or spaces.Discrete(2)
        self.length, self.episode, self.faults, self.seen = length, -1, faults or {}, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return np.array([self.episode, 0], np.float32), {}

    def step(self, action):
        self.seen.append(action)
        self.t += 1
        fault = self.faults.get(self.t)
        if isinstance(fault, Exception):
            raise fault
        observation = np.array([self.episode, self.t], np.float32)
        reward = float(self.t)
        observation, reward = fault(observation, reward) if fault else (observation, reward)
        return observation, reward, self.t == self.length, False, {}


class Recorder:
    """A policy that keeps its inputs; memory counts its calls; the action is `action`, or the call's parity."""

    def __init__(self, action=None):
        self.calls, self.action = [], action

    def __call__(self, **inputs):
        self.calls.append({name: value.copy() for name, value in inputs.items()})
        action = np.array([len(self.calls) % 2], np.int32) if self.action is None else self.action
        return {"actions": action, "memory": inputs["memory"] + 1}


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_space_survives_json(space):
    text = json.dumps(c.space_to_metadata(space), allow_nan=False)
    back = c.space_from_metadata(json.loads(text))
    assert back == space
    space.seed(0), back.seed(0)
    assert str(back.sample()) == str(space.sample()), "what is bounded is drawn in another way"


def test_integer_bounds_written_as_floats_are_read():
    """As policies have them that were exported before; 2^63 itself is one too much for the dtype."""
    written = {"type": "Box", "shape": [2], "dtype": "int64", "low": -(2.0**63), "high": 2.0**63}
    assert c.space_from_metadata(written) == spaces.Box(-np.inf, np.inf, (2,), np.int64)
    image = {"type": "Box", "shape": [2, 2, 3], "dtype": "uint8", "low": 0.0, "high": 255.0}
    assert c.space_from_metadata(image) == spaces.Box(0, 255, (2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "Box", "shape": [2], "low": [1.0, 2.0, 3.0]},
        {"type": "Box", "shape": [2], "low": 1.0, "high": 0.0},
        {"type": "Box", "shape": "two", "low": 0.0},
        {"type": "Box", "shape": [2], "dtype": "float33"},
        {"type": "Discrete", "n": 0},
        {"type": "Discrete", "n": "many"},
        {"type": "MultiDiscrete", "nvec": [2, 3], "start": [1, 2, 3]},
        {"type": "MultiBinary", "n": -1},
    ],
    ids=str,
)
def test_numbers_that_make_no_space_are_refused(bad):
    with pytest.raises(c.CollectionError, match=f"{bad['type']} space is unusable"):
        c.space_from_metadata(bad)


def test_whole_actions_are_the_nearest_and_never_overflow():
    wild = np.array([-np.float32(3e38), -0.6, 2.4, 2.6, 3e38], np.float32)
    for dtype in (np.int64, np.int8, np.uint8, np.uint64):
        low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max)
        space = spaces.Box(low, high, (5,), dtype)
        below = max(low, -1)
        assert c.to_env_action(space, wild).tolist() == [low, below, 2, 3, high]
        assert c.to_env_action(space, wild).dtype == dtype
    assert c.to_env_action(spaces.Box(0, 1, (5,), np.bool_), wild).tolist() == [False, False, True, True, True]


def test_the_dtype_of_discrete_actions_is_the_environments():
    metadata = {"observation_space": c.space_to_metadata(spaces.Box(-np.inf, np.inf, (2,)))}
    for mine, others in (
        (spaces.Discrete(2), spaces.Discrete(2, dtype=np.int32)),
        (spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([2, 3], dtype=np.int32)),
    ):
        c.check_spaces(CountingEnv(action_space=others), {**metadata, "action_space": c.space_to_metadata(mine)})
    with pytest.raises(c.CollectionError, match="does not fit"):
        shifted = spaces.Discrete(2, start=1)
        c.check_spaces(
            CountingEnv(action_space=shifted), {**metadata, "action_space": c.space_to_metadata(spaces.Discrete(2))}
        )


def test_infinite_bounds_are_null_and_uniform_ones_a_number():
    assert c.space_to_metadata(SPACES[1])["low"] == [pytest.approx(-4.8), None]
    assert c.space_to_metadata(SPACES[0]) == {
        "type": "Box", "shape": [3], "dtype": "float32", "low": -1.0, "high": 1.0,
    }  # fmt: skip


def test_unsupported_spaces_are_refused():
    with pytest.raises(c.CollectionError, match=r"Text.*not supported"):
        c.space_to_metadata(spaces.Text(3))
    with pytest.raises(c.CollectionError, match="'Blob' is unknown"):
        c.space_from_metadata({"type": "Blob"})
    with pytest.raises(c.CollectionError, match="lacks the key 'n'"):
        c.space_from_metadata({"type": "Discrete"})


@pytest.mark.parametrize("space", [SPACES[5], SPACES[8]], ids=str)
def test_flattening_equals_gymnasium(space):
    space.seed(0)
    sample = space.sample()
    flat = c.flatten_observation(space, sample)
    assert flat.dtype == np.float32
    np.testing.assert_array_equal(flat, spaces.flatten(space, sample))
    assert flat.shape == c.observation_spec(space)[0]


def test_images_stay_uint8_and_keep_their_shape():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    flat = c.flatten_observation(SPACES[3], image)
    assert flat.dtype == np.uint8 and flat.shape == (4, 4, 3)


def test_record_of_a_plain_policy():
    env, policy = CountingEnv(), Recorder()
    got = c.collect(env, policy, episodes=2, seed=0, memory=np.zeros(4), horizon=5)
    e = got.episodes
    assert e.observations.shape == (1, 2, 5, 2) and e.actions.dtype == np.int32
    np.testing.assert_array_equal(e.observations[0, 1, :, 1], [0, 1, 2, 0, 0])
    np.testing.assert_array_equal(e.final_observations[0], [[0, 3], [1, 3]])
    np.testing.assert_array_equal(e.rewards[0, 0], [1, 2, 3, 0, 0])
    np.testing.assert_array_equal(e.mask[0, 0], [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(e.terminated[0, 0], [False, False, True, False, False])
    assert not e.truncated.any()
    np.testing.assert_array_equal(got.returns, [6, 6])
    np.testing.assert_array_equal(got.memory, np.zeros(4))  # not online: memory as given
    assert len(policy.calls) == 6  # and no closing step


def test_boundaries_and_closing_step_of_an_online_memory():
    policy = Recorder()
    got = c.collect(CountingEnv(), policy, episodes=2, seed=0, memory=np.zeros((1, 4)), horizon=3, online=True)
    assert len(policy.calls) == 8
    assert got.memory.tolist() == [8.0] * 4  # carried through both episodes
    first, closing, second = policy.calls[0], policy.calls[3], policy.calls[4]
    for start in (first, second):
        assert start["previous_actions"] == 0 and start["previous_rewards"] == 0 and not start["previous_done"]
    np.testing.assert_array_equal(closing["observations"], [[0, 3]])
    assert closing["previous_done"] and closing["previous_rewards"] == 3
    assert closing["previous_actions"] == got.episodes.actions[0, 0, 2]
    assert second["memory"][0, 0] == 4
    assert [call["previous_done"].item() for call in policy.calls] == [False] * 3 + [True] + [False] * 3 + [True]


def test_every_input_has_the_dtype_of_the_contract():
    policy = Recorder()
    c.collect(CountingEnv(), policy, episodes=1, seed=0, memory=np.zeros(1), online=True)
    for call in policy.calls:
        kinds = {name: value.dtype.name for name, value in call.items()}
        assert kinds == {
            "observations": "float32", "previous_actions": "int32", "previous_rewards": "float32",
            "previous_done": "bool", "memory": "float32", "seed": "int32", "deterministic": "bool",
        }  # fmt: skip


def test_horizon_truncates_and_termination_at_the_horizon_stays_termination():
    got = c.collect(CountingEnv(length=9), Recorder(), episodes=1, seed=0, memory=np.zeros(1), horizon=4).episodes
    assert got.truncated[0, 0, 3] and not got.terminated.any()
    got = c.collect(CountingEnv(length=4), Recorder(), episodes=1, seed=0, memory=np.zeros(1), horizon=4).episodes
    assert got.terminated[0, 0, 3] and not got.truncated.any()


def test_raw_actions_are_stored_and_clipped_ones_played():
    env = CountingEnv(action_space=spaces.Box(-1, 1, (2,), np.float64))
    policy = Recorder(action=np.array([[3.0, -0.5]], np.float32))
    got = c.collect(env, policy, episodes=1, seed=0, memory=np.zeros(1))
    assert got.episodes.actions[0, 0, 0].tolist() == [3.0, -0.5]
    assert env.seen[0].tolist() == [1.0, -0.5] and env.seen[0].dtype == np.float64


def test_discrete_start_is_included_and_padding_is_a_valid_action():
    env = CountingEnv(action_space=spaces.Discrete(2, start=5))
    policy = Recorder(action=np.array([6], np.int32))
    got = c.collect(env, policy, episodes=1, seed=0, memory=np.zeros(1), horizon=5)
    assert env.seen == [6, 6, 6]
    assert got.episodes.actions[0, 0].tolist() == [6, 6, 6, 5, 5]


def test_the_seed_decides_everything():
    def play(seed):
        def step(**inputs):
            rng = np.random.default_rng(inputs["seed"].item() % 2**32)
            return {"actions": rng.integers(0, 2, 1), "memory": inputs["memory"]}

        return c.collect(gym.make("CartPole-v1"), step, episodes=2, seed=seed, memory=np.zeros(1), horizon=50)

    one, same, other = play(1), play(1), play(2)
    np.testing.assert_array_equal(one.episodes.observations, same.episodes.observations)
    assert not np.array_equal(one.episodes.observations, other.episodes.observations)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({2: lambda o, r: (o * np.nan, r)}, "CountingEnv gave an observation with nan in it at step 1 of episode 0"),
        ({2: lambda o, r: (o, np.inf)}, "CountingEnv gave the reward inf at step 1 of episode 0"),
        ({1: lambda o, r: (o, "much")}, "CountingEnv gave the reward 'much' at step 0 of episode 0"),
        ({1: lambda o, r: (o[:1], r)}, r"wrong observation at step 0 of episode 0: .*shape \[1\].*needs \[2\]"),
        ({3: RuntimeError("boom")}, "CountingEnv failed at step 2 of episode 0 on action 1: RuntimeError: boom"),
    ],
)
def test_a_faulty_environment_is_named(faults, message):
    with pytest.raises(c.CollectionError, match=message):
        c.collect(CountingEnv(faults=faults), Recorder(), episodes=1, seed=0, memory=np.zeros(1))


def test_bad_counts_and_bad_policies_are_refused():
    with pytest.raises(c.CollectionError, match="episodes is 0"):
        c.collect(CountingEnv(), Recorder(), episodes=0, seed=0, memory=np.zeros(1))
    with pytest.raises(c.CollectionError, match=r"actions have shape \[2\].*need \[1\]"):
        c.collect(CountingEnv(), Recorder(np.zeros(2)), episodes=1, seed=0, memory=np.zeros(1))
    env = CountingEnv(action_space=spaces.Box(-1, 1, (1,)))
    with pytest.raises(c.CollectionError, match=r"action is .*nan.* must be finite"):
        c.collect(env, Recorder(np.full((1, 1), np.nan)), episodes=1, seed=0, memory=np.zeros(1))


def metadata_of(env):
    return {
        "name": "toy",
        "observation_space": c.space_to_metadata(env.observation_space),
        "action_space": c.space_to_metadata(env.action_space),
    }


def test_check_spaces():
    cartpole, pendulum = gym.make("CartPole-v1"), gym.make("Pendulum-v1")
    metadata = metadata_of(cartpole)
    c.check_spaces(cartpole, metadata)
    metadata["observation_space"]["low"] = None  # other bounds are no hindrance
    c.check_spaces(cartpole, metadata)
    with pytest.raises(c.CollectionError, match=r"Pendulum-v1, Box.*\(3,\).*does not fit toy.*Box.*\(4,\)"):
        c.check_spaces(pendulum, metadata)
    metadata["action_space"]["start"] = 1
    with pytest.raises(c.CollectionError, match="action space of CartPole-v1, Discrete"):
        c.check_spaces(cartpole, metadata)
    other = metadata_of(CountingEnv(action_space=spaces.Box(-1, 1, (1,))))
    with pytest.raises(c.CollectionError, match="action space"):
        c.check_spaces(CountingEnv(action_space=spaces.Box(-2, 2, (1,))), other)


@pytest.fixture
def recorded():
    env = CountingEnv(action_space=spaces.Discrete(2, start=1))
    policy = Recorder(action=np.array([2], np.int32))
    return c.collect(env, policy, episodes=2, seed=0, memory=np.zeros(1), horizon=5).episodes, metadata_of(env)


def test_episodes_survive_a_file_and_json_lists(recorded, tmp_path):
    episodes, metadata = recorded
    c.save_episodes(tmp_path / "e.npz", episodes)
    again = c.load_episodes(tmp_path / "e.npz", metadata)
    lists = c.validate_episodes({name: value[0].tolist() for name, value in episodes._asdict().items()}, metadata)
    for name, value in episodes._asdict().items():
        for copy in (getattr(again, name), getattr(lists, name)):
            assert copy.dtype == value.dtype
            np.testing.assert_array_equal(copy, value)


def test_mask_may_be_left_out(recorded):
    episodes, metadata = recorded
    fields = {name: value for name, value in episodes._asdict().items() if name != "mask"}
    fields["terminated"] = np.zeros_like(fields["terminated"])
    assert c.validate_episodes(fields, metadata | {"action_space": {"type": "Discrete", "n": 3}}).mask.all()


def broken(name, place, value):
    def change(fields):
        fields[name] = np.array(fields[name], np.float64)
        fields[name][place] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken("observations", (0, 1, 2, 0), np.nan), r"observations holds nan at \[1, 2, 0\]"),
        (broken("rewards", (0, 0, 1), np.inf), r"rewards holds inf at \[0, 1\]"),
        (broken("rewards", (0, 0, 1), 1e300), "rewards holds a value beyond the range of float32"),
        (broken("actions", (0, 0, 1), 1.5), r"actions holds 1.5 at \[0, 1\]: need int32"),
        (broken("actions", (0, 0, 1), 7), r"actions hold 7 at \[0, 1\], which is not in Discrete"),
        (broken("mask", (0, 1, 0), 0), "mask of episode 1 must be 1"),
        (broken("mask", (0, 1), 0), "episode 1 has no steps"),
        (broken("terminated", (0, 1, 1), 1), "episode 1 ends at step 1 although its last played step is 2"),
        (lambda fields: fields.pop("final_observations"), "lack 'final_observations'"),
        (lambda fields: fields.update(rewards=[[1, 2], [3]]), "rewards are not a full array"),
        (lambda fields: fields.update(rewards=np.zeros((0, 5))), "0 episodes of 5 steps"),
        (lambda fields: fields.update(actions=np.zeros((2, 5, 1))), r"actions has shape \[2, 5, 1\]: need \[2, 5\]"),
        (lambda fields: fields.update(observations="x"), "observations is not a full array"),
    ],
)
def test_bad_episodes_are_refused(recorded, change, message):
    episodes, metadata = recorded
    fields = dict(episodes._asdict())
    change(fields)
    with pytest.raises(c.CollectionError, match=message):
        c.validate_episodes(fields, metadata)


def test_bad_files_are_refused(recorded, tmp_path):
    _, metadata = recorded
    with pytest.raises(c.CollectionError, match="there is no episodes file"):
        c.load_episodes(tmp_path / "none.npz", metadata)
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(c.CollectionError, match=r"is not an \.npz file"):
        c.load_episodes(tmp_path / "bad.npz", metadata)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(c.CollectionError, match=r"is not an \.npz file"):
        c.load_episodes(tmp_path / "one.npy", metadata)
    np.savez(tmp_path / "pickled.npz", rewards=np.array([{}], object))
    with pytest.raises(c.CollectionError, match=r"is not an \.npz file"):
        c.load_episodes(tmp_path / "pickled.npz", metadata)


@pytest.mark.parametrize(
    "actions", [np.ones((2, 5), bool), [[True] * 5] * 2, [[1, 1, 1, 1, True], [1] * 5], [[np.True_] * 5] * 2]
)
def test_booleans_are_no_recorded_actions(recorded, actions):
    episodes, metadata = recorded
    with pytest.raises(c.CollectionError, match="actions hold booleans: need int32 values"):
        c.validate_episodes({**episodes._asdict(), "actions": actions}, metadata)
    fields = {**episodes._asdict(), "rewards": episodes.rewards > 0, "terminated": episodes.terminated.astype(int)}
    assert c.validate_episodes(fields, metadata).rewards.dtype == np.float32
