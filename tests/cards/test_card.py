"""Model cards: every recorded figure is in them, in a format that Hugging Face reads."""

import json
import re
import runpy

import pytest

from metazoo.cards import card as cards
from metazoo.cards.card import write_card
from metazoo.cards.task_ranges import range_rows
from metazoo.tasks.families.acrobot import Acrobot
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.cartpole import RANGES, CartPole, CartPoleGoal
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.families.pendulum import Pendulum
from metazoo.tasks.mujoco.families import HalfCheetahDir, HalfCheetahVel
from metazoo.tasks.registry import ON_THE_HOST
from tests.cards.reports import made_up_metadata, made_up_report

MEANS = (31.5, 152.25, 181.75, 190.5)


def card(directory, metadata=None, report=None) -> str:
    path = write_card(directory, metadata or made_up_metadata(), report or made_up_report("maml_cartpole", MEANS))
    assert path == directory / "README.md"
    return path.read_text(encoding="utf-8")


def table_row(text, first) -> list[str]:
    """The cells of the table row that begins with ``first``."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_results_table_holds_every_step_with_its_interval(tmp_path):
    text = card(tmp_path)
    assert table_row(text, 0) == ["0", "0", "31.5 [29.0, 34.2]", "32.8 [30.0, 35.0]"]
    assert table_row(text, 3) == ["3", "15", "190.5 [188.0, 193.2]", "191.8 [189.0, 194.0]"]
    assert "200 tasks" in text and "95 % bootstrap interval" in text and "task seed 0" in text


def test_out_of_range_results_stand_beside_the_others_if_recorded(tmp_path):
    ood = made_up_report("maml_cartpole", (11.0, 12.0, 13.0, 14.0), split="ood")
    text = card(tmp_path, made_up_metadata(evaluation={"ood": ood}))
    assert table_row(text, 3)[2:4] == ["190.5 [188.0, 193.2]", "191.8 [189.0, 194.0]"]
    assert table_row(text, 3)[4:] == ["14.0 [11.5, 16.8]", "15.2 [12.5, 17.5]"]
    assert "Nothing was measured outside" not in text
    assert "Nothing was measured outside the training ranges" in card(tmp_path)


def test_baselines_on_the_same_tasks(tmp_path):
    report = made_up_report("maml_cartpole", MEANS, at_horizon={"500": {"mean": 480.25}})
    report["baselines"]["best_fixed_position"] = {"mean": 66.7, "position": 0.1, "closed_form": True}
    text = card(tmp_path, report=report)
    assert table_row(text, "`random`")[1:3] == ["21.3 [20.1, 22.5]", ""]
    assert table_row(text, "`dr_cartpole`")[1:3] == ["171.4 [160.1, 180.5]", "402.7"]
    assert table_row(text, "`best_fixed_position`")[1] == "66.7"
    assert "With episodes of 500 steps, after all adaptation: 480.2." in text


def test_provenance_and_limits(tmp_path):
    text, provenance = card(tmp_path), made_up_metadata()["provenance"]
    for value in (provenance["command"], provenance["evaluate_command"], provenance["hardware"], provenance["date"]):
        assert value in text
    assert table_row(text, "seed")[1] == "7" and table_row(text, "wall-clock")[1] == "8.4 minutes"
    assert table_row(text, "environment steps")[1].startswith("240,000,000, nominal: every episode counted at its full")
    assert "python 3.11.7, tensorflow 2.21.0" in text
    assert "## What it cannot do" in text and "More than 3 inner steps" in text
    assert "a Box of shape [4] and 2 discrete actions" in text


def test_the_card_of_cartpole_alone_says_that_reacting_may_be_enough(tmp_path):
    assert "the cart's first motion reveals" in card(tmp_path)
    assert "may do well" in card(tmp_path)
    other = card(tmp_path, made_up_metadata("maml_cartpole_goal", "cartpole_goal"))
    assert "first motion" not in other


def test_a_policy_that_does_not_adapt_says_so(tmp_path):
    metadata = made_up_metadata("dr_cartpole", algorithm="domain_randomised", adapt={"episodes": 5, "steps": 0})
    text = card(tmp_path, metadata, made_up_report("dr_cartpole", (171.4,)))
    assert "It does not adapt" in text and "Made to adapt" not in text and "policy.adapt(" not in text


def test_the_picture_is_shown_where_there_is_one(tmp_path):
    assert "curve.png" not in card(tmp_path)
    (tmp_path / "curve.png").write_bytes(b"")
    assert "](curve.png)" in card(tmp_path)


def test_the_family_page_is_linked_where_the_table_of_families_names_it(tmp_path):
    families, base = tmp_path / "docs" / "families", tmp_path / "savedmodels" / "maml_cartpole"
    base.mkdir(parents=True)
    assert "docs/families" not in card(base)
    families.mkdir(parents=True)
    (families / "README.md").write_text("| [`cartpole_goal`](no.md) |\n| [`cartpole`](poles.md) | 2 |\n")
    (link,) = re.findall(r"\((\.\.[^)]*)\)", card(base))
    assert (base / link).resolve() == families / "poles.md"


def test_the_same_input_gives_the_same_card(tmp_path):
    assert card(tmp_path) == card(tmp_path)


def test_an_unknown_family_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'nonsense', which is not known"):
        card(tmp_path, made_up_metadata(family="nonsense"))


def test_front_matter_is_what_hugging_face_reads(tmp_path):
    yaml = pytest.importorskip("yaml")
    ood = made_up_report("maml_cartpole", (11.0, 12.0, 13.0, 14.0), split="ood")
    text = card(tmp_path, made_up_metadata(evaluation={"ood": ood}))
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["library_name"] == "metazoo" and header["license"] == "apache-2.0"
    assert header["pipeline_tag"] == "reinforcement-learning" and {"maml", "cartpole"} < set(header["tags"])
    (entry,) = header["model-index"]
    assert entry["name"] == "maml_cartpole"
    assert [result["dataset"]["split"] for result in entry["results"]] == ["test", "ood"]
    values = [metric["value"] for metric in entry["results"][0]["metrics"]]
    assert values == [31.5, 152.25, 181.75, 190.5]
    assert entry["results"][0]["metrics"][1]["name"] == "mean return after 1 step, 5 episodes"


def test_hugging_face_s_own_reader_takes_the_card(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    card(tmp_path)
    data = hub.ModelCard.load(tmp_path / "README.md").data
    assert data.model_name == "maml_cartpole" and len(data.eval_results) == 4
    assert data.eval_results[3].metric_value == 190.5


@pytest.mark.parametrize("family", [CartPole(), CartPoleGoal()], ids=lambda family: family.name)
def test_declared_ranges_are_quoted_exactly(family):
    rows = {row.name: row for row in range_rows(family)}
    assert tuple(rows) == family.Task._fields and not any(row.sampled for row in rows.values())
    for name, allowed in RANGES.items():
        numbers = [float(text) for text in re.findall(r"[\d.]+", rows[name].train + " " + rows[name].ood)]
        assert numbers == [*allowed.train, *(bound for pair in allowed.ood for bound in pair)]
        assert float(rows[name].nominal) == family.nominal[name]
    assert rows["force"].train.startswith("±") == (family.name == "cartpole")
    if family.name == "cartpole_goal":
        assert rows["target"][1:4] == ("m", "−1.5 to 1.5", "−1.9 to −1.5, 1.5 to 1.9")


def test_other_families_show_what_they_sample():
    (goal,) = range_rows(Navigation())
    assert goal.name == "goal" and goal.sampled and goal.train == "~ −0.5 to 0.5" and goal.ood == "~ −0.7 to 0.7"
    assert goal.unit == "the paper's unit of length"
    (means,) = range_rows(Bandit())
    assert means.train == "~ 0 to 1"


@pytest.mark.mujoco
def test_few_values_are_listed_and_velocities_have_their_unit():
    (direction,) = range_rows(HalfCheetahDir(workers=0, rows=1))
    assert direction.train == direction.ood == "−1 or 1" and not direction.sampled
    (velocity,) = range_rows(HalfCheetahVel(workers=0, rows=1))
    assert velocity[1:4] == ("m/s", "0 to 2", "2 to 3") and not velocity.sampled


@pytest.mark.mujoco
@pytest.mark.parametrize("make", ON_THE_HOST, ids=lambda make: make.name)
def test_every_task_parameter_on_the_host_has_its_unit(make):
    assert set(make(workers=0, rows=1).Task._fields) == set(make.units)


def test_pendulums_and_acrobots_have_their_units():
    assert [row.unit for row in range_rows(Pendulum())] == ["m/s²", "kg", "m"]
    assert [row.unit for row in range_rows(Acrobot())] == ["kg", "kg", "m", "m", "N·m"]


def test_a_policy_that_learns_while_it_plays_has_a_row_for_each_episode_and_the_whole_trial(tmp_path):
    curve = [
        {"steps": 0, "episodes": i, "mean": m, "iqm": m, "ci95": [m - 1, m + 1]} for i, m in enumerate((90.0, 140.0))
    ]
    report = made_up_report("rl2_cartpole", (), online=True, curve=curve)
    memory = {"kind": "recurrent", "size": 64, "online": True}
    metadata = made_up_metadata("rl2_cartpole", algorithm="rl2", memory=memory, adapt={"episodes": 2, "steps": 0})
    text = card(tmp_path, metadata, report)
    assert table_row(text, 1) == ["1", "90.0 [89.0, 91.0]", "90.0"]
    assert table_row(text, 2) == ["2", "140.0 [139.0, 141.0]", "140.0"]
    assert table_row(text, "episode") and "| steps |" not in text
    assert "In the whole trial, all episodes added up: 999.0 [900.0, 1100.0]." in text
    assert "mean return in episode 2 of a trial" in text and "trials of 2 episodes" in text
    assert "does not adapt" not in text and "adapted.act(" not in text


def test_a_trial_of_one_episode_is_one_row(tmp_path):
    curve = [{"steps": 0, "episodes": 0, "mean": 78.2, "iqm": 80.0, "ci95": [78.0, 78.4]}]
    report = made_up_report("rl2_bandit_k5_n100", (), online=True, curve=curve)
    memory = {"kind": "recurrent", "size": 64, "online": True}
    changes = {"algorithm": "rl2", "memory": memory, "adapt": {"episodes": 1, "steps": 0}, "horizon": 100}
    text = card(tmp_path, made_up_metadata("rl2_bandit_k5_n100", "bandit", **changes), report)
    assert table_row(text, "100 steps") == ["100 steps", "78.2 [78.0, 78.4]", "80.0"]
    assert "mean return in a trial" in text and "In the whole trial" not in text


def test_a_supervised_policy_speaks_of_points_and_errors(tmp_path):
    report = made_up_report("maml_sinusoid", (3.25, 0.67), metric="mse", higher_is_better=False, baselines={})
    metadata = made_up_metadata("maml_sinusoid", "sinusoid", supervised=True, horizon=5)
    text = card(tmp_path, metadata, report)
    assert table_row(text, 0)[:2] == ["0", "0"] and table_row(text, 1)[:2] == ["1", "5"]
    assert "3.25 [0.75, 6.00]" in text and "lower is better" in text and "best error" in text
    assert "after 1 step on 5 points" in text and "episode" not in text.split("## Results")[1].split("## Use")[0]
    assert "another number of points than 5, is not covered" in text and "on a task's own data" in text


def test_few_distinct_tasks_are_reported_one_by_one(tmp_path):
    curve = [
        {"steps": i, "episodes": 20 * i, "mean": m, "iqm": m, "ci95": [m - 9, m + 9], "iqm_ci95": [m - 9, m + 9]}
        | {"by_task": [
            {"task": {"direction": d}, "tasks": n, "mean": m + 90 * d, "ci95": [m + 90 * d - 5, m + 90 * d + 5]}
            for d, n in ((-1.0, 48), (1.0, 52))
        ]}
        for i, m in enumerate((-20.0, 330.0))
    ]  # fmt: skip
    text = card(tmp_path, report=made_up_report("maml_cartpole", (), curve=curve))
    assert "over tasks, drawn within each of the 2 distinct ones, which says" in text
    assert "By task, for the family has 2 only:" in text and "| task | split | tasks | steps 0 | steps 1 |" in text
    assert table_row(text, "`direction` −1")[1:] == ["test", "48", "-110.0 [-115.0, -105.0]", "240.0 [235.0, 245.0]"]
    assert table_row(text, "`direction` 1")[3:] == ["70.0 [65.0, 75.0]", "420.0 [415.0, 425.0]"]
    assert "By task" not in card(tmp_path)


@pytest.mark.parametrize(
    ("cost", "cell"),
    [
        ({"env_steps": 112_000_000, "seconds": 90.0}, "112,000,000 environment steps (nominal), 1.5 minutes"),
        ({"env_steps": 30_000_000}, "30,000,000 environment steps (nominal)"),
        ({}, "not known"),
    ],
)
def test_what_a_teacher_took_comes_on_top(tmp_path, cost, cell):
    text = card(tmp_path, made_up_metadata(teacher={"name": "dr_cartpole", "parameters": 4610, **cost}))
    assert table_row(text, "on top: its teacher, dr_cartpole")[1] == cell
    assert "on top" not in card(tmp_path)


def test_a_family_s_references_say_themselves_what_they_are(tmp_path):
    report = made_up_report("maml_cartpole", MEANS)
    report["baselines"]["optimum"] = {"mean": 199.5, "ci95": [199.0, 200.0], "what": "nothing earns more"}
    assert table_row(card(tmp_path, report=report), "`optimum`")[1::2] == ["199.5 [199.0, 200.0]", "nothing earns more"]


def test_other_trainings_stand_on_the_card_where_they_were_recorded(tmp_path):
    runs = [
        {"seed": seed, "before": {"mean": 30.0, "ci95": [29.0, 31.0]}, "after": {"mean": mean, "ci95": [1.0, 2.0]},
         "seconds": 90.0}
        for seed, mean in ((7, 190.0), (8, 186.0), (9, 182.0))
    ]  # fmt: skip
    spread = {"of": "after", "mean": 186.0, "sd": 4.0, "min": 182.0, "max": 190.0, "ci95": [176.1, 195.9], "iqm": 187.0}
    seeds = {"tasks": 2000, "runs": runs, "spread": spread}
    text = card(tmp_path, made_up_metadata(evaluation={"seeds": seeds}))
    assert table_row(text, "7 (this policy)")[2:] == ["190.0 [1.00, 2.00]", "1.5 minutes"]
    assert "evaluated on the same 2,000 test tasks" in text
    assert "mean 186.0 [176.1, 195.9], from 182.0 to 190.0, standard deviation 4.00 over trainings" in text
    assert "Student's 95 % interval of the mean over trainings, with n = 3" in text
    assert "over all trainings and tasks: 187.0." in text
    assert "Other trainings" not in card(tmp_path)


@pytest.mark.parametrize(
    ("means", "sentence"),
    [
        ([5.0], "Exploring costs: what it loses in its first steps buys"),
        ([5.0, 7.0], "Exploring costs: what it loses in a trial's first episodes buys"),
        ([5.0, 5.9], "Its last episode is no better than its first"),
        ([5.0, 4.0], "Its last episode is no better than its first"),
    ],
)
def test_what_exploring_buys_is_what_the_figures_show(means, sentence):
    """The intervals reach 1 to either side."""
    assert cards._exploring([{"mean": mean, "ci95": [mean - 1, mean + 1]} for mean in means]).startswith(sentence)


def test_a_card_says_after_which_update_its_weights_were_there(tmp_path):
    provenance = made_up_metadata()["provenance"]
    text = card(tmp_path, made_up_metadata(provenance={**provenance, "best_update": 1150}))
    assert "on *validation* tasks, not on test tasks: they were there after 1,150 updates." in text
    assert "on *validation* tasks, not on test tasks.\n" in card(tmp_path), "older policies do not say"


def test_the_module_writes_cards_again(tmp_path, monkeypatch, capsys):
    version = tmp_path / "maml_cartpole" / "1" / "assets.extra"
    version.mkdir(parents=True)
    (version.parent / "saved_model.pb").write_bytes(b"")
    metadata = made_up_metadata(evaluation=made_up_report("maml_cartpole", (20.0, 150.0)))
    (version / "metazoo.json").write_text(json.dumps(metadata))
    monkeypatch.setattr("sys.argv", ["card", str(tmp_path / "maml_cartpole")])
    runpy.run_path(cards.__file__, run_name="__main__")
    written = (tmp_path / "maml_cartpole" / "README.md").read_text()
    assert str(tmp_path) in capsys.readouterr().out and "# maml_cartpole" in written
