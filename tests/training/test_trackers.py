"""``--callback wandb`` and ``--callback mlflow``, with modules in their place that write down how they are called.

The stand-ins have the arguments of the libraries' documentation, and refuse others.
"""

import csv
import importlib.util
import json

import pytest

from metazoo.training import callbacks, campaign, train
from metazoo.training.campaign import Options, Run
from metazoo.training.trackers import TRACKERS
from metazoo.training.user_callbacks import check
from tests.own_families import working_in
from tests.training.tiny_training import TINY

WRITES = """
import json
def write(**what):
    with open(f"{__name__}.jsonl", "a") as file:
        file.write(json.dumps(what) + chr(10))
"""
WANDB = """
class Run:
    def __init__(self, id):
        self.id = id
    def log(self, data, step=None, commit=None):
        write(call="log", id=self.id, data=data, step=step)
    def finish(self, exit_code=None):
        write(call="finish", id=self.id)

def init(entity=None, project=None, dir=None, id=None, name=None, config=None, resume=None, reinit=None):
    write(call="start", id=id, project=project, name=name, config=config, resume=resume)
    return Run(id or "made-1")
"""
MLFLOW = """
from types import SimpleNamespace as Made
class MlflowClient:
    def __init__(self, tracking_uri=None):
        pass
    def get_experiment_by_name(self, name):
        return None
    def create_experiment(self, name, artifact_location=None, tags=None):
        write(call="experiment", project=name)
        return "7"
    def create_run(self, experiment_id, start_time=None, tags=None, run_name=None):
        write(call="start", id=None, experiment=experiment_id, name=run_name)
        return Made(info=Made(run_id="made-1"))
    def update_run(self, run_id, status=None, name=None):
        write(call="start", id=run_id)
    def log_param(self, run_id, key, value, synchronous=None):
        write(call="param", key=key, value=value)
    def log_metric(self, run_id, key, value, timestamp=None, step=None, synchronous=None):
        write(call="log", id=run_id, data={key: value}, step=step)
    def set_terminated(self, run_id, status=None, end_time=None):
        write(call="finish", id=run_id)
"""
LIBRARIES = {"wandb": WANDB, "mlflow": MLFLOW}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "EPOCH", 2)
    monkeypatch.setattr(callbacks, "VALIDATION_TASKS", 3)
    monkeypatch.syspath_prepend(tmp_path)
    for name, source in LIBRARIES.items():
        (tmp_path / f"{name}.py").write_text(WRITES + source)
    with working_in(tmp_path):
        yield tmp_path


def test_a_training_is_one_run_with_its_settings_and_the_metrics_of_its_table(here):
    check(list(LIBRARIES))
    run = Run(TINY, here / "runs")
    campaign.train_one(run, Options(updates=3, card=False, callbacks=tuple(LIBRARIES)))
    with open(run.directory / "metrics.csv") as file:
        table = list(csv.DictReader(file))
    rows = {int(row["epoch"]): {key: float(row[key]) for key in row if key != "epoch"} for row in table}
    assert len(rows) == 2
    for name in LIBRARIES:
        check_calls([json.loads(line) for line in (here / f"{name}.jsonl").read_text().splitlines()], rows)
        assert (run.directory / f"{name}-run").read_text() == "made-1\n"  # what --resume goes on with


def check_calls(calls, rows):
    starts = [call["id"] for call in calls if call["call"] == "start"]
    assert starts == [None, "made-1"]  # Keras' fit is called for whole epochs, and for the rest
    assert [call["id"] for call in calls if call["call"] == "finish"] == ["made-1"] * 2
    logged: dict[int, dict[str, float]] = {}
    for call in calls:
        if call["call"] == "log":
            logged.setdefault(call["step"], {}).update(call["data"])
    assert logged == {epoch: pytest.approx(row) for epoch, row in rows.items()}
    settings = next((call["config"] for call in calls if "config" in call), None) or {
        call["key"]: call["value"] for call in calls if call["call"] == "param"
    }
    assert settings["algorithm"] == "maml" and settings["updates"] == 3 and settings["inner_steps"] == 1
    assert next(call["name"] for call in calls if call["call"] == "start") == "tiny"
    assert next(call["project"] for call in calls if "project" in call) == "metazoo"


def test_without_the_library_one_sentence_says_what_to_install(tmp_path):
    for name in LIBRARIES:
        if importlib.util.find_spec(name) is None:
            with pytest.raises(ValueError, match=f"--callback {name} needs the library {name}: pip install {name}."):
                check([name])


TRIED = {"wandb": "0.31.0", "mlflow": "3.17.2"}
"""The libraries themselves, in the versions that were tried (mlflow-skinny is enough)."""


@pytest.mark.slow  # it needs them, which are no extras of ours
@pytest.mark.parametrize("name", TRIED)
def test_the_library_itself_goes_on_with_its_run(name, tmp_path, monkeypatch):
    pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    ids = []
    for turn in range(2):  # the second is what --resume makes
        tracker = TRACKERS[name]("tiny", tmp_path, {"tasks": 2, "network": {"hidden": [4]}})
        tracker.on_train_begin()
        tracker.on_epoch_end(turn, {"loss": 1.5 - turn})
        tracker.on_train_end()
        ids.append((tmp_path / f"{name}-run").read_text().strip())
    assert ids[0] == ids[1]
    if name == "wandb":
        assert len(list(tmp_path.glob(f"wandb/offline-run-*-{ids[0]}/*.wandb"))) == 2
    else:
        client = pytest.importorskip("mlflow").MlflowClient()
        assert [(one.step, one.value) for one in client.get_metric_history(ids[0], "loss")] == [(0, 1.5), (1, 0.5)]
        assert client.get_run(ids[0]).data.params["tasks"] == "2"
