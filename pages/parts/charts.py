"""Figures from rows: every one with units, and the number of decisions it rests on."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from engine.domain import Method
from engine.intervals import wilson
from pages.parts import words

METHOD_COLOUR = {"cached": "#2a9d8f", "learned": "#1f77b4", "rag_llm": "#9467bd", "fallback": "#e08a3c"}
BAND_COLOUR = {"High": "#2a9d8f", "Medium": "#e0b13c", "Low": "#d1603d"}
WARNING, GOAL = 0.85, 0.90


def distribution_over_time(rows: Sequence[Any], *, n: int) -> go.Figure:
    """Tickets per interval, stacked by method."""
    figure = go.Figure()
    for method in Method:
        some = [row for row in rows if row.method == method.value]
        if some:
            figure.add_bar(
                x=[r.bucket for r in some], y=[r.n for r in some], name=words.METHOD[method], marker_color=METHOD_COLOUR[method.value]
            )
    figure.update_layout(barmode="stack")
    return _finished(figure, f"How tickets were routed (n = {n:,})", y="tickets", x="time (UTC)")


def latency(rows: Sequence[Any]) -> go.Figure:
    """p50 and p95 per method, in milliseconds."""
    names = [f"{words.METHOD[Method(row.method)]}<br>n = {row.n:,}" for row in rows]
    figure = go.Figure()
    figure.add_bar(x=names, y=[r.p50 for r in rows], name="p50", marker_color="#1f77b4", text=[f"{r.p50:.1f}" for r in rows])
    figure.add_bar(x=names, y=[r.p95 for r in rows], name="p95", marker_color="#9ec9ef", text=[f"{r.p95:.1f}" for r in rows])
    return _finished(figure, "Processing time per ticket", y="milliseconds")


def confidence(rows: Sequence[Any]) -> go.Figure:
    """Tickets per twentieth of confidence, coloured High, Medium, Low."""
    figure = go.Figure()
    for name, low, high in (("Low", 0.0, 0.60), ("Medium", 0.60, 0.85), ("High", 0.85, 1.01)):
        some = [row for row in rows if low <= row.bin / 20 < high]
        n = sum(row.n for row in some)
        figure.add_bar(
            x=[(row.bin + 0.5) / 20 for row in some], y=[row.n for row in some], width=0.048, name=f"{name} ({n:,})",
            marker_color=BAND_COLOUR[name],
        )
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    return _finished(figure, f"Shown confidence (n = {sum(r.n for r in rows):,})", y="tickets", x="confidence")


def departments(rows: Sequence[Any]) -> go.Figure:
    """Tickets per department, stacked by method."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.department] = totals.get(row.department, 0) + row.n
    order = sorted(totals, key=lambda name: totals[name])
    figure = go.Figure()
    for method in Method:
        some = {row.department: row.n for row in rows if row.method == method.value}
        if some:
            figure.add_bar(
                y=order, x=[some.get(name, 0) for name in order], orientation="h", name=words.METHOD[method],
                marker_color=METHOD_COLOUR[method.value],
            )
    figure.update_layout(barmode="stack")
    return _finished(figure, f"Where tickets went (n = {sum(totals.values()):,})", x="tickets")


def accuracy(rows: Sequence[Any]) -> go.Figure:
    """Accuracy of reviewed tickets per department with 95 % Wilson intervals, against warning and goal."""
    n = sum(row.reviewed for row in rows)
    figure = go.Figure()
    ordered = sorted(rows, key=lambda row: row.correct / row.reviewed)
    rates = [row.correct / row.reviewed for row in ordered]
    bounds = [wilson(row.correct, row.reviewed) for row in ordered]
    figure.add_scatter(
        y=[f"{row.department} (n = {row.reviewed:,})" for row in ordered], x=rates, mode="markers", marker={"size": 10, "color": "#1f77b4"},
        error_x={
            "type": "data", "symmetric": False, "array": [high - rate for (_, high), rate in zip(bounds, rates, strict=True)],
            "arrayminus": [rate - low for (low, _), rate in zip(bounds, rates, strict=True)],
        },
        name="accuracy", showlegend=False,
    )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%")
    if rows:
        figure.add_vline(x=WARNING, line_dash="dot", line_color="#d1603d", annotation_text="warning 85 %", annotation_position="bottom left")
        figure.add_vline(x=GOAL, line_dash="dot", line_color="#2a9d8f", annotation_text="goal 90 %", annotation_position="top right")
    title = f"Accuracy of reviewed tickets, 95 % intervals (n = {n:,})" if rows else "Accuracy: no ticket of this time range is reviewed yet"
    return _finished(figure, title, x="share right")


def _finished(figure: go.Figure, title: str, *, x: str = "", y: str = "") -> go.Figure:
    figure.update_layout(
        title={"text": title, "font": {"size": 15}, "y": 0.98, "yanchor": "top"}, height=330, margin={"l": 8, "r": 8, "t": 64, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, xaxis_title=x or None, yaxis_title=y or None,
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure
