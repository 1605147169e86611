"""Words of messages: numbers with their noun, and what a wrong name may have meant. Standard library only."""

import os
from collections.abc import Iterable
from typing import Any, Final

FEW: Final = 8
"""So many names are all shown; of more only those that are near."""


def count(amount: int, what: str) -> str:
    """``3 steps``, ``1 step``, ``2,000 policies``."""
    if amount == 1:
        return f"1 {what}"
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{amount:,} {plural}"


def meant(name: Any, known: Iterable[str], otherwise: str = "") -> str:
    """The rest of a sentence about a name that is not ``known``, such as ``did you mean maml_cartpole?``.

    Without a near one it shows all, if they are few, or says ``otherwise`` (``metazoo list shows them``). What is no
    name at all has no near one.
    """
    import difflib

    names = list(known)
    folded = {one.casefold(): one for one in names}
    said = os.fspath(name).casefold() if isinstance(name, str | os.PathLike) else ""
    near = difflib.get_close_matches(said, folded, 3, 0.7)
    if near:
        return f"did you mean {_either([folded[one] for one in near])}?"
    if len(names) <= FEW or not otherwise:
        return f"choose {_either(names)}." if names else "there are none."
    return f"{otherwise}."


def _either(names: list[str]) -> str:
    return " or ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
