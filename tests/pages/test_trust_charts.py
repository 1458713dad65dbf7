"""The Accuracy page's figures show every name and every word."""
from __future__ import annotations

import numpy as np
import pytest

from engine.policy import Effect
from engine.selective import RiskCoverage
from pages.parts import trust_charts

CURVE = RiskCoverage(np.array([0.9, 0.5]), np.array([0.3, 0.8]), np.array([0.99, 0.9]))


@pytest.mark.parametrize("many", [2, 11, 40])
def test_every_department_has_its_name_on_both_axes_and_room_for_it(many: int) -> None:
    figure = trust_charts.confusion([f"Department number {number}" for number in range(many)], {}, n=1)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert (axis.tickmode, axis.dtick) == ("linear", 1)
    assert figure.layout.height >= many * trust_charts.ROW + 200


def test_names_stand_upright_where_they_would_lie_over_each_other() -> None:
    four = ["General Enquiries", "Orders and Delivery", "Sales", "Technical Support"]
    assert trust_charts.confusion(four, {}, n=1).layout.xaxis.tickangle == -90
    assert trust_charts.confusion(["Sales", "Billing"], {}, n=1).layout.xaxis.tickangle == 0


def test_the_toolbar_has_room_of_its_own_beside_the_drawing() -> None:
    figures = (
        trust_charts.confusion(["Sales"], {}, n=1), trust_charts.reliability_diagram([], n=0),
        trust_charts.risk_coverage(CURVE, target=0.9, chosen=Effect(routed_alone=0.3, accuracy=0.99, labels=10), n=100),
    )
    for figure in figures:
        assert figure.layout.modebar.orientation == "v" and figure.layout.margin.r >= 36


def test_numbers_are_written_where_there_are_labels_and_not_for_hundreds_of_departments() -> None:
    few, many = (trust_charts.confusion([str(number) for number in range(n)], {("0", "1"): 7}, n=7).data[0] for n in (2, 300))
    assert [list(row) for row in few.text] == [["", 7], ["", ""]]
    assert many.text is None and many.texttemplate is None and many.z[0][1] == 7


@pytest.mark.parametrize(("share", "side"), [(0.0, "left"), (0.3, "left"), (0.9, "right"), (1.0, "right")])
def test_the_share_routed_alone_is_written_where_there_is_room(share: float, side: str) -> None:
    figure = trust_charts.risk_coverage(CURVE, target=0.95, chosen=Effect(routed_alone=share, accuracy=0.8, labels=5), n=5)
    words = next(note for note in figure.layout.annotations if note.text == f"routed alone {share:.0%}")
    assert words.xanchor == side, "the side of the words that the line is on"
    assert figure.layout.yaxis.range[0] < 0.8, "the dot is in the picture"


def test_without_anything_routed_alone_the_figure_has_no_dot() -> None:
    empty = RiskCoverage(np.zeros(0), np.zeros(0), np.zeros(0))
    assert len(trust_charts.risk_coverage(empty, target=0.95, chosen=Effect(routed_alone=0.0, accuracy=None, labels=5), n=5).data) == 1
