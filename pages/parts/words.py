"""How the console says things: one place for the words that operators read."""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import streamlit as st

from engine.domain import Automation, Method

METHOD = {
    Method.CACHED: "Known case",
    Method.LEARNED: "Learned router",
    Method.RAG_LLM: "Language model",
    Method.FALLBACK: "Best guess",
}
AUTOMATION = {
    Automation.AUTO: ("Goes straight to the queue", "check_circle", "green"),
    Automation.PRESELECT: ("Please confirm", "touch_app", "orange"),
    Automation.SUGGEST: ("Please choose", "help", "red"),
}
SERVICE = {
    "cache": "the exact cache",
    "embedder": "the embedding model",
    "index": "the vector index",
    "database": "the database",
    "replica": "the read replica",
    "language_model": "the language model",
}
STAGE = {
    "sanitize": "Check and clean", "exact": "Exact cache", "embed": "Embedding", "neighbours": "Similar tickets",
    "semantic": "Agreement", "classify": "Learned router", "rag_llm": "Language model", "store": "Store", "total": "Total",
}


# Every column of times says that it is UTC in its title, so the cells need not.
TIMES = {
    name: st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss")
    for name in ("Time (UTC)", "Last sign-in (UTC)", "Last used (UTC)", "Expires (UTC)")
}
# Columns of confidences hold what `percents` makes of them.
CONFIDENCES = {name: st.column_config.TextColumn(alignment="right") for name in ("Confidence", "Shown confidence")}
_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Mac OS", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# What makes a link of an address is looked for after the escapes are gone. The joiner is not seen, and goes away where a text comes in.
_ADDRESS = re.compile(r"(?i)(?<=www)(?=\.)|(?<=https:)(?=//)|(?<=http:)(?=//)|(?<=@)(?=[\w-])")
_JOINER = "\u2060"


def plain(text: str) -> str:
    """A name for an element that reads Markdown (headings, captions, buttons, boxes), where it shows as what it is.

    Names are chosen by people: unescaped, one could format the page, load a picture from elsewhere, or lead there.
    """
    return _PUNCTUATION.sub(r"\\\1", _ADDRESS.sub(_JOINER, text))


def standing(decision: Any, *, chosen: str | None, labelled: str | None) -> tuple[str, str, str]:
    """What is to be done with a decision or its row of the history, or what was done, with its icon and its colour."""
    if labelled is not None:
        return "Labelled", "rule", "blue"
    if chosen is None:
        return AUTOMATION[Automation(decision.automation)]
    return ("Confirmed", "check_circle", "green") if chosen == decision.department else ("Sent on", "swap_horiz", "blue")


def browser(user_agent: str) -> str:
    """A browser as people call it: "Firefox on Windows"; what it says itself where it is none of the well-known."""
    name = next((known for mark, known in _BROWSERS if mark in user_agent), "")
    system = next((known for mark, known in _SYSTEMS if mark in user_agent), "")
    return f"{name} on {system}" if name and system else name or user_agent


def confidence(value: float) -> str:
    """The probability in words."""
    for limit, words in ((0.95, "almost certain"), (0.85, "very likely right"), (0.60, "probably right"), (0.35, "unsure")):
        if value >= limit:
            return words
    return "a guess"


def percent(value: float) -> str:
    """A confidence in [0, 1] in whole per cent; what is not certain is never shown as 0 or 100."""
    return "> 99%" if 0.995 <= value < 1.0 else "< 1%" if 0.0 < value < 0.005 else f"{value:.0%}"


def percents(values: Iterable[float]) -> list[str]:
    """Confidences in [0, 1] for a table's column: as `percent` says them, padded so that a click on its title sorts all but 100% by size."""
    return [shown.rjust(7 if shown.startswith("<") else 4) for shown in map(percent, map(float, values))]


def count(number: int, noun: str) -> str:
    """A number of things: "1 ticket", "2,000 tickets"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def of_hundred(value: float) -> str:
    """What the probability means, as people count."""
    count, shown = (100, f"{value:.0%}") if 0.005 <= value < 0.995 else (1000, f"{value:.1%}")
    return f"Of {count:,} tickets shown with {shown}, about {round(count * value):,} are right."


def without(services: Iterable[str]) -> str:
    """Services that did not answer, as part of a sentence."""
    names = [SERVICE.get(service, service.replace("_", " ")) for service in services]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
