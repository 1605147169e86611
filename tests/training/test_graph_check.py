"""The static check of an exported graph."""

import pytest
import tensorflow as tf

from metazoo.training.export import ExportError, check_graph


def save_function(directory, function, **options):
    module = tf.Module()
    module.f = tf.function(function, input_signature=[tf.TensorSpec([None], name="x")], autograph=False, **options)
    tf.saved_model.save(module, str(directory), signatures=module.f)
    return directory


def test_the_graph_check_accepts_plain_graphs_and_refuses_what_tf_serving_cannot_run(tmp_path):
    check_graph(save_function(tmp_path / "plain", lambda x: {"y": 2 * x}))
    with pytest.raises(ExportError, match="XLA"):
        check_graph(save_function(tmp_path / "xla", lambda x: {"y": 2 * x}, jit_compile=True))
    inner = tf.function(lambda x: 2 * x, jit_compile=True)
    with pytest.raises(ExportError, match="XLA"):
        check_graph(save_function(tmp_path / "inner", lambda x: {"y": inner(x)}))
    with pytest.raises(ExportError, match="PyFunc"):
        check_graph(save_function(tmp_path / "py", lambda x: {"y": tf.py_function(lambda v: v, [x], tf.float32)}))
    with pytest.raises(ExportError, match="PyFunc"):
        check_graph(save_function(tmp_path / "numpy", lambda x: {"y": tf.numpy_function(lambda v: v, [x], tf.float32)}))


def test_functions_that_no_signature_calls_do_not_matter(tmp_path):
    module, spec = tf.Module(), [tf.TensorSpec([None], name="x")]
    module.fast = tf.function(lambda x: 2 * x, input_signature=spec, jit_compile=True, autograph=False)
    module.python = tf.function(lambda x: tf.py_function(lambda v: v, [x], tf.float32), input_signature=spec)
    module.f = tf.function(lambda x: {"y": 3 * x}, input_signature=spec, autograph=False)
    tf.saved_model.save(module, str(tmp_path), signatures=module.f)
    check_graph(tmp_path)
