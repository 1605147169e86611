"""Options that take numbers or names of a few: each says what is allowed, and is checked before any work."""

import re
from collections.abc import Sequence
from typing import Any, Final

import typer

from metazoo import words

MAX_SEED: Final = 2**31 - 1
"""Seeds become int32 and uint32 numbers in TensorFlow, Keras and NumPy; what fits all is allowed."""
SHOWN: Final = 40
"""Characters of a wrong value that are repeated."""


def whole(low: int, high: int, **how: Any) -> Any:
    """A ``typer.Option`` for an integer from ``low`` to ``high``; ``how`` as ``typer.Option`` takes it."""
    return _option(int, low, high, how)


def real(low: float, high: float, **how: Any) -> Any:
    """A ``typer.Option`` for a number from ``low`` to ``high``, so never nan or infinite."""
    return _option(float, low, high, how)


def seed(**how: Any) -> Any:
    """A ``typer.Option`` for a seed."""
    return whole(0, MAX_SEED, **how)


def port() -> Any:
    """A ``typer.Option`` for a TCP port."""
    return whole(0, 65_535, help="0 takes a free one.")


def choice(names: Sequence[str], param_decls: Sequence[str] = (), **how: Any) -> Any:
    """A ``typer.Option`` for one of these names; ``param_decls`` where its own name is another than its argument's."""

    def check(param: typer.CallbackParam, value: str | None) -> str | None:
        if value is not None and value not in names:
            raise ValueError(f"{param.opts[0]} is {value!r}; {words.meant(value, names)}")
        return value

    listed = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    help_text = f"{how.pop('help', '')} {listed}.".strip()
    return typer.Option(*param_decls, metavar="NAME", callback=check, help=help_text, **how)


def number(text: str, option: str, kind: type, low: float, high: float) -> Any:
    """The number that ``text`` says. Raises ValueError, with the option and the range, for any other text."""
    try:
        value = kind(text)
    except ValueError:  # also what Python refuses for its length
        value = None
    if value is None or not low <= value <= high:
        what = "an integer" if kind is int else "a number"
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
        raise ValueError(f"{option} is {_plain(shown)}; it must be {what} from {_bound(low)} to {_bound(high)}.")
    return value


def _option(kind: type, low: float, high: float, how: dict[str, Any]) -> Any:
    def check(param: typer.CallbackParam, value: str | None) -> Any:
        return None if value is None else number(value, param.opts[0], kind, low, high)

    return typer.Option(parser=str, metavar="N", callback=check, **how)


def _bound(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:,.12g}"


def _plain(text: str) -> str:
    """A number as it was typed, other text in quotes."""
    return text if re.fullmatch(r"[-+0-9.eE]+…?|[-+]?(nan|inf)", text) else repr(text)
