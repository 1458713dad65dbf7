"""Whatever a stranger writes, the work on a text grows with its length alone.

Work in Python is counted in lines run. The work within an expression cannot be counted, so those texts are long: one that is
looked at in squares or cubes is not done with in minutes or hours, and the test does not end.
"""
from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from types import FrameType

import bleach
import pytest
from bleach.html5lib_shim import HTML_TAGS
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import markup
from engine.fingerprint import normalised
from engine.privacy import masked
from engine.sanitize import plain_text, remark
from engine.unicode_forms import normal_form

LONG = 60_000
PIECES = st.sampled_from(
    ["<", ">", "</", "b", "x", "=", '"', "'", " ", "\n", "&", "&lt;", "&#60;", "`", "<b>", "<b ", "<a href=", '<a ="x>', "<script",
     "<script>", "</script>", "<style ", "</style >", "<div>", "</div>", "<p", "<li ", "<textarea>", "<title>", "<!--", "-->", "<!", "<?",
     "</1", "<foo ", " = ", "a=b", "/", "/>"]
)
MARKS = st.lists(st.sampled_from(["\u0301", "\u0316", "\u0327", "\u0345", "\u0f73", "\u0f71", "\uff9e", "\u3099", "e", "é", "\uac00",
    "\u2003"]), max_size=300)


def filled(unit: str, *, length: int = LONG) -> str:
    return (unit * (length // len(unit) + 1))[:length]


def lines_run(work: Callable[[str], str], text: str) -> int:
    count = 0

    def counting(frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        nonlocal count
        count += event == "line"
        return counting

    before = sys.gettrace()
    sys.settrace(counting)
    try:
        work(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    ("unit", "end"),
    [("<a ", ">"), ("<a x", ">"), ("<a\t/", ">"), ("<a x='' ", ">"), ("<a =", ""), ('<a x="', "<i>"), ("</p", "><i>"), ("&", "<i>"),
     ("&lt;", "<i>"), (">", "<i>"), ("<", "<i>"), ("<!--", "<i>"), ("<script>", ""), ("<script ></style>", ">"), ("<b>", ""), ("<b>x", ""),
     ("<table><td>", ""), ("<![CDATA[", "<i>"), ('<a ="x>', "<i>"), ("<div>\n", ""), ("<a x='\"", '=">"'), ("<a =\" <a ='", "")],
)
def test_twice_as_much_markup_is_twice_the_work(unit: str, end: str) -> None:
    once, twice = (lines_run(plain_text, filled(unit, length=length) + end) for length in (3_000, 6_000))
    assert twice < 2.5 * once, (once, twice)


def test_twice_as_many_attributes_are_twice_the_work() -> None:
    once, twice = (lines_run(plain_text, f"<a {' '.join(f'a{number}=x' for number in range(many))}>") for many in (400, 800))
    assert twice < 2.5 * once, (once, twice)


@pytest.mark.parametrize("work", [plain_text, masked, normalised])
@pytest.mark.parametrize(
    "unit",
    ["<a ", "<a x=' ", "<script>", "</script ", "<!--", "&#1", "@", "a@", "a@b.", "1", "1 ", "1,", "1.", "12-", "a-", "a1--",
     "+" + "1" * 40 + "x ", "+1", "(0", "0 ", "x", "password:\u2003", "\u2003", " \n", "\u0301", "\u0301\u0316", "\uff9e\u0301", "\u0f73",
     "-----BEGIN ", "eyJaaaaaaaa.", "https://a:", "regards, ", "\uff11"],
)
def test_a_text_of_one_unit_for_ever_is_done_with_as_are_two_of_them(work: Callable[[str], str], unit: str) -> None:
    assert isinstance(work(filled(unit)), str)
    # A closed tag, a digit and an address let every expression look.
    assert isinstance(work(f"1 {filled(unit)} <b>1 a@b.org password is 12345678</b>"), str)
    assert isinstance(work(f"password:{filled(unit)},"), str)


def test_a_text_of_blanks_behind_the_word_password_is_not_divided_in_every_way() -> None:
    assert masked("password:" + "\u2003" * LONG + ", and pin: 1234").endswith(", and pin: <secret>")


def test_a_tag_of_ten_thousand_attributes_is_one_tag() -> None:
    assert plain_text(f"before <a {'x=1 ' * 10_000}>after") == "before after"
    assert plain_text(f"before <a =\"x>{'y ' * 10_000}\">after") == "before after"


def test_of_a_remark_of_megabytes_the_beginning_is_looked_at() -> None:
    """Names of columns, numbers of tickets and notes come as long as somebody likes."""
    assert remark("a" + "<b>" * 1_000 + " b", maximum=64) == "a b"
    assert remark("a" + "<b>" * 1_000_000 + " b", maximum=64) == "a"


def test_a_number_of_thousands_of_digits_within_a_torn_tag_raises_nothing() -> None:
    assert plain_text(f'before <a =">&#{"1" * 5_000};">after') == "before after"


NAMES = "|".join(sorted(HTML_TAGS | {"svg", "math"}, key=len)[::-1])
TAG = re.compile(rf"</?(?:{NAMES})(?=[\s/>])(?:[^>=\"']|=\s*+\"[^\"]*+\"|=\s*+'[^']*+'|[=\"'])*+>", re.I | re.S | re.A)
VALUE = re.compile(r"=\s*+(?:\"[^\"]*+\"|'[^']*+'|([\"']))")
CONTENT = re.compile(r"<(script|style)(?=[\s/>])[^>]*+>.*?</\1(?=[\s/>])[^>]*+>", re.I | re.S | re.A)
BREAKS = re.compile(r"<(?:br|/p|/div|/li|/tr|/h[1-6])(?=[\s/>])[^<>]*+>", re.I | re.A)


def said_shortly(text: str) -> str:
    """What `markup.without` promises, without a thought for long texts."""
    text = BREAKS.sub(r"\n\g<0>", CONTENT.sub(" ", re.sub("(?s)<!--.*?-->", "", text)))
    parts, end = [], 0
    for tag in TAG.finditer(text):
        # Where a quote has no end, bleach would take all that follows for its value.
        whole = not any(value[1] for value in VALUE.finditer(tag[0]))
        parts += [markup.html.escape(text[end:tag.start()], quote=False), tag[0] if whole else f"{re.match('</?[a-z0-9]+', tag[0], re.I)[0]}>"]
        end = tag.end()
    return markup.html.unescape(bleach.clean("".join([*parts, markup.html.escape(text[end:], quote=False)]), tags=set(), strip=True))


@given(st.lists(PIECES, max_size=25).map("".join))
@settings(max_examples=600, deadline=None)
def test_markup_becomes_what_two_expressions_and_bleach_make_of_it(text: str) -> None:
    assert markup.without(text) == said_shortly(text)
    assert markup.found(text) == bool(TAG.search(text) or re.search("(?s)<!--.*?-->", text))


@given(MARKS.map("".join), st.sampled_from(["NFC", "NFKC"]))
@settings(max_examples=500, deadline=None)
def test_a_normal_form_is_the_one_of_unicode(text: str, form: str) -> None:
    assert normal_form(form, text) == unicodedata.normalize(form, text)


def test_every_sign_that_can_begin_with_a_mark_is_looked_at() -> None:
    for code in range(0x300, sys.maxunicode + 1):
        sign = chr(code)
        if unicodedata.combining(unicodedata.normalize("NFKD", sign)[0]):
            assert not re.fullmatch(r"\w", sign) or sign in "\uff9e\uff9f", hex(code)



@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("+1234567", "<phone>"),
        ("+(49) 30/1234567 12.", "<phone>."),
        ("+4930123456789012345678 now", "+4930123456789012345678 now"),
        ("00345--1212 12", "00345--1212 12"),
        ("001  4567 8", "<phone> 8"),
        ("+49 170 1234567x", "+49 170 1234567x"),
        ("password is  :abc", "password is  :<secret>"),
        ("pin is :ab,", "pin is <secret>,"),
    ],
)
def test_masks_are_those_that_every_way_of_dividing_a_text_would_find(text: str, found: str) -> None:
    assert masked(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(a@b.c)@d x", "<mail> x"),
        ("@b.c a@b. a@.b a@.b.c", "b c a b a b <mail>"),
        ("..5.5,0 eur 5 ..5 7€8 eur", "<amount> 5 5 7 <amount> eur"),
        ("x--1-a--22 a1-é a12b3_", "<id> <id> 22 a1 é a12b3_"),
    ],
)
def test_identifiers_are_found_where_a_run_of_signs_begins_in_the_middle(text: str, found: str) -> None:
    assert normalised(text) == found
