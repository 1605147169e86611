"""Meta-World as families: its tasks, and rows that do to the last digits what Meta-World's own environments do."""

import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from metazoo.algorithms.rl2 import RL2, RL2Config
from metazoo.artefact.spaces import CollectionError
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.tasks.metaworld import families
from metazoo.tasks.metaworld.families import ML10, ML45, ButtonPress, DrawerClose, MetaWorldML1, Reach
from metazoo.tasks.metaworld.kinds import REWRITTEN
from metazoo.tasks.testing.check import check_family
from metazoo.tasks.testing.host import CHECKS
from metazoo.training.export import export
from serving.server import Server

pytestmark = pytest.mark.metaworld
QUICK = ("push-v3", "door-open-v3", "peg-insert-side-v3", "lever-pull-v3")
"""A kind of each sort, of which the quick suite plays a little; the slow one plays all."""


def test_without_meta_world_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "metazoo.tasks.metaworld.envs", None)
    for make in (Reach, ML10):
        with pytest.raises(CollectionError, match=r"Meta-World is not installed: pip install 'metazoo\[metaworld\]'"):
            make()


def test_ml1_is_a_family_with_the_benchmarks_tasks():
    family = Reach(horizon=30, workers=0, rows=4)
    assert (family.name, family.horizon, family.Task._fields) == ("metaworld_reach", 30, ("placement",))
    assert family.observation_space.shape == (39,) and family.action_space.shape == (4,)
    splits = {
        split: np.unique(family.sample(400, split).placement, axis=0) for split in ("train", "validation", "test")
    }
    assert [len(split) for split in splits.values()] == [50, 50, 50]
    assert len(np.unique(np.concatenate(list(splits.values())), axis=0)) == 150
    with pytest.raises(ValueError, match="no tasks out of range"):
        family.sample(1, "ood")
    seen = family.reset(family.sample(4), np.arange(4, dtype=np.uint32))
    assert np.all(seen[:, -3:] == 0), "the goal is hidden"


def test_more_placements_to_train_on_go_on_after_the_benchmarks_own():
    few, many = (Reach(workers=0, rows=1, train_placements=count) for count in (50, 120))
    drawn = {split: np.unique(many.sample(2000, split).placement, axis=0) for split in ("train", "test")}
    assert [len(places) for places in drawn.values()] == [120, 50]
    usual = np.unique(few.sample(400).placement, axis=0)
    assert np.all(np.isin(usual, drawn["train"])), "the first 50 are ML1's"
    np.testing.assert_array_equal(drawn["test"], np.unique(few.sample(400, "test").placement, axis=0))
    assert not np.any(np.isin(drawn["train"][:, 3:], drawn["test"][:, 3:])), "no goal of the tests is trained on"
    with pytest.raises(ValueError, match="train_placements is 0; there must be at least 1"):
        Reach(train_placements=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", REWRITTEN)
def test_placements_are_those_that_meta_world_draws(name):
    """Which draws them from resets with physics."""
    import metaworld

    from metazoo.tasks.metaworld.envs import placements

    benchmark = metaworld.ML1(name, seed=0)
    for seed, tasks in ((0, benchmark.train_tasks), (1, benchmark.test_tasks)):
        theirs = [pickle.loads(task.data)["rand_vec"] for task in tasks]
        np.testing.assert_array_equal(placements(name, seed), theirs)


@pytest.mark.parametrize("check", CHECKS)
def test_a_family_of_one_kind_keeps_the_contract(check):
    CHECKS[check](ButtonPress(workers=0, rows=4))


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_a_family_of_many_kinds_keeps_the_contract(check):
    CHECKS[check](ML10(workers=0, rows=4))


@pytest.mark.slow
def test_a_policy_goes_all_the_way():
    check_family(Reach(horizon=20, workers=0, rows=4))


def test_ml10_has_ten_kinds_to_train_on_and_five_others_to_test_on(monkeypatch):
    """Placements are made up: to draw those of a kind, its model is read."""
    import metaworld

    from metazoo.tasks.metaworld import envs

    monkeypatch.setattr(envs, "placements", lambda name, seed, count: np.full((count, 3), seed))
    family = ML10(workers=0, rows=4)
    names = {}
    for split in ("train", "validation", "test"):
        kinds = np.unique(family.sample(200, split).kind).astype(int)
        names[split] = {family.env_names[kind] for kind in kinds}
    assert names["train"] == names["validation"] == set(metaworld.env_dict.ML10_V3["train"])
    assert names["test"] == set(metaworld.env_dict.ML10_V3["test"]) and len(names["test"]) == 5
    assert np.unique(family.sample(9, "test").placement).tolist() == [0, 1], "that of the seed, and zeros beyond"
    assert set(family.env_names) < set(REWRITTEN)
    assert set(family.kinds_of(family.sample(200, "test"))) == names["test"]
    assert len(ML45(workers=0, rows=1).kinds["train"]) == 45


def own_env(name, placement):
    """Meta-World's environment of a task, as its users make it."""
    import metaworld
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS[name]()
    data = {"rand_vec": np.asarray(placement, np.float64), "partially_observable": True, "env_cls": type(env)}
    env.set_task(metaworld.Task(env_name=name, data=pickle.dumps(data)))
    return env


def compare(name, episodes, steps):
    """Plays ``episodes`` side by side, half of them at random, half as Meta-World's script for the kind does it."""
    from metaworld.policies import ENV_POLICY_MAP

    family, script = MetaWorldML1(name, workers=0, rows=episodes), ENV_POLICY_MAP[name]()
    tasks = family.sample(episodes, "test")
    envs = [own_env(name, placement) for placement in tasks.placement]
    seen = [env.reset()[0] for env in envs]
    ours = family.reset(tasks, np.arange(episodes, dtype=np.uint32))
    np.testing.assert_allclose(ours, seen, rtol=1e-6, atol=1e-6)
    generator, on, successes = np.random.default_rng(0), np.ones(episodes, bool), 0.0
    for _ in range(steps):
        actions = generator.uniform(-1, 1, (episodes, 4)).astype(np.float32)
        for row in range(episodes // 2, episodes):
            shown = np.concatenate([seen[row][:-3], envs[row]._target_pos])
            actions[row] = np.clip(script.get_action(shown), -1, 1) + 0.1 * actions[row]
        after = family.step(actions.copy(), on)
        for row, env in enumerate(envs):
            seen[row], reward, _, truncated, info = env.step(np.clip(actions[row], -1, 1))
            np.testing.assert_allclose(after.observations[row], seen[row], rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(after.rewards[row], reward, rtol=1e-6, atol=1e-6)
            assert after.successes[row] == info["success"] and after.truncated[row] == truncated
            successes += info["success"]
    family.close()
    return successes


@pytest.mark.parametrize("name", QUICK)
def test_rows_do_what_meta_worlds_environments_do(name):
    compare(name, 2, 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", REWRITTEN)
def test_rows_do_what_meta_worlds_environments_do_over_whole_episodes(name):
    """2,000 transitions, those of the last step and of success among them."""
    assert compare(name, 4, 500) > 0


def test_kinds_that_are_not_rewritten_are_stepped_by_meta_world_beside_others():
    """In one batch: two kinds of ours, and one of Meta-World's; a row that has ended stays as it is."""
    assert "hammer-v3" not in REWRITTEN
    names = ("reach-v3", "hammer-v3", "drawer-open-v3")
    family = families.MetaWorldFamily("three", names, names, workers=0, rows=6)
    placements = {name: MetaWorldML1(name, workers=0, rows=1).sample(1).placement[0].numpy() for name in names}
    kinds, on = np.float32([2, 1, 0, 1, 0, 2]), np.array([1, 1, 1, 1, 0, 1], bool)
    rows = np.zeros((6, 6), np.float32)
    for row, kind in enumerate(kinds.astype(int)):
        rows[row, : len(placements[names[kind]])] = placements[names[kind]]
    envs = [own_env(names[int(kind)], placements[names[int(kind)]]) for kind in kinds]
    for env in envs:
        env.reset()
    first = family.reset(family.Task(kind=kinds, placement=rows), np.arange(6, dtype=np.uint32)).copy()
    for action in np.random.default_rng(0).uniform(-1, 1, (12, 6, 4)).astype(np.float32):
        after = family.step(action, on)
        for row in np.flatnonzero(on):
            seen, reward, *_, info = envs[row].step(action[row])
            np.testing.assert_allclose(after.observations[row], seen, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(after.rewards[row], reward, rtol=1e-6, atol=1e-6)
            assert after.successes[row] == info["success"]
        np.testing.assert_array_equal(after.observations[4], first[4])
        assert after.rewards[4] == 0


def test_an_environment_of_a_task_is_the_same_again_whatever_it_was_before():
    """Meta-World's box of basketball and others stand in the model, where the next reset would find them."""
    family = MetaWorldML1("basketball-v3", workers=0, rows=2)
    tasks = family.sample(2)
    one, other = ({"placement": placement.numpy()} for placement in tasks.placement)
    env = family.environment(one).unwrapped
    first, _ = env.reset()
    env.set_task(other)
    env.reset()
    env.set_task(one)
    np.testing.assert_array_equal(env.reset()[0], first)


@pytest.mark.slow
def test_a_served_policy_adapts_to_meta_worlds_own_environment_as_the_page_says(tmp_path):
    """In the page's program stand the address of a server, and the name of a small policy that is not trained."""
    family = DrawerClose(horizon=15, workers=0, rows=2)
    policy = RecurrentPolicy(family.observation_space, family.action_space, units=4)
    about = {"name": "small", "adapt": {"episodes": 1, "steps": 0}}
    export(RL2(policy, family, RL2Config(tasks=2)), tmp_path / "models" / "small" / "1", about)
    page = (Path(__file__).parents[2] / "docs" / "families" / "metaworld.md").read_text("utf-8")
    program = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[-1]
    with Server(tmp_path / "models", tmp_path / "adapted", poll_seconds=0.05) as server:
        for written, meant in (("http://127.0.0.1:8501", server.url), ("rl2_metaworld_drawer_close", "small")):
            assert written in program
            program = program.replace(written, meant)
        names: dict = {}
        exec(compile(program, "metaworld.md", "exec"), names)
    assert names["adapted"].model == "small-my-drawer" and len(names["adapted"].rounds[0].returns) == 1


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: MetaWorldML1("walk-v3"), "walk-v3"),
        (lambda: Reach(horizon=501), "horizon is 501; Meta-World's environments end after 500 steps"),
    ],
)
def test_what_meta_world_does_not_have_is_refused(make, error):
    with pytest.raises((CollectionError, ValueError), match=error):
        make()
