"""Malformed updates, each refused by its name, and what stays of the others."""

import numpy as np
import pytest
from flwr.app import Array, MetricRecord, RecordDict

from metazoo.federated import records
from metazoo.federated.screening import Screen, same_metrics
from tests.federated.small import answer, asked, reply

WEIGHTS = {"0:a": np.ones((2, 3), np.float32), "1:b": np.zeros(4, np.float32)}


def moved(by: float, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: value + np.float32(by) * rng.normal(size=value.shape).astype("f4") for name, value in WEIGHTS.items()}


def refusal(bad, by_length: bool = True) -> str:
    """Why the screen refuses ``bad`` among three good answers, all of which it must take."""
    replies = {client: answer(asked(), client, moved(0.1, client)) for client in (0, 1, 3)}
    taken, refused = Screen(by_length).sort({**replies, 2: bad}, WEIGHTS, 2)
    assert list(taken) == [0, 1, 3]
    ((client, reason),) = refused
    assert client == 2
    return reason


def with_array(name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    return {**moved(0.1), name: value}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite(bad):
    one = with_array("1:b", np.array([0, 0, bad, 0], np.float32))
    assert refusal(answer(asked(), 2, one)) == "1:b is not finite"


def test_another_shape():
    one = with_array("0:a", np.ones((3, 2), np.float32))
    assert refusal(answer(asked(), 2, one)) == "0:a is float32 [3, 2], not float32 [2, 3]"


def test_a_shape_that_would_broadcast():
    one = with_array("1:b", np.zeros((1,), np.float32))
    assert refusal(answer(asked(), 2, one)) == "1:b is float32 [1], not float32 [4]"


def test_another_dtype():
    one = with_array("1:b", np.zeros(4, np.float64))
    assert refusal(answer(asked(), 2, one)) == "1:b is float64 [4], not float32 [4]"


def test_missing_and_unknown_arrays():
    lacks = {"0:a": WEIGHTS["0:a"]}
    assert refusal(answer(asked(), 2, lacks)) == "it lacks an array 1:b"
    assert refusal(answer(asked(), 2, {**WEIGHTS, "9:z": WEIGHTS["1:b"]})) == "it has an array 9:z"


def test_a_million_times_too_large():
    assert refusal(answer(asked(), 2, moved(1e5))).endswith("times as long as usual")


def test_bytes_that_are_no_array():
    bad = answer(asked(), 2, WEIGHTS)
    bad.content.array_records[records.ARRAYS]["1:b"] = Array("float32", (4,), "numpy.ndarray", b"\x93NUMPY garbage")
    assert refusal(bad).startswith("1:b cannot be read (")


def test_a_pickle_is_not_opened():
    import io

    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    bad = answer(asked(), 2, WEIGHTS)
    bad.content.array_records[records.ARRAYS]["1:b"] = Array("object", (1,), "numpy.ndarray", file.getvalue())
    assert refusal(bad) == "1:b cannot be read (ValueError)"


def test_more_weight_than_it_was_asked_for():
    assert refusal(answer(asked(), 2, WEIGHTS, tasks=10**9)) == "it claims 1000000000 tasks, and was asked for 2"


def test_metrics_that_are_not_finite():
    assert refusal(answer(asked(), 2, WEIGHTS, loss=float("nan"))) == "its metrics are not finite"


def test_no_records_at_all():
    assert refusal(reply(asked(), 2, RecordDict())) == "it does not hold one record of arrays and one of metrics"


def test_alone_in_its_round_it_is_compared_with_earlier_ones():
    screen = Screen()
    for _ in range(3):
        screen.sort({client: answer(asked(), client, moved(0.1, client)) for client in range(4)}, WEIGHTS, 2)
    taken, refused = screen.sort({0: answer(asked(), 0, moved(1e5))}, WEIGHTS, 2)
    assert (taken, len(refused)) == ({}, 1)


def test_lengths_are_left_to_flower_where_it_clips():
    taken, refused = Screen(by_length=False).sort(
        {0: answer(asked(), 0, moved(0.1)), 1: answer(asked(), 1, moved(1e5))}, WEIGHTS, 2
    )
    assert (list(taken), refused) == ([0, 1], [])


def test_honest_updates_of_different_lengths_are_taken():
    replies = {client: answer(asked(), client, moved(0.1 * 2**client, client)) for client in range(6)}
    assert len(Screen().sort(replies, WEIGHTS, 2)[0]) == 6


def test_of_evaluations_those_with_the_right_figures_are_taken():
    def said(**metrics):
        content = RecordDict()
        content[records.METRICS] = MetricRecord(metrics)
        return reply(asked(), 0, content)

    key = records.WEIGHT
    good = said(**{key: 1, "return_0": -2.0})
    bad = [said(**{key: 1}), said(**{key: 5, "return_0": 1.0}), said(**{key: 1, "return_0": float("nan")})]
    assert same_metrics([good, *bad, reply(asked(), 0, RecordDict())], ["return_0"]) == [good]
