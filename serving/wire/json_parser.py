"""JSON bodies → Python values: fast wherever that makes no difference, else exactly as TF Serving's parser reads them.

msgspec reads strict JSON. The standard library reads what has NaN, bytes that are not UTF-8 or something after the
end, and finds names that repeat. All else, and every error, is left to ``rapidjson``.
"""

import json
import math
import re
from typing import Any, Final

import msgspec

from serving.wire import rapidjson

_decode = msgspec.json.Decoder().decode
_MARK: Final = b"\xef\xbb\xbf"
_SPACE: Final = " \t\n\r"
_HALF_PAIR: Final = re.compile(r"\\u[dD][89a-fA-F]")
"""An escaped half of a surrogate pair, or of a whole pair: the standard library takes both."""


QUICK_BYTES: Final = 4096
"""Even the slow parsers take less than some milliseconds for so many."""


class NotQuickError(Exception):
    """A body that is not strict JSON would take too long for an event loop."""


def parse(body: bytes, may_wait: bool = True) -> Any:
    """The document at the beginning of ``body``. Objects are ``dict``, or ``rapidjson.Object`` if a name may repeat.

    Raises:
        ServingError: not JSON, in TF Serving's words.
        NotQuickError: it would take long, and the caller may not wait.
    """
    whole, body = body, body.removeprefix(_MARK)
    try:
        document = _decode(body)
        if body.count(b":") == _names(document):  # else a name may have come twice, or a string has a colon
            return document
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    if not may_wait and len(body) > QUICK_BYTES:
        raise NotQuickError
    try:
        return _by_standard_library(body)
    except (ValueError, RecursionError):
        return rapidjson.parse(whole)


def _names(value: Any) -> int:
    """How many members there are, in all objects but those deep inside arrays."""
    kind = type(value)
    if kind is dict:
        count = len(value)
        for member in value.values():
            if type(member) is dict or type(member) is list:
                count += _names(member)
        return count
    if kind is not list or not value or type(value[0]) is not dict or set(map(type, value)) != {dict}:
        return 0
    if any(type(member) is dict for member in value[0].values()):
        return sum(map(_names, value))
    return sum(map(len, value))


def _by_standard_library(body: bytes) -> Any:
    text = body.decode("utf-8", "surrogateescape")
    if "\\u" in text and _HALF_PAIR.search(text):
        raise ValueError
    return _decoder.raw_decode(text, len(text) - len(text.lstrip(_SPACE)))[0]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError
    return number


_decoder: Final = json.JSONDecoder(object_pairs_hook=_distinct, parse_float=_finite)
