"""Updates cut into shares are those of one process: tasks, episodes, outer steps and statistics, for every learner."""

import numpy as np
import pytest

from metazoo.distributed.replica import Recipe, Replica, state_of
from tests.distributed.tiny import MAML, NAVIGATION, TASKS, Preset, alone, shared, values
from tests.without_xla import without_xla

ROUNDING = {"rtol": 2e-4, "atol": 2e-6}
"""The shares' gradients are added in another order, and Adam divides by their size."""


def preset(algorithm: str, **config) -> Preset:
    return Preset(**NAVIGATION, algorithm=algorithm, config={**TASKS, **config})


def recurrent(algorithm: str, **config) -> Preset:
    return Preset(
        **{**NAVIGATION, "network": {"units": 4, "normalise": True}}, algorithm=algorithm, config={**TASKS, **config}
    )


CHEETAH = {
    "family": "half_cheetah_vel",
    "family_args": {"horizon": 4, "workers": 1, "rows": 16},
    "network": {"hidden": (3,)},
}
PROMP = {"algorithm": "promp", "config": {**TASKS, "epochs": 2}}
OTHERS = {
    "promp": preset("promp", inner_steps=2, epochs=3, kl_target=1e-4, step_sizes="parameter"),
    "maml of alike advantages": preset("maml", advantages="update", outer="ppo", epochs=2),
    "e-maml": preset("maml", replicas=2, exploration=1.0),
    "meta_sgd": preset("meta_sgd"),
    "reptile": preset("reptile", inner_steps=2, clip_norm=0.1),
    "domain_randomised": preset("domain_randomised", epochs=2),
    "domain_randomised of alike advantages": preset("domain_randomised", advantages="update"),
    "rl2": recurrent("rl2", replicas=2, epochs=2, minibatches=2, prediction=0.5, entropy_updates=5),
    "supervised": Preset(
        **{**NAVIGATION, "family": "sinusoid", "network": {"hidden": (4,)}},
        algorithm="maml",
        config={**TASKS, "inner_steps": 2},
    ),
    "host promp": Preset(**{**NAVIGATION, **CHEETAH}, **PROMP),
    "host rl2": Preset(
        **{**NAVIGATION, **CHEETAH, "network": {"units": 4}}, algorithm="rl2", config={**TASKS, "epochs": 2}
    ),
}


def compare(preset: Preset, shares: int = 4, updates: int = 3):
    (one, told), (other, also_told) = alone(preset, updates), shared(preset, updates, shares)
    assert int(one.optimizer.iterations) == int(other.optimizer.iterations) == updates * one.epochs
    for mine, theirs in zip(values(one), values(other), strict=True):
        np.testing.assert_allclose(theirs, mine, **ROUNDING)
    assert told.keys() == also_told.keys()
    for name in told:
        np.testing.assert_allclose(also_told[name], told[name], rtol=2e-3, atol=2e-4, err_msg=name)


def test_maml_s_updates_in_shares_are_those_of_one_process(monkeypatch):
    without_xla(monkeypatch)
    compare(MAML)


@pytest.mark.slow
@pytest.mark.mujoco
@pytest.mark.parametrize("name", OTHERS)
def test_updates_in_shares_are_those_of_one_process(name):
    shares = 2 if "minibatches" in OTHERS[name].config else 4
    compare(OTHERS[name], shares, updates=1 if name.startswith("host") else 3)  # bodies make much of rounding


@pytest.mark.slow
@pytest.mark.mujoco
@pytest.mark.parametrize("preset", [MAML, OTHERS["host promp"]])
def test_who_computes_a_share_does_not_change_a_bit(preset):
    """Shares of environments on the host are played side by side, all four, two and two, or each alone."""
    (one, _), (two, _), (four, _) = (shared(preset, 3, 4, workers) for workers in (1, 2, 4))
    for first, second, third in zip(values(one), values(two), values(four), strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, third)


@pytest.mark.slow
@pytest.mark.mujoco
def test_neighbouring_shares_on_the_host_are_played_at_once():
    preset = Preset(**{**NAVIGATION, **CHEETAH, "family_args": {"horizon": 4, "workers": 0, "rows": 8}}, **PROMP)
    replica, played = Replica(Recipe(preset, 0, 4, 1, "nowhere")), []
    play = replica._play
    replica._play = lambda update, share, player: (played.append(player.config.tasks), play(update, share, player))[1]
    state = state_of(replica._learner, 1)
    alone = [replica.episodes(0, share, state) for share in range(4)]
    for together, tasks in (([0, 1], [4]), ([1, 3], [2, 2]), ([0, 1, 2], [2, 2, 2])):  # of two episodes each
        played.clear()
        replica.together = together
        for share in together:
            for mine, theirs in zip(replica.episodes(0, share, state), alone[share], strict=True):
                for name in mine._fields:
                    np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        assert played == tasks
