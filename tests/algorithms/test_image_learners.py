"""Learners of few-shot classification: losses by hand, prototypes by definition, and what an exported one answers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo import classifiers, evaluation, losses, random
from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.learner import agent_of, updates
from metazoo.algorithms.prototypical import UNSEEN, Prototypical
from metazoo.algorithms.registry import LEARNERS
from metazoo.artefact import signatures
from metazoo.policies.networks import network_for
from metazoo.policies.policy import Policy
from metazoo.pretrained import load
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.images import pictures
from metazoo.training.export import export
from tests.algorithms.problems import small_policy
from tests.exports import Session
from tests.images import Pictures, write_folder

FAMILY = Pictures(ways=3, shots=2, queries=2)
BY_GRADIENT = ("maml", "anil", "meta_sgd", "reptile")
SETTINGS = {"maml": {"inner_rate": 0.3}, "anil": {"inner_rate": 0.3}, "reptile": {"inner_rate": 0.1, "inner_steps": 4}}


def learner_for(algorithm, **settings):
    head = algorithm != "prototypical"
    model = network_for(FAMILY.observation_space, FAMILY.action_space, blocks=1, filters=4, head=head, seed=1)
    config = LEARNERS[algorithm].config_class(tasks=4, **{**SETTINGS.get(algorithm, {}), **settings})
    return LEARNERS[algorithm](Policy(model, FAMILY.observation_space, FAMILY.action_space), FAMILY, config)


def test_cross_entropy_is_minus_the_mean_log_probability_of_what_was_played():
    log_probs = tf.math.log([[0.5, 0.25, 0.1]])
    assert float(losses.cross_entropy(log_probs, tf.constant([[1.0, 1.0, 0.0]]))) == pytest.approx(1.5 * np.log(2))


def test_the_inner_step_is_one_of_cross_entropy_on_the_support_set():
    learner = learner_for("maml", step_sizes="fixed")
    weights = learner.current_weights()
    support, _ = learner.collect(weights, FAMILY.sample(4, "train"), random.key(1))
    memory = tf.broadcast_to(learner.initial_memory(weights), [4, 1, learner.memory_size])
    after, said = learner.adapt(weights, memory, support)
    theta = learner.policy.flat_weights()
    for m in range(4):
        shown, labels = tf.cast(support.observations[:, m, 0], tf.float32), support.actions[:, m, 0]
        with tf.GradientTape() as tape:
            tape.watch(theta)
            logits = learner.policy.apply(theta, shown)["logits"]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        np.testing.assert_allclose(after[m, 0, :-1], theta - 0.3 * tape.gradient(loss, theta), atol=1e-5)
        assert float(said["loss"][m]) == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("first_order", [0, 1])
def test_the_outer_loss_is_cross_entropy_on_the_query_set_after_the_step(first_order):
    learner = learner_for("maml", step_sizes="fixed", first_order=first_order, clip_norm=0.0)
    weights = learner.current_weights()
    rounds = learner.collect(weights, FAMILY.sample(4, "train"), random.key(1))
    gradients, said = learner.meta_gradient(weights, learner.prepare(weights, rounds))
    theta, sets = learner.policy.flat_weights(), list(map(inner_loop.shots, rounds))
    with tf.GradientTape() as outer:
        outer.watch(theta)
        total = 0.0
        for m in range(4):
            support, query = (tf.nest.map_structure(lambda field, m=m: field[m], one) for one in sets)
            slope, _, _ = inner_loop.gradient(learner.policy, theta, support, "cross_entropy")
            slope = tf.stop_gradient(slope) if first_order else slope
            logits = learner.policy.apply(theta - 0.3 * slope, tf.cast(query.observations, tf.float32))["logits"]
            total += tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(query.actions, logits)) / 4.0
    np.testing.assert_allclose(learner.policy.flat_weights(gradients), outer.gradient(total, theta), atol=2e-4)
    assert float(said["loss"]) == pytest.approx(float(total), rel=1e-4)


def test_prototypes_are_the_means_of_features_however_often_examples_come():
    learner = learner_for("prototypical")
    weights = learner.current_weights()
    support, query = learner.collect(weights, FAMILY.sample(4, "train"), random.key(1))
    memory = tf.zeros([4, 1, learner.memory_size])
    after, _ = learner.adapt(weights, memory, support)
    features = {}
    for name, one in (("support", support), ("query", query)):
        shown = tf.cast(one.observations[:, :, 0], tf.float32)
        features[name] = learner.policy.apply(learner.policy.flat_weights(), shown)["features"].numpy()
    for m in range(4):
        labels = support.actions[:, m, 0].numpy()
        means = np.stack([features["support"][labels == k, m].mean(0) for k in range(3)])
        distances = ((features["query"][:, m, None] - means[None]) ** 2).sum(-1)
        logits = learner.act(weights, after[m, 0], query.observations[:, m, 0])["logits"]
        np.testing.assert_allclose(logits, -distances, rtol=1e-3, atol=1e-3)
    twice, _ = learner.adapt(weights, after, support)
    one, other = (
        learner.act(weights, memory[0, 0], query.observations[:, 0, 0])["logits"] for memory in (after, twice)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_prototypes_before_any_example_and_of_classes_without():
    learner = learner_for("prototypical")
    weights = learner.current_weights()
    support, query = learner.collect(weights, FAMILY.sample(4, "train"), random.key(1))
    memory = tf.zeros([4, 1, learner.memory_size])
    shown = query.observations[:, 0, 0]
    assert not learner.act(weights, memory[0, 0], shown)["logits"].numpy().any()
    known = tf.cast(support.actions < 2, tf.float32)
    after, _ = learner.adapt(weights, memory, support._replace(mask=support.mask * known))
    logits = learner.act(weights, after[0, 0], shown)["logits"].numpy()
    assert np.all(logits[:, 2] == UNSEEN) and set(logits.argmax(1)) <= {0, 1}


def test_the_loss_of_prototypes_is_that_of_adapting_and_asking():
    learner = learner_for("prototypical")
    weights = learner.current_weights()
    rounds = learner.collect(weights, FAMILY.sample(4, "train"), random.key(1))
    _, said = learner.meta_gradient(weights, learner.prepare(weights, rounds))
    after, _ = learner.adapt(weights, tf.zeros([4, 1, learner.memory_size]), rounds[0])
    query = inner_loop.shots(rounds[1])
    losses_of = [
        tf.nn.sparse_softmax_cross_entropy_with_logits(
            query.actions[m], learner.act(weights, after[m, 0], query.observations[m])["logits"]
        )
        for m in range(4)
    ]
    assert float(said["loss"]) == pytest.approx(float(tf.reduce_mean(losses_of)), rel=1e-4)


def test_pretraining_tells_all_classes_apart_and_fine_tunes_the_head_alone():
    learner = learner_for("pretraining")
    weights, tasks = learner.current_weights(), FAMILY.sample(4, "train")
    rounds = learner.collect(weights, tasks, random.key(1))
    gradients, said = learner.meta_gradient(weights, learner.prepare(weights, rounds))
    names = 4 * tasks.characters + tasks.turns
    total = []
    for m in range(4):
        for one in FAMILY.sets(tasks, random.fold(random.fold(random.key(1), tf.range(4)), 0)):
            labels = tf.cast(tf.gather(names[m], one.actions[:, m, 0]), tf.int32)
            shown = tf.cast(one.observations[:, m, 0], tf.float32)
            features = learner.body.apply(learner.body.flat_weights(), shown)["features"]
            logits = features @ tf.convert_to_tensor(learner.classes.value)
            total.append(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    assert float(said["loss"]) == pytest.approx(float(tf.reduce_mean(tf.concat(total, 0))), rel=1e-4)
    moved = [bool(tf.reduce_any(gradient != 0)) for gradient in gradients]
    assert moved == [True] * len(learner.body.shapes) + [False, False, True]
    support, _ = FAMILY.sets(tasks, random.spread(random.key(2), 4))
    memory = tf.broadcast_to(learner.initial_memory(weights), [4, 1, learner.memory_size])
    after = learner.adapt(weights, memory, support)[0] - memory
    assert not after[..., : learner.frozen].numpy().any() and after[..., learner.frozen : -1].numpy().any()


def test_prototypes_need_classes_and_features():
    navigation = Navigation(5)
    with pytest.raises(ValueError, match="prototypical learns classes; navigation has none, try glyphs"):
        Prototypical(small_policy(navigation, dtype="float32"), navigation)
    model = network_for(FAMILY.observation_space, FAMILY.action_space, blocks=1, filters=2)
    with pytest.raises(ValueError, match="head=False in the network's settings"):
        Prototypical(Policy(model, FAMILY.observation_space, FAMILY.action_space), FAMILY)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [*BY_GRADIENT, "pretraining", "prototypical"])
def test_it_learns_to_tell_made_up_characters_apart(algorithm):
    """Chance is 33 %; held-out characters, after adapting."""
    learner = learner_for(algorithm)
    learner.compile(keras.optimizers.Adam(5e-3), jit_compile=True, threads=1)
    learner.fit(updates(0, 40), shuffle=False, verbose=0)
    steps = 1 if algorithm == "prototypical" else 2
    played, _ = evaluation.play_split(agent_of(learner), FAMILY, "test", 50, 1, steps)
    before, after = played.mean((1, 2))[[0, -1]]
    assert before < 50 < 60 < after


# --- exported ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["maml", "prototypical"])
def exported(request, tmp_path_factory):
    learner = learner_for(request.param)
    metadata = {
        "name": "small", "family_args": {"ways": 3, "shots": 2, "queries": 2}, "adapt": {"episodes": 1, "steps": 1},
        "network": {}, "provenance": {"seed": 0}, "evaluation": {},
    }  # fmt: skip
    directory = tmp_path_factory.mktemp(request.param) / "small" / "1"
    return learner, export(learner, directory, metadata)


@pytest.fixture(scope="module")
def examples():
    support, query = FAMILY.sets(FAMILY.sample(1, "test"), random.spread(random.key(5), 1))
    return tuple((one.observations[:, 0, 0].numpy(), one.actions[:, 0, 0].numpy()) for one in (support, query))


def test_it_adapts_and_acts_under_tf_servings_loader_as_the_learner_does(exported, examples):
    learner, directory = exported
    session, weights = Session(directory), learner.current_weights()
    support, _ = FAMILY.sets(FAMILY.sample(2, "test"), random.spread(random.key(6), 2))
    memory = tf.broadcast_to(learner.initial_memory(weights), [2, 1, learner.memory_size])
    expected, said = learner.adapt(weights, memory, support)
    fields = {
        name: np.asarray(value) if name == "final_observations" else np.moveaxis(np.asarray(value), 0, 2)
        for name, value in support._asdict().items()
    }
    answer = session.run(signatures.ADAPT, {"memory": memory[:, 0].numpy(), **fields})
    np.testing.assert_allclose(answer["memory"], expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(answer["loss"], said["loss"], atol=1e-4)
    shown = examples[0][0]
    logits = session.run(signatures.ACT, {"observations": shown})["logits"]
    np.testing.assert_allclose(logits, learner.act(weights, memory[0, 0], tf.constant(shown))["logits"], atol=1e-4)
    alone = np.concatenate(
        [session.run(signatures.ACT, {"observations": shown[i : i + 1]})["logits"] for i in range(6)]
    )
    np.testing.assert_allclose(logits, alone, atol=1e-5)


def test_encoded_pictures_are_seen_as_arrays_are(exported, examples):
    session, shown = Session(exported[1]), examples[1][0]
    dark_on_light = [tf.io.encode_png(255 - image[..., None]).numpy() for image in shown]
    light_on_dark = [tf.io.encode_png(image[..., None]).numpy() for image in shown]
    by_array = session.run(signatures.ACT, {"observations": shown})
    for content in (dark_on_light, light_on_dark):
        seen = np.stack([pictures.from_bytes(tf.constant(one)).numpy() for one in content])
        expected = [image if border(image) <= 127.5 else 255 - image for image in shown]
        np.testing.assert_array_equal(seen, expected)
    answer = session.run(signatures.ACT_IMAGES, {"image_bytes": np.array(light_on_dark, object)})
    same = np.array([border(image) <= 127.5 for image in shown])
    np.testing.assert_allclose(answer["logits"][same], by_array["logits"][same], atol=1e-5)


def border(image):
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).mean()


def test_a_folder_becomes_a_published_classifier(exported, examples, tmp_path):
    _, directory = exported
    policy = load(directory)
    names, ((shown, labels), (asked, right)) = ("alef", "bet", "gimel"), framed(examples)
    folder = classifiers.read(policy, write_folder(tmp_path / "letters", shown, labels, names))
    assert folder.classes == names and sorted(folder.labels) == sorted(labels)
    adapted = classifiers.adapted_to(policy, folder)
    assert adapted.metadata["adapted"]["classes"] == list(names)
    version = adapted.publish(tmp_path / "out", task="letters")
    served = load(version)
    assert served.metadata["adapted"]["classes"] == list(names)
    np.testing.assert_array_equal(served.act(asked), adapted.act(asked))
    session = Session(version)
    np.testing.assert_array_equal(session.run(signatures.ACT, {"observations": asked})["actions"], served.act(asked))
    found = classifiers.accuracy(adapted, folder._replace(images=asked, labels=right))
    assert found == {"right": int((adapted.act(asked) == right).sum()), "of": len(right)}
    left = classifiers.left_out(policy, folder)
    assert left["of"] == 6 and left["single"] == [] and 0 <= left["right"] <= 6


def framed(examples):
    """With a border without ink, so that paper is told from ink."""
    result = []
    for images, labels in examples:
        images = images.copy()
        images[:, [0, -1]] = 0
        images[:, :, [0, -1]] = 0
        result.append((images, labels))
    return result
