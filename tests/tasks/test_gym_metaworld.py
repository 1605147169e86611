"""Meta-World's ML1 as a family; and what is said where Meta-World is missing, as in the tested set of packages."""

from importlib.util import find_spec

import numpy as np
import pytest

from metazoo.artefact.spaces import CollectionError
from metazoo.tasks.metaworld.families import MetaWorldML1
from metazoo.tasks.testing.host import CHECKS


@pytest.mark.skipif(find_spec("metaworld") is not None, reason="Meta-World is installed")
def test_without_meta_world_the_error_says_what_to_install():
    with pytest.raises(CollectionError, match="Meta-World is not installed, .*: pip install metaworld==3.1.1"):
        MetaWorldML1("reach-v3")


# Skipped where Meta-World is not installed: it cannot be beside the pinned MuJoCo 4.0 (3.1 wants exactly 3.3.0).
@pytest.mark.metaworld
def test_ml1_is_a_family():
    family = MetaWorldML1("reach-v3", horizon=30, workers=0, rows=4)
    assert (family.name, family.horizon, family.Task._fields) == ("metaworld_reach_v3", 30, ("placement",))
    assert family.observation_space.shape == (39,) and family.action_space.shape == (4,)
    for check in ("declarations", "rows", "clipping"):
        CHECKS[check](family)
    splits = {
        split: np.unique(family.sample(400, split).placement, axis=0) for split in ("train", "validation", "test")
    }
    assert [len(split) for split in splits.values()] == [50, 50, 50]
    assert len(np.unique(np.concatenate(list(splits.values())), axis=0)) == 150
    with pytest.raises(ValueError, match="no tasks out of range"):
        family.sample(1, "ood")
    seen = family.reset(family.sample(4), np.arange(4, dtype=np.uint32))
    assert np.all(seen[:, -3:] == 0), "the goal is hidden"


@pytest.mark.metaworld
def test_an_unknown_task_is_refused():
    with pytest.raises((CollectionError, ValueError), match="walk-v3"):
        MetaWorldML1("walk-v3")
