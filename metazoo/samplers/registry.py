"""The samplers by name. ``uniform`` is none: tasks are then drawn in the graph, from (seed, update) alone."""

from typing import Any, Final

from metazoo.samplers.alp_gmm import ALPGMM
from metazoo.samplers.pdts import PDTS
from metazoo.samplers.plr import PLR
from metazoo.samplers.roml import RoML
from metazoo.samplers.sampler import Sampler
from metazoo.words import meant

UNIFORM: Final = "uniform"
_ALL: tuple[Any, ...] = (PLR, ALPGMM, RoML, PDTS)
SAMPLERS: Final[dict[str, Any]] = {one.name: one for one in _ALL}
NAMES: Final = (UNIFORM, *SAMPLERS)


def sampler_of(name: str, family: Any, count: int, seed: int) -> Sampler | None:
    """The sampler of this name for ``count`` tasks an update, or None where tasks are drawn alike.

    Raises:
        ValueError: there is none of this name, or all tasks of the family are alike.
    """
    check_name(name)
    return None if name == UNIFORM else SAMPLERS[name](family, count, seed)


def check_name(name: str) -> None:
    """Raises ValueError for a name that no sampler has."""
    if name not in NAMES:
        raise ValueError(f"sampler is {name!r}; {meant(name, NAMES)}")
