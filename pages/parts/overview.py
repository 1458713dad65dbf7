"""The dashboard's controls, its data in one read, and what is to be known of where they come from."""
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
from engine.targets import Targets
from engine.timeline import DEFAULT_SPAN, SPANS, ChartWindow, Span
from pages.parts import demo_switch, unsampled
from pages.parts.words import without


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
    unheard: int
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
    found = engine.watch.charts.overview(window, before, bar=view.span.level)
    return Data(
        overview=found, alerts=engine.watch.alert_table.latest(limit=20),
        open_alerts=engine.watch.alert_table.open_by_severity(), open_before=engine.watch.alert_table.open_at(window.start),
        waiting=engine.watch.waiting(), targets=Targets.of(engine.watch.alerts.rules()),
        unsampled=unsampled.of(engine, view.policies, window), unheard=unsampled.unheard(engine, view.policies, window, found.now),
        window=window, before=before,
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
            f"{now.degraded:,} of {now.n:,} tickets {'was' if now.degraded == 1 else 'were'} decided while a service did not answer. "
            "The confidence takes that into account.",
            icon=":material/cloud_off:",
        )
