"""Figures from tallies: every one with units, and the number of decisions it rests on."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from engine import targets
from engine.domain import Method
from engine.figures import BANDS, Tally
from engine.timeline import WIDTH, Level
from pages.parts import words

METHOD_COLOUR = {"cached": "#2a9d8f", "learned": "#3b82d6", "rag_llm": "#9467bd", "fallback": "#e08a3c"}
BAND_COLOUR = {"High": "#2a9d8f", "Medium": "#e0b13c", "Low": "#d1603d"}
BAND_LIMITS = {"High": "from 85%", "Medium": "60 to 85%", "Low": "under 60%"}
BLUE, RED, GREEN = "#3b82d6", "#d1603d", "#2a9d8f"
BAR_NAME = {Level.MINUTE: "minute", Level.HALF_HOUR: "half hour", Level.FOUR_HOURS: "4 hours", Level.DAY: "day", Level.MONTH: "month"}
UNREVIEWED, NO_LABEL = "no ticket of this time range is reviewed yet", "No label in this view"
# The toolbar stands upright beside the drawing, in pixels: across the top it lay over the titles.
TOOLBAR, BESIDE = {"orientation": "v"}, 36
_NOTE = '<span style="font-size:12px;font-weight:400">'
Bars = Sequence[tuple[datetime, str, Tally]]

# How wide a month is drawn; the shortest has 28 days, of which a bar takes nine tenths of this.
_MONTH = timedelta(days=30)


def config(name: str) -> dict[str, Any]:
    """Plotly's toolbar for one figure: download as PNG in twice the size, and nothing that needs the network."""
    return {
        "displaylogo": False, "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
        "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"],
    }


def dated(figure: go.Figure, window: str) -> go.Figure:
    """The figure with its time range in the note under the title, so that a saved picture says it as well."""
    figure.layout.title.text = figure.layout.title.text.replace(_NOTE, f"{_NOTE}{window} · ", 1)
    return figure


def distribution_over_time(bars: Bars, level: Level, *, n: int) -> go.Figure:
    """Tickets per interval, stacked by method."""
    figure = go.Figure()
    for method in Method:
        some = [(bar, tally) for bar, name, tally in bars if name == method.value]
        if some:
            figure.add_bar(
                x=[_middle(bar, level) for bar, _ in some], y=[tally.n for _, tally in some], name=words.METHOD[method],
                marker_color=METHOD_COLOUR[method.value], width=_width(level), customdata=[f"{bar:%d %b %H:%M}" for bar, _ in some],
                hovertemplate="from %{customdata} UTC, tickets: %{y:,}",
            )
    figure.update_layout(barmode="stack")
    _wide_enough(figure, [_middle(bar, level) for bar, _, _ in bars], level)
    totals: dict[datetime, int] = {}
    for bar, _, tally in bars:
        totals[bar] = totals.get(bar, 0) + tally.n
    figure.update_yaxes(dtick=_tick(totals.values()))
    return _finished(figure, "How tickets were routed", f"n = {words.count(n, 'decision')}", y=f"tickets per {BAR_NAME[level]}", x="time (UTC)", rows=3)


def latency_over_time(bars: Bars, level: Level) -> go.Figure:
    """p95 and p50 per method and interval on a logarithmic axis, with each method's target for p95 dashed."""
    figure = go.Figure()
    n = 0
    for method in Method:
        some = [(bar, tally) for bar, name, tally in bars if name == method.value and tally.n]
        if not some:
            continue
        n += sum(tally.n for _, tally in some)
        times, colour = [_middle(bar, level) for bar, _ in some], METHOD_COLOUR[method.value]
        p50, p95 = ([tally.percentile_ms(share) for _, tally in some] for share in (0.5, 0.95))
        figure.add_scatter(
            x=times, y=p95, name=words.METHOD[method], legendgroup=method.value, mode="lines+markers", line={"color": colour, "width": 2},
            marker={"size": 5}, customdata=list(zip(p50, (tally.n for _, tally in some), strict=True)),
            hovertemplate="p95 %{y:.1f} ms, p50 %{customdata[0]:.1f} ms, n = %{customdata[1]:,}",
        )
        figure.add_scatter(
            x=times, y=p50, name=f"{words.METHOD[method]}, p50", legendgroup=method.value, showlegend=False, hoverinfo="skip",
            mode="lines+markers", line={"color": colour, "width": 1, "dash": "dot"}, marker={"size": 4, "symbol": "circle-open"},
        )
        figure.add_hline(y=targets.P95_MS[method.value], line_dash="longdash", line_width=1, line_color=colour, opacity=0.6)
    figure.update_yaxes(type="log", dtick=1, minor={"ticks": "", "showgrid": False})
    figure.update_layout(hovermode="x unified")
    _wide_enough(figure, [_middle(bar, level) for bar, _, tally in bars if tally.n], level)
    # A telephone is too narrow for both in one line, and nothing tells that its end is missing.
    note = f"n = {words.count(n, 'decision')}<br>solid: p95, dotted: p50, dashed: p95's target"
    return _finished(figure, "Time per ticket by method", note, y="milliseconds", x="time (UTC)", rows=3)


def confidence(tally: Tally) -> go.Figure:
    """Tickets per twentieth of confidence in three bands, each with its accuracy, estimated from labels as everywhere."""
    figure = go.Figure()
    for (name, low, high), band in zip(BANDS, tally.bands(), strict=True):
        right = "no label"
        if band.accuracy is not None:
            lower, upper = band.interval
            labels = words.count(round(band.labels), "label")
            right = f"right {band.accuracy:.1%} ({lower:.1%}–{upper:.1%}, {labels})"
        figure.add_bar(
            x=[(i + 0.5) / 20 for i in range(low, high)], y=tally.confidence[low:high].tolist(), width=0.047, marker_color=BAND_COLOUR[name],
            name=f"{name}, {BAND_LIMITS[name]}: {band.n / max(1, tally.n):.0%}, {right}", hovertemplate="around %{x:.0%}, tickets: %{y:,}",
        )
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_yaxes(dtick=_tick(tally.confidence.tolist()))
    figure.update_layout(legend={"orientation": "v", "traceorder": "normal"})
    return _finished(figure, "Shown confidence, and how often it was right", f"n = {words.count(tally.n, 'decision')}", x="confidence", y="tickets", rows=3)


def by_department(rows: Sequence[tuple[str, str, Tally]]) -> dict[str, Tally]:
    """The tallies of each department's methods together."""
    found: dict[str, Tally] = {}
    for department, _, tally in rows:
        found[department] = found.get(department, Tally()) + tally
    return found


def departments(rows: Sequence[tuple[str, str, Tally]]) -> go.Figure:
    """Tickets per department, stacked by method; as high as the chart beside it."""
    totals = {department: tally.n for department, tally in by_department(rows).items()}
    order = sorted((name for name in totals if totals[name]), key=lambda name: totals[name])
    figure = go.Figure()
    for method in Method:
        some = {department: tally.n for department, name, tally in rows if name == method.value}
        if any(some.values()):
            figure.add_bar(
                y=order, x=[some.get(name, 0) for name in order], orientation="h", name=words.METHOD[method],
                marker_color=METHOD_COLOUR[method.value], hovertemplate="%{y}, tickets: %{x:,}",
            )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(dtick=_tick(totals.values()))
    return _finished(figure, "Where tickets went", f"n = {words.count(sum(totals.values()), 'decision')}", x="tickets", rows=3, lines=len(order))


def accuracy(rows: Sequence[tuple[str, str, Tally]], *, target: float) -> go.Figure:
    """Accuracy per department, estimated from reviewed tickets with 95% intervals, against target and goal."""
    found = by_department(rows)
    some = sorted(((name, t) for name, t in found.items() if t.accuracy is not None), key=lambda item: item[1].accuracy)
    figure = go.Figure()
    if some:
        rates = [t.accuracy for _, t in some]
        bounds = [t.accuracy_interval for _, t in some]
        figure.add_scatter(
            y=[f"{name} ({t.sampled_labels:,.0f})" for name, t in some], x=rates, mode="markers", marker={"size": 10, "color": BLUE}, showlegend=False,
            cliponaxis=False, error_x={
                "type": "data", "symmetric": False, "array": [max(0.0, high - rate) for (_, high), rate in zip(bounds, rates, strict=True)],
                "arrayminus": [max(0.0, rate - low) for (low, _), rate in zip(bounds, rates, strict=True)],
            },
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
        figure.add_vline(x=target, line_dash="dot", line_color=RED, annotation_text=f"{100 * target:g}%", annotation_position="bottom left")
        figure.add_vline(
            x=targets.ACCURACY_GOAL, line_dash="dot", line_color=GREEN, annotation_text=f"goal {targets.ACCURACY_GOAL:.0%}",
            annotation_position="bottom right",
        )
        lowest = min(low for low, _ in bounds)
        figure.update_xaxes(range=[max(0.0, min(0.7, lowest - 0.03)), 1.01], tickformat=".0%")
    n = round(sum((t for _, t in some), start=Tally()).sampled_labels)
    labels = sum(t.labels for t in found.values())
    note = f"95% intervals · n = {words.count(n, 'label')}" if some or labels else UNREVIEWED
    figure = _finished(
        figure, "Accuracy by department", note, x="share of all tickets that went right (estimated)", rows=0, lines=len(some),
        empty="No evenly sampled label in this view" if labels else NO_LABEL,
    )
    # Room for the goal's name behind its line and for the last number of the axis.
    return figure.update_layout(margin_r=40)


def flows(rows: Sequence[Any], *, labels: int) -> go.Figure:
    """Where corrected tickets were sent and where they belonged; right ones are not drawn."""
    sent = sorted({row.department for row in rows}, reverse=True)
    belonged = sorted({row.actual for row in rows})
    n = sum(row.n for row in rows)
    figure = go.Figure()
    if rows:
        counts = {(row.department, row.actual): row.n for row in rows}
        grid = [[counts.get((a, b)) for b in belonged] for a in sent]
        figure.add_heatmap(
            z=grid, x=belonged, y=sent, colorscale=[[0, "#f6dcc3"], [1, "#e07a4a"]], showscale=False, xgap=2, ygap=2,
            text=[["" if cell is None else f"{cell:,}" for cell in row] for row in grid], texttemplate="%{text}", textfont={"color": "#1b2430"},
            hovertemplate="sent to %{y}, belonged to %{x}, tickets: %{z:,}<extra></extra>",
        )
        figure.update_xaxes(tickangle=-50, dtick=1, showgrid=False, title_text="belonged to")
        figure.update_yaxes(showgrid=False, title_text="sent to")
    note = f"tickets · n = {n:,} corrected of {words.count(labels, 'label')}" if labels else UNREVIEWED
    return _finished(
        figure, "Corrections: sent to, belonged to", note, rows=0, lines=len(sent) + 6,
        empty="Every reviewed ticket had gone right" if labels else NO_LABEL,
    )


def _middle(bar: datetime, level: Level) -> datetime:
    # Bars are drawn around their x: the middle of the interval keeps them over it. Months are drawn at their beginning.
    return bar + WIDTH[level] / 2 if level in WIDTH else bar


def _tick(counts: Iterable[int]) -> int | None:
    # Plotly would draw halves and fifths of a ticket.
    return 1 if max(counts, default=0) <= 5 else None


def _wide_enough(figure: go.Figure, times: Sequence[datetime], level: Level) -> None:
    """At least six intervals from left to right: around a single point the axis would else count fractions of a second."""
    if times:
        least, middle = 6 * WIDTH.get(level, _MONTH), min(times) + (max(times) - min(times)) / 2
        if max(times) - min(times) < least:
            figure.update_xaxes(range=[middle - least / 2, middle + least / 2])


def _width(level: Level) -> float:
    # Milliseconds. Without one a single bar has none, which is the first month of a year's view.
    return 900 * WIDTH.get(level, _MONTH).total_seconds()


def _finished(
    figure: go.Figure, title: str, note: str, *, x: str = "", y: str = "", rows: int = 1, lines: int = 0, empty: str = "No ticket in this view"
) -> go.Figure:
    """`rows` is the room for the legend, which wraps where the page is narrow; `lines` are names that all have to be readable.

    `empty` is what stands in the middle where there is nothing to draw, in place of axes.
    """
    top = 58 + 20 * rows
    figure.update_layout(
        title={"text": f"{title}<br>{_NOTE}{note}</span>", "font": {"size": 15}, "y": 1, "yanchor": "top", "pad": {"t": 20}},
        height=max(370, top + 60 + 20 * lines), margin={"l": 8, "r": BESIDE, "t": top, "b": 8}, modebar=TOOLBAR, uirevision="keep",
        barcornerradius=2,
        xaxis_title=figure.layout.xaxis.title.text or x or None, yaxis_title=figure.layout.yaxis.title.text or y or None,
    )
    legend = {"y": 1.01, "yanchor": "bottom", "x": 0, "xanchor": "left", "font": {"size": 11}}
    figure.update_layout(legend=legend if figure.layout.legend.orientation == "v" else {**legend, "orientation": "h"})
    figure.update_xaxes(automargin=True)
    if lines:
        figure.update_yaxes(dtick=1)
    figure.update_yaxes(automargin=True, rangemode="tozero" if figure.layout.yaxis.type != "log" else None)
    if not figure.data:
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        figure.add_annotation(
            text=empty, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5, xanchor="center", yanchor="middle", font={"size": 15}, opacity=0.7,
        )
    return figure
