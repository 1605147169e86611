"""JSON values as error messages quote them: by the rules of rapidjson's ``PrettyWriter`` with single-line arrays."""

import math
import re
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from serving.wire.rapidjson import Object

DOCUMENT_BYTES: Final = 256
"""Enough of a whole request, as for TF Serving."""
MAX_BYTES: Final = 64 * 1024
"""All else TF Serving quotes to the end; but a few kilobytes of nested objects could become gigabytes."""

_INDENT: Final = "    "
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TO_ESCAPE: Final = re.compile(r'["\\\x00-\x1f]')
_MASK: Final = 2**64 - 1


def quoted(text: str) -> str:
    """A JSON string."""
    return '"' + _TO_ESCAPE.sub(lambda match: _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04X}", text) + '"'


def value_text(value: Any, enough: int = MAX_BYTES) -> str:
    """The beginning of a parsed value: the writer is stopped by the first token that makes it ``enough`` bytes.

    It also ends before a NaN or an infinity, which the writer refuses.
    """
    parts: list[bytes] = []
    size = 0
    for token in _tokens(value):
        parts.append(token.encode("utf-8", "surrogateescape"))
        size += len(parts[-1])
        if size >= enough:
            break
    return b"".join(parts)[:MAX_BYTES].decode("utf-8", "surrogateescape")


def _tokens(value: Any) -> Iterator[str]:
    """What the writer writes at a time, without recursion: requests may be nested as deep as they are long."""
    containers: list[_Open] = []
    prefix = ""
    while True:
        if isinstance(value, dict | list):
            yield prefix + ("[" if type(value) is list else "{")
            containers.append(_Open(value))
        elif type(value) is float and not math.isfinite(value):
            yield prefix
            return
        else:
            yield prefix + _scalar(value)
        while containers and (item := next(containers[-1].items, _END)) is _END:
            yield containers.pop().end(len(containers))
        if not containers:
            return
        comma = containers[-1].comma()
        if containers[-1].is_array:
            prefix, value = comma and ", ", item
        else:
            name, value = item
            yield comma + "\n" + _INDENT * len(containers) + quoted(name)
            prefix = ": "


_END: Final[Any] = object()


class _Open:
    """An array or object that is being written."""

    def __init__(self, value: Any):
        self.is_array = type(value) is list
        self.items = iter(value if self.is_array else pairs(value))
        self._empty = True

    def comma(self) -> str:
        """What stands before the next item."""
        empty, self._empty = self._empty, False
        return "" if empty else ","

    def end(self, level: int) -> str:
        if self.is_array:
            return "]"
        return "}" if self._empty else "\n" + _INDENT * level + "}"


def pairs(value: dict[str, Any]) -> Any:
    """All members of an object, those that repeat a name too."""
    return value.pairs if type(value) is Object else value.items()


def _scalar(value: Any) -> str:
    if type(value) is str:
        return quoted(value)
    if type(value) is float:
        return double_text(value)
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if -(2**63) <= value < 2**64 else double_text(float(value))  # as the parser would have read it


def double_text(value: float) -> str:
    """A finite double as rapidjson's writer prints it: Grisu2's digits, which are now and then not the closest."""
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    digits, power = _grisu2(abs(value))
    return ("-" if value < 0 else "") + _with_point(digits, power)


def _with_point(digits: str, power: int) -> str:
    point = len(digits) + power  # 10 ** (point - 1) <= value < 10 ** point
    if power >= 0 and point <= 21:
        return digits + "0" * power + ".0"
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    return digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{point - 1}"


def _grisu2(value: float) -> tuple[str, int]:
    """Loitsch's Grisu2 in 64-bit arithmetic: decimal digits and the power of ten of the last one."""
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    exponent, fraction = bits >> 52, bits & (2**52 - 1)
    significand = fraction | 2**52 if exponent else fraction
    binary = (exponent or 1) - 1075
    upper = (significand << 1) + 1
    shift = 64 - upper.bit_length()
    upper, scale = upper << shift, binary - 1 - shift
    closer_below = fraction == 0 and exponent > 0
    lower = (significand << 2) - 1 << shift - 1 if closer_below else (significand << 1) - 1 << shift
    tenth, tenth_scale, power = _cached_power(scale)
    middle = _product(significand << 64 - significand.bit_length(), tenth)
    upper, lower = _product(upper, tenth) - 1, _product(lower, tenth) + 1
    digits, more = _digits(middle, upper, upper - lower, -(scale + tenth_scale + 64))
    return digits, power + more


def _digits(middle: int, upper: int, delta: int, one: int) -> tuple[str, int]:
    """The shortest digits between the bounds, numbers with ``one`` binary places; and the power of the last digit."""
    whole, rest = upper >> one, upper & (1 << one) - 1
    text, gap = "", upper - middle
    for kappa in reversed(range(len(str(whole)))):
        digit, whole = divmod(whole, 10**kappa)
        if digit or text:
            text += str(digit)
        remainder = (whole << one) + rest
        if remainder <= delta:
            return _rounded(text, delta, remainder, 10**kappa << one, gap), kappa
    kappa = 0
    while True:
        rest, delta, kappa = rest * 10, delta * 10 & _MASK, kappa - 1
        digit, rest = rest >> one, rest & (1 << one) - 1
        if digit or text:
            text += str(digit)
        if rest < delta:
            scaled_gap = gap * 10**-kappa & _MASK if kappa > -9 else 0  # the table of powers ends there
            return _rounded(text, delta, rest, 1 << one, scaled_gap), kappa


def _rounded(text: str, delta: int, rest: int, unit: int, gap: int) -> str:
    """The last digit moved towards the number itself."""
    last = int(text[-1])
    while rest < gap and delta - rest >= unit and (rest + unit < gap or gap - rest > rest + unit - gap):
        last, rest = last - 1, rest + unit
    return text[:-1] + str(last)


def _product(one: int, other: int) -> int:
    return (one * other + (1 << 63)) >> 64


@cache
def _cached_power(scale: int) -> tuple[int, int, int]:
    """A power of ten (64 bits and a binary exponent) that brings ``scale`` near −60; and minus its decimal exponent."""
    index = (math.ceil((-61 - scale) * 0.30102999566398114 + 347) >> 3) + 1
    decimal = -348 + 8 * index
    numerator, denominator = 10 ** max(decimal, 0), 10 ** max(-decimal, 0)
    exponent = numerator.bit_length() - denominator.bit_length() - 64
    if (numerator << max(-exponent, 0)) // (denominator << max(exponent, 0)) >= 2**64:
        exponent += 1
    numerator, denominator = numerator << max(-exponent, 0), denominator << max(exponent, 0)
    return (2 * numerator + denominator) // (2 * denominator), exponent, -decimal
