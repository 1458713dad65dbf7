"""The evaluate command: how good would the local router be on this labelled data?"""
from __future__ import annotations


def add(commands) -> None:  # noqa: ANN001
    """Add the command and its options."""
