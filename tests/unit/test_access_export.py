"""Exported CSV holds no formula that a spreadsheet would run."""
from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.export import csv_bytes, neutral


@pytest.mark.parametrize("text", [
    "=1+1", "+1", "-1+2", "@SUM(A1)", "  =cmd|' /C calc'!A0", "\t=1", "\r=1", "\n=1", "\x00=1", "\u00a0=1", "＝1+1", "＠x", "−1",
    '=HYPERLINK("//xss.invalid")',
])
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert neutral(text) == f"'{text}"


@pytest.mark.parametrize("text", [
    "hello;=1+1", "hello; @SUM(A1)", "hello\t=1+1", "hello\n=cmd|' /C calc'!A0\nbye", "hello\r\n-1+2", 'hello;"=1+1;bye', 'hello; " \uff1d1;', "x;;+1",
])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_spreadsheet_with_another_separator_finds_no_formula_within_a_text_either(text: str, separator: str) -> None:
    """Where the list separator is a semicolon, a file that is opened by a double click is cut at semicolons and at ends of lines."""
    content = csv_bytes(["Ticket", "Text", "Department"], [["T-1", text, "Sales"], [text, "", "Sales"]]).decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(content, newline=""), delimiter=separator) for cell in row]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))]


@pytest.mark.parametrize("value", ["plain", "it is; a=b", "first\nsecond - third", "a,-1", "a=b", "1-2", "bob@example.com", "", -1.5, 7, None, True])
def test_other_texts_and_numbers_stay(value: object) -> None:
    assert neutral(value) == value


@given(st.lists(st.lists(st.text(max_size=20), min_size=2, max_size=2), max_size=5))
def test_no_cell_of_an_export_starts_a_formula_and_texts_come_back(rows: list[list[str]]) -> None:
    content = csv_bytes(["=a", "b"], rows).decode("utf-8-sig")
    if "\r" not in "".join(sum(rows, [])) and "\n" not in "".join(sum(rows, [])) and "\x00" not in "".join(sum(rows, [])):
        back = list(csv.reader(io.StringIO(content, newline="")))
        assert back[0] == ["'=a", "b"]
        for cells, original in zip(back[1:], rows, strict=True):
            assert [cell.replace("'", "") for cell in cells] == [text.replace("'", "") for text in original]
            assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for cell in cells)


def test_times_are_written_with_their_zone() -> None:
    assert b"2026-01-31T08:00:00+00:00" in csv_bytes(["at"], [[datetime(2026, 1, 31, 8, tzinfo=UTC)]])


def test_a_spreadsheet_knows_the_letters_and_the_ends_of_the_lines_and_a_letter_that_is_none_costs_no_export() -> None:
    """Without the mark in front a double click shows "PÃ¤ckchen"; half a pair of surrogates stands in what a broken client once sent."""
    assert csv_bytes(["Text"], [["mein Päckchen"], ["\ud83d"]]) == b"\xef\xbb\xbfText\r\nmein P\xc3\xa4ckchen\r\n?\r\n"
