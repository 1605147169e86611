"""The picture of privacy's price, from policies whose evaluation is made up; what trains them is tested elsewhere."""

import sys

import pytest

from metazoo.artefact import store
from metazoo.federated import privacy_curve

PNG = b"\x89PNG"


@pytest.fixture
def policies(monkeypatch, tmp_path):
    """Two with privacy and one without; the return is better where less is promised."""
    told = {"a": (1.0, -30.0), "b": (100.0, -10.0), "c": (None, -5.0), "central": (0.0, 0.0)}

    def metadata(version):
        epsilon, _ = told[version.name]
        if version.name == "central":
            return {}
        privacy = None if epsilon is None else {"epsilon": epsilon, "noise": 2 / epsilon}
        return {"federated": {"clients": 50, "privacy": privacy}}

    def evaluated(version, tasks, baselines):
        mean = told[version.name][1]
        assert (tasks, baselines) == (7, False)
        return {"curve": [{"mean": -40.0}, {"mean": mean, "ci95": [mean - 1, mean + 1]}]}

    monkeypatch.setattr(store, "read_metadata", metadata)
    monkeypatch.setattr(privacy_curve, "evaluate_preset", evaluated)
    return lambda *names: [tmp_path / name for name in names]


def test_it_prints_a_table_and_draws(policies, monkeypatch, capsys, tmp_path):
    words = [*policies("a", "c", "b"), "--tasks", "7", "--out", tmp_path / "p.png"]
    monkeypatch.setattr(sys, "argv", ["privacy_curve", *map(str, words)])
    privacy_curve.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == [
        "| none promised | 0 | -40.00 | -5.00 | -6.00 to -4.00 |",
        "| 100 | 0.02 | -40.00 | -10.00 | -11.00 to -9.00 |",
        "| 1 | 2 | -40.00 | -30.00 | -31.00 to -29.00 |",
    ]
    assert (tmp_path / "p.png").read_bytes().startswith(PNG)


def test_a_policy_that_was_not_federated_is_refused(policies):
    (central,) = policies("central")
    with pytest.raises(ValueError, match="is no federated policy; metazoo federate makes one."):
        privacy_curve.priced(central, 7)
