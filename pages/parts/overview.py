"""The dashboard's controls, its data in one read, and the row of figures."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from engine.bootstrap import Engine
from engine.domain import Channel
from engine.errors import ConsoleError
from engine.figures import Tally
from engine.targets import OPEN_ALERTS, Targets
from engine.timeline import DEFAULT_SPAN, SPANS, ChartWindow, Span
from pages.parts import demo_switch, unsampled
from pages.parts.words import count, without


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the controls say; every part of it is in the page's address."""

    span: Span
    departments: tuple[str, ...]
    channels: tuple[str, ...]
    policies: tuple[int, ...]
    demo: bool
    live: bool

    def windows(self, now: datetime) -> tuple[ChartWindow, ChartWindow]:
        """The chosen span up to now, and the one before it."""
        filters = {"demo": self.demo, "departments": self.departments, "channels": self.channels, "policies": self.policies}
        return ChartWindow(*self.span.window(now), **filters), ChartWindow(*self.span.before(now), **filters)

    @property
    def filtered(self) -> bool:
        return bool(self.departments or self.channels or self.policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Everything the dashboard shows, read for one view."""

    overview: Any
    alerts: Sequence[Any]
    open_alerts: Mapping[str, int]
    open_before: int
    waiting: int
    targets: Targets
    unsampled: Sequence[int]
    window: ChartWindow
    before: ChartWindow


_CONTROLS = ("span", "department", "channel", "policy", "demo", "live")
_SHOWN = "dashboard_shown"


def controls(engine: Engine) -> View:
    """Time range, filters and switches. A copy of the page's address shows the same view to somebody else.

    Who comes back from another page finds what was shown before; an address that says something of its own goes before that.
    """
    shown = {} if any(key in st.query_params for key in _CONTROLS) else st.session_state.get(_SHOWN, {})
    for key in ("span", "demo", "live"):
        _again(shown, key)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        span = st.segmented_control(
            "Time range", list(SPANS), default=DEFAULT_SPAN, required=True, format_func=lambda key: SPANS[key].label, key="span",
            bind="query-params",
        )
        names, policies = _choices(engine, SPANS[span or DEFAULT_SPAN])
        # A filter without a ticket in this time range filters all the same, chosen here or in somebody else's link.
        known_names, known_policies = _known(engine, names, policies)
        names = sorted(_and_chosen(shown, "department", names, known_names))
        policies = sorted(_and_chosen(shown, "policy", policies, known_policies), key=int)
        for key in ("department", "channel", "policy"):
            _again(shown, key)
        departments = st.multiselect("Departments", names, key="department", bind="query-params", placeholder="All", width=260)
        channels = st.multiselect(
            "Channels", [c.value for c in Channel], key="channel", bind="query-params", placeholder="All", format_func=str.capitalize, width=180,
        )
        chosen = st.multiselect("Policies", policies, key="policy", bind="query-params", placeholder="All", width=130)
        demo = demo_switch.show(engine)
        live = st.toggle("Refresh every 5 s", value=True, key="live", bind="query-params")
    st.session_state[_SHOWN] = {key: st.session_state[key] for key in _CONTROLS}
    return View(
        span=SPANS[span or DEFAULT_SPAN], departments=tuple(departments), channels=tuple(channels),
        policies=tuple(int(number) for number in chosen), demo=demo, live=live,
    )


def _again(shown: Mapping[str, Any], key: str) -> None:
    """Give a control what it showed before the page was left."""
    if key in shown and key not in st.session_state:
        st.session_state[key] = shown[key]


def _and_chosen(shown: Mapping[str, Any], key: str, options: Sequence[str], known: set[str]) -> set[str]:
    """The options, what is chosen already, and what the page's address asks for and is `known`."""
    return {*options, *(st.session_state.get(key, shown.get(key)) or []), *(known & set(st.query_params.get_all(key)))}


def _known(engine: Engine, names: Sequence[str], policies: Sequence[str]) -> tuple[set[str], set[str]]:
    """All departments and policies that there ever were, where the address asks for others than these; else none."""
    departments = set() if set(st.query_params.get_all("department")) <= set(names) else {
        department.name for department in engine.taxonomy.departments(retired=True)
    }
    numbers = set() if set(st.query_params.get_all("policy")) <= set(policies) else {
        "0", *(str(row.number) for row in engine.policies.all())
    }
    return departments, numbers


def _choices(engine: Engine, span: Span) -> tuple[list[str], list[str]]:
    seen, _, policies = engine.watch.charts.choices(ChartWindow(*span.window(datetime.now(UTC))))
    live = [department.name for department in engine.taxonomy.departments()]
    return sorted({*live, *seen}), [str(number) for number in policies]


def look_again(engine: Engine) -> None:
    """Ask every five seconds whether there is something to read, and then show the whole page."""

    @st.fragment(run_every=5.0)
    def look() -> None:
        with suppress(ConsoleError):
            engine.watch.alert_table.latest(limit=1)
            st.rerun()
        st.caption("The page looks again every 5 seconds.")

    look()


def read(engine: Engine, view: View) -> Data:
    """One read of everything. Raises ServiceUnavailable."""
    window, before = view.windows(datetime.now(UTC))
    return Data(
        overview=engine.watch.charts.overview(window, before, bar=view.span.level), alerts=engine.watch.alert_table.latest(limit=20),
        open_alerts=engine.watch.alert_table.open_by_severity(), open_before=engine.watch.alert_table.open_at(window.start),
        waiting=engine.watch.waiting(), targets=Targets.of(engine.watch.alerts.rules()),
        unsampled=unsampled.of(engine, view.policies, window), window=window, before=before,
    )


def kpis(data: Data) -> None:
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
    unsampled.warn(data.unsampled)


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


def read_from(data: Data) -> None:
    """Where the figures come from, if that is not where they should."""
    if data.overview.degraded_by:
        st.warning(
            f"These charts come from the primary database, because {without(data.overview.degraded_by)} does not answer. No figure is missing.",
            icon=":material/database:",
        )
    if data.overview.behind:
        st.warning(
            f"The read replica, which these charts come from, is {data.overview.behind.total_seconds() / 60:,.0f} min behind: what happened since is "
            "missing. Tickets are routed as ever.", icon=":material/history:",
        )


def degraded(now: Tally) -> None:
    """How many decisions of the view were made without a service that did not answer."""
    if now.degraded:
        st.info(
            f"{now.degraded:,} of {now.n:,} tickets were decided while a service did not answer. Their confidence takes that into account.",
            icon=":material/cloud_off:",
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
    audited = f" The learned router disagreed with {now.false_hits:,} of {now.audited:,} audited hits." if now.audited else ""
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
        about=f"{share:.0%} of the tickets were decided within this time. Read from a histogram: at most 19% off, as a rule much less.",
    )


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms" if value < 1000 else f"{value / 1000:,.1f} s"
