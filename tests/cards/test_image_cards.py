"""What cards of classifiers say: measured on the policy itself, with a picture."""

import numpy as np
import pytest
from PIL import Image

from metazoo.algorithms.prototypical import Prototypical
from metazoo.cards import images
from metazoo.policies.convolutions import conv
from metazoo.policies.policy import Policy
from metazoo.pretrained import load
from metazoo.tasks.images.image_set import ImageSet
from metazoo.training.export import export
from tests.images import SET, Pictures

TWO = ("d", "e")


class Apart(Pictures):
    """Two test alphabets; the second one's drawings are noise that nobody can tell apart."""

    def image_set(self) -> ImageSet:
        noise = np.random.default_rng(1).integers(0, 256, (6, *SET.images.shape[1:]), np.uint8)
        return ImageSet(
            np.concatenate([SET.images, noise]),
            np.append(SET.alphabets, ["e"] * 6),
            np.append(SET.characters, ["n"] * 6),
        )

    def alphabets(self, split: str) -> tuple[str, ...]:
        return TWO if split == "test" else super().alphabets(split)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    family = Apart(ways=3, shots=1, queries=2)
    model = conv(family.observation_space, family.action_space, 1, 4, head=False)
    learner = Prototypical(Policy(model, family.observation_space, family.action_space), family)
    metadata = {"name": "small", "adapt": {"episodes": 1, "steps": 1}, "network": {}, "provenance": {"seed": 0}}
    policy = load(export(learner, tmp_path_factory.mktemp("card") / "small" / "1", metadata))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "TASKS", 50)
        patch.setattr(images, "SHOTS", (1, 5))
        return policy, family, images.measure(policy, family)


def test_alphabets_that_can_be_told_apart_are_and_noise_is_not(measured):
    _, _, found = measured
    assert found["alphabets"]["d"]["mean"] > 95 and 15 < found["alphabets"]["e"]["mean"] < 55
    assert set(found["shots"]) == {"1", "5"} and found["shots"]["5"]["mean"] > found["shots"]["1"]["mean"] - 3
    matrix = np.array(found["confusion"])
    np.testing.assert_allclose(matrix.sum(1), 100.0)
    assert matrix[0, 0] > 90


def test_the_section_has_every_figure_and_the_picture(measured):
    policy, family, found = measured
    text = "\n".join(images.tables({"images": found}))
    for one in (*found["shots"].values(), *found["alphabets"].values()):
        assert f"{one['mean']:.1f} [" in text
    assert "| d | e |" in text and images.PICTURE in text and images.tables({}) == []


def test_the_picture_of_a_task_is_drawn(measured, tmp_path):
    policy, family, _ = measured
    with Image.open(images.picture(policy, family, tmp_path / "task.png")) as picture:
        assert picture.width > 200 and len(np.unique(np.asarray(picture.convert("L")))) > 20
