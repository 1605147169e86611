"""The server's step, with answers written by hand: it moves as it should, and malformed ones leave no trace."""

import numpy as np
import pytest

from metazoo.federated.privacy import Privacy
from metazoo.federated.server import _optimizer
from metazoo.federated.strategy import OuterStep
from metazoo.training.train import build
from tests.federated.small import Grid, answer, federation, nodes

NAN = "nan"


class Round:
    """One round of a small federation, with the updates ``moves`` of its clients."""

    def __init__(self, privacy: Privacy | None = None, **settings):
        self.federation = federation(**{"sampled": 4, **settings})
        self.learner = build(self.federation.preset, 0)
        self.learner.compile(_optimizer(self.federation))
        self.learner.optimizer.build(self.learner.trainable_variables)
        self.strategy = OuterStep(self.learner, self.federation, nodes(4), lambda _: False, privacy)
        self.before = dict(self._items())

    def _items(self):
        return [(name, array.numpy()) for name, array in self.strategy.arrays.items()]

    @property
    def after(self):
        return dict(self._items())

    def play(self, answers):
        """``answers(client, weights, message)`` of the clients that answer, in that order."""
        messages = self.strategy.configure_train(1, self.strategy.arrays, {}, Grid(4))
        replies = []
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = str(number)
        for client, made in answers.items():
            replies.append(answer(messages[client], client, made(self.before)))
        self.strategy.aggregate_train(1, replies)
        return self.after


def shift(seed: int, by: float = 1e-3):
    def made(weights):
        rng = np.random.default_rng(seed)
        return {name: (w + by * rng.normal(size=w.shape)).astype("f4") for name, w in weights.items()}

    return made


GOOD = {0: shift(0), 1: shift(1), 3: shift(3)}


def with_nan(weights):
    made = shift(2)(weights)
    next(iter(made.values())).flat[0] = np.nan
    return made


def of_other_shapes(weights):
    return {name: np.zeros((*w.shape, 2), np.float32) for name, w in weights.items()}


@pytest.mark.parametrize("bad", [with_nan, of_other_shapes, shift(2, 1e3)], ids=["nan", "shapes", "million"])
@pytest.mark.parametrize("step", ["adam", "average"])
def test_a_malformed_update_is_refused_by_name_and_harms_nothing(bad, step):
    """The weights after it are, bit by bit, those of a round that its client dropped out of."""
    spoilt, clean = Round(step=step), Round(step=step)
    after, expected = spoilt.play({**GOOD, 2: bad}), clean.play(GOOD)
    assert [refusal.client for refusal in spoilt.strategy.traffic.refused] == [2]
    assert not clean.strategy.traffic.refused
    assert all(np.array_equal(after[name], expected[name]) for name in after)
    assert any(np.any(after[name] != spoilt.before[name]) for name in after)


def test_nothing_moves_where_every_update_is_malformed():
    one = Round()
    after = one.play(dict.fromkeys(range(4), with_nan))
    assert all(np.array_equal(after[name], one.before[name]) for name in after)
    assert one.strategy.traffic.received == len(one.strategy.traffic.refused) == 4
    assert int(one.learner.optimizer.iterations) == 1  # the round counts


def test_average_is_the_mean_of_the_clients_weights():
    """FedAvg (McMahan et al. 2017, algorithm 1) with clients of equal weight."""
    one = Round(name="reptile_navigation", step="average")
    after = one.play(GOOD)
    for name, weights in after.items():
        mean = np.mean([made(one.before)[name] for made in GOOD.values()], 0)
        assert weights == pytest.approx(mean, abs=2e-7)


def test_adam_s_first_step_has_the_mean_s_sign_and_the_rate_s_length():
    one = Round()
    after = one.play(GOOD)
    rate = one.federation.preset.learning_rate
    for name, weights in after.items():
        mean = np.mean([made(one.before)[name] for made in GOOD.values()], 0) - one.before[name]
        sure = np.abs(mean) > 3e-4
        assert np.all(np.sign(weights - one.before[name])[sure] == np.sign(mean)[sure])
        assert np.abs(weights - one.before[name])[sure] == pytest.approx(rate, rel=0.02)


def test_the_order_of_arrival_changes_no_bit():
    forward, backward = Round().play(GOOD), Round().play(dict(reversed(GOOD.items())))
    assert all(np.array_equal(forward[name], backward[name]) for name in forward)


def test_lost_clients_and_bytes_are_counted():
    one = Round()
    one.play(GOOD)
    traffic, size = one.strategy.traffic, sum(array.nbytes for array in one.before.values())
    assert (traffic.asked, traffic.received, traffic.lost) == (4, 3, 1)
    assert 3 * size < traffic.bytes_up < 4 * size + 3 * 4000
    assert traffic.bytes_down > 4 * size


def private(noise: float, clip: float) -> Privacy:
    return Privacy(epsilon=1.0, delta=0.1, noise=noise, clip=clip, turns=6)


def test_with_privacy_updates_are_clipped_before_they_are_averaged():
    """Almost without noise: the mean of updates cut to length S, each by hand."""
    one = Round(private(1e-9, 0.01), step="average", private=True)
    after = one.play({0: shift(0, 1.0), 1: shift(1, 1e-5)})
    updates = []
    for made in (shift(0, 1.0), shift(1, 1e-5)):
        update = {name: made(one.before)[name].astype("f8") - one.before[name] for name in after}
        length = np.sqrt(sum(np.sum(part**2) for part in update.values()))
        updates.append({name: part * min(1.0, 0.01 / length) for name, part in update.items()})
    for name, weights in after.items():
        assert weights - one.before[name] == pytest.approx((updates[0][name] + updates[1][name]) / 2, abs=3e-7)


def test_with_privacy_the_noise_is_that_of_as_many_clients_as_answered():
    one = Round(private(2.0, 0.5), step="average", private=True)
    after = one.play(GOOD)
    moved = np.concatenate([(after[name] - one.before[name]).ravel() for name in after])
    assert moved.std() == pytest.approx(2.0 * 0.5 / 3, rel=0.3)


@pytest.mark.parametrize("still", [with_nan, lambda weights: weights], ids=["refused", "zero"])
def test_with_privacy_a_refused_update_counts_as_none_learned(still):
    """Otherwise the number of those that are averaged would depend on one client's data. Nor does Flower's clipping,
    which divides by an update's length, fail at one that is zero."""
    one = Round(private(1e-9, 10.0), step="average", private=True)
    after = one.play({0: shift(0), 1: still})
    for name, weights in after.items():
        half = (shift(0)(one.before)[name] - one.before[name]) / 2
        assert weights - one.before[name] == pytest.approx(half, abs=2e-6)
