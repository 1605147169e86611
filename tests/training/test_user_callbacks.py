"""Callbacks of users: found, or refused before the work; that a training calls them, ``test_train.py`` says."""

import keras
import pytest

from metazoo.training.user_callbacks import callbacks_at, check
from tests.own_families import working_in

MODULE = """
import keras

class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches, self.epochs = 0, []
    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(dict(logs))

def make():
    return Seen()

one, number = Seen(), 3

def fails():
    raise RuntimeError("no key")
"""


@pytest.fixture
def here(tmp_path):
    with working_in(tmp_path):
        (tmp_path / "my_logging.py").write_text(MODULE)
        yield tmp_path


def test_a_class_a_function_and_a_callback_are_found(here):
    made = callbacks_at(["my_logging:Seen", "my_logging:make", "my_logging:one", "my_logging.py:Seen"], None)
    assert all(isinstance(one, keras.callbacks.Callback) for one in made) and made[0] is not made[1]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("my_logging", "'my_logging' is no place of an object; it must be MODULE:OBJECT"),
        ("my_logging:number", "the callback my_logging:number is of type int; it must be a keras.callbacks.Callback"),
        ("my_logging:fails", "the callback my_logging:fails cannot be made: RuntimeError: no key"),
        ("gone:Seen", "there is no module 'gone' here"),
    ],
)
def test_what_is_no_callback_is_refused(here, reference, said):
    with pytest.raises(ValueError, match=said):
        check([reference])
