"""How the console says things: one place for the words that operators read."""
from __future__ import annotations

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
    "language_model": "the language model",
}
STAGE = {
    "sanitize": "Check and clean", "exact": "Exact cache", "embed": "Embedding", "neighbours": "Similar tickets",
    "semantic": "Agreement", "classify": "Learned router", "rag_llm": "Language model", "store": "Store", "total": "Total",
}


def confidence(value: float) -> str:
    """The probability in words."""
    for limit, words in ((0.95, "almost certain"), (0.85, "very likely right"), (0.60, "probably right"), (0.35, "unsure")):
        if value >= limit:
            return words
    return "a guess"


def of_hundred(value: float) -> str:
    """What the probability means, as people count."""
    return f"Of 100 tickets shown with {value:.0%}, about {round(100 * value)} are right."
