"""A CSV file gives every cell to its column, or says on which line that is not possible."""
from __future__ import annotations

import pytest

from engine.csv_table import CsvRow, key, rows
from engine.errors import ImportRejected


def read(content: bytes, *columns: str) -> list[CsvRow]:
    return list(rows(content, columns=columns or ("body",), refused=ImportRejected))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_separator_and_encoding_that_spreadsheets_write_is_read(separator: str, encoding: str) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    text = mark + separator.join(("id", " body ")) + "\r\n" + separator.join(("1", f'"für{separator}\r\nüber"')) + "\r\n"
    assert read(text.encode(encoding)) == [CsvRow(2, {"id": "1", "body": f"für{separator}\r\nüber"})]


def test_lines_are_those_on_which_rows_begin_and_empty_ones_are_passed_over() -> None:
    found = read(b'\n\nbody,note\n"one\ntwo",x\n\nthree\n')
    assert [(row.line, row.cells) for row in found] == [
        (4, {"body": "one\ntwo", "note": "x"}), (7, {"body": "three", "note": ""}),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_that_were_emptied_in_a_spreadsheet_are_passed_over(separator: str) -> None:
    """It writes their separators, above the header, in between and at the end."""
    empty = separator * 3 + "\r\n"
    text = f"{empty}body{separator}note\r\none{separator}x\r\n{empty}  \r\ntwo{separator}\r\n" + 300 * empty
    assert [(row.line, row.cells, row.problem) for row in read(text.encode())] == [
        (3, {"body": "one", "note": "x"}, ""), (6, {"body": "two", "note": ""}, ""),
    ]
    assert read(f"body{separator}note\r\n{separator}x\r\n".encode())[0].cells == {"body": "", "note": "x"}, "something stands here"


def test_a_row_with_more_text_than_columns_is_said_to_be_one_and_the_others_are_given() -> None:
    found = read(b"body\ncancel it, please\ncancel it\nstop,\n")
    assert [row.problem for row in found] == ["2 cells, 1 column; put the text in quotes", "", ""]
    assert found[2].cells == {"body": "stop"}, "a separator at the end holds no text"
    assert read(b"body\nstop, \n")[0].problem == "", "neither does a blank behind it"
    assert read(b"body,note,\na,b,c\n")[0].problem == "3 cells, 2 columns; put the text in quotes"


def test_capital_letters_and_blanks_around_the_names_of_columns_do_not_matter() -> None:
    assert read(b'Nr,"BODY "\n1,Where is it\n', key(" Body")) == [CsvRow(2, {"nr": "1", "body": "Where is it"})]
    with pytest.raises(ImportRejected, match="the column body is there twice"):
        read(b"Body,body\nplease cancel,refund me\n")


def test_a_column_without_a_name_in_front_is_left_alone() -> None:
    assert read(b",body\n0,where is it\n")[0].cells["body"] == "where is it"
    assert read(b",,body\n0,x,where is it\n")[0].cells["body"] == "where is it", "two of them are no column that is there twice"


def test_lines_may_end_as_old_spreadsheets_end_them() -> None:
    assert read(b"body,note\rwhere is it,x\rlost it,y\r") == [
        CsvRow(2, {"body": "where is it", "note": "x"}), CsvRow(3, {"body": "lost it", "note": "y"}),
    ]


def test_a_file_has_a_thousand_columns_at_most() -> None:
    """Each row gives a cell to each of them."""
    def wide(columns: int) -> bytes:
        return ",".join(["body", *map(str, range(1, columns))]).encode() + b"\nwhere is it\n"

    assert len(read(wide(1_000))[0].cells) == 1_000
    with pytest.raises(ImportRejected, match="at most 1,000 columns; found 1,001"):
        read(wide(1_001))


def test_a_message_repeats_the_beginning_of_long_names() -> None:
    with pytest.raises(ImportRejected) as missing:
        read(b"x" * 1_000_000 + b",note\nhi,a\n")
    assert str(missing.value) == f"the column body is missing; found {'x' * 1_000}"
    with pytest.raises(ImportRejected) as twice:
        read(b"body," + b",".join([b"x" * 1_000_000] * 2) + b"\nhi,a,b\n")
    assert str(twice.value).startswith(f"the column {'x' * 1_000} is there twice")


def test_a_cell_of_any_length_is_given_to_whoever_checks_it() -> None:
    assert len(read(b"body\n" + b"x" * 11_000_000 + b"\n")[0].cells["body"]) == 11_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the column body is missing; found an empty file"),
        (b"text;note\nhi;a\n", "the column body is missing; found text, note"),
        (b"body,note, note\nhi,a,b\n", "the column note is there twice"),
        (b'body\nhi\n"never closed\nand so on\n', r"line 3: not a valid CSV \(unexpected end of data\)"),
        (b"body\n" + b"where is it\n" * 20_000 + b"\x00\n", "binary data"),
        (b"PK\x03\x04\x00\x00", "binary data. A spreadsheet's table is saved as “CSV UTF-8”"),
        ("body\nhi\n".encode("utf-16-le"), "binary data"),
        (b"\xef\xbb\xbfbody\nhi\n\xe4\n", "line 3 is not"),
        (b"\xff\xfeb", "begins as UTF-16, but is not all of it"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(ImportRejected, match=message):
        read(content)
