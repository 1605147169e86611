"""Short calls into compiled programs: the private way answers as the public one, and is not needed."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo.algorithms.common import host_calls


@pytest.mark.parametrize("private", [True, False])
def test_compiled_functions_answer_the_same_with_and_without_private_names(monkeypatch, private):
    if not private:
        monkeypatch.setattr(host_calls, "_private_call_works", lambda: False)
        monkeypatch.setattr(host_calls, "_private_shape_works", lambda: False)
    scale = tf.Variable([2.0, 3.0])
    call = host_calls.compiled(lambda x, plus, nest: {"a": scale * x + plus, "b": (nest["n"], x)})
    for rows in (1, 3):
        x = tf.ones((rows, 2))
        answer = call(x, 1.0, {"n": x + 4.0})
        np.testing.assert_allclose(answer["a"], np.tile([[3.0, 4.0]], (rows, 1)))
        np.testing.assert_allclose(answer["b"][0], np.full((rows, 2), 5.0))


def test_the_private_names_work_with_the_tested_tensorflow():
    assert host_calls._private_call_works() and host_calls._private_shape_works()
