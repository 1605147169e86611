"""Adapted policies share their parent's graph, and nobody can tell."""

import gc

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from metazoo.artefact import graphs, signatures, store
from serving.engine.batch_parameters import Limits
from serving.engine.program import Program
from serving.engine.servable import Loader, own_signatures
from serving.engine.signature import Immediate, Signature
from serving.errors import ServingError
from tests import toy_policy


@pytest.fixture
def published(models):
    """Two policies adapted from the toy policy, with random memories."""
    paths = []
    for name in ("a", "b"):
        memory = np.random.default_rng(len(paths)).normal(size=toy_policy.SIZE)
        paths.append(store.publish(models / "toy" / "1", models / f"toy-{name}", memory, {"name": f"toy-{name}"}))
    return paths


def test_adapted_policies_share_one_program(models, published):
    load = Loader()
    parent = load("toy", 1, models / "toy" / "1")
    children = [load(path.parent.name, 1, path) for path in published]
    assert {id(child.program) for child in children} == {id(parent.program)}
    assert [child.metadata["name"] for child in children] == ["toy-a", "toy-b"]


def test_a_shared_program_answers_as_an_own_one(models, published):
    load = Loader()
    kept = load("toy", 1, models / "toy" / "1")
    for path in published:
        shared, own = load("x", 1, path), Program(path, Limits())
        assert shared.program is kept.program
        for name in ("act", "serving_default", "initial_memory", "step", "adapt"):
            for rows in (1, 5):
                inputs = toy_policy.example_inputs(name, rows=rows)
                expected = own.signatures[name].run(inputs)
                answer = shared.signatures[name].run(inputs)
                assert answer.keys() == expected.keys()
                for key, value in expected.items():
                    assert answer[key].dtype == value.dtype
                    np.testing.assert_allclose(answer[key], value, rtol=1e-6, atol=1e-6)
        only = shared.signatures["act"].run(toy_policy.example_inputs("act"), ("logits",))
        assert list(only) == ["logits"]
        with pytest.raises(ServingError, match="Matrix size-incompatible"):
            shared.signatures["act"].run({"observations": np.zeros((1, 3), np.float32)})


def test_other_weights_are_another_program(models, tmp_path):
    """The memory may differ, nothing else: not the graph, not another variable."""
    ballast = toy_policy.export_toy(tmp_path / "more" / "1", pad_bytes=8)
    load = Loader()
    parent, other = load("toy", 1, models / "toy" / "1"), load("more", 1, ballast)
    assert parent.program is not other.program
    tensors = store.read_checkpoint(ballast)
    (key,) = (key for key in tensors if key.startswith("ballast"))
    tensors[key] = tensors[key] + 1
    (ballast / signatures.CHECKSUMS_FILE).unlink()
    store.write_checkpoint(ballast / "variables" / "variables", tensors)
    assert load("more", 2, ballast).program is not other.program


def test_a_version_replaced_in_place_is_not_confused(published):
    """Same path, other memory, while the old program is still alive."""
    load = Loader()
    first = load("a", 1, published[0])
    base = published[0].parent
    store.delete_model(base)
    again = store.publish(published[1], base, np.ones(toy_policy.SIZE), {})
    assert again == published[0]
    second = load("a", 1, again)
    assert second.program is first.program
    rows = {"rows": np.zeros(2, np.int32)}
    np.testing.assert_array_equal(second.signatures["initial_memory"].run(rows)["memory"], np.ones((2, 11)))


def test_programs_are_released_with_their_last_servable(models, published):
    load = Loader()
    servables = [load("toy", 1, models / "toy" / "1"), load("a", 1, published[0])]
    assert len(load._programs) == 1
    servables.pop(0)
    gc.collect()
    assert len(load._programs) == 1
    servables.clear()
    gc.collect()
    assert len(load._programs) == 0


def test_continuous_actions_are_clipped_as_act_does():
    """`step` gives the raw mode; `act` of a shared program clips it to the action space."""
    program = Gaussian()
    metadata = {"action_space": {"type": "Box", "shape": [2], "dtype": "float32", "low": [-1, -2], "high": 1}}
    own = own_signatures(program, np.zeros(2, np.float32), metadata)
    answer = own["act"].run({"observations": np.array([[-9, 0.5, 9]], np.float32)})
    np.testing.assert_array_equal(answer["actions"], [[-1, 0.5]])
    np.testing.assert_array_equal(answer["loc"], [[-9, 0.5]])


class Gaussian:
    """Stands for a program with a two-dimensional Gaussian policy whose mode is the first two observations."""

    path = memory = None

    def __init__(self):
        def step(feeds, outputs, timeout_ms):
            mode = feeds["observations"][:, :2]
            assert feeds["deterministic"].all() and feeds["previous_actions"].shape == mode.shape
            answer = {"actions": mode, "loc": mode, "scale": np.ones_like(mode)}
            return {name: answer[name] for name in outputs}

        def define(inputs, outputs):
            definition = meta_graph_pb2.SignatureDef()
            for name in inputs:
                info = definition.inputs[name]
                info.dtype = 1
                for size in (-1, 2):
                    info.tensor_shape.dim.add(size=size)
            for name in outputs:
                definition.outputs[name].dtype = 1
            return definition

        names = [argument.name for argument in signatures.STEP_INPUTS]
        outputs, step = ["actions", "loc", "scale"], Immediate(step)
        self.signatures = {
            "step": Signature("step", define(names, outputs), step),
            "act": Signature("act", define(["observations"], outputs), step),
            "initial_memory": Signature("initial_memory", define(["rows"], ["memory"]), step),
        }


def test_an_unreadable_checkpoint_is_refused(models):
    path = models / "toy" / "1"
    (path / signatures.CHECKSUMS_FILE).unlink()
    (path / "variables" / "variables.index").write_bytes(b"nonsense")
    with pytest.raises(ServingError, match="cannot be read") as caught:
        Loader()("toy", 1, path)
    assert caught.value.code.name == "DATA_LOSS"


# --- who may share a program -------------------------------------------------------------------------------------

ROWS = tf.TensorSpec([None], tf.int32, name="rows")
OBSERVATIONS = toy_policy.spec("observations", tf.float32, toy_policy.OBSERVATIONS)


def signature(function, *specs):
    return tf.function(function, input_signature=specs or [ROWS], autograph=False)


def norm(policy):
    """A fourth signature that reads the policy's own memory."""
    return {"norm": signature(lambda rows: {"norm": tf.norm(policy.memory) + 0.0 * tf.cast(rows, tf.float32)})}


def deep(policy):
    """The same, through calls within calls, a condition and a loop."""
    inner = tf.function(lambda scale: scale * tf.reduce_sum(policy.memory), autograph=False)
    middle = tf.function(lambda rows: tf.cond(rows[0] >= 0, lambda: inner(2.0), lambda: inner(3.0)), autograph=False)

    def outer(rows):
        return {"norm": tf.while_loop(lambda i, _: i < 2, lambda i, x: (i + 1, x + middle(rows)), (0, 0.0))[1]}

    return {"norm": signature(outer)}


def step_with_secrets(policy):
    """``step`` adds its own memory to the one that it is given."""
    specs = policy.step.input_signature

    def step(observations, *rest):
        answer = policy.step(observations, *rest)
        return {**answer, "logits": answer["logits"] + 0.0 * policy.memory[0]}

    return {signatures.STEP: signature(step, *specs)}


def counts(policy):
    """A signature that leaves something behind."""
    policy.count = tf.Variable(0.0)
    return {"norm": signature(lambda rows: {"norm": policy.count.assign_add(1.0) + tf.cast(rows, tf.float32)})}


def forgets(policy):
    """A signature that writes the policy's own memory."""
    return {"norm": signature(lambda rows: {"norm": tf.reduce_sum(policy.memory.assign(0.0 * policy.memory))})}


def another_default(policy):
    """``serving_default`` has the names of ``act``, and is another function."""

    def default(observations):
        answer = policy.act(observations)
        return {**answer, "logits": 2.0 * answer["logits"]}

    return {signatures.SERVING_DEFAULT: signature(default, OBSERVATIONS)}


def another_act(policy):
    """``act`` that is not what ``step`` would do."""

    def act(observations):
        answer = policy.act(observations)
        return {**answer, "actions": 1 - answer["actions"]}

    act = signature(act, OBSERVATIONS)
    return {signatures.ACT: act, signatures.SERVING_DEFAULT: act}


def another_start(policy):
    """``initial_memory`` that is not the variable."""
    return {signatures.INITIAL_MEMORY: signature(lambda rows: {"memory": tf.tile(1.0 + policy.memory[None], [1, 1])})}


def harmless(policy):
    """A fourth signature that has nothing to do with the memory, though a dead read of it stands in its graph."""

    def double(rows):
        tf.convert_to_tensor(policy.memory)
        return {"norm": 2.0 * tf.cast(rows, tf.float32)}

    return {"norm": signature(double)}


UNSAFE = [norm, deep, step_with_secrets, counts, forgets, another_default, another_act, another_start]


@pytest.mark.parametrize(
    "more",
    [pytest.param(more, marks=pytest.mark.slow if more in (norm, counts) else ()) for more in [*UNSAFE, harmless]],
    ids=lambda more: more.__name__,
)
def test_every_signature_answers_with_the_policys_own_memory(more, tmp_path):
    """As a program of its own does, whatever the signatures are; only those share for whom it makes no difference."""
    parent = toy_policy.export_toy(tmp_path / "toy" / "1", more=more)
    child = store.publish(parent, tmp_path / "toy-0", np.full(toy_policy.SIZE, 0.25, np.float32), {})
    load = Loader()
    servables = [load("toy", 1, parent), load("toy-0", 1, child)]
    again = load("twin", 1, store.publish(parent, tmp_path / "twin", store.read_memory(parent), {}))
    for servable in [*servables, again]:
        alone = Program(servable.path, Limits())
        for _ in range(2):
            for name in alone.signatures.keys() - {graphs.INIT_SIGNATURE}:
                rows = {"rows": np.arange(2, dtype=np.int32)}
                inputs = rows if name == "norm" else toy_policy.example_inputs(name, rows=1)
                expected = alone.signatures[name].run(inputs)
                for key, value in servable.signatures[name].run(inputs).items():
                    np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=1e-6, err_msg=f"{name}: {key}")
    programs = {id(servable.program) for servable in servables}
    assert len(programs) == (1 if more is harmless else 2)


def test_only_signatures_of_the_contract_share_batches(tmp_path):
    """Of others nobody knows whether a row depends on its neighbours."""
    path = toy_policy.export_toy(tmp_path / "toy" / "1", more=norm)
    program = Program(path, Limits(), merges=True)
    merged = {name for name, one in program.signatures.items() if one._runner._merges}
    assert merged == {"act", "adapt", "initial_memory", "serving_default", "step"}
