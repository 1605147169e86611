"""Averages of policies: every weight lies between, the ends are the policies, and they serve as any other."""

import numpy as np
import pytest

import metazoo
from metazoo.artefact import store
from metazoo.artefact.signatures import MEMORY_CHECKPOINT_KEY
from metazoo.averaging import average
from metazoo.pretrained import load
from tests.exports import export_small

RATES = "parameters/0/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two policies that differ in weights and step sizes: the second is the first with other numbers."""
    one = export_small(tmp_path_factory.mktemp("one"), "maml", "categorical")[1]
    tensors = store.read_checkpoint(one)
    rng = np.random.default_rng(0)
    memory = tensors[MEMORY_CHECKPOINT_KEY] + rng.standard_normal(tensors[MEMORY_CHECKPOINT_KEY].shape)
    memory[-1] = 0.0
    rates = {RATES: tensors[RATES] + rng.standard_normal(tensors[RATES].shape).astype(np.float32)}
    other = store.publish(one, tmp_path_factory.mktemp("other") / "small", memory.astype(np.float32), {}, rates)
    return load(one), load(other)


def variables(policy):
    return {name: policy_value for name, policy_value in store.read_checkpoint(policy.directory).items()
            if name in (MEMORY_CHECKPOINT_KEY, RATES)}  # fmt: skip


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_every_variable_lies_between(pair, tmp_path, alpha):
    mixed, (one, other) = average(*pair, alpha, tmp_path), map(variables, pair)
    assert mixed.directory == tmp_path / "small-average" / "1" and store.verify(mixed.directory)
    for name, value in variables(mixed).items():
        np.testing.assert_allclose(value, alpha * one[name] + (1 - alpha) * other[name], rtol=1e-6, atol=1e-7)
    observations = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    end = pair[0] if alpha == 1.0 else pair[1]
    assert np.array_equal(mixed.act(observations, False), end.act(observations, False)) or alpha == 0.25


def test_a_count_of_inner_steps_is_not_averaged(pair, tmp_path):
    meta, fields = pair[0], dict(pair[0].metadata)
    adapted = type(meta)(meta.directory, fields, meta._model, meta.memory + np.eye(meta.memory.size)[-1])
    counts = [average(adapted, meta, alpha, tmp_path).memory[-1] for alpha in (0.4, 0.5, 0.9)]
    assert counts == [0.0, 1.0, 1.0]


def test_the_metadata_names_the_parents_and_forgets_their_figures(pair, tmp_path):
    metadata = metazoo.average(*pair, 0.25, tmp_path).metadata
    assert metadata["name"] == "small-average" and metadata["evaluation"] == {}
    assert [parent["share"] for parent in metadata["averaged"]] == [0.25, 0.75]
    assert [parent["name"] for parent in metadata["averaged"]] == ["small", "small"]


def test_what_does_not_fit_is_refused(pair, tmp_path):
    gaussian = load(export_small(tmp_path, "maml", "gaussian")[1])
    with pytest.raises(ValueError, match=r"small and small differ in family \(cartpole and navigation\)"):
        average(pair[0], gaussian, 0.5, tmp_path)
    with pytest.raises(ValueError, match=r"alpha is 1.5; it must lie in \[0, 1\]"):
        average(*pair, 1.5, tmp_path)
    assert not (tmp_path / "small-average").exists()
