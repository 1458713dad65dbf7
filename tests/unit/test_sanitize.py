"""Whatever a stranger sends becomes plain text within limits or a refusal that names the field, the limit and what was found."""
from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bleach._vendor import html5lib
from bleach.html5lib_shim import HTML_TAGS
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain import Channel, Priority, TicketDraft
from engine.errors import TicketRejected
from engine.sanitize import admit, body_text, new_ticket_id, plain_text

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
HOSTILE = json.loads((Path(__file__).parents[1] / "data" / "hostile_texts.json").read_text(encoding="utf-8"))
PIECES = st.sampled_from(
    ["<", ">", "</", "/>", "b", "script", "style", "img", "svg", "p", "br", "=", '"', "'", " ", "\n", "\t", "\r\n", "\xa0", "\u2003", "x",
     "<b>", "</script>", "<script>", "<!--", "-->", "&lt;", "&amp;", "&#60;", "\u0301", "e", "\u212a", "\u017f", "\u200b", "\x00", "\ud800",
     "\u202e", "<a href=", "onerror=alert(1)", "5 < 6", "<textarea>", "<plaintext>", "<title>"]
)


def body(text: object, **more: int) -> str:
    return body_text(text, **({"minimum": 2, "maximum": 20_000} | more))


def elements(text: str) -> set[str]:
    """The HTML elements that a browser's parser finds in the text."""
    tree = html5lib.parseFragment(text, namespaceHTMLElements=False)
    return {element.tag.split("}")[-1] for element in tree.iter() if isinstance(element.tag, str)}


@pytest.mark.parametrize(
    "text",
    ['5 < 6 & "quotes"', "a < b & c", "if x<y then y>z", "<bob@example.com>", "List<String>", "&lt;b&gt; &amp; &quot;", "I <3 you",
     "it's 5 > 4", "naïve café, 12 °C", "<unknown>", "日本語のテキスト", "1 <- 2 -> 3"],
)
def test_ordinary_text_is_stored_exactly_as_it_was_typed(text: str) -> None:
    assert plain_text(text) == text
    assert body(text) == text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("it is <b>very</b> late", "it is very late"),
        ("<script>alert(1)</script>hi", "hi"),
        ("<style>p { color: red }</style >hi", "hi"),
        ("a<!-- hidden -->b", "ab"),
        ("<p>one</p><p>two<br>three</p>", "one\n\ntwo\nthree"),
        ('<img src="x>y" onerror=alert(1)>hi', "hi"),
        ('<img src=x" onerror=alert(1)>hi', "hi"),
        ("<img title=it's onerror=alert(1)>hi", "hi"),
        ('<img src="x>my parcel is late', "my parcel is late"),
        ("<b>hi</b> <a href='u>link</a> and <i class=\"z\">bye</i>", "hi link and bye"),
        ("<<b>script>hi", "hi"),
        ("5 < 6 <i>and</i> 7 > 6", "5 < 6 and 7 > 6"),
        ("line one\r\nline two\rline three", "line one\nline two\nline three"),
        ("far\n\n\n\n\napart", "far\n\napart"),
        ("  much \t  space \xa0 ", "much space"),
        ("e\u0301", "é"),
        ("pay \u202eon\u202c\u2066w\u2069", "pay onw"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("nul\x00l", "null"),
        ("lone \ud800 surrogate", "lone surrogate"),
    ],
)
def test_markup_and_invisible_characters_go_and_the_words_stay(raw: str, expected: str) -> None:
    assert plain_text(raw) == expected


@pytest.mark.parametrize("raw", ["<scr<script>ipt>alert(1)</script>hi", "<<b>script>alert(1)</script>", "<b\xa0onclick=alert(1)>hi"])
def test_what_is_left_of_a_torn_tag_is_not_a_tag(raw: str) -> None:
    assert not elements(plain_text(raw)) & HTML_TAGS


@given(st.text() | st.lists(PIECES, max_size=30).map("".join) | st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
@settings(max_examples=400, deadline=None)
def test_plain_text_never_raises_and_a_second_pass_changes_nothing(raw: str) -> None:
    once = plain_text(raw)
    assert plain_text(once) == once
    once.encode("utf-8")
    assert "\x00" not in once


@pytest.mark.parametrize("kind", ["xss", "sql", "injection"])
def test_hostile_texts_leave_no_html_element_and_raise_nothing_but_a_refusal(kind: str) -> None:
    assert len(HOSTILE[kind]) >= 100
    for raw in HOSTILE[kind]:
        left = elements(plain_text(raw)) & (HTML_TAGS | {"svg", "math", "image"})
        assert not left, (raw, left)
        try:
            stored = body(raw)
        except TicketRejected as refusal:
            assert refusal.field == "body"
        else:
            assert stored == plain_text(raw)


@pytest.mark.parametrize("text", ["<\u017fvg/onload=alert(1)>", "<\u017fcript>alert(1)</\u017fcript>", "<lin\u212a x>"])
def test_letters_that_only_look_like_a_tag_in_another_case_do_not_hang_the_cleaning(text: str) -> None:
    assert "svg" not in elements(plain_text(text)) and "script" not in elements(plain_text(text))


def test_markup_nested_thousands_deep_is_cleaned_without_going_through_it_level_by_level() -> None:
    assert not elements(plain_text("<" * 3_000 + "b>" * 3_000)) & HTML_TAGS


@pytest.mark.parametrize(
    ("raw", "limit", "found"),
    [
        ("", "at least 2 characters", "an empty text"),
        ("   \n\t ", "at least 2 characters", "an empty text"),
        ("x", "at least 2 characters", "1 character"),
        ("x" * 200_000, "at most 20,000 characters", "200,000 characters"),
        ("<p><br></p><div></div>", "must hold text beside markup", "nothing but markup"),
        ("<script>alert(1)</script>", "must hold text beside markup", "nothing but markup"),
        ("\u200b\u2060\ufeff", "must hold text beside markup", "nothing but invisible characters"),
        ("\u202e\u202d", "must hold text beside markup", "nothing but invisible characters"),
        ("\ud800\udfff", "must hold text beside markup", "nothing but invisible characters"),
        ("\x00\x01\x02\x03\x04 PNG", "must be readable text", "binary data (5 control characters)"),
        ("😀😀🎉", "must hold at least one word or number", "only symbols (😀😀🎉)"),
        ("?!...", "must hold at least one word or number", "only symbols (?!...)"),
        (None, "must be text", "NoneType"),
        (b"bytes", "must be text", "bytes"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_with_field_limit_and_what_was_found(raw: object, limit: str, found: str) -> None:
    with pytest.raises(TicketRejected) as refused:
        body(raw)
    assert (refused.value.field, refused.value.limit, refused.value.found) == ("body", limit, found)
    assert "Nothing was stored" in str(refused.value)


@pytest.mark.parametrize("text", ["Где моя посылка?", "我的订单在哪里", "أين طلبي؟", "¿Dónde está mi pedido?", "ok", "42"])
def test_other_languages_and_very_short_texts_are_welcome(text: str) -> None:
    assert body(text) == text


def test_the_longest_allowed_text_is_accepted_and_one_character_more_is_not() -> None:
    assert len(body("x" * 20_000)) == 20_000
    with pytest.raises(TicketRejected):
        body("x" * 20_001)


def test_a_plain_draft_becomes_a_ticket_with_its_own_time_and_a_readable_id() -> None:
    ticket = admit(TicketDraft(body=" my bill ", subject="Two\nlines <b>bold</b>", channel=" EMAIL ", priority="High"), now=NOW)
    assert (ticket.body, ticket.subject, ticket.channel, ticket.priority) == ("my bill", "Two lines bold", Channel.EMAIL, Priority.HIGH)
    assert ticket.created_at == NOW
    assert ticket.id.startswith("T-20260131-") and len(ticket.id) == 21
    assert ticket.text == "Two lines bold\nmy bill"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject": "s" * 201}, "subject"),
        ({"customer_ref": "c" * 65}, "customer_ref"),
        ({"channel": "pigeon"}, "channel"),
        ({"priority": "now!!"}, "priority"),
        ({"ticket_id": "has space"}, "ticket_id"),
        ({"ticket_id": "-begins-with-a-dash"}, "ticket_id"),
        ({"ticket_id": "x" * 65}, "ticket_id"),
        ({"ticket_id": "new\nline"}, "ticket_id"),
        ({"ticket_id": "'; drop table tickets; --"}, "ticket_id"),
    ],
)
def test_a_field_out_of_its_limits_is_refused_by_name(change: dict[str, str], field: str) -> None:
    with pytest.raises(TicketRejected) as refused:
        admit(TicketDraft(**({"body": "my bill is wrong"} | change)), now=NOW)
    assert refused.value.field == field


def test_new_ticket_ids_do_not_repeat_and_hold_no_letters_that_sound_or_look_alike() -> None:
    made = {new_ticket_id(NOW) for _ in range(500)}
    assert len(made) == 500
    assert not set("01ILOU") & set("".join(name.split("-")[2] for name in made))
