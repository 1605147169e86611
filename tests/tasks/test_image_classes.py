"""N-way K-shot tasks: sets share no drawing, splits no alphabet; turned characters; the set's file."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.rollouts import supervised
from metazoo.tasks.family import per_episode
from metazoo.tasks.images import image_set
from metazoo.types import StepOutputs
from tests.images import ALPHABETS, SET, Pictures

FAMILY = Pictures(ways=4, shots=2, queries=3)
ROWS = {image.tobytes(): (i // 20, i % 20) for i, image in enumerate(SET.images.reshape(-1, 28, 28))}


def whose(images) -> list[tuple[int, int]]:
    """Character and drawing of upright images."""
    return [ROWS[image.tobytes()] for image in np.asarray(images).reshape(-1, 28, 28)]


def test_support_and_query_hold_every_class_as_often_and_no_drawing_twice():
    tasks = FAMILY.sample(5, "test")
    support, query = FAMILY.sets(tasks, random.spread(random.key(1), 5))
    assert support.observations.shape == (8, 5, 1, 28, 28) and query.observations.shape == (12, 5, 1, 28, 28)
    for m in range(5):
        mine = []
        for one, shots in ((support, 2), (query, 3)):
            labels, drawn = one.actions[:, m, 0].numpy(), whose(one.observations[:, m, 0])
            assert np.bincount(labels).tolist() == [shots] * 4
            characters = np.asarray(tasks.characters[m]).astype(int)
            assert [character for character, _ in drawn] == characters[labels].tolist()
            mine += drawn
        assert len(set(mine)) == 20 and len({character for character, _ in mine}) == 4
    assert float(tf.reduce_min(support.mask)) == 1.0 and support.final_observations.shape == (5, 1, 28, 28)


def test_splits_hold_the_characters_of_their_alphabets():
    for split, names in ALPHABETS.items():
        characters = FAMILY.sample(50, split).characters.numpy().astype(int)
        assert set(SET.alphabets[characters.reshape(-1)]) == set(names)
        assert all(len(set(row)) == 4 for row in characters.tolist())


def test_training_characters_are_turned_and_held_out_ones_are_not():
    assert set(FAMILY.sample(50, "train").turns.numpy().reshape(-1)) == {0, 1, 2, 3}
    assert not FAMILY.sample(50, "test").turns.numpy().any()
    assert not Pictures(turned=False).sample(50, "train").turns.numpy().any()
    tasks = FAMILY.sample(6, "train")
    support, _ = FAMILY.sets(tasks, random.spread(random.key(2), 6))
    for m in range(6):
        for image, label in zip(support.observations[:, m, 0].numpy(), support.actions[:, m, 0].numpy(), strict=True):
            upright = np.rot90(image, -int(tasks.turns[m, label]))
            assert whose(upright)[0][0] == int(tasks.characters[m, label])


def test_an_episode_shows_drawings_of_the_label_and_rewards_it():
    task = per_episode(FAMILY.sample(3, "test"))
    state = FAMILY.reset(task, random.spread(random.key(3), 3, 40))
    shown = whose(FAMILY.observe(task, state))
    labels = FAMILY.targets(task, state).numpy()
    means = task.characters.numpy()[:, 0].astype(int)
    assert [character for character, _ in shown] == np.take_along_axis(means, labels, 1).reshape(-1).tolist()
    assert set(labels.reshape(-1)) == {0, 1, 2, 3}
    after = FAMILY.step(task, state, tf.ones((3, 40), tf.int32), tf.zeros((3, 40), tf.uint32))
    np.testing.assert_array_equal(after.rewards, labels == 1)


def test_the_score_is_the_percentage_of_right_labels():
    tasks, key = FAMILY.sample(3, "test"), random.key(4)
    _, query = supervised.rounds(FAMILY, tasks, key, 2)

    def always(label):
        def step(inputs, memory, keys, deterministic):
            return StepOutputs(tf.fill(keys.shape, label), {}, tf.zeros(keys.shape), memory)

        return step

    np.testing.assert_allclose(supervised.score(FAMILY, query, always(2), tf.zeros((3, 1, 0)), key), [25.0] * 3)

    def by_mean(inputs, memory, keys, deterministic):
        """Nearest to the character's mean picture, which only this test knows."""
        means = tf.constant(SET.images.mean(1), tf.float32)
        mine = tf.gather(means, tf.cast(tasks.characters, tf.int32))
        seen = tf.cast(inputs.observations, tf.float32)
        distance = tf.reduce_sum((seen[:, :, None] - mine[:, None]) ** 2, (-2, -1))
        return StepOutputs(tf.argmin(distance, -1, tf.int32), {}, tf.zeros(keys.shape), memory)

    np.testing.assert_allclose(supervised.score(FAMILY, query, by_mean, tf.zeros((3, 1, 0)), key), [100.0] * 3)


def test_nearest_neighbours_in_pixels_are_a_reference():
    """The made-up characters differ far more than their drawings."""
    found = FAMILY.references(FAMILY.sample(7, "test"))["nearest_neighbour"]
    np.testing.assert_allclose(found.returns, [100.0] * 7)
    assert "pixels" in found.what


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ways": 1}, "ways is 1; it must be at least 2"),
        ({"shots": 0}, "shots is 0; it must be at least 1"),
        ({"shots": 10, "queries": 15}, "shots and queries are 10 and 15; together they must be at most 20"),
    ],
)
def test_tasks_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Pictures(**arguments)


def test_a_set_is_read_as_it_was_written_and_a_changed_one_is_refused(tmp_path):
    path = tmp_path / "kept" / "set.npz"
    image_set.write(SET, path)
    read = image_set.read(path)
    assert read.checksum() == SET.checksum() and np.array_equal(read.images, SET.images)
    changed = SET.images.copy()
    changed[0, 0, 0, 0] ^= 1
    np.savez(path, checksum=SET.checksum(), **SET._replace(images=changed)._asdict())
    with pytest.raises(ValueError, match="its checksum does not fit; delete it"):
        image_set.read(path)
    path.write_bytes(b"half")
    with pytest.raises(ValueError, match="holds no images"):
        image_set.read(path)
