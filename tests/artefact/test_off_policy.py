"""Logs of another controller are told from a policy's own episodes, whatever it samples from."""

import numpy as np
import pytest

import metazoo
from metazoo.artefact import off_policy
from metazoo.artefact.off_policy import LOG_CHANCE, check_on_policy, compare
from metazoo.collect import CollectionError
from metazoo.pretrained import family_of
from metazoo.tasks.views.gym_view import FamilyEnv
from metazoo.types import Episodes

BOX = {"type": "Box", "shape": [2], "dtype": "float32", "low": -1.0, "high": [1.0, None]}
CARDS = {"type": "MultiDiscrete", "nvec": [3, 2], "start": [1, 0]}
SPACES = {
    "gaussian": BOX,
    "narrow": {**BOX, "low": -0.2, "high": 0.2},
    "categorical": {"type": "Discrete", "n": 4, "start": -1},
    "rare": {"type": "Discrete", "n": 2},
    "cards": CARDS,
}


class Made:
    """A policy whose distributions depend on the observation and (online) on the memory; sampled by NumPy."""

    def __init__(self, kind, online=False):
        self.kind, self.online = kind, online
        self.metadata = {
            "name": "made", "action_space": SPACES[kind], "observation_space": {**BOX, "low": None, "high": None},
            "memory": {"size": 3, "online": online}, "adapt": {"episodes": 4, "steps": 1}, "horizon": 30,
            "distribution": "gaussian" if kind in ("gaussian", "narrow") else "categorical",
        }  # fmt: skip

    def predict(self, signature, inputs):
        observations = np.asarray(inputs["observations"], np.float64)
        assert signature == ("step" if "memory" in inputs else "act")
        if signature == "step" and self.online:
            shift = inputs["memory"][:, :1] + inputs["previous_rewards"][:, None]
            shift += np.reshape(inputs["previous_actions"], (len(shift), -1)).mean(-1, keepdims=True)
            memory = np.tanh(0.5 * inputs["memory"] + 0.1 * shift + inputs["previous_done"][:, None])
            observations = observations + memory[:, :1]
            return {**self.distribution(observations), "memory": memory}
        return self.distribution(observations)

    def distribution(self, observations):
        total = observations.sum(-1, keepdims=True)
        if self.metadata["distribution"] == "gaussian":
            return {
                "loc": (0.2 if self.kind == "narrow" else 1.0) * np.tanh(observations),
                "scale": np.full_like(observations, 0.4),
            }
        if self.kind == "rare":
            return {"logits": np.concatenate([np.full_like(total, 5.0), 0 * total], -1)}
        count = 4 if self.kind == "categorical" else 5
        return {"logits": 3 * np.sin(total * np.arange(1, count + 1))}

    def sample(self, answer, rng, greedy=False):
        if self.metadata["distribution"] == "gaussian":
            return answer["loc"][0] + (0 if greedy else answer["scale"][0] * rng.normal(size=2))
        sizes = {"categorical": [4], "rare": [2], "cards": [3, 2]}[self.kind]
        parts = np.split(answer["logits"][0], np.cumsum(sizes)[:-1])
        noise = [0 if greedy else rng.gumbel(size=len(part)) for part in parts]
        chosen = np.array([np.argmax(part + one) for part, one in zip(parts, noise, strict=True)])
        return (chosen if self.kind == "cards" else chosen[0]) + np.asarray(SPACES[self.kind].get("start", 0))

    def play(self, seed, controller=None, episodes=4, steps=30):
        """Episodes of different lengths; ``controller``: acts in its stead."""
        rng, memory = np.random.default_rng(seed), np.zeros((1, 3))
        fields = {name: [] for name in Episodes._fields}
        for number in range(episodes):
            length = max(1, steps - 3 * number)
            observations, rewards = rng.normal(size=(steps + 1, 2)), rng.normal(size=steps) * 0.1
            actions, before, reward = [], np.zeros(np.shape(self.sample(self.distribution(observations[:1]), rng))), 0.0
            for step in range(length + 1):
                inputs = {
                    "observations": observations[step : step + 1], "memory": memory,
                    "previous_actions": np.array([before]), "previous_rewards": np.array([reward]),
                    "previous_done": np.array([step == length]),
                }  # fmt: skip
                answer = self.predict("step", inputs)
                memory = answer.get("memory", memory)
                if step < length:
                    before = self.sample(answer, rng) if controller is None else controller(self, answer, rng)
                    reward = rewards[step]
                    actions.append(before)
            mask = np.arange(steps) < length
            actions += [actions[-1]] * (steps - length)
            for name, value in zip(
                Episodes._fields,
                (observations[:-1], observations[length], actions, rewards, 0 * mask, 0 * mask, mask),
                strict=True,
            ):
                fields[name].append(value)
        arrays = {name: np.stack(value)[None] for name, value in fields.items()}
        kind = np.float32 if self.metadata["distribution"] == "gaussian" else np.int32
        return Episodes(**{**arrays, "actions": arrays["actions"].astype(kind)})

    def check(self, episodes, own=True, insist=False, **more):
        return check_on_policy(episodes, self.metadata, self.predict, np.zeros(3), own, insist, **more)


def greedy(policy, answer, rng):
    return policy.sample(answer, rng, greedy=True)


def other(policy, answer, rng):
    """A controller that knows what it wants."""
    return {"gaussian": np.array([0.9, -0.9]), "narrow": np.array([0.2, -0.2]), "cards": np.array([3, 0])}.get(
        policy.kind, 1
    )


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("kind", SPACES)
def test_own_samples_are_never_refused(kind, online):
    """Raw or clipped, few or many steps; the two numbers agree to what luck makes of them."""
    policy, low, high = Made(kind, online), -np.inf, np.inf
    if policy.metadata["distribution"] == "gaussian":
        low, high = SPACES[kind]["low"], [1.0 if kind == "gaussian" else 0.2, np.inf if kind == "gaussian" else 0.2]
    gaps, least = [], 0.0
    for seed in range(40):
        steps = [1, 3, 10, 30][seed % 4]
        episodes = policy.play(seed, steps=steps)
        clipped = episodes._replace(actions=np.clip(episodes.actions, low, high).astype(episodes.actions.dtype))
        said = policy.check(episodes)
        assert set(said) == {"log_prob", "expected_log_prob"}
        if not online:  # what a recurrent policy remembers are raw actions
            assert policy.check(clipped) == pytest.approx(said, abs=1e-6)
        found = compare(episodes, policy.metadata, policy.predict, np.zeros(3), True)
        least = min(least, found.below, found.above, found.foretold)
        gaps.append(found.log_prob - found.expected)
    assert least > LOG_CHANCE / 2
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / 40**0.5 + 1e-9


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("kind", sorted(set(SPACES) - {"narrow"}))
def test_another_controller_is_refused_unless_insisted(kind, online):
    policy = Made(kind, online)
    episodes = policy.play(1, other)
    with pytest.raises(
        CollectionError, match=r"not sampled from made: their mean log-probability is -?[\d.]+, its own"
    ):
        policy.check(episodes)
    said = policy.check(episodes, insist=True)
    assert said["log_prob"] < said["expected_log_prob"] - 0.1


def test_actions_that_are_likelier_than_samples_are_refused_too():
    """A controller within narrow bounds, where the policy's own samples often exceed them, and its own modes."""
    assert Made("narrow").check(Made("narrow").play(0))
    for kind, controller in (("narrow", lambda *_: np.array([0.1, -0.1])), ("gaussian", greedy), ("cards", greedy)):
        policy = Made(kind)
        with pytest.raises(CollectionError, match="not sampled from made"):
            policy.check(policy.play(2, controller))
        said = policy.check(policy.play(2, controller), insist=True)
        assert said["log_prob"] > said["expected_log_prob"] + 0.1


def test_a_controller_as_likely_as_samples_is_foretold():
    """One standard deviation away at each step has the log-probability of samples; its side depends on what is seen, or
    stays for a while. A PD controller's logs took metasgd_navigation from -23 to -669 this way."""

    def seen(policy, answer, rng):
        return answer["loc"][0] + answer["scale"][0] * np.sign(answer["loc"][0])

    def stays(policy, answer, rng):
        policy.count = getattr(policy, "count", 0) + 1
        return answer["loc"][0] + answer["scale"][0] * (1 if policy.count // 7 % 2 else -1)

    for controller in (seen, stays):
        policy = Made("gaussian")
        episodes = policy.play(4, controller)
        with pytest.raises(CollectionError, match="not sampled from made: what follows can be foretold from the obs"):
            policy.check(episodes)
        found = compare(episodes, policy.metadata, policy.predict, np.zeros(3), True)
        assert min(found.below, found.above) > LOG_CHANCE  # the mean alone would not have told


def test_a_policy_that_learns_while_playing_may_be_played_greedily():
    """What it remembers is what it would have carried: nothing is reweighted."""
    policy = Made("gaussian", online=True)
    said = policy.check(policy.play(2, greedy))
    assert said["log_prob"] > said["expected_log_prob"] + 0.5


def test_a_rare_action_is_no_proof():
    """p = 0.0067: one of three actions is rare in 2 % of all cases, far outside what a normal law allows."""
    policy = Made("rare")
    episodes = policy.play(0, lambda *_: 0, episodes=1, steps=3)
    episodes.actions[0, 0, 1] = 1
    assert policy.check(episodes)["log_prob"] < -1.5
    episodes.actions[...] = 1
    episodes = episodes._replace(mask=np.ones_like(episodes.mask))
    with pytest.raises(CollectionError):
        policy.check(policy.play(0, lambda *_: 1, episodes=1, steps=6))


def test_what_is_exempt():
    policy = Made("gaussian")
    episodes = policy.play(1, other)
    for change in ({"supervised": True}, {"distribution": "unknown"}):
        assert check_on_policy(episodes, {**policy.metadata, **change}, policy.predict, np.zeros(3), True, False) == {}
    plain = {**policy.metadata, "memory": {"size": 0, "online": False}}  # adapting it changes nothing
    assert check_on_policy(episodes, plain, policy.predict, np.zeros(0), True, False)["log_prob"] < -2
    assert check_on_policy(episodes, policy.metadata, lambda *_: {"actions": 0}, np.zeros(3), True, False) == {}


@pytest.mark.parametrize(
    ("online", "limits", "rows"),
    [(False, {}, [20, 20, 20, 20, 20, 2]), (False, {"ROWS": 9}, [9]), (True, {"STEPS": 7}, [1] * 7)],
)
def test_few_rows_and_steps_are_looked_at(monkeypatch, online, limits, rows):
    for name, value in limits.items():
        monkeypatch.setattr(off_policy, name, value)
    policy, seen = Made("cards", online), []
    episodes, real = policy.play(3), policy.predict

    def counted(signature, inputs):
        seen.append(len(inputs["observations"]))
        return real(signature, inputs)

    policy.predict = counted
    policy.check(episodes, own=False, at_once=20)
    assert seen == rows


QUICK = ("maml_cartpole", "rl2_navigation")
SHIPPED = [
    *QUICK,
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("maml_navigation", "rl2_bandit_k5_n10", "metasgd_cartpole")
    ),
]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_take_their_own_episodes_and_no_random_ones(name):
    policy = metazoo.load(name)
    space = policy._space("action_space")
    for seed in range(3):
        env = FamilyEnv(family_of(policy.metadata), split="test", seed=seed)
        episodes = policy._collect(env, 1 + seed, seed, policy.memory, False).episodes
        said = policy.adapt(episodes).metadata["adapted"]["diagnostics"]
        assert {"loss", "kl", "log_prob", "expected_log_prob"} == set(said)
    low, high = (space.start, space.start + space.n - 1) if hasattr(space, "n") else (space.low, space.high)
    away = np.where(episodes.actions > (low + high) / 2, low, high)  # the other end of the space
    foreign = episodes._replace(actions=away.astype(episodes.actions.dtype))
    if name == "metasgd_cartpole":  # it plays almost at random, so these might be its own
        return
    with pytest.raises(CollectionError, match=f"not sampled from {name}"):
        policy.adapt(foreign)
    assert policy.adapt(foreign, off_policy=True).memory.shape == policy.memory.shape
