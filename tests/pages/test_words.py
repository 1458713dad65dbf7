"""Small words of the pages: names that stay what they are, browsers and changes that people can read."""
from __future__ import annotations

import pytest

from pages.parts import trail, words


@pytest.mark.parametrize(("said", "expected"), [
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36 Edg/130.0", "Edge on Windows"),
    ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/130.0 Safari/537.36", "Chrome on Linux"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605.1 (KHTML, like Gecko) Version/17 Safari/605.1", "Safari on macOS"),
    ("python-requests/2.32", "python-requests/2.32"),
    ("", ""),
])
def test_a_browser_is_called_what_people_call_it(said: str, expected: str) -> None:
    assert words.browser(said) == expected


@pytest.mark.parametrize("name", ["![x](https://host.invalid/a.png)", "*a* _b_ `c` <i>d</i> [e](f) :red[g] $h$ # i"])
def test_a_name_in_markdown_has_every_sign_of_markdown_escaped(name: str) -> None:
    shown = words.plain(name)
    assert all(shown[place - 1] == "\\" for place, sign in enumerate(shown) if sign in "![]()*_`<>:$#")
    assert shown.replace("\\", "").replace("\u2060", "") == name


def test_a_change_names_what_differs() -> None:
    assert trail._change({"role": "agent", "disabled": False}, {"role": "manager", "disabled": False}) == "role: agent → manager"
    assert trail._change(None, {"sessions": 2}) == "sessions: 2"
    assert trail._change(None, None) == ""


def test_a_confidence_is_never_shown_as_certain_before_it_is() -> None:
    """Whole per cent between, and what it means for people who count."""
    shown = [words.percent(value) for value in (0.0, 0.004, 0.0051, 0.5, 0.9949, 0.995, 0.9999, 1.0)]
    assert shown == ["0%", "< 1%", "1%", "50%", "99%", "> 99%", "> 99%", "100%"]
    assert sorted(words.percents([0.9984, 0.07, 0.003, 0.87])) == ["   < 1%", "  7%", " 87%", "> 99%"]
    assert words.of_hundred(0.87) == "Of 100 tickets shown with 87%, about 87 are right."
    assert words.of_hundred(0.997) == "Of 1,000 tickets shown with 99.7%, about 997 are right."


def test_a_number_of_things_is_said_as_people_say_it() -> None:
    assert [words.count(number, "ticket") for number in (0, 1, 2, 3000)] == ["0 tickets", "1 ticket", "2 tickets", "3,000 tickets"]
