"""``metazoo train`` on a family of the host: trained, interrupted, resumed to the same bits, exported."""

import numpy as np
import pytest

import metazoo
from metazoo.presets.registry import Preset
from metazoo.pretrained import family_of
from metazoo.tasks.gym.family import GymFamily
from metazoo.training import callbacks, train

CHEETAH = Preset(
    name="cheetah",
    description="a half-cheetah that runs in an unknown direction",
    family="half_cheetah_dir",
    family_args={"horizon": 4, "workers": 1, "rows": 6},
    algorithm="domain_randomised",
    config={"tasks": 2, "episodes": 3},
    network={"hidden": (3,)},
    updates=4,
    episodes=2,
    steps=0,
)


@pytest.mark.mujoco
def test_training_resumes_to_the_same_bits_and_exports(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "EPOCH", 2)
    monkeypatch.setattr(callbacks, "ON_HOST", (3, 3))
    asked, sample = [], GymFamily.sample
    monkeypatch.setattr(GymFamily, "sample", lambda *args: (asked.append(args[1:3]), sample(*args))[1])
    whole = train.train(CHEETAH, tmp_path / "whole")
    assert asked.count((3, "validation")) == 1
    save = callbacks.Checkpoints.on_epoch_end
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoints, "on_epoch_end", lambda *args: (save(*args), interrupt()))
        train.train(CHEETAH, tmp_path / "parts")
    resumed = train.train(CHEETAH, tmp_path / "parts", resume=True)
    one, two = metazoo.load(whole), metazoo.load(resumed)
    seen = np.random.default_rng(0).standard_normal((5, 17)).astype(np.float32)
    np.testing.assert_array_equal(one.act(seen), two.act(seen))
    family = family_of(one.metadata)
    assert (family.name, family.horizon, family.workers) == ("half_cheetah_dir", 4, 1)
    assert one.metadata["provenance"]["env_steps"] == 4 * 2 * 3 * 4


def interrupt():
    raise KeyboardInterrupt
