"""Pictures of adaptation curves: what is in them, read back from the SVG."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from metazoo.cards.card_tables import number
from metazoo.cards.plots import LABEL_GAP, _spread, adaptation_curve
from tests.cards.reports import made_up_report

REPORT = made_up_report("maml_cartpole", (31.5, 152.25, 181.75, 190.5))


def texts(file) -> list[str]:
    """All the words in an SVG picture."""
    return ["".join(node.itertext()) for node in ElementTree.parse(file).iter() if node.tag.endswith("}text")]


def test_one_policy_with_its_baselines(tmp_path):
    words = texts(adaptation_curve([REPORT], tmp_path / "curve.svg"))
    assert {"31.5", "152.2", "181.8", "190.5"} < set(words)
    assert "random  21.3" in words and "dr cartpole  171.4" in words
    assert "maml_cartpole: 200 test tasks, mean and 95 % interval" in words
    assert "return per episode (higher is better)" in words
    below = " ".join(words)
    assert "adaptation steps" in below and "episodes of the new task" in below
    assert {"0", "5", "10", "15"} < set(words) and {"1", "2", "3"} < set(words)


@pytest.mark.parametrize(
    "means",
    [
        (31.5, 192.25, 196.75, 198.5),
        (3.15, 0.65, 0.41, 0.28),
        (-40.0, -19.2, -8.3, -10.8),
        (-1400.0, -200.0, -150.0, -140.0),
    ],
)
def test_no_number_lies_on_its_curve_or_on_an_axis(tmp_path, monkeypatch, means):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn, saved = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **kw: (drawn.append(figure), saved(figure, *args, **kw))
    )
    spread = abs(means[0]) / 20
    curve = [
        {"steps": i, "episodes": i, "mean": mean, "iqm": mean, "ci95": [mean - spread, mean + spread]}
        for i, mean in enumerate(means)
    ]
    beside = {"best_position_of_all": {"mean": means[-1]}}  # its name makes the axes narrow
    adaptation_curve([made_up_report("maml_cartpole", (), curve=curve, baselines=beside)], tmp_path / "curve.png")
    FigureCanvasAgg(drawn[0]).draw()  # all boxes at one resolution, not that of the file
    (axes,) = drawn[0].axes
    (line,) = (line for line in axes.lines if len(line.get_xdata()) == len(means))
    path = line.get_path().transformed(line.get_transform())
    numbers = [text for text in axes.texts if text.get_text() in {number(mean) for mean in means}]
    assert len(numbers) == len(means)
    for text in numbers:
        box = text.get_window_extent()
        assert not path.intersects_bbox(box, filled=False), text.get_text()
        assert axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1, text.get_text()


def test_several_policies_are_named_in_a_legend(tmp_path):
    other = made_up_report("reptile_cartpole", (30.0, 100.0), baselines={"random": {"mean": 21.3}})
    words = texts(adaptation_curve([REPORT, other], tmp_path / "curve.svg"))
    assert words.count("maml_cartpole") == words.count("reptile_cartpole") == 1
    assert words.count("random  21.3") == 1  # shared, so drawn once


def test_a_baseline_that_does_not_adapt_is_drawn_once_however_many_episodes_it_played(tmp_path):
    """As many as the policy's whole trial has, so its mean moves a little; that of the longest trial stays."""
    other = made_up_report("reptile_cartpole", (30.0, 100.0), baselines={"random": {"mean": 20.9}})
    words = texts(adaptation_curve([other, REPORT], tmp_path / "curve.svg"))
    assert [word for word in words if word.startswith("random")] == ["random  21.3"]


def test_points_are_not_counted_as_episodes(tmp_path):
    """A supervised family's single episode is a set of points, which all inner steps use."""
    supervised = {"metric": "mse", "higher_is_better": False, "horizon": 5, "baselines": {}}
    ends = {"maml_sinusoid": 0.3, "reptile_sinusoid": 0.9}
    reports = [made_up_report(name, (3.0, 0.6 + end, end), **supervised) for name, end in ends.items()]
    for report in reports:
        for point in report["curve"]:
            point["episodes"] = min(1, point["steps"])
    below = " ".join(texts(adaptation_curve(reports, tmp_path / "curve.svg")))
    assert "points of the new task, in all" in below and "episodes" not in below
    reports[1]["horizon"] = 10
    below = " ".join(texts(adaptation_curve(reports, tmp_path / "curve.svg")))
    assert "maml_sinusoid (5 points)" in below and "reptile_sinusoid (10 points)" in below and "episodes" not in below


def test_policies_with_other_numbers_of_episodes_say_how_many(tmp_path):
    other = made_up_report("promp_cartpole", (30.0, 100.0), episodes=20)
    words = texts(adaptation_curve([REPORT, other], tmp_path / "curve.svg"))
    assert "maml_cartpole (5 episodes a step)" in words and "promp_cartpole (20 episodes a step)" in words
    assert "episodes of the new task" not in " ".join(words)


def test_baselines_that_adapt_are_curves_and_distant_ones_are_only_named(tmp_path):
    def drawn(baselines, file):
        report = made_up_report("maml_cartpole", (30.0, 100.0), baselines=baselines)
        picture = adaptation_curve([report], tmp_path / file)
        paths = [node.get("style", "") for node in ElementTree.parse(picture).iter() if node.tag.endswith("}path")]
        return texts(picture), sum("stroke-dasharray" in style for style in paths)

    curve = [{"steps": i, "episodes": 5 * i, "mean": mean} for i, mean in enumerate((20.0, 60.0))]
    words, lines = drawn({"fine_tuning": {"mean": 60.0, "curve": curve}, "oracle": {"mean": 140.0}}, "near.svg")
    assert "fine tuning  60.0" in words and "oracle  140.0" in words and lines == 2
    assert not any("far off" in word for word in words)
    words, lines = drawn({"fine_tuning": {"mean": 60.0, "curve": curve}, "random": {"mean": -900.0}}, "far.svg")
    assert any("far off: random  -900.0" in word for word in words) and lines == 1
    ticks = [float(word.replace("\u2212", "-")) for word in words if re.fullmatch(r"\u2212?\d+", word)]
    assert min(ticks) > -100, "the curves keep their size"


def test_long_curves_have_few_ticks_and_losses_say_that_lower_is_better(tmp_path):
    report = made_up_report("rl2", tuple(map(float, range(101))), 1, metric="mse", higher_is_better=False, baselines={})
    words = texts(adaptation_curve([report], tmp_path / "curve.svg"))
    assert "mse (lower is better)" in words
    assert len([word for word in words if re.fullmatch(r"\d+", word)]) < 30


def test_labels_keep_their_distance_and_stay_where_they_can():
    assert _spread([0.1, 0.5, 0.9]) == [0.1, 0.5, 0.9]
    placed = _spread([0.1, 0.5, 0.5, 0.51, 0.9])
    assert placed[0] == 0.1 and placed[-1] == 0.9
    assert all(after - before > LABEL_GAP - 1e-9 for before, after in zip(placed, placed[1:], strict=False))
    assert sum(placed[1:4]) / 3 == pytest.approx((0.5 + 0.5 + 0.51) / 3)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_same_report_gives_the_same_bytes(tmp_path, suffix, start):
    one, two = (adaptation_curve([REPORT], tmp_path / f"{i}{suffix}").read_bytes() for i in range(2))
    assert one == two and one.startswith(start)


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'curve.jpg'; its name must end in .png or .svg"):
        adaptation_curve([REPORT], tmp_path / "curve.jpg")
    with pytest.raises(ValueError, match="0 reports"):
        adaptation_curve([], tmp_path / "curve.png")


def test_a_policy_that_learns_at_every_step_is_drawn_over_episodes_and_so_are_its_neighbours(tmp_path):
    curve = [
        {"steps": 0, "episodes": i, "mean": m, "iqm": m, "ci95": [m - 1, m + 1]} for i, m in enumerate((90.0, 140.0))
    ]
    online = made_up_report("rl2_cartpole", (), online=True, curve=curve)
    words = texts(adaptation_curve([online], tmp_path / "one.svg"))
    assert {"90.0", "140.0", "0", "1"} < set(words) and "adaptation steps" not in " ".join(words)
    words = texts(adaptation_curve([REPORT, online], tmp_path / "two.svg"))
    assert any(word.startswith("episodes of the new task played before") for word in words)
    assert {"0", "5", "10", "15"} < set(words)  # those of REPORT's three steps


def test_how_far_tasks_lie_apart_is_shown_for_one_policy(tmp_path):
    curve = [{**point, "per_task": [point["mean"] + i for i in range(-50, 51)]} for point in REPORT["curve"]]
    words = texts(adaptation_curve([{**REPORT, "curve": curve}], tmp_path / "curve.svg"))
    assert "maml_cartpole: 200 test tasks, mean, 95 % interval, 80 % of tasks" in words
    plain = ElementTree.parse(adaptation_curve([REPORT], tmp_path / "plain.svg")).getroot()
    bands = ElementTree.parse(tmp_path / "curve.svg").getroot()
    count = [
        sum("FillBetweenPolyCollection" in (node.get("id") or "") for node in root.iter()) for root in (plain, bands)
    ]
    assert count == [1, 2]
    several = texts(adaptation_curve([{**REPORT, "curve": curve}, REPORT], tmp_path / "several.svg"))
    assert "200 test tasks, mean and 95 % interval" in several


def test_ticks_do_not_run_into_each_other(tmp_path):
    trial = [{"steps": 0, "episodes": i, "mean": 50.0, "iqm": 50.0, "ci95": [49.0, 51.0]} for i in range(3)]
    online = made_up_report("rl2_cartpole", (), online=True, curve=trial)
    long = made_up_report("maml_cartpole", (10.0, 60.0, 80.0), episodes=40)
    words = texts(adaptation_curve([online, long], tmp_path / "curve.svg"))
    assert {"0", "40", "80"} <= set(words) and "1" not in words and "2" not in words
