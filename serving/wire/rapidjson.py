"""JSON as TF Serving's parser (rapidjson 1.1) reads it, to the letter: what it takes, what it refuses, and where.

Beyond the standard it takes ``NaN``, ``Inf`` and ``Infinity`` with a sign, a byte order mark or part of one, bytes
that are not UTF-8, and anything after the document; of members with one name the first counts, and integers beyond
64 bits become doubles. Only bodies that the fast parsers refuse, or that will be quoted in an error, come here.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

from serving.errors import invalid

_EMPTY: Final = "The document is empty."
_VALUE: Final = "Invalid value."
_NAME: Final = "Missing a name for object member."
_COLON: Final = "Missing a colon after a name of object member."
_COMMA_IN_OBJECT: Final = "Missing a comma or '}' after an object member."
_COMMA_IN_ARRAY: Final = "Missing a comma or ']' after an array element."
_HEX: Final = "Incorrect hex digit after \\u escape in string."
_SURROGATE: Final = "The surrogate pair in string is invalid."
_ESCAPE: Final = "Invalid escape character in string."
_QUOTE: Final = "Missing a closing quotation mark in string."
_TOO_BIG: Final = "Number too big to be stored in double."
_FRACTION: Final = "Miss fraction part in number."
_EXPONENT: Final = "Miss exponent in number."

_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER: Final = re.compile(rb"(0|[1-9][0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?)([0-9]*))?")
_FOUR_HEX: Final = re.compile(rb"[0-9a-fA-F]{4}")
_ESCAPES: Final = {34: b'"', 92: b"\\", 47: b"/", 98: b"\b", 102: b"\f", 110: b"\n", 114: b"\r", 116: b"\t"}
_MARK: Final = b"\xef\xbb\xbf"

_FLAT: Final = re.compile(rb"\[[ \t\n\r0-9.,eE+-]*\]")
"""An array of nothing but numbers; most of what a body has. The standard library reads it, if there is no ..."""
_LARGE: Final = re.compile(rb"[0-9]{19}|[eE]\+?[0-9]{3}")
"""... number about whose range the two may differ."""


class Object(dict[str, Any]):
    """A JSON object: as a mapping, the first of members with one name counts; ``pairs`` has them all, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[str, Any]] = []

    def add(self, name: str, value: Any) -> None:
        self.pairs.append((name, value))
        self.setdefault(name, value)


def parse(body: bytes) -> Any:
    """The document at the beginning of ``body``. Strings are ``str`` with ``surrogateescape``, objects ``Object``.

    Raises:
        ServingError: not JSON, in TF Serving's words.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    return _Reader(body).document()


class _Reader:
    """A position in a body. The end, and a zero byte, read as 0."""

    def __init__(self, body: bytes):
        self._body, self._at = body, 0
        for byte in _MARK:
            self._consume(byte)

    def document(self) -> Any:
        if self._after_space() in b"\0]},:":
            self._refuse(_EMPTY)
        open_containers: list[tuple[Any, str]] = []  # with the name of the member that is being read
        while True:
            value, name = self._begin()
            if name is not None:
                open_containers.append((value, name))
                continue
            while open_containers:
                container, name = open_containers.pop()
                container.append(value) if type(container) is list else container.add(name, value)
                if (name := self._next(container)) is not None:
                    open_containers.append((container, name))
                    break
                value = container
            else:
                return value

    def _begin(self) -> tuple[Any, str | None]:
        """A whole value and None; or an array or object that has members, and the first one's name."""
        kind = self._after_space()
        if kind == b"[":
            if (flat := self._flat_array()) is not None:
                return flat, None
            self._at += 1
            return [], None if self._after_space() == b"]" and self._consume(93) else ""
        if kind == b"{":
            self._at += 1
            empty = self._after_space() == b"}" and self._consume(125)
            return Object(), None if empty else self._name()
        return self._scalar(kind), None

    def _flat_array(self) -> list[Any] | None:
        """An array of ordinary numbers at once; None for any other, and nothing is read."""
        found = _FLAT.match(self._body, self._at)
        if not found or _LARGE.search(found[0]):
            return None
        try:
            values = json.loads(found[0])
        except ValueError:
            return None
        self._at = found.end()
        return values

    def _next(self, container: Any) -> str | None:
        """The name of the next member (empty in an array), None at the end of the container."""
        in_array = type(container) is list
        byte = self._after_space()
        self._at += 1
        if byte == b",":
            self._after_space()
            return "" if in_array else self._name()
        if byte == (b"]" if in_array else b"}"):
            return None
        self._at -= 1
        return self._refuse(_COMMA_IN_ARRAY if in_array else _COMMA_IN_OBJECT)

    def _name(self) -> str:
        if self._peek() != b'"':
            self._refuse(_NAME)
        name = self._string()
        if self._after_space() != b":":
            self._refuse(_COLON)
        self._at += 1
        return name

    def _scalar(self, kind: bytes) -> Any:
        if kind == b'"':
            return self._string()
        for word, value in ((b"true", True), (b"false", False), (b"null", None)):
            if kind == word[:1]:
                self._word(word)
                return value
        return self._number()

    def _word(self, word: bytes) -> None:
        for byte in word:
            if not self._consume(byte):
                self._refuse(_VALUE)

    def _string(self) -> str:
        self._at += 1
        parts = []
        while True:
            plain = _PLAIN.match(self._body, self._at)
            assert plain
            parts.append(plain[0])
            self._at = plain.end()
            byte = self._peek()
            if byte == b'"':
                self._at += 1
                return b"".join(parts).decode("utf-8", "surrogateescape")
            if byte != b"\\":
                self._refuse(_QUOTE if byte == b"\0" else _ESCAPE)
            parts.append(self._escape())

    def _escape(self) -> bytes:
        start = self._at
        self._at += 2
        kind = self._body[start + 1] if start + 1 < len(self._body) else 0
        if kind != 117:
            return _ESCAPES[kind] if kind in _ESCAPES else self._refuse(_ESCAPE, start)
        code = self._four_hex(start)
        if 0xD800 <= code < 0xDC00:
            if not (self._consume(92) and self._consume(117)):
                self._refuse(_SURROGATE, start)
            low = self._four_hex(start)
            if not 0xDC00 <= low < 0xE000:
                self._refuse(_SURROGATE, start)
            code = ((code - 0xD800) << 10 | low - 0xDC00) + 0x10000
        return chr(code).encode("utf-8", "surrogatepass")

    def _four_hex(self, start: int) -> int:
        digits = _FOUR_HEX.match(self._body, self._at)
        if not digits:
            self._refuse(_HEX, start)
        self._at += 4
        return int(digits[0], 16)

    def _number(self) -> int | float:
        start = self._at
        minus = self._consume(45)
        if self._peek() in b"IN":
            return self._constant(minus)
        found = _NUMBER.match(self._body, self._at)
        if not found:
            self._refuse(_VALUE)
        whole, fraction, sign, exponent = found.groups()
        if fraction == b"":
            self._refuse(_FRACTION, found.end(2))
        if exponent == b"":
            self._refuse(_EXPONENT, found.end(4))
        self._at = found.end()
        if len(whole) > 308 and float(whole[:-1]) >= 1.7976931348623157e307:
            self._refuse(_TOO_BIG, start)
        if exponent and sign != b"-" and len(exponent) > 1 and _number_of(exponent) > 308 + len(fraction or b""):
            self._refuse(_TOO_BIG, start)
        text = found[0].decode()
        if fraction is None and exponent is None and len(whole) <= 20:
            value = int(text)
            if value <= (2**63 if minus else 2**64 - 1):
                return -value if minus else value
        return -float(text) if minus else float(text)

    def _constant(self, minus: bool) -> float:
        if self._consume(78) and self._consume(97) and self._consume(78):
            return math.nan
        if not (self._consume(73) and self._consume(110) and self._consume(102)):
            self._refuse(_VALUE)
        if self._peek() == b"i":
            self._word(b"inity")
        return -math.inf if minus else math.inf

    def _after_space(self) -> bytes:
        space = _SPACE.match(self._body, self._at)
        assert space
        self._at = space.end()
        return self._peek()

    def _peek(self) -> bytes:
        return self._body[self._at : self._at + 1] or b"\0"

    def _consume(self, byte: int) -> bool:
        found = self._at < len(self._body) and self._body[self._at] == byte
        self._at += found
        return found

    def _refuse(self, reason: str, offset: int | None = None) -> NoReturn:
        raise invalid(f"JSON Parse error: {reason} at offset: {self._at if offset is None else offset}")


def _number_of(digits: bytes) -> int:
    """Of thousands of digits the first ten are too many already."""
    return int(digits.lstrip(b"0")[:10] or b"0")
