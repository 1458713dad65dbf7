"""Figures of the accuracy page: reliability diagram, risk-coverage curve, confusion matrix."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from engine.calibration import ReliabilityBin
from engine.policy import Effect
from engine.risk import RiskCoverage
from pages.parts import charts
from pages.parts.words import count

BLUE, GREEN, RED, GREY = "#1f77b4", "#2a9d8f", "#d1603d", "#8a94a6"
# Pixels of a department's row in the confusion matrix: one line of its name.
ROW = 18
# Letters of all names together that fit side by side under half a page's chart.
BESIDE_EACH_OTHER = 24
# With more departments than this their numbers are shown under the pointer alone.
MOST_WRITTEN = 60


def reliability_diagram(bins: Sequence[ReliabilityBin], *, n: int) -> go.Figure:
    """Found accuracy over shown confidence with 95% intervals; on the diagonal the confidence is true."""
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": GREY}, name="true confidence")
    figure.add_scatter(
        x=[b.confidence for b in bins], y=[b.accuracy for b in bins], mode="markers+lines", name="found", marker={"size": 9, "color": BLUE},
        error_y={
            "type": "data", "symmetric": False, "array": [b.upper - b.accuracy for b in bins], "arrayminus": [b.accuracy - b.lower for b in bins],
        },
        text=[count(b.count, "label") for b in bins], hovertemplate="shown %{x:.1%}<br>found %{y:.1%}<br>%{text}<extra></extra>",
    )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%", title="shown confidence")
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", title="share right")
    return _finished(figure, f"Is the confidence true? (n = {count(n, 'label')})")


def risk_coverage(curve: RiskCoverage, *, target: float, chosen: Effect, n: int) -> go.Figure:
    """Accuracy of the tickets routed alone over their share; the target, and what a policy with it would do."""
    figure = go.Figure()
    figure.add_scatter(x=curve.coverage, y=curve.accuracy, mode="lines", line={"color": BLUE, "shape": "hv"}, name="one threshold for all", showlegend=False)
    figure.add_hline(y=target, line_dash="dot", line_color=RED, annotation_text=f"target {target:.1%}", annotation_position="bottom left")
    share = chosen.routed_alone
    # The words stand on the side with more room: left of 0% they would be cut.
    side = "left" if share > 0.5 else "right"
    figure.add_vline(x=share, line_color=GREEN, annotation_text=f"routed alone {share:.0%}", annotation_position=f"bottom {side}")
    lowest = [target, *curve.accuracy]
    if chosen.accuracy is not None:
        lowest.append(chosen.accuracy)
        figure.add_scatter(
            x=[share], y=[chosen.accuracy], mode="markers", marker={"size": 10, "color": GREEN}, name="this policy", showlegend=False,
            hovertemplate="routed alone %{x:.1%}<br>right %{y:.1%}<extra></extra>",
        )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%", title="share routed alone")
    figure.update_yaxes(range=[max(0.0, min(lowest) - 0.03), 1.005], tickformat=".0%", title="share right of these")
    return _finished(figure, f"Accuracy by share routed alone (n = {count(n, 'label')})")


def confusion(names: Sequence[str], counts: Mapping[tuple[str, str], int], *, n: int) -> go.Figure:
    """Rows: where tickets went; columns: where they belonged."""
    values = [[counts.get((predicted, actual), 0) for actual in names] for predicted in names]
    # Each number is an element of its own: a browser takes half a minute over those of 300 departments, nearly all of them 0.
    written = {"text": [[value or "" for value in row] for row in values], "texttemplate": "%{text}"} if len(names) <= MOST_WRITTEN else {}
    figure = go.Figure(
        go.Heatmap(
            z=values, x=list(names), y=list(names), colorscale="Blues", showscale=False, **written,
            hovertemplate="went to %{y}<br>belonged to %{x}<br>labels: %{z}<extra></extra>",
        )
    )
    # Every name has its own height; where the axis may choose, it leaves out every second or third.
    figure.update_xaxes(title="belonged to", tickmode="linear", dtick=1, tickangle=-90 if sum(map(len, names)) > BESIDE_EACH_OTHER else 0)
    figure.update_yaxes(title="went to", tickmode="linear", dtick=1, autorange="reversed")
    return _finished(figure, f"Where tickets went and belonged (n = {count(n, 'label')})", height=max(430, 250 + ROW * len(names)))


def _finished(figure: go.Figure, title: str, *, height: int = 360) -> go.Figure:
    figure.update_layout(
        title={"text": title, "font": {"size": 15}, "y": 0.98, "yanchor": "top"}, height=height, modebar=charts.TOOLBAR,
        margin={"l": 8, "r": charts.BESIDE, "t": 56, "b": 8},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure
