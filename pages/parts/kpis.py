"""The dashboard's row of figures: each with its target, what it was before, and how many tickets or labels it rests on."""
from __future__ import annotations

from typing import Any

import streamlit as st

from engine.figures import Tally
from engine.targets import OPEN_ALERTS, Targets
from pages.parts import unsampled
from pages.parts.overview import Data
from pages.parts.words import count


def show(data: Data) -> None:
    """Ten figures, each with its target and the window before."""
    now, before, aims = data.overview.now, data.overview.before, data.targets
    top, low = st.columns(5), st.columns(5)
    more, same = _change(now.n - before.n) if before.n else (None, False)
    _card(
        top[0], "Tickets", f"{now.n:,}", more, f"no target · {before.n:,} before", colour="off", arrow="off" if same else "auto",
    )
    _share(top[1], "Hit rate", now.hit_rate, before.hit_rate, n=f"{now.n:,}", target=f"target ≥ {_percent(aims.hit_rate)}",
           about="Answered from earlier tickets / all decisions.")
    _share(top[2], "False hits", now.false_hit_rate, before.false_hit_rate, n=count(round(now.hit_labels), "label"),
           target=_false_hits_target(now, aims), inverse=True, about=_false_hits(now))
    _share(top[3], "Routed alone", now.auto_rate, before.auto_rate, n=f"{now.n:,}", target="no target",
           about="Tickets that went straight to the queue / all decisions. It follows from the accuracy that the policy asks for.")
    _accuracy(top[4], now, before, aims.accuracy)
    for column, label, share, target in zip(
        low, ("p50", "p95", "p99"), (0.5, 0.95, 0.99), (aims.p50_ms, aims.p95_ms, aims.p99_ms), strict=False
    ):
        _latency(column, label, now, before, share, target)
    _open_alerts(low[3], data)
    _waiting(low[4], data)
    unsampled.warn(data.unsampled, unheard=data.unheard)


def standing(data: Data) -> None:
    """The two figures that there are without any ticket in the view."""
    columns = st.columns(5)
    _open_alerts(columns[0], data)
    _waiting(columns[1], data)


def _open_alerts(column: Any, data: Data) -> None:
    critical, opened = data.open_alerts.get("critical", 0), sum(data.open_alerts.values())
    kinds = f"{critical} critical, {count(opened - critical, 'warning')}" if opened else "all quiet"
    more = opened - data.open_before
    _card(
        column, "Open alerts", f"{opened}", f"{more:+}" if more else None,
        f"{kinds} · target {OPEN_ALERTS} · {data.open_before} at the start of the time range · filters do not apply", colour="inverse",
        about="Open now, about everything that the console watches; the change is since the start of the time range.",
    )


def _waiting(column: Any, data: Data) -> None:
    _card(
        column, "Waiting", f"{data.waiting:,}", None, f"now, not routed yet · target ≤ {data.targets.waiting:g} · filters do not apply",
        about="Accepted tickets that are not routed yet: kept safe on the disks of all instances while the database is away. "
        "How many waited earlier is not kept.",
    )


def _card(
    column: Any, label: str, value: str, delta: str | None, note: str, *, colour: str = "normal", arrow: str = "auto", about: str | None = None,
) -> None:
    with column.container(border=True, height="stretch", gap="xxsmall"):
        st.metric(label, value, delta, delta_color=colour, delta_arrow=arrow if delta else "off", help=about)
        st.caption(note)


def _share(
    column: Any, label: str, now: float | None, before: float | None, *, n: str, target: str, about: str, inverse: bool = False
) -> None:
    digits = 2 if inverse else 1
    earlier = f"{100 * before:.{digits}f}% before" if before is not None else "nothing before"
    there = now is not None and before is not None
    change, same = _change(100 * (now - before), digits=digits, unit=" points") if there else (None, False)
    _card(
        column, label, f"{100 * now:.{digits}f}%" if now is not None else "–", change, f"{target} · {earlier} · n = {n}", about=about,
        colour="off" if same else "inverse" if inverse else "normal", arrow="off" if same else "auto",
    )


def _change(delta: float, *, digits: int = 0, unit: str = "") -> tuple[str, bool]:
    """What a card says of the change, and whether none is to be seen at this many digits."""
    same = round(delta, digits) == 0
    return "unchanged" if same else f"{delta:+,.{digits}f}{unit}", same


def _false_hits_target(now: Tally, aims: Targets) -> str:
    # With the interval where there is one: of a single label the rate is 0 or 100%, and says next to nothing.
    low, high = now.false_hit_interval
    found = f"95% interval {low:.1%} to {high:.1%} · " if now.false_hit_rate is not None else ""
    return f"{found}target ≤ {_percent(aims.false_hit_rate)}"


def _false_hits(now: Tally) -> str:
    audited = f" The learned router disagreed with {now.false_hits:,} of {count(now.audited, 'audited hit')}." if now.audited else ""
    return (
        "Answers from earlier tickets that supervisors found wrong / all such answers, estimated from labels; n is how many evenly sampled "
        f"labels that rests on.{audited}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:g}%"


def _accuracy(column: Any, now: Tally, before: Tally, target: float) -> None:
    low, high = now.accuracy_interval
    earlier = f"{100 * before.accuracy:.1f}% before" if before.accuracy is not None else "nothing before"
    state = "off" if now.accuracy is None else "green" if low >= target else "red" if high < target else "orange"
    _card(
        column, "Accuracy", f"{100 * now.accuracy:.1f}%" if now.accuracy is not None else "–",
        f"{100 * low:.1f} – {100 * high:.1f}%" if now.accuracy is not None else None,
        f"target ≥ {_percent(target)} · {earlier} · n = {count(round(now.sampled_labels), 'label')}", colour=state, arrow="off",
        about="Estimated for all tickets from the reviewed ones, each weighted by how rarely its like is reviewed; with the 95% interval. "
        "n is how many evenly sampled labels they are worth.",
    )


def _latency(column: Any, label: str, now: Tally, before: Tally, share: float, target: float) -> None:
    value, earlier = now.percentile_ms(share), before.percentile_ms(share)
    there = value is not None and earlier is not None
    change, same = _change(value - earlier, digits=1 if max(value, earlier) < 100 else 0, unit=" ms") if there else (None, False)
    _card(
        column, f"Time, {label}", _ms(value), change, f"target ≤ {_ms(target)} · {_ms(earlier)} before · n = {now.n:,}",
        colour="off" if same else "inverse", arrow="off" if same else "auto",
        about=f"{share:.0%} of the tickets were decided within this time. Read from a histogram: above 0.5 ms at most 19% off, as a rule much less.",
    )


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms" if value < 1000 else f"{value / 1000:,.1f} s"
