"""Pictures of dots, where curves would be points or lie on each other: read back from matplotlib and from the SVG."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from metazoo.cards import dots
from metazoo.cards.by_step import rewards_of_trials
from metazoo.cards.plots import adaptation_curve
from metazoo.cards.report import evaluate_preset
from metazoo.cards.styles import COLORS, OTHER, STYLES, style_of
from metazoo.summaries import by_step
from tests.cards.reports import made_up_report
from tests.cards.test_plots import texts

POINT = made_up_report("dr_cartpole", (195.9,), baselines={"random": {"mean": 27.2, "ci95": [26.0, 28.0]}})


def close(first, second, **changes):
    """Two policies whose last points are so far apart."""
    return [
        made_up_report("maml_cartpole", (50.0, first), **changes),
        made_up_report("promp_cartpole", (30.0, second), **changes),
    ]


def test_curves_that_lie_on_each_other_are_told_apart_by_dots(tmp_path):
    assert dots.are_close(close(190.0, 191.0)) and not dots.are_close(close(190.0, 150.0))
    assert not dots.are_close([POINT, POINT]) and not dots.are_close(close(1.0, 2.0)[:1])
    words = texts(adaptation_curve(close(190.0, 191.0), tmp_path / "curve.svg"))
    assert {"190.0", "191.0", "171.4"} < set(words)
    assert "after 1 step," in " ".join(words) and "5 episodes" in " ".join(words)
    words = texts(adaptation_curve(close(190.0, 150.0), tmp_path / "curve.svg"))
    assert "adaptation steps" in words and not any(word.startswith("after") for word in words)


def test_a_panel_for_the_first_step_the_ends_and_between():
    def places(*lengths):
        return dots._places([made_up_report("a", tuple(range(length))) for length in lengths])

    assert places(2) == [1] and places(4, 4) == [1, 2, 3]
    assert places(11, 4) == [1, 3, 10] and places(11) == [1, 2, 10]


def test_a_policy_that_does_not_adapt_stands_beside_its_baselines_and_at_both_lengths(tmp_path):
    words = texts(adaptation_curve([POINT], tmp_path / "curve.svg"))
    assert {"dr_cartpole", "195.9", "random", "27.2"} < set(words)
    assert "episodes of the new task" not in " ".join(words)
    longer = {**POINT, "at_horizon": {"500": {"mean": 440.9, "ci95": [437.0, 444.0]}}}
    words = texts(adaptation_curve([longer], tmp_path / "curve.svg"))
    assert {"episodes of 200 steps", "of 500 steps", "440.9"} < set(words)


def panel(rows):
    axes = Figure().subplots()
    dots._panel(axes, rows, named=True)
    return axes


def row(name, mean, own=False, ci95=None):
    return dots.Row(name, "#123456", {"mean": mean, **({"ci95": ci95} if ci95 else {})}, own)


def test_dots_are_at_their_means_and_who_is_far_off_is_an_arrow_at_the_end():
    axes = panel([row("a", 10.0, True, [8.0, 12.0]), row("b", 20.0, True), row("near", 22.0), row("far", -900.0)])
    marks = {line.get_ydata()[0]: line for line in axes.lines if line.get_marker() not in ("None", None, "")}
    assert [marks[i].get_xdata()[0] for i in range(3)] == [10.0, 20.0, 22.0]
    assert marks[3].get_marker() == "<" and marks[3].get_xdata()[0] == 8.0
    assert [text.get_text() for text in axes.texts] == ["10.0", "20.0", "22.0", "-900.0"]
    (interval,) = (line for line in axes.lines if list(line.get_xdata()) == [8.0, 12.0])
    assert list(interval.get_ydata()) == [0, 0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "near", "far"]


def test_nothing_is_drawn_to_another_scale_than_the_policies_unless_nobody_else_is_there():
    alone = dots._limits([row("a", 196.0, True, [195.0, 197.0]), row("random", 27.0)])
    assert alone == (27.0, 197.0)
    several = dots._limits([row("a", 196.0, True), row("b", 190.0, True), row("random", 27.0)])
    assert several == (190.0, 196.0)


def test_a_baseline_looks_the_same_in_every_picture(tmp_path, monkeypatch):
    drawn, saved = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **kw: (drawn.append(figure), saved(figure, *args, **kw))
    )
    steps = {"mean": [0.5, 0.6], "low": [0.4, 0.5], "high": [0.6, 0.7]}
    known = {"gittins": {"mean": 1.1, "by_step": steps}, "thompson": {"mean": 0.9, "by_step": steps}}
    adaptation_curve([made_up_report("rl2", (1.0,), by_step=steps, baselines=known)], tmp_path / "a.svg")
    adaptation_curve([made_up_report("maml", (1.0, 1.2), baselines=known)], tmp_path / "b.svg")
    trial, curve = (figure.axes[0] for figure in drawn)
    for name in known:
        for axes in (trial, curve):
            assert any(to_hex(line.get_color()) == style_of(name).color.lower() for line in axes.lines), name
    assert trial.lines[-1].get_color() == COLORS[0] and list(trial.lines[-1].get_ydata()) == [0.5, 0.6]
    assert drawn[0].legends == [] and trial.get_legend() is None, "the rows beside it are its key"
    assert style_of("dr_cartpole") is OTHER and len(set(STYLES.values())) >= 10


def test_rewards_by_step_are_those_of_the_evaluation():
    report = evaluate_preset("rl2_bandit_k5_n10", tasks=70, baselines=False)
    assert sum(report["by_step"]["mean"]) == pytest.approx(report["curve"][0]["mean"], abs=1e-3)
    assert len(report["by_step"]["mean"]) == 10


def test_by_step_is_the_mean_with_its_normal_interval():
    rewards = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    found = by_step(rewards)
    assert found["mean"] == [0.5, 1.0]
    assert found["low"] == [0.01, 1.0] and found["high"] == [0.99, 1.0]  # 1.96 · 0.5 / √4


def test_where_a_trial_has_several_episodes_there_is_nothing_to_play_again():
    import metazoo
    from metazoo.cards.baselines import Protocol
    from metazoo.pretrained import family_of

    policy = metazoo.load("rl2_navigation")
    protocol = Protocol("test", 4, policy.metadata["adapt"]["episodes"], 0, 0, False)
    assert rewards_of_trials(policy, family_of(policy.metadata), protocol) is None
