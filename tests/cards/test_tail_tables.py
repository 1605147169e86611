"""What a card says of the tail: every recorded figure, and nothing where nothing was recorded."""

import numpy as np
import pytest

from metazoo.cards.tail_tables import parameters, served, tail
from metazoo.evaluation import _curve
from metazoo.summaries import by_parameter
from metazoo.tasks.families.sinusoid import Sinusoid
from tests.cards.reports import made_up_metadata, made_up_report


def report(before, after, supervised=False, online=False):
    points = _curve(np.stack([before, after])[..., None], [], 10, online, supervised, -1 if supervised else 1)
    known = {"curve": points, "tasks": len(before), "online": online, "higher_is_better": not supervised}
    return made_up_report("policy", (1.0,), **known, metric="mse" if supervised else "return")


def test_who_lost_and_the_worst_tenth_stand_in_a_row_for_each_step():
    before, after = np.arange(20.0), np.arange(20.0) + np.where(np.arange(20) == 7, -4, 2)
    title, text, table = tail(made_up_metadata(), report(before, after))
    assert title == "## The tail" and "had less than before the first step" in text
    head, _, first, second = table.splitlines()
    assert head == "| steps | worse | gain: mean | gain: worst tenth | return: worst tenth |"
    assert first.startswith("| 0 |  |  |  | 0.50 [")
    # gains: 19 times 2 and once -4; the worst two have 2 and -4; of returns 2 and 3 (7 became 3)
    assert "| 5.0 % [0.9, 23.6] | 1.70 [" in second and "| -1.00 [" in second and second.startswith("| 1 |")
    assert "| 2.50 [" in second


def test_of_errors_more_is_worse():
    before, after = np.full(10, 4.0), np.where(np.arange(10) < 3, 5.0, 1.0)
    _, text, table = tail(made_up_metadata(supervised=True), report(before, after, supervised=True))
    assert "had more than before the first step" in text
    assert "| 30.0 % [" in table.splitlines()[-1] and table.splitlines()[-1].count("| 5.00 [") == 1


def test_a_policy_with_one_point_or_an_older_report_has_no_tail():
    assert tail(made_up_metadata(), made_up_report("policy", (1.0, 2.0))) == []


def test_parameters_have_a_row_for_each_part():
    tasks = Sinusoid().sample(40, "test", 0)
    cut = by_parameter(tasks, np.zeros(40), np.asarray(tasks.phase))
    title, _, table = parameters({"split": "test", "by_parameter": cut})
    assert title == "## By task parameter" and table.count("`amplitude`") == 4 and table.count("`phase`") == 4
    assert parameters({"split": "test"}) == []


@pytest.mark.parametrize("cases", [["sampled", "modes"], ["sampled", "modes", "noise", "late"]])
def test_disturbances_are_named(cases):
    ends = [{"mean": 1.0, "ci95": [0.0, 2.0]}, {"mean": 3.0, "ci95": [2.0, 4.0]}]
    measured = {"tasks": 50, "noise_share": 0.1, **dict.fromkeys(cases, ends)}
    _, text, table = served({"robustness": measured, "split": "test", "curve": [{}, {}]})
    assert (
        "50 test tasks" in text
        and ("without noise and delay" in text) == ("noise" in cases)
        and len(table.splitlines()) == 2 + len(cases)
    )
    assert ("of 10 % of how much" in table) == ("noise" in cases)
    assert table.splitlines()[-1].endswith("| 1.00 [0.00, 2.00] | 3.00 [2.00, 4.00] |")
    assert served({}) == []
    single = {"robustness": {**measured, "modes": ends[:1] * 2}, "split": "test", "curve": [{}], "metric": "return"}
    assert served(single)[2].startswith("| with | return |"), "of one point there is no first and last"
