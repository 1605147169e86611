"""What a federation agrees on: whose turn it is, how much is played, what is refused. No TensorFlow."""

from collections import Counter

import pytest

from metazoo.federated.federation import federation_from, federation_of
from metazoo.presets.registry import PRESETS

MAML = PRESETS["maml_navigation"]


def test_a_round_has_different_clients_and_all_are_asked_equally_often():
    one = federation_of(MAML, 32, 200, sampled=20)
    rounds = [one.turn(number) for number in range(1, 201)]
    assert all(len(set(clients)) == 20 for clients in rounds)
    assert set(Counter(client for clients in rounds for client in clients).values()) == {one.turns} == {125}


def test_nobody_is_asked_more_often_than_turns_says():
    """The accounting of privacy counts on it."""
    for clients, sampled, rounds in ((7, 3, 10), (5, 5, 4), (9, 2, 1), (10, 4, 33)):
        one = federation_of(MAML, clients, rounds, sampled=sampled)
        asked = Counter(client for number in range(1, rounds + 1) for client in one.turn(number))
        assert max(asked.values()) == one.turns


def test_another_seed_is_another_order():
    orders = {tuple(federation_of(MAML, 32, 10, sampled=5, seed=seed).turn(1)) for seed in range(5)}
    assert len(orders) == 5


def test_it_plays_as_many_tasks_as_the_central_training():
    one = federation_of(MAML, 32, 200)
    assert one.rounds * one.sampled * one.tasks == MAML.updates * MAML.config["tasks"] == 12_000


def test_clients_take_first_order_gradients_unless_asked_otherwise():
    assert federation_of(MAML, 4, 5).preset.config["first_order"] == 1
    assert "first_order" not in federation_of(MAML, 4, 5, second_order=True).preset.config
    assert "first_order" not in federation_of(PRESETS["reptile_navigation"], 4, 5).preset.config


def test_a_client_drops_out_of_its_share_of_rounds():
    one = federation_of(MAML, 32, 1000, dropout=0.3)
    drops = [one.drops(client, number) for client in range(32) for number in range(1, 501)]
    assert abs(sum(drops) / len(drops) - 0.3) < 0.02  # five standard deviations
    assert not any(federation_of(MAML, 4, 9).drops(client, 1) for client in range(4))


def test_it_is_the_same_after_a_journey_as_text():
    one = federation_of(MAML, 32, 200, dropout=0.25, step="average", private=True, seed=7)
    there = federation_from(one.as_text())
    assert (there.as_text(), there.turn(3)) == (one.as_text(), one.turn(3))
    assert there.preset.config == one.preset.config


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        (
            "rl2_bandit",
            {},
            "rl2_bandit is trained by rl2, whose update is no mean over clients; choose a preset of maml",
        ),
        ("maml_navigation", {"sampled": 9}, "sampled is 9; with 8 clients it must be from 1 to 8."),
        ("maml_navigation", {"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1."),
        ("maml_navigation", {"step": "sgd"}, "step is 'sgd'; choose adam or average."),
        ("maml_navigation", {"tasks": 0}, "tasks is 0; with 8 clients it must be from 1 to 10000."),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(name, settings, sentence):
    name = name if name in PRESETS else next(one for one in PRESETS if one.startswith("rl2_"))
    with pytest.raises(ValueError) as error:
        federation_of(PRESETS[name], 8, 10, **settings)
    assert str(error.value).startswith(sentence.replace("rl2_bandit", name))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"outer": "ppo", "epochs": 3}, "maml_navigation has epochs=3; a federation's round is one step"),
        ({"outer": "trpo"}, "maml_navigation has outer=trpo; a federation's round is one step"),
        ({"replicas": 2}, "replicas is 2; among clients it must be 1."),
    ],
)
def test_outer_steps_that_are_no_mean_are_refused(config, sentence):
    import dataclasses

    preset = dataclasses.replace(MAML, config={**MAML.config, **config})
    with pytest.raises(ValueError, match=sentence):
        federation_of(preset, 8, 10)


def test_validators_are_all_clients_or_a_hundred_spread_over_them():
    assert list(federation_of(MAML, 32, 5).validators) == list(range(32))
    many = federation_of(MAML, 1000, 5).validators
    assert (len(many), many[1], many[-1]) == (100, 10, 990)
    assert len(federation_of(MAML, 101, 5).validators) == 51
