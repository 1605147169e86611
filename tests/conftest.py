"""Settings that must stand before TensorFlow is imported, and skips for extras that are not installed."""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("MPLBACKEND", "Agg")

import gc
import logging
from importlib.util import find_spec

import pytest

LOGGERS = ("serving", "metazoo")
EXTRAS = ("mujoco", "metaworld", "tf_agents")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of an extra where it is not installed."""
    missing = {extra for extra in EXTRAS if find_spec(extra) is None}
    for item in items:
        for extra in missing & {marker.name for marker in item.iter_markers()}:
            item.add_marker(pytest.mark.skip(reason=f"{extra} is not installed"))


def pytest_collection_finish() -> None:
    """What the imports made stays: the collector of garbage need not look at a million objects again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def loggers_as_they_were():
    """A test that runs `metazoo serve` in this process points the loggers at its own standard error."""
    logs = [logging.getLogger(name) for name in LOGGERS]
    kept = [(log.handlers, log.propagate, log.level) for log in logs]
    yield
    for log, (log.handlers, log.propagate, level) in zip(logs, kept, strict=True):
        log.setLevel(level)
