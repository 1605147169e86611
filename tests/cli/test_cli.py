"""The command line as a person meets it: what it prints, its exit codes, its sentences for wrong requests."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from metazoo import bench
from metazoo.artefact import store
from metazoo.cli import main as cli
from metazoo.cli.support import print_report
from metazoo.collect import load_episodes, save_episodes
from metazoo.hub import listing
from metazoo.types import Episodes
from tests import toy_policy
from tests.cards.reports import made_up_report

COMMANDS = (
    *("list", "card", "download", "push", "train", "tune", "federate", "new", "find", "similar"),
    *("evaluate", "adapt", "export", "serve", "bench", "demo"),
)


@pytest.fixture
def refused(run):
    """Run a wrong request; its one sentence."""

    def call(*arguments) -> str:
        code, printed, error = run(*arguments)
        lines = [line for line in error.splitlines() if line.startswith("metazoo: ")]
        assert code == cli.WRONG_REQUEST, error
        assert printed == ""
        assert len(lines) == 1, error
        assert "Traceback" not in error
        return lines[0]

    return call


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A models directory with the policy ``toy``; not to be changed."""
    directory = tmp_path_factory.mktemp("models")
    toy_policy.export_toy(directory / "toy" / "1")
    return directory


def episodes_file(path, **changes):
    inputs = toy_policy.example_inputs("adapt", episodes=2, steps=5)
    save_episodes(path, Episodes(**{name: inputs[name] for name in Episodes._fields})._replace(**changes))
    return path


# --- help, list, card -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(run, command):
    code, printed, _ = run(command, "--help")
    assert code == 0
    assert re.search(rf"^  metazoo {command}", printed, re.MULTILINE)


def test_help_names_every_command(run):
    printed = run("--help")[1]
    assert all(re.search(rf"^  {command} ", printed, re.MULTILINE) for command in COMMANDS)


def test_version(run):
    assert re.fullmatch(r"metazoo \d+\.\d+\.\d+\n", run("--version")[1])


def test_list_shows_policies_and_nothing_else(run, toy, tmp_path):
    models = shutil.copytree(toy, tmp_path / "models")
    (models / "empty").mkdir()
    (models / "foreign" / "1").mkdir(parents=True)
    code, printed, _ = run("list", "--models", models, "--json")
    (row,) = json.loads(printed)
    assert code == 0
    assert (row["name"], row["version"], row["family"], row["memory_size"]) == ("toy", 1, "toy", toy_policy.SIZE)
    assert row["bytes"] > 1000
    assert row["after"] is None
    assert run("list", "--models", models)[1].splitlines()[1].startswith("toy")


def test_list_shows_the_recorded_evaluation(run, toy, tmp_path):
    models = shutil.copytree(toy, tmp_path / "models")
    curve = [{"steps": 0, "mean": 10.0}, {"steps": 2, "mean": 90.25}]
    store.write_metadata(models / "toy" / "1", {**toy_policy.METADATA, "evaluation": {"curve": curve}})
    (row,) = json.loads(run("list", "--models", models, "--json")[1])
    assert (row["steps"], row["before"], row["after"]) == (2, 10.0, 90.25)


ONE = {"mean": 60.0, "steps": 0}


@pytest.mark.parametrize(
    ("evaluation", "before", "after"),
    [
        ({"online": True, "curve": [ONE], "baselines": {"random": {"mean": 5.0}}}, (5.0, "random actions"), 60.0),
        ({"online": True, "curve": [ONE, {"mean": 80.0}, {"mean": 90.0}]}, (60.0, "first episode"), 90.0),
        ({"curve": [ONE, {"mean": 95.0, "steps": 1}]}, (60.0, "unadapted"), 95.0),
        ({}, (None, "unadapted"), None),
    ],
    ids=["a trial of one episode", "a trial", "inner steps", "not evaluated"],
)
def test_before_and_after_are_what_adapting_brings(evaluation, before, after):
    row = listing.summary({**toy_policy.METADATA, "evaluation": evaluation})
    assert (row["before"], row["before_is"], row["after"]) == (*before, after)


def test_list_imports_no_tensorflow(toy):
    source = f"""
import sys
sys.argv = ["metazoo", "list", "--models", {str(toy)!r}]
from metazoo.cli.main import main
try:
    main()
finally:
    print([name for name in ("tensorflow", "keras", "gymnasium") if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == "[]"
    assert "toy" in done.stdout


def test_list_of_a_missing_directory(refused, tmp_path):
    assert f"there is no models directory {tmp_path / 'gone'}" in refused("list", "--models", tmp_path / "gone")


def test_card(run, refused, toy, tmp_path):
    models = shutil.copytree(toy, tmp_path / "models")
    assert "no model card" in refused("card", models / "toy")
    (models / "toy" / "README.md").write_text("---\ntags:\n- meta\n---\n\n# toy\n\n---\nend\n")
    assert run("card", models / "toy")[1] == "# toy\n\n---\nend\n\n"
    assert json.loads(run("card", models / "toy" / "1", "--json")[1]) == toy_policy.METADATA
    assert "there is no policy 'maml_moon'" in refused("card", "maml_moon")


# --- download, push -------------------------------------------------------------------------------------------------


def test_push_download_and_list_from_another_zoo(run, refused, toy, tmp_path, monkeypatch):
    monkeypatch.setenv("METAZOO_CACHE", str(tmp_path / "cache"))
    code, printed, _ = run("push", toy / "toy", "--to", tmp_path / "zoo")
    assert code == 0 and re.fullmatch(r"toy  version 1  \d files  \d+ kB\n", printed)
    code, printed, _ = run("download", "toy", "--from", tmp_path / "zoo", "--to", tmp_path / "out")
    assert (code, printed) == (0, f"{tmp_path / 'out' / 'toy' / '1'}\n")
    assert store.verify(tmp_path / "out" / "toy" / "1")
    (row,) = json.loads(run("list", "--from", tmp_path / "zoo", "--json")[1])
    assert row == json.loads(run("list", "--models", toy, "--json")[1])[0]
    assert "no policy 'chess'" in refused("download", "chess", "--from", tmp_path / "zoo")
    assert "give one of them" in refused("list", "--from", "a", "--models", "b")
    assert "pushed to a directory or to hf://ORG/REPO" in refused("push", toy / "toy", "--to", "https://example.org")


def test_a_zoo_that_does_not_answer_is_failed_work(run, tmp_path, monkeypatch):
    monkeypatch.setenv("METAZOO_CACHE", str(tmp_path))
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
    code, printed, error = run("download", "toy", "--from", "http://127.0.0.1:9")
    assert (code, printed) == (cli.FAILED, "")
    assert error.startswith("metazoo: http://127.0.0.1:9/index.json cannot be downloaded: there is no connection")


def test_zoo_commands_import_no_tensorflow(toy, tmp_path):
    source = f"""
import sys
from metazoo.hub import transfer as hub
hub.push([{str(toy / "toy")!r}], {str(tmp_path)!r})
print([name for name in ("tensorflow", "keras", "gymnasium", "huggingface_hub") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stderr


# --- train ----------------------------------------------------------------------------------------------------------


def test_train_refuses_what_it_cannot_do(refused):
    unknown = refused("train", "maml_moon")
    assert "there is no preset 'maml_moon'" in unknown
    assert "metazoo train --help names them" in unknown
    assert "did you mean maml_cartpole" in refused("train", "maml_cartpol")
    assert "name the presets" in refused("train")
    assert "'inner_steps'; it must be KEY=VALUE" in refused("train", "maml_cartpole", "--set", "inner_steps")
    assert "--seeds is '1,two'" in refused("train", "maml_cartpole", "--seeds", "1,two")
    assert "cannot be combined" in refused("train", "maml_cartpole", "--seeds", "1,2", "--seed", "3")


def test_train_refuses_bad_settings(refused, tmp_path):
    arguments = ("train", "maml_cartpole", "--out", tmp_path, "--set")
    assert "maml has no setting 'moons'" in refused(*arguments, "moons=1")
    assert "inner_rate is 'fast'" in refused(*arguments, "inner_rate=fast")
    assert "tasks is 0" in refused(*arguments, "tasks=0")
    assert list(tmp_path.iterdir()) == []


def test_unknown_options_are_wrong_requests(run):
    code, _, error = run("train", "--moon")
    assert code == 2
    assert "--moon" in error


# --- adapt ----------------------------------------------------------------------------------------------------------


def test_adapt_to_an_environment_and_publish(run, toy, tmp_path):
    options = ["--episodes", "4", "--steps", "2", "--test-episodes", "5", "--json"]
    physics = ["--env-arg", "length=0.8", "--env-arg", "force_mag=-9"]
    code, printed, _ = run("adapt", toy / "toy", "--env", "CartPole-v1", *physics, "--out", tmp_path / "out", *options)
    result = json.loads(printed)
    assert code == 0
    assert (result["episodes"], result["steps"], result["before"]["episodes"]) == (8, 2, 5)
    assert result["before"]["ci95"][0] <= result["before"]["mean"] <= result["before"]["ci95"][1]
    published = tmp_path / "out" / "toy-CartPole-v1" / "1"
    assert result["published"] == str(published)
    assert store.verify(published)
    assert not np.array_equal(store.read_memory(published), store.read_memory(toy / "toy" / "1"))


def test_adapt_keeps_the_better_with_its_evidence(run, refused, toy, tmp_path):
    options = ["--env", "CartPole-v1", "--episodes", "2", "--steps", "1", "--keep-better", "3", "--test-episodes", "2"]
    code, printed, _ = run("adapt", toy / "toy", *options, "--out", tmp_path, "--json")
    kept = json.loads(printed)["kept"]
    better = "after" if kept["after"]["mean"] > kept["before"]["mean"] else "before"
    assert code == 0 and (kept["which"], kept["episodes"]) == (better, 6)
    assert store.read_metadata(tmp_path / "toy-CartPole-v1" / "1")["adapted"]["kept"] == kept
    code, printed, _ = run("adapt", toy / "toy", *options)
    assert f"kept as it was {better} adapting: " in printed and "in 6 held-out episodes" in printed
    recorded = episodes_file(tmp_path / "recorded.npz")
    assert "it plays" in refused("adapt", toy / "toy", "--episodes-file", recorded, "--keep-better", "3")


def test_adapt_on_recorded_episodes(run, toy, tmp_path):
    recorded = episodes_file(tmp_path / "recorded.npz")
    code, printed, _ = run("adapt", toy / "toy", "--episodes-file", recorded, "--out", tmp_path)
    assert code == 0
    assert f"published {tmp_path / 'toy-recorded' / '1'}" in printed
    assert load_episodes(recorded, toy_policy.METADATA).rewards.shape == (1, 2, 5)


def test_adapt_refuses_another_controllers_logs_unless_insisted(run, refused, toy, tmp_path):
    fields = toy_policy.example_inputs("adapt", episodes=8, steps=30)
    weights = store.read_memory(toy / "toy" / "1")
    logits = fields["observations"] @ weights[:8].reshape(4, 2) + weights[8:10]
    fields["actions"] = logits.argmin(-1).astype(np.int32)
    path = tmp_path / "logs.npz"
    np.savez(path, **{name: fields[name] for name in Episodes._fields})
    assert "not sampled from toy: their mean log-probability is -" in refused(
        "adapt", toy / "toy", "--episodes-file", path
    )
    code, printed, _ = run("adapt", toy / "toy", "--episodes-file", path, "--off-policy")
    assert code == 0 and "log-probability of the actions -" in printed
    assert "--off-policy needs --episodes-file" in refused("adapt", toy / "toy", "--env", "CartPole-v1", "--off-policy")


def test_adapt_refuses_environments_that_do_not_fit(refused, toy):
    observation = refused("adapt", toy / "toy", "--env", "Acrobot-v1")
    assert observation.count("Box(") == 2
    assert "(6,)" in observation
    assert "(4,)" in observation
    unknown = refused("adapt", toy / "toy", "--env", "CartPole-v99")
    assert "CartPole-v99 cannot be made" in unknown
    assert "ImaginaryEnv-v0" in refused("adapt", toy / "toy", "--env", "ImaginaryEnv-v0")
    assert "no_such_package" in refused("adapt", toy / "toy", "--env", "no_such_package:Env-v0")


def test_adapt_refuses_an_action_space_that_does_not_fit(refused, toy, tmp_path):
    models = shutil.copytree(toy / "toy", tmp_path / "toy")
    metadata = {**toy_policy.METADATA, "action_space": {"type": "Discrete", "n": 3, "start": 0}}
    store.write_metadata(models / "1", metadata)
    store.write_checksums(models / "1")
    message = refused("adapt", models, "--env", "CartPole-v1")
    assert "Discrete(2)" in message
    assert "Discrete(3)" in message


def test_adapt_refuses_wrong_arguments(refused, toy, tmp_path):
    on_cartpole = ("adapt", toy / "toy", "--env", "CartPole-v1")
    assert "episodes is 0" in refused(*on_cartpole, "--episodes", 0)
    assert "steps is 0" in refused(*on_cartpole, "--steps", 0)
    assert "neither an argument nor an attribute 'moons'" in refused(*on_cartpole, "--env-arg", "moons=1")
    assert "length of CartPole-v1 is 'long'" in refused(*on_cartpole, "--env-arg", "length=long")
    assert "give one of" in refused("adapt", toy / "toy")
    assert "give one of" in refused(*on_cartpole, "--task", "force=1")
    assert "--env-arg is 'length=1'" in refused("adapt", toy / "toy", "--task", "force=1", "--env-arg", "length=1")
    assert "trained on the family 'toy', which is not known" in refused("adapt", toy / "toy", "--task", "force=1")
    assert "there is no policy 'maml_moon'" in refused("adapt", "maml_moon", "--env", "CartPole-v1")
    assert str(tmp_path) in refused("adapt", tmp_path, "--env", "CartPole-v1")


def test_adapt_refuses_bad_episodes(refused, toy, tmp_path):
    def message(path):
        return refused("adapt", toy / "toy", "--episodes-file", path)

    rewards = toy_policy.example_inputs("adapt")["rewards"].copy()
    rewards[0, 1, 3] = np.nan
    assert "rewards holds nan at [1, 3]" in message(episodes_file(tmp_path / "nan.npz", rewards=rewards))
    fields = toy_policy.example_inputs("adapt", episodes=0)
    np.savez(tmp_path / "none.npz", **{name: fields[name] for name in Episodes._fields})
    assert "there are 0 episodes" in message(tmp_path / "none.npz")
    assert "there is no episodes file" in message(tmp_path / "gone.npz")
    (tmp_path / "text.npz").write_text("hello")
    assert "not an .npz file" in message(tmp_path / "text.npz")


def test_a_corrupted_policy_is_refused(refused, toy, tmp_path):
    broken = shutil.copytree(toy / "toy", tmp_path / "toy")
    data = broken / "1" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[10] ^= 1
    data.write_bytes(content)
    message = refused("adapt", broken, "--env", "CartPole-v1")
    assert "is corrupted: variables/variables.data-00000-of-00001 has SHA-256" in message


# --- evaluate, serve, bench -----------------------------------------------------------------------------------------


def test_evaluate_refuses_unknown_policies_and_families(refused, toy):
    assert "there is no policy 'maml_moon'" in refused("evaluate", "maml_moon")
    assert "toy was trained on the family 'toy', which is not known here; give it with --family" in refused(
        "evaluate", toy / "toy"
    )


def test_a_report_is_printed_with_both_means_and_their_intervals(capsys):
    report = made_up_report("maml_cartpole", (31.5, 190.5))
    report["baselines"]["oracle"] = {"mean": 199.0, "closed_form": True}
    print_report(report)
    _, _, last, *_, oracle = (line.split() for line in capsys.readouterr().out.splitlines())
    assert last[5:] == ["190.50", "[188.00,", "193.25]", "IQM", "191.75", "[189.00,", "194.00]"]
    assert oracle == ["oracle", "199.00", "exact"]


def test_few_distinct_tasks_are_printed_one_by_one(capsys):
    report = made_up_report("maml_half_cheetah_dir", (-20.0, 340.0), baselines={})
    figures = {"iqm": 560.0, "ci95": [540.0, 600.0], "iqm_ci95": [530.0, 590.0]}
    report["curve"][-1]["by_task"] = [{"task": {"direction": -1.0}, "tasks": 51, "mean": 570.0, **figures}]
    print_report(report)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "direction" in line)
    assert line.split()[:5] == ["direction", "-1", "(51", "tasks)", "570.00"]


def test_evaluate_refuses_options_that_do_not_go_together(refused, toy, tmp_path):
    assert "--runs is runs; it needs --record" in refused("evaluate", toy / "toy", "--runs", "runs")
    assert "films one policy, and 2 are given" in refused("evaluate", toy / "toy", toy / "toy", "--video", "a.gif")
    assert "--tasks is 3; --record takes the standard protocol" in refused(
        "evaluate", toy / "toy", "--record", "--tasks", 3
    )


@pytest.mark.parametrize("option", ["--rest-port", "--grpc-port"])
def test_serve_on_a_port_in_use(refused, toy, tmp_path, option):
    other = "--grpc-port" if option == "--rest-port" else "--rest-port"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ("--models", toy, "--adapted", tmp_path, option, port, other, 0)
        assert f"127.0.0.1:{port}" in refused("serve", *arguments)


def test_serve_a_missing_directory(refused, tmp_path):
    assert str(tmp_path / "gone") in refused("serve", "--models", tmp_path / "gone", "--adapted", tmp_path)


def test_serve_prints_addresses_and_ends_on_ctrl_c(toy, tmp_path):
    command = [sys.executable, "-m", "metazoo.cli.main", "serve", "--models", toy, "--adapted", tmp_path / "adapted"]
    arguments = [*map(str, command), "--rest-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        try:
            lines = []
            deadline = time.monotonic() + 120
            while not lines or "Ctrl-C" not in lines[-1]:
                assert time.monotonic() < deadline
                lines.append(server.stdout.readline())
                assert lines[-1], f"it ended after printing {lines}"
            printed = "".join(lines)
            curl = re.search(r"curl (http://127.0.0.1:\d+/v1/models/toy:predict) -d '(.*)'", printed)
            answer = subprocess.run(
                [sys.executable, "-c", POST, curl[1], curl[2]], capture_output=True, text=True, timeout=60, check=True
            )
            assert "logits" in json.loads(answer.stdout)["outputs"]
            assert re.search(r"^gRPC  127.0.0.1:\d+$", printed, re.MULTILINE)
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
        finally:
            server.kill()


POST = "import sys, urllib.request as u; print(u.urlopen(u.Request(sys.argv[1], sys.argv[2].encode())).read().decode())"


def test_bench_of_an_unknown_thing(refused):
    assert "there is no benchmark 'moons'; choose learners, families, serving, edge or all" in refused("bench", "moons")


# --- failures -------------------------------------------------------------------------------------------------------


def test_failed_work_is_exit_code_1_and_debug_shows_where(run, monkeypatch):
    def fail(what):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(bench, "run", fail)
    code, printed, error = run("bench", "learners", "--json")
    assert (code, printed) == (1, "")
    assert "metazoo: RuntimeError: the disk is full" in error
    with pytest.raises(RuntimeError):
        run("bench", "learners", "--debug")


def test_json_output_is_one_document_whatever_the_work_prints(run, monkeypatch):
    def chatty(what):
        print("working")
        return [{"what": what}]

    monkeypatch.setattr(bench, "run", chatty)
    code, printed, error = run("bench", "learners", "--json")
    assert (code, json.loads(printed)) == (0, [{"what": "learners"}])
    assert "working" in error


def test_tensorflow_does_not_warn_of_functions_that_must_be_traced_again():
    source = (
        "from metazoo.cli.support import load_tensorflow\n"
        "load_tensorflow()\n"
        "import tensorflow as tf\n"
        "for number in range(8):\n"
        "    tf.function(lambda x: x + 1)(number)\n"
        "tf.get_logger().warning('heard')\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "heard" in done.stderr and "retracing" not in done.stderr
