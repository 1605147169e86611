"""Reading and quoting JSON as TF Serving does: what is taken beyond the standard, each refusal with its place."""

import json
import math

import pytest

from serving.errors import ServingError
from serving.wire import json_parser, rapidjson
from serving.wire.json_quote import DOCUMENT_BYTES, MAX_BYTES, double_text, value_text
from serving.wire.map_order import walked

REFUSED = [
    (b"", "The document is empty"),
    (b" \n", "The document is empty. at offset: 2"),
    (b"]", "The document is empty. at offset: 0"),
    (b",", "The document is empty. at offset: 0"),
    (b"\x0c{}", "Invalid value. at offset: 0"),
    (b"{", "Missing a name for object member. at offset: 1"),
    (b"{'a': 1}", "Missing a name for object member. at offset: 1"),
    (b'{"a":1,}', "Missing a name for object member. at offset: 7"),
    (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
    (b'{"a":', "Invalid value. at offset: 5"),
    (b'{"a":1 "b":2}', "Missing a comma or '}' after an object member. at offset: 7"),
    (b'{"a":1]', "Missing a comma or '}' after an object member. at offset: 6"),
    (b"[1,]", "Invalid value. at offset: 3"),
    (b"[1 2]", "Missing a comma or ']' after an array element. at offset: 3"),
    (b"[1,2", "Missing a comma or ']' after an array element. at offset: 4"),
    (b"[01]", "Missing a comma or ']' after an array element. at offset: 2"),
    (b"[tru]", "Invalid value. at offset: 4"),
    (b"[nan]", "Invalid value. at offset: 2"),
    (b"[N]", "Invalid value. at offset: 2"),
    (b"[-]", "Invalid value. at offset: 2"),
    (b"[+1]", "Invalid value. at offset: 1"),
    (b"[Infinit]", "Invalid value. at offset: 8"),
    (b"[1.]", "Miss fraction part in number. at offset: 3"),
    (b"[1e]", "Miss exponent in number. at offset: 3"),
    (b"[1e-]", "Miss exponent in number. at offset: 4"),
    (b"[2, 1e400]", "Number too big to be stored in double. at offset: 4"),
    (b"[1" + b"0" * 400 + b"]", "Number too big to be stored in double. at offset: 1"),
    (b'["a', "Missing a closing quotation mark in string. at offset: 3"),
    (b'["a\x00"]', "Missing a closing quotation mark in string. at offset: 3"),
    (b'["a\x01"]', "Invalid escape character in string. at offset: 3"),
    (b'["a\\x41"]', "Invalid escape character in string. at offset: 3"),
    (b'["\\u12g4"]', "Incorrect hex digit after \\u escape in string. at offset: 2"),
    (b'["\\ud800"]', "The surrogate pair in string is invalid. at offset: 2"),
    (b'["\\ud800\\u0041"]', "The surrogate pair in string is invalid. at offset: 2"),
    (b"[" * 5000, "Invalid value. at offset: 5000"),
]


@pytest.mark.parametrize(("body", "reason"), REFUSED)
def test_refusals_say_what_and_where(body, reason):
    with pytest.raises(ServingError) as caught:
        rapidjson.parse(body)
    assert caught.value.message == f"JSON Parse error: {reason}"


@pytest.mark.parametrize("body", [body for body, reason in REFUSED if not body.startswith(b"[1" + b"0" * 99)])
def test_what_is_refused_is_refused_however_it_is_read(body):
    """But for huge integers, which only the use of a value finds."""
    with pytest.raises(ServingError):
        json_parser.parse(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"[NaN]", [math.nan]),
        (b"[-NaN, Inf, -Inf, Infinity]", [math.nan, math.inf, -math.inf, math.inf]),
        (b"\xef\xbb\xbf[1]", [1]),
        (b"\xef\xbb[1]", [1]),  # a part of the mark is skipped too
        (b"\xbf[1]", [1]),
        (b"[1] trailing", [1]),
        (b"[1]\x00", [1]),
        (b'{"a":1,"a":2}', {"a": 1}),
        (b'[{"a":[{"b":1,"b":2}]}]', [{"a": [{"b": 1}]}]),
        (b'["caf\xe9"]', ["caf\udce9"]),
        (b'["\\udc00"]', ["\udced\udcb0\udc80"]),
        (b'["\\ud83d\\ude00\\/"]', ["\U0001f600/"]),
        (b"[-0, 18446744073709551615, -9223372036854775808]", [0, 2**64 - 1, -(2**63)]),
        (b"[1.8e308, 1e-999]", [math.inf, 0.0]),
        (b'{"":{"a":[[],{}]}}', {"": {"a": [[], {}]}}),
    ],
)
def test_what_is_taken(body, value):
    for parse in (rapidjson.parse, json_parser.parse):
        assert repr(parse(body)) == repr(value)


def test_integers_beyond_64_bits_are_doubles():
    assert rapidjson.parse(b"[18446744073709551616, -9223372036854775809]") == [2.0**64, -(2.0**63)]
    assert type(rapidjson.parse(b"18446744073709551616")) is float


def test_all_members_are_kept_in_order():
    document = rapidjson.parse(b'{"a":1,"b":2,"a":3}')
    assert document["a"] == 1 and document.pairs == [("a", 1), ("b", 2), ("a", 3)]


def test_colons_in_strings_are_no_repeated_names():
    body = b'{"instances": [{"a": "x:y"}, {"a": ":"}], "signature_name": "s:t"}'
    assert type(json_parser.parse(body)) is dict and json_parser.parse(body) == json.loads(body)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (100.0, "100.0"),
        (0.1, "0.1"),
        (1e-5, "0.00001"),
        (1e-7, "1e-7"),
        (-1.25, "-1.25"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (1.5e300, "1.5e300"),
        (2.0**64, "18446744073709553000.0"),  # not the closest digits, but read back as the same double
        (-(2.0**63), "-9223372036854776000.0"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e308"),
    ],
)
def test_doubles_are_printed_as_the_writer_prints_them(value, text):
    assert double_text(value) == text and float(text) == value


def test_quotes_have_the_writers_layout():
    value = {"a": [1, 2.5, {"b": None}], "c": {"d": {}, "e": []}, "f": 'é"\x01/'}
    assert value_text(value) == (
        '{\n    "a": [1, 2.5, {\n            "b": null\n        }],\n    "c": {\n        "d": {},\n        "e": []\n'
        '    },\n    "f": "é\\"\\u0001/"\n}'
    )
    assert value_text(rapidjson.parse(b'{"x":1,"x":true}')) == '{\n    "x": 1,\n    "x": true\n}'


def test_quotes_end_before_what_the_writer_refuses():
    assert value_text(math.nan) == ""
    assert value_text([1, math.inf, 2]) == "[1, "
    assert value_text({"a": math.nan, "b": 1}) == '{\n    "a": '


def test_quotes_of_documents_end_with_the_token_that_fills_256_bytes():
    word = "x" * 50
    assert value_text({"foo": [word] * 40}, DOCUMENT_BYTES) == '{\n    "foo": [' + ", ".join([f'"{word}"'] * 5)
    assert value_text({"a" * 300: 1}, DOCUMENT_BYTES) == f'{{\n    "{"a" * 300}"'


def test_no_quote_grows_without_limit():
    deep: dict = {}
    for _ in range(20_000):
        deep = {"a": deep}
    assert len(value_text(deep)) == MAX_BYTES


def test_the_order_of_names_is_fixed_and_leaves_our_own_alone():
    assert walked(["a", "b"]) == walked(["b", "a"]) == ("b", "a")
    for names in (["actions", "logits"], ["actions", "loc", "scale"], ["actions", "log_probs", "logits", "memory"]):
        assert walked(names) == tuple(names)
