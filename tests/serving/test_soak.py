"""A short soak; the long one is ``python -m tests.serving.soak``."""

import sys

import pytest

from metazoo import savedmodels_directory
from tests.serving.soak import POLICY, soak


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory and descriptors are read from Linux's /proc")
@pytest.mark.parametrize(
    ("seconds", "publish_every"), [(6.0, 0.3), pytest.param(60.0, 2.0, marks=pytest.mark.slow)]
)  # fmt: skip
def test_mixed_load_while_policies_are_published(seconds, publish_every, tmp_path):
    (tmp_path / POLICY).symlink_to(savedmodels_directory() / POLICY)
    report = soak(seconds, publish_every, tmp_path)
    print(report)
    assert report["failed"] == 0, report["failures"]
    assert min(report["requests"].values()) > 3 and set(report["requests"]) == {
        "rest", "grpc", "adapted policies", "large", "status", "adapt",
    }  # fmt: skip
    assert report["descriptor_growth"] <= 4, report
    assert report["resident_growth"] < (0.05 if seconds >= 60 else 0.2), report
