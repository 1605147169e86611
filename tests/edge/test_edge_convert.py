"""From SavedModels to LiteRT: builtins only, fixed shapes, the same answers."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import metazoo
from metazoo.edge import blocks, check, compact, convert, export, loops, runtime
from metazoo.edge.einsum import einsum
from metazoo.edge.errors import ConversionError
from metazoo.edge.replacements import REPLACEMENTS
from metazoo.edge.retrace import Graph, operation
from tests.exports import HORIZON, export_small

pytest.importorskip("ai_edge_litert")

LEARNED = [
    ("maml", "categorical"),
    pytest.param("promp", "gaussian", marks=pytest.mark.slow),
    ("rl2", "categorical"),
    ("domain_randomised", "gaussian"),
]
"""One of every kind of memory, and both distributions."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return metazoo.load(export_small(tmp_path_factory.mktemp("models"), "maml", "categorical")[1])


@pytest.mark.parametrize(("algorithm", "kind"), LEARNED)
def test_a_policy_of_every_kind_answers_as_its_savedmodel_with_builtins_only(tmp_path, algorithm, kind):
    policy = metazoo.load(export_small(tmp_path, algorithm, kind)[1])
    content, metadata = runtime._read(policy.export_litert(tmp_path / "policy.tflite"))
    differences = export.compare(policy.source(), content, inputs=20, seed=7)
    acts = {"act"} if policy.metadata["memory"]["kind"] != "recurrent" else set()
    assert differences.keys() == {"initial_memory", "step", "adapt"} | acts
    check.require_equal(differences)
    assert not {"CUSTOM", "DELEGATE"} & set(convert.builtin_operations(content))
    assert metadata["edge"]["episodes"] == 3
    assert metadata["edge"]["steps"] == HORIZON


def test_shapes_are_fixed_as_asked_for(tmp_path, policy):
    device = metazoo.edge.Policy(policy.export_litert(tmp_path / "policy.tflite", episodes=2, steps=4))
    assert (device.episodes, device.steps) == (2, 4)
    assert device._specs["adapt"]["observations"] == ((1, 2, 4, 4), np.float32)
    assert device._specs["adapt"]["mask"] == ((1, 2, 4), np.float32)
    assert all(shape[0] == 1 for specs in device._specs.values() for shape, _ in specs.values())


def test_an_adapted_policy_takes_its_memory_with_it(tmp_path, policy):
    other = policy.__copy__()
    other.memory = policy.memory + 1.0
    device = metazoo.edge.Policy(other.export_litert(tmp_path / "policy.tflite"))
    np.testing.assert_array_equal(device.memory, other.memory)
    observation = np.array([[0.1, -0.2, 0.3, -0.4]], np.float32)
    mode = device.run("act", observations=observation)["logits"]
    np.testing.assert_allclose(mode, policy.step(**_step_inputs(observation, other.memory))["logits"], atol=1e-5)


def test_a_published_policy_exports_as_its_meta_policy_does(tmp_path, policy):
    other = policy.__copy__()
    other.memory = policy.memory - 0.5
    published = metazoo.load(other.publish(tmp_path / "adapted", task="cart"))
    device = metazoo.edge.Policy(published.export_litert(tmp_path / "policy.tflite"))
    np.testing.assert_array_equal(device.memory, other.memory)
    assert device.metadata["name"] == "small-cart"


def test_a_model_that_answers_otherwise_is_not_written(tmp_path, policy, monkeypatch):
    honest = convert.to_litert

    def wrong(model, memory, sizes):
        return honest(model, memory * 1.001, sizes)

    monkeypatch.setattr(convert, "to_litert", wrong)
    with pytest.raises(ConversionError, match="differs from the SavedModel's"):
        policy.export_litert(tmp_path / "policy.tflite")
    assert not list(tmp_path.iterdir())


def test_another_action_is_a_difference():
    answers = [{"actions": np.array([place])} for place in (0, 1)]
    with pytest.raises(ConversionError, match=r"actions \[0\]; the SavedModel answers \[1\]"):
        check._difference("step", *answers)
    with pytest.raises(ConversionError, match="differs"):
        check.require_equal({"step": check.Found(float("nan"), float("nan"))})


@pytest.mark.parametrize(("episodes", "steps", "word"), [(0, None, "episodes is 0"), (None, -1, "steps is -1")])
def test_sizes_below_one_are_refused(tmp_path, policy, episodes, steps, word):
    with pytest.raises(ValueError, match=word):
        policy.export_litert(tmp_path / "policy.tflite", episodes, steps)
    assert not list(tmp_path.iterdir())


def test_a_graph_that_cannot_be_converted_is_one_sentence(tmp_path):
    class Odd(tf.Module):
        def __init__(self):
            super().__init__()
            self.memory = tf.Variable([0.0])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "rows")])
        def initial_memory(self, rows):
            drawn = tf.random.stateless_binomial([1, 1], [1, 2], 9.0, tf.cast(rows[0], tf.float32) * 0.1)
            return {"memory": self.memory[None] + tf.cast(drawn, tf.float32)}

    odd = Odd()
    tf.saved_model.save(odd, str(tmp_path / "odd"), signatures={"initial_memory": odd.initial_memory})
    with pytest.raises(ConversionError, match=r"^LiteRT's converter refuses the policy: .*Binomial") as error:
        convert.to_litert(tf.saved_model.load(str(tmp_path / "odd")), np.zeros(1, np.float32), convert.Sizes(1, 1))
    assert "\n" not in str(error.value)
    shutil.rmtree(tmp_path / "odd")


def test_compact_changes_no_answer(policy):
    kept = {}

    def remember(content):
        kept["whole"] = content
        return compact.compact(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "compact", remember)
        small = convert.to_litert(policy._model, policy.memory, convert.Sizes(3, 200))
    assert len(small) < 0.8 * len(kept["whole"])
    whole, ours = (export.interpreted(content) for content in (kept["whole"], small))
    rng = np.random.default_rng(0)
    for name, runner in whole.items():
        specs = {key: (tuple(one["shape"]), one["dtype"]) for key, one in runner.get_input_details().items()}
        given = check.random_inputs(name, specs, policy.metadata, rng, policy.source().answer)
        expected, found = runner(**given), ours[name](**given)
        assert expected.keys() == found.keys()
        for output in expected:
            np.testing.assert_array_equal(found[output], expected[output])


# --- the pieces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("tmei,tmej->mij", [(5, 1, 3, 4), (5, 1, 3, 2)]),
        ("tmei,tme->mi", [(5, 1, 3, 4), (5, 1, 3)]),
        ("tmei,mi->tme", [(5, 1, 3, 4), (1, 4)]),
        ("...a,ba->...b", [(2, 3, 4), (5, 4)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bij,bkj->kbi", [(2, 3, 4), (2, 5, 4)]),
        ("ij,k->ijk", [(3, 4), (2,)]),
        ("ij->j", [(3, 4)]),
        ("ij,jk->i", [(3, 4), (4, 5)]),
        ("ij,ij->", [(3, 4), (3, 4)]),
    ],
)
def test_einsum_is_tensorflows(equation, shapes):
    rng = np.random.default_rng(0)
    operands = [tf.constant(rng.standard_normal(shape), tf.float32) for shape in shapes]
    np.testing.assert_allclose(einsum(equation, *operands), tf.einsum(equation, *operands), rtol=1e-5, atol=1e-5)


def test_einsum_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="ii->i"):
        einsum("ii->i", tf.eye(3))


def as_nodes(function) -> list:
    return function.get_concrete_function().graph.as_graph_def().node


def traced(function, *values) -> list[np.ndarray]:
    """A function of tensors through ``Graph``, with the values not known before it runs."""
    specs = [tf.TensorSpec(value.shape, value.dtype) for value in values]
    concrete = tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
    definition = concrete.function_def
    library = {one.signature.name: one for one in concrete.graph.as_graph_def().library.function}
    graph = Graph({**library, definition.signature.name: definition})
    again = tf.function(lambda *given: graph.call(definition.signature.name, given), input_signature=specs)
    return [value.numpy() for value in again(*map(tf.constant, values))]


def positive_matrix(size: int) -> np.ndarray:
    half = np.random.default_rng(size).standard_normal((2 * size, size))
    return (half.T @ half / size + 0.01 * np.eye(size)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 4, 12, 44])
def test_the_little_regression_is_solved_as_tensorflow_does(size):
    matrix, right = positive_matrix(size), np.arange(size, dtype=np.float32)[:, None] / size
    solve = lambda a, b: tf.linalg.cholesky_solve(tf.linalg.cholesky(a), b)  # noqa: E731
    (found,) = traced(solve, matrix[None], right[None])
    np.testing.assert_allclose(found, solve(matrix[None], right[None]), rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(matrix @ found[0], right, atol=2e-4)


def test_every_triangular_system_is_solved():
    lower = np.linalg.cholesky(positive_matrix(6)).astype(np.float32)
    right = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
    for adjoint in (False, True):
        for matrix, is_lower in ((lower, True), (np.ascontiguousarray(lower.T), False)):
            solve = lambda a, b, i=is_lower, t=adjoint: tf.linalg.triangular_solve(a, b, i, t)  # noqa: E731
            (found,) = traced(solve, matrix, right)
            np.testing.assert_allclose(found, solve(matrix, right), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x[:, None, 1:3],
        lambda x: x[..., None],
        lambda x: x[..., 0],
        lambda x: x[-1],
        lambda x: x[::2, ..., -2:],
        lambda x: x[1:, 0, None],
        lambda x: x[..., ::-1],
    ],
)
def test_slices_are_tensorflows(cut):
    values = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    np.testing.assert_array_equal(traced(cut, values)[0], cut(tf.constant(values)))


def test_a_slice_whose_place_is_found_out_later():
    values, place = np.arange(12, dtype=np.float32).reshape(4, 3), np.array(2, np.int32)
    np.testing.assert_array_equal(traced(lambda x, i: x[i], values, place)[0], values[2])
    with pytest.raises(ConversionError, match="its range is not known before it runs"):
        traced(lambda x, i: x[:i], values, place)


def test_losses_and_their_gradients_are_tensorflows():
    logits = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    labels = np.array([0, 2, 1, 1, 0], np.int32)

    def both(logits, labels):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            hidden = tf.nn.bias_add(tf.nn.relu(tf.tanh(logits)) + tf.sigmoid(logits) + 1.0 / logits, tf.ones([3]))
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, hidden)
        return loss, tape.gradient(loss, logits)

    expected = both(tf.constant(logits), tf.constant(labels))
    for ours, theirs in zip(traced(both, logits, labels), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mask", [1, 0xFFF, 0xFFFF])
def test_the_lowest_bits(mask):
    words = np.array([0, 1, 0xFFFFFFFF, 0x12345678, 0xDEADBEEF], np.uint32)
    lowest = lambda word: tf.bitwise.bitwise_and(word, tf.constant(mask, tf.uint32))  # noqa: E731
    np.testing.assert_array_equal(traced(lowest, words)[0], words & mask)


def test_other_masks_are_refused():
    words = np.array([1, 2], np.uint32)
    with pytest.raises(ConversionError, match="not one of the lowest bits"):
        traced(lambda word: tf.bitwise.bitwise_and(word, tf.constant(6, tf.uint32)), words)


def test_loops_of_one_turn_are_unrolled_and_others_are_not():
    def summed(values):
        start = (0, tf.zeros([3]))
        turns = values.shape[0]
        return tf.while_loop(lambda i, _: i < turns, lambda i, total: (i + 1, total + values[i]), start)[1]

    for turns in (1, 4):
        values = np.arange(3.0 * turns, dtype=np.float32).reshape(turns, 3)
        np.testing.assert_array_equal(traced(summed, values)[0], values.sum(0))


def test_a_loop_that_never_turns():
    never = lambda x: tf.while_loop(lambda i, _: i < 0, lambda i, y: (i + 1, y * 2), (0, x))[1]  # noqa: E731
    np.testing.assert_array_equal(traced(never, np.ones(2, np.float32))[0], [1, 1])


def states(values, backwards=False, reads=False):
    """The running sums of ``values [n, k]``, each written into a list."""
    steps = values.shape[0]
    start, end, step = (steps - 1, -1, -1) if backwards else (0, steps, 1)

    def turn(i, total, array):
        total = 0.5 * total + values[i]
        if reads:
            total += array.read(tf.maximum(i - 1, 0)) * tf.cast(i > 5, tf.float32)
        return i + step, total, array.write(i, total)

    array = tf.TensorArray(tf.float32, steps, element_shape=[values.shape[1]], clear_after_read=False)
    if reads:
        array = array.unstack(tf.zeros_like(values))
    return tf.while_loop(lambda i, *_: i != end, turn, (start, tf.zeros([values.shape[1]]), array))[2].stack()


@pytest.mark.parametrize("options", [{}, {"backwards": True}, {"reads": True}], ids=str)
@pytest.mark.parametrize("steps", [5, 100, 157])
def test_long_lists_are_written_in_blocks(steps, options, monkeypatch):
    """Of 157 entries the last block is not full; loops that go back, or read their list, stay as they are."""
    ran = []
    honest = blocks.run
    monkeypatch.setattr(blocks, "run", lambda *arguments: ran.append(1) or honest(*arguments))
    monkeypatch.setattr(blocks, "LONG", 4 * 6 * 100)
    values = np.random.default_rng(0).standard_normal((steps, 6)).astype(np.float32)
    (found,) = traced(lambda x: states(x, **options), values)
    np.testing.assert_allclose(found, states(tf.constant(values), **options), rtol=1e-5, atol=1e-5)
    assert bool(ran) == (steps >= 100 and not options)


def test_lists_are_tensors():
    mapped = lambda x: tf.map_fn(lambda row: row * 2.0, x)  # noqa: E731
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(traced(mapped, values)[0], 2 * values)
    assert loops.ListOf(3).entries is None


def test_constants_are_computed_at_once():
    (node,) = [one for one in as_nodes(tf.function(lambda: tf.range(4) + 1, autograph=False)) if one.op == "AddV2"]
    (found,) = operation(node, [np.arange(4, dtype=np.int32), np.array(1, np.int32)])
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [1, 2, 3, 4]
    assert "AddV2" not in REPLACEMENTS


def _step_inputs(observation, memory):
    return {
        "observations": observation,
        "previous_actions": np.zeros(1, np.int32),
        "previous_rewards": np.zeros(1, np.float32),
        "previous_done": np.zeros(1, bool),
        "memory": memory[None],
        "seed": np.zeros(1, np.int32),
        "deterministic": np.ones(1, bool),
    }
