"""Spaces as TF-Agents' specs."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tf_agents.specs import array_spec

from metazoo import collect as collecting

if TYPE_CHECKING:
    from gymnasium import spaces


def observation_spec(space: "spaces.Space") -> array_spec.ArraySpec:
    """The spec of one observation as a policy sees it: ``Box`` with its bounds, all else flattened."""
    shape, dtype = collecting.observation_spec(space)
    box: Any = space
    if not hasattr(box, "low"):
        return array_spec.ArraySpec(shape, dtype, "observation")
    return array_spec.BoundedArraySpec(shape, dtype, box.low, box.high, "observation")


def action_spec(space: "spaces.Space") -> array_spec.BoundedArraySpec:
    """The spec of one action: float32 for ``Box``, int32 (``start`` included) for ``Discrete`` and ``MultiDiscrete``.

    Raises:
        CollectionError: the space is none of the three.
    """
    shape, dtype = collecting.action_spec(space)
    given: Any = space
    if hasattr(given, "low"):
        low, high = given.low, given.high
    else:
        low = np.asarray(given.start, dtype)
        high = low + np.asarray(getattr(given, "n", None) or given.nvec, dtype) - 1
    return array_spec.BoundedArraySpec(shape, dtype, low, high, "action")
