"""The export contract, for every learner on discrete and continuous actions, through TF Serving's own loader."""

import functools
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_serving.apis import prediction_log_pb2

from metazoo.artefact import signatures, store
from metazoo.artefact.spaces import space_from_metadata
from metazoo.tasks.views.gym_view import to_gym_space
from metazoo.training.export import export
from metazoo.types import Discrete
from tests.algorithms.problems import FAMILIES, ON_EPISODES, made_up_episodes
from tests.exports import METADATA, Session, batch_first, example_inputs, example_memory, export_small, small_learner

QUICK = [(algorithm, tuple(FAMILIES)[number % 2]) for number, algorithm in enumerate(ON_EPISODES)]
CASES = [
    pytest.param((algorithm, kind), marks=() if (algorithm, kind) in QUICK else pytest.mark.slow)
    for algorithm in ON_EPISODES
    for kind in FAMILIES
]
"""Every learner, in turn on discrete and continuous actions; on the others in the slow tests."""
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
MAGNIFIED = {"rtol": 1e-3, "atol": 1e-3}
"""Between other kernels (rows alone, oneDNN on or off): a critic is solved for, which magnifies the last bits."""


class Case:
    """One exported learner, loaded by a v1 session."""

    def __init__(self, directory, algorithm, kind):
        self.learner, self.directory = export_small(directory, algorithm, kind)
        self.session = Session(self.directory)
        self.distribution = self.learner.policy.distribution
        self.feed_forward = self.learner.memory_kind != "recurrent"
        self.names = [name for name in signatures.INPUTS if self.feed_forward or name != signatures.ACT]
        self.initial = self.learner.initial_memory(self.learner.current_weights()).numpy()

    def run(self, signature, **changes):
        return self.session.run(signature, example_inputs(self.learner, signature) | changes)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Of each (learner, kind) the ``Case``, made when it is first asked for."""
    return functools.cache(lambda *case: Case(tmp_path_factory.mktemp("-".join(case)), *case))


@pytest.fixture(params=CASES, ids="-".join)
def case(request, cases):
    return cases(*request.param)


def test_signatures_are_exactly_those_of_the_contract(case):
    default = signatures.ACT if case.feed_forward else signatures.STEP
    served = {name for name in case.session.signatures if not name.startswith("__")}
    assert served == {*case.names, signatures.SERVING_DEFAULT}
    ours = case.session.signatures
    assert set(ours[signatures.SERVING_DEFAULT].inputs) == set(ours[default].inputs)
    assert set(ours[signatures.SERVING_DEFAULT].outputs) == set(ours[default].outputs)


def test_inputs_have_the_names_dtypes_and_axes_of_the_contract(case):
    family = case.learner.family
    discrete = isinstance(family.action_space, Discrete)
    for name in case.names:
        inputs = case.session.signatures[name].inputs
        assert set(inputs) == {argument.name for argument in signatures.INPUTS[name]}
        for argument in signatures.INPUTS[name]:
            inner, dtype = (), argument.dtype
            if argument.name.endswith("observations"):
                inner, dtype = family.observation_space.shape, "float32"
            elif argument.name.endswith("actions"):
                inner, dtype = family.action_space.shape, "int32" if discrete else "float32"
            shape = [case.initial.size if axis == "S" else -1 for axis in argument.axes] + list(inner)
            info = inputs[argument.name]
            assert [axis.size for axis in info.tensor_shape.dim] == shape, (name, argument.name)
            assert tf.as_dtype(info.dtype).name == dtype, (name, argument.name)
            assert info.name == f"{name}_{argument.name}:0"


def test_outputs_have_the_names_dtypes_and_axes_of_the_contract(case):
    action = tuple(case.learner.family.action_space.shape)
    parameters = signatures.DISTRIBUTION_PARAMETERS[case.distribution.kind]
    assert parameters == case.distribution.parameters
    memory, rows = (4, case.initial.size), (4,)
    expected = {
        signatures.INITIAL_MEMORY: {"memory": memory},
        signatures.STEP: {"actions": (4, *action), **dict.fromkeys(parameters, (4, 2)), "log_probs": rows}
        | {"memory": memory},
        signatures.ADAPT: {"memory": memory, "loss": rows, "kl": rows},
        signatures.ACT: {"actions": (4, *action), **dict.fromkeys(parameters, (4, 2))},
    }
    for name in case.names:
        outputs = case.run(name)
        assert {key: value.shape for key, value in outputs.items()} == expected[name], name
        for key, value in outputs.items():
            discrete = key == "actions" and case.distribution.kind == "categorical"
            assert value.dtype == (np.int32 if discrete else np.float32), (name, key)
            assert case.session.signatures[name].outputs[key].tensor_shape.dim[0].size == -1, (name, key)


def test_adapt_is_the_learners_own_inner_step_on_ragged_episodes(case):
    timed = made_up_episodes(case.learner.family, 4, 3, seed=5)
    assert 0 < float(tf.reduce_mean(timed.mask)) < 1
    memory = example_memory(case.learner, 4)
    answer = case.run(signatures.ADAPT, memory=memory, **batch_first(timed)._asdict())
    after, diagnostics = case.learner.adapt(case.learner.current_weights(), tf.constant(memory)[:, None], timed)
    np.testing.assert_allclose(answer["memory"], after[:, 0], **CLOSE)
    for name in ("loss", "kl"):
        np.testing.assert_allclose(answer[name], diagnostics[name], **CLOSE)
    if case.learner.memory_kind != "none":
        assert np.all(np.abs(answer["memory"] - memory).max(1) > 1e-3)


def test_padding_more_changes_nothing(case):
    """More masked steps, and episodes without any step, are not there for ``adapt``."""
    inputs = example_inputs(case.learner, signatures.ADAPT)
    padded = dict(inputs)
    for name in signatures.EPISODE_FIELDS:
        pads = [(0, 0)] * inputs[name].ndim
        pads[1] = (0, 1)
        if name != "final_observations":
            pads[2] = (0, 3)
        padded[name] = np.pad(inputs[name], pads)
    plain, longer = (case.session.run(signatures.ADAPT, one) for one in (inputs, padded))
    for name in plain:
        np.testing.assert_allclose(longer[name], plain[name], **CLOSE)


def test_initial_memory_is_the_learners(case):
    assert np.array_equal(case.run(signatures.INITIAL_MEMORY)["memory"], np.tile(case.initial, (4, 1)))


def test_act_is_the_mode_of_step_with_the_initial_memory_clipped(case):
    if not case.feed_forward:
        pytest.skip("recurrent policies have no act")
    observations = example_inputs(case.learner, signatures.ACT, rows=50)["observations"]
    act = case.session.run(signatures.ACT, {"observations": observations})
    inputs = example_inputs(case.learner, signatures.STEP, rows=50)
    inputs |= {
        "observations": observations,
        "deterministic": np.ones(50, bool),
        "memory": np.tile(case.initial, (50, 1)),
    }
    step = case.session.run(signatures.STEP, inputs)
    for name in case.distribution.parameters:
        np.testing.assert_allclose(act[name], step[name], **CLOSE)
    if case.distribution.kind == "categorical":
        assert np.array_equal(act["actions"], step["actions"])
        assert np.array_equal(act["actions"], act["logits"].argmax(1))
        assert set(act["actions"]) == {0, 1}
    else:
        assert np.array_equal(step["actions"], step["loc"])
        assert np.any(np.abs(step["actions"]) > 0.1), "nothing to clip: the test proves nothing"
        np.testing.assert_allclose(act["actions"], np.clip(step["actions"], -0.1, 0.1), **CLOSE)


def test_steps_draws_depend_on_the_rows_seed_alone(case):
    rows = 2000
    inputs = example_inputs(case.learner, signatures.STEP, rows=1)
    inputs = {name: np.repeat(value, rows, 0) for name, value in inputs.items()}
    inputs |= {"seed": np.arange(rows, dtype=np.int32) // 2 - 500, "deterministic": np.zeros(rows, bool)}
    out = case.session.run(signatures.STEP, inputs)
    assert np.array_equal(out["actions"][0::2], out["actions"][1::2])
    draws = out["actions"][0::2]
    order = np.random.default_rng(0).permutation(rows)
    shuffled = case.session.run(signatures.STEP, {name: value[order] for name, value in inputs.items()})
    assert np.array_equal(shuffled["actions"], out["actions"][order])
    if case.distribution.kind == "categorical":
        probability = np.exp(out["logits"][0, 1] - np.logaddexp(*out["logits"][0]))
        assert stats.binomtest(int(draws.sum()), len(draws), probability).pvalue > 1e-3
    else:
        noise = (draws - out["loc"][0]) / out["scale"][0]
        assert all(stats.kstest(noise[:, axis], "norm").pvalue > 1e-3 for axis in range(2))
        assert abs(np.corrcoef(noise.T)[0, 1]) < 0.1


def test_log_probs_are_those_of_the_actions(case):
    out = case.run(signatures.STEP)
    if case.distribution.kind == "categorical":
        normalised = out["logits"] - np.logaddexp(*out["logits"].T)[:, None]
        expected = normalised[np.arange(4), out["actions"]]
    else:
        expected = stats.norm.logpdf(out["actions"], out["loc"], out["scale"]).sum(1)
    np.testing.assert_allclose(out["log_probs"], expected, rtol=1e-4, atol=1e-5)


def test_a_row_of_the_outputs_depends_on_that_row_of_the_inputs_alone(case):
    """To the last bit among others; alone, as closely as other kernels allow."""
    for name in case.names:
        inputs, others = (example_inputs(case.learner, name, seed=seed) for seed in (0, 1))
        plain = case.session.run(name, inputs)
        for row in range(4):
            changed = {key: value.copy() for key, value in others.items()}
            for key, value in inputs.items():
                changed[key][row] = value[row]
            mixed = case.session.run(name, changed)
            alone = case.session.run(name, {key: value[row : row + 1] for key, value in inputs.items()})
            for key, value in plain.items():
                assert np.array_equal(mixed[key][row], value[row]), (name, key)
                np.testing.assert_allclose(alone[key][0], value[row], err_msg=f"{name} {key}", **MAGNIFIED)


def test_diagnostics_are_never_nan(case):
    inputs = example_inputs(case.learner, signatures.ADAPT)
    inputs["mask"][0] = 0.0  # nothing was played
    inputs["rewards"][1] = 0.0
    inputs["rewards"][2] = 1e30  # whose square overflows
    inputs["mask"][3, :, 1:] = 0.0
    answer = case.session.run(signatures.ADAPT, inputs)
    for name in ("loss", "kl"):
        assert np.all(np.isfinite(answer[name])), name
    assert np.all(np.isfinite(answer["memory"][[0, 1, 3]]))
    assert abs(answer["kl"][0]) < 1e-6 and answer["loss"][0] == 0.0
    if case.learner.memory_kind == "fast_weights":
        assert np.array_equal(answer["memory"][0, :-1], inputs["memory"][0, :-1]), "no steps, no change"


def test_the_checkpoint_holds_every_weight_once_and_no_optimizer(case):
    reader = tf.train.load_checkpoint(str(case.directory / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    shapes.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
    assert shapes[signatures.MEMORY_CHECKPOINT_KEY] == [case.initial.size]
    exported = case.learner.exported_variables
    stored = sorted(tuple(shape) for name, shape in shapes.items() if name != signatures.MEMORY_CHECKPOINT_KEY)
    assert stored == sorted(tuple(variable.shape) for variable in exported)
    network = {id(variable) for variable in case.learner.network.trainable_variables}
    # fast weights are the memory; the prediction of rewards is for training alone
    needed = {"fast_weights": 0, "none": len(network), "recurrent": len(network) - 2}[case.learner.memory_kind]
    assert len(network & {id(variable) for variable in exported}) == needed


def test_warm_up_has_one_valid_request_per_signature(case):
    records = [*tf.data.TFRecordDataset(str(case.directory / signatures.WARMUP_FILE)).as_numpy_iterator()]
    seen = []
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        name = request.model_spec.signature_name
        seen.append(name)
        outputs = case.session.run(name, {key: tf.make_ndarray(value) for key, value in request.inputs.items()})
        assert all(len(value) == 1 and np.all(np.isfinite(value)) for value in outputs.values())
    assert sorted(seen) == sorted(case.names)


def test_metadata_is_complete_and_the_spaces_come_back(case):
    metadata, family = store.read_metadata(case.directory), case.learner.family
    assert METADATA.items() <= metadata.items()
    assert metadata["format"] == signatures.FORMAT
    assert (metadata["family"], metadata["algorithm"]) == (family.name, case.learner.name_in_registry)
    assert metadata["config"] == json.loads(json.dumps(vars(case.learner.config)))
    assert space_from_metadata(metadata["observation_space"]) == to_gym_space(family.observation_space)
    assert space_from_metadata(metadata["action_space"]) == to_gym_space(family.action_space)
    assert metadata["distribution"] == case.distribution.kind and metadata["horizon"] == family.horizon
    kind, online = case.learner.memory_kind, case.learner.online
    assert metadata["memory"] == {"kind": kind, "size": case.initial.size, "online": online}
    assert store.verify(case.directory)


def test_a_published_copy_plays_the_adapted_memory(case, tmp_path):
    adapted = case.run(signatures.ADAPT)["memory"][1]
    copy = store.publish(case.directory, tmp_path / "small-task", adapted, {"name": "small-task"})
    assert store.verify(copy) and store.read_metadata(copy)["name"] == "small-task"
    published = Session(copy)
    initial = example_inputs(case.learner, signatures.INITIAL_MEMORY)
    assert np.array_equal(published.run(signatures.INITIAL_MEMORY, initial)["memory"], np.tile(adapted, (4, 1)))
    if case.feed_forward:
        inputs = example_inputs(case.learner, signatures.STEP) | {"memory": np.tile(adapted, (4, 1))}
        step = case.session.run(signatures.STEP, inputs)
        act = published.run(signatures.ACT, {"observations": inputs["observations"]})
        before = case.session.run(signatures.ACT, {"observations": inputs["observations"]})
        for name in case.distribution.parameters:
            np.testing.assert_allclose(act[name], step[name], **CLOSE)
        changed = any(np.any(np.abs(act[name] - before[name]) > 1e-3) for name in case.distribution.parameters)
        assert changed == (case.learner.memory_kind != "none")


FRESH = """
import sys
import numpy as np
import tensorflow as tf

for directory in sys.argv[1:]:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], directory + "/small/1")
        with np.load(directory + "/inputs.npz") as archive:
            inputs = dict(archive)
        outputs = {}
        for name in {key.split("/")[0] for key in inputs}:
            definition = loaded.signature_def[name]
            feeds = {info.name: inputs[name + "/" + key] for key, info in definition.inputs.items()}
            found = session.run({key: info.name for key, info in definition.outputs.items()}, feeds)
            outputs |= {name + "/" + key: value for key, value in found.items()}
    np.savez(directory + "/outputs.npz", **outputs)
assert not [name for name in sys.modules if name.split(".")[0] in ("metazoo", "keras")], "needs our code"
"""


def test_a_process_without_our_code_answers_the_same(cases):
    directories, chosen = [], [cases(*one) for one in QUICK]
    for case in chosen:
        directories.append(case.directory.parent.parent)
        flat = {
            f"{name}/{key}": value for name in case.names for key, value in example_inputs(case.learner, name).items()
        }
        np.savez(directories[-1] / "inputs.npz", **flat)
    subprocess.run([sys.executable, "-c", FRESH, *map(str, directories)], check=True)
    for case, directory in zip(chosen, directories, strict=True):
        with np.load(directory / "outputs.npz") as outputs:
            ours = {f"{name}/{key}": value for name in case.names for key, value in case.run(name).items()}
            assert set(outputs) == set(ours)
            for name, value in ours.items():
                np.testing.assert_allclose(outputs[name], value, err_msg=name, **MAGNIFIED)


@pytest.mark.parametrize("step_sizes", ["fixed", "scalar"])
def test_other_kinds_of_step_sizes_are_exported_too(tmp_path, step_sizes):
    settings = {"step_sizes": step_sizes, "inner_steps": 2, "step_sizes_per_step": 1}
    learner, directory = export_small(tmp_path, "maml", "categorical", **settings)
    inputs = example_inputs(learner, signatures.ADAPT)
    answer = Session(directory).run(signatures.ADAPT, inputs)
    timed = made_up_episodes(learner.family, 4, 3, seed=0)
    after, _ = learner.adapt(learner.current_weights(), tf.constant(inputs["memory"])[:, None], timed)
    np.testing.assert_allclose(answer["memory"], after[:, 0], **CLOSE)


def test_an_export_never_overwrites(case):
    before = sorted(case.directory.rglob("*"))
    with pytest.raises(FileExistsError, match="never overwritten"):
        export(case.learner, case.directory, METADATA)
    assert sorted(case.directory.rglob("*")) == before


def test_a_failed_export_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        export(small_learner("maml", "categorical"), tmp_path / "small" / "1", {"evaluation": float("nan")})
    assert [*(tmp_path / "small").iterdir()] == []
