"""Searching a grid for a hidden goal: the exact figures against every search there is, and against play."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.tasks.families import darkroom, gridworld
from metazoo.tasks.families.darkroom import DarkRoom
from metazoo.tasks.families.grid_search import VARIBAD, cells_of, known_goal_steps, search_steps, snake
from metazoo.tasks.families.gridworld import Gridworld, GridworldTask, optimal_returns
from metazoo.tasks.family import per_episode
from metazoo.tasks.testing import graph as testing

PUBLISHED = Gridworld(slips=False)
GOALS = np.array(PUBLISHED._goals())
ROOM = DarkRoom()
CELLS = ROOM.goals("train")


def play(family, goals, paths, episodes):
    """Returns ``[M, episodes]`` in the family of who follows ``paths`` until a reward says that the goal is met."""
    slip = (tf.zeros(len(goals)),) if isinstance(family, Gridworld) else ()
    task = per_episode(family.Task(tf.constant(goals, tf.float32), *slip))
    keys, met, earned = random.spread(random.key(0), len(goals), 1), np.zeros(len(goals), bool), []
    moves = moves_of(family)
    for episode in range(episodes):
        state, total = family.reset(task, keys), np.zeros(len(goals))
        for t in range(family.horizon):
            at = state.cell.numpy()[:, 0]
            path = paths[episode] if episode < len(paths) else []
            aims = np.where(met[:, None], goals, path[t] if t < len(path) else at)
            actions = [moves[step_towards(*pair)] for pair in zip(at, aims, strict=True)]
            after = family.step(task, state, tf.constant(actions)[:, None], random.fold(keys, t))
            state, rewards = after.state, after.rewards.numpy()[:, 0]
            total, met = total + rewards, met | (rewards > 0.5)
        earned.append(total)
    return np.stack(earned, 1)


def moves_of(family):
    moves = darkroom.MOVES if isinstance(family, DarkRoom) else gridworld.MOVES
    return {move: action for action, move in enumerate(moves)}


def step_towards(at, aim):
    right, up = np.sign(aim - at).astype(int)
    return (right, 0) if right else (0, up)


def test_the_best_search_of_the_grid_as_published_is_what_playing_it_earns():
    paths = [cells_of(moves, 5) for moves in VARIBAD]
    returns = -0.1 * 15 + 1.1 * search_steps(paths, GOALS, 15, 4)
    np.testing.assert_allclose(play(PUBLISHED, GOALS, paths, 4), returns, atol=1e-5)
    known = PUBLISHED.references(GridworldTask(GOALS, np.zeros(len(GOALS))))
    np.testing.assert_allclose(known["search_first"].returns, returns[:, 0])
    np.testing.assert_allclose(known["search_trial"].returns, returns.mean(1))
    np.testing.assert_allclose(returns[:, 2:], np.stack([known["optimum"].returns] * 2, 1), atol=1e-9)
    assert returns[:, 0].mean() == pytest.approx(4.0)  # 14 new cells, from the second step on


def searches(horizon, episodes):
    """What first episodes can leave: sets of cells seen, a bit each, and the most steps of the trial on those."""
    bits = {tuple(goal): 1 << i for i, goal in enumerate(GOALS.tolist())}
    bit = np.array([bits.get((place // 5, place % 5), 0) for place in range(25)])
    after = np.array([[_moved(place, move) for move in moves_of(PUBLISHED)] for place in range(25)])
    later = (episodes - 1) * (horizon + 1 - np.array([max(place // 5 + place % 5, 1) for place in range(25)]))
    place, seen, worth = np.zeros(1, int), np.zeros(1, int), np.zeros(1, int)
    for step in range(1, horizon + 1):
        place, seen, worth = after[place].ravel(), np.repeat(seen, 5), np.repeat(worth, 5)
        worth = worth + np.where(bit[place] & ~seen, horizon + 1 - step + later[place], 0)
        seen = seen | bit[place]
        order = np.lexsort((-worth, seen * 25 + place))  # the best way to have seen them and be there
        _, first = np.unique((seen * 25 + place)[order], return_index=True)
        place, seen, worth = place[order][first], seen[order][first], worth[order][first]
    order = np.lexsort((-worth, seen))
    seen, first = np.unique(seen[order], return_index=True)
    return seen, worth[order][first]


def _moved(place, move):
    x, y = (min(max(part + way, 0), 4) for part, way in zip(divmod(place, 5), move, strict=True))
    return 5 * x + y


def optimistic(seen, horizon, episodes):
    """No less than what cells that are left can be worth: each looked at in the second episode, none before it can be
    reached, one a step."""
    left, step, worth = [goal.sum() for i, goal in enumerate(GOALS) if not seen >> i & 1], 0, 0
    for distance in sorted(left):
        step = max(distance, step + 1)
        worth += max(horizon + 1 - step, 0) + (episodes - 2) * (horizon + 1 - distance)
    return worth


def test_no_search_of_the_grid_is_worth_more():
    """Every first episode there is, each with an optimistic rest."""
    seen, worth = searches(15, 4)
    bound = max(earned + optimistic(int(cells), 15, 4) for cells, earned in zip(seen, worth, strict=True))
    best = search_steps([cells_of(moves, 5) for moves in VARIBAD], GOALS, 15, 4)
    assert len(seen) > 50_000 and best.sum() == bound
    seen, alone = searches(15, 1)
    assert alone.max() == best[:, 0].sum()


def test_the_grid_as_published_does_not_slip():
    tasks = PUBLISHED.sample(500, "ood", 1)
    assert not np.any(tasks.slip) and len(np.unique(tasks.goal.numpy(), axis=0)) == len(GOALS) == 21
    assert set(Gridworld().references(Gridworld().sample(3))) == {"optimum"}
    assert set(Gridworld(horizon=20, slips=False).references(tasks)) == {"optimum"}


def test_the_room_is_searched_at_best_and_then_remembered():
    """In the family itself; (n + 1) / 2 of n steps in the first episode, the shortest way afterwards."""
    earned = play(ROOM, CELLS, [snake(10)], 2)
    known = ROOM.references(ROOM.Task(tf.constant(CELLS, tf.float32)))
    np.testing.assert_allclose(earned[:, 0], known["search_first"].returns)
    np.testing.assert_allclose(earned[:, 1], known["optimum"].returns)
    assert earned.mean(0) == pytest.approx([50.5, 91.99])


def test_no_step_looks_at_more_than_one_new_cell_of_a_small_room():
    """All 5⁴ sequences of moves in a room of 2 × 2 cells, 4 steps: none finds a goal sooner on average."""
    room = DarkRoom(size=2, horizon=4)
    moves = np.array(np.meshgrid(*[range(5)] * 4)).reshape(4, -1)
    best = 0.0
    for way in moves.T:
        cells = cells_of("".join("RLUDS"[move] for move in way), 2)
        best = max(best, search_steps([cells], room.goals("train"), 4, 1).mean())
    (first,) = search_steps([snake(2)], room.goals("train"), 4, 1).T
    assert best == first.mean() == 10 / 4


@pytest.mark.parametrize(("family", "goals"), [(ROOM, CELLS), (PUBLISHED, GOALS)], ids=["darkroom", "gridworld"])
def test_what_does_not_react_earns_the_same_wherever_it_goes(family, goals):
    """Random walks, the same in every task: in the room each is worth 1, on the grid at most its bound."""
    slip = (tf.zeros(len(goals)),) if family is PUBLISHED else ()
    tasks = family.Task(tf.constant(goals, tf.float32), *slip)
    task, keys = per_episode(tasks), random.spread(random.key(0), len(goals), 30)
    state, total = family.reset(task, keys), 0.0
    for actions in np.random.default_rng(0).integers(5, size=(family.horizon, 30)):
        after = family.step(task, state, tf.tile(tf.constant(actions[None], tf.int32), (len(goals), 1)), keys)
        state, total = after.state, total + after.rewards.numpy()
    bound = family.references(tasks)["not_reacting"].returns
    assert np.ptp(bound) == 0.0 and np.all(total.mean(0) <= bound[0] + 1e-5)
    if family is ROOM:
        np.testing.assert_allclose(total.mean(0), bound[0], rtol=1e-6)


def test_known_goals_are_worth_the_shortest_way():
    returns = optimal_returns(GridworldTask(GOALS, np.zeros(len(GOALS))))
    np.testing.assert_allclose(-1.5 + 1.1 * known_goal_steps(GOALS, 15), returns, atol=1e-9)
    assert known_goal_steps([(0, 0), (0, 1), (2, 1)], 15).tolist() == [15, 15, 13]


def test_goals_kept_from_training_are_met_out_of_range_alone():
    room = DarkRoom(unseen=20)
    drawn = {split: room.sample(3000, split).goal.numpy() for split in ("train", "validation", "test", "ood")}
    goals = {split: {tuple(goal) for goal in sampled} for split, sampled in drawn.items()}
    assert goals["train"] == goals["validation"] == goals["test"] and len(goals["train"]) == 80
    assert len(goals["ood"]) == 20 and not goals["ood"] & goals["train"]
    assert set(room.references(room.sample(3))) == {"optimum", "search_first"}
    with pytest.raises(ValueError, match=r"unseen is 100; a room of 10 × 10 cells keeps 0 to 99 goals back\."):
        DarkRoom(unseen=100)


@pytest.mark.parametrize("family", [DarkRoom(unseen=20, horizon=20), PUBLISHED], ids=["unseen", "published"])
def test_the_variants_keep_the_contract(family):
    for check in testing.CHECKS.values():
        check(family)


def test_a_family_that_has_many_tasks_may_not_say_that_they_are_few():
    slippery = Gridworld()
    slippery.few_tasks = True
    with pytest.raises(AssertionError, match=r"few_tasks is True, but 1024 of 1024 tasks differ; few are up to 128"):
        testing.check_splits(slippery)


def test_what_a_variant_leaves_out_is_on_no_card():
    assert PUBLISHED.parameter_ranges()["slip"].train == (0.0, 0.0) and not PUBLISHED.out_of_range
    assert Gridworld().parameter_ranges()["slip"].train == (0.0, 0.1) and Gridworld().out_of_range
    assert not np.any(PUBLISHED.sample(64, "test").slip) and np.any(Gridworld().sample(64, "test").slip)
    assert DarkRoom(unseen=20).out_of_range and not DarkRoom().out_of_range
