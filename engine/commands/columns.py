"""The columns of a labelled file that a command is told."""
from __future__ import annotations

from engine import csv_table
from engine.errors import InputRejected


def expect_two_columns(*, text_column: str, label_column: str, consequence: str) -> None:
    """Raises InputRejected, which ends with the `consequence`, where both are the same column."""
    if csv_table.key(text_column) == csv_table.key(label_column):
        raise InputRejected(f"--text-column and --label-column name the same column: a text is no label. {consequence}")
