"""How the services are shown on the System page."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from engine.bootstrap import Engine
from engine.breaker import Circuit
from engine.errors import ConsoleError
from engine.health import Report

CIRCUIT = {
    Circuit.CLOSED.value: "asked", Circuit.OPEN.value: "left alone for a while", Circuit.HALF_OPEN.value: "tried again with the next ticket",
}
NAMES = {
    "database": "Database", "replica": "Read replica", "cache": "Exact cache", "embedder": "Embedder", "model": "Learned router", "index": "Vector index",
    "language_model": "Language model", "spool": "Spool", "worker": "Worker",
}


def name(service: str) -> str:
    """The service as people call it."""
    return NAMES.get(service, service.replace("_", " ").capitalize())


def banner(reports: Sequence[Report]) -> None:
    """One sentence about everything."""
    away = [report for report in reports if not report.ok or report.circuit != Circuit.CLOSED.value]
    if not away:
        st.success("Every service answers.", icon=":material/check_circle:")
        return
    for report in away:
        show = st.error if report.needed else st.warning
        show(f"{name(report.service)} does not answer. {report.consequence}", icon=":material/cloud_off:")


def away_now(engine: Engine) -> None:
    """One line for each service that tickets go without at this moment; asks nobody."""
    for service, consequence in engine.health.left_alone():
        st.warning(f"{name(service)} does not answer. {consequence}", icon=":material/cloud_off:")


def table(reports: Sequence[Report]) -> None:
    """One row for each service."""
    rows = [
        (
            name(r.service), r.mode, "answers" if r.ok else "away", r.detail, r.latency_ms, CIRCUIT.get(r.circuit, r.circuit),
            r.last_error or "none", r.last_error_at, r.consequence or "nothing",
        ) if r.configured
        else (name(r.service), r.mode, "none", "none", None, "not asked", "none", None, r.consequence)
        for r in reports
    ]
    columns = ["Service", "Backend", "State", "Version", "Latency", "By tickets", "Last error", "Last error at", "Degraded"]
    shown = pd.DataFrame(rows, columns=columns)
    if shown["Last error at"].isna().all():
        # The column that says what is different fits beside the others then.
        shown = shown.drop(columns=["Last error", "Last error at"])
    st.dataframe(
        shown, hide_index=True, width="stretch", key="services", placeholder="",
        column_config={
            "Latency": st.column_config.NumberColumn(format="%.1f ms", help="One question and its answer, asked just now"),
            "Last error at": st.column_config.DatetimeColumn("Last error at (UTC)", format="YYYY-MM-DD HH:mm:ss"),
        },
    )


def test_buttons(engine: Engine) -> None:
    """A button for each service that there is; the answer appears below."""
    row = st.container(horizontal=True)
    for service in engine.health.services:
        if row.button(name(service), key=f"test_{service}", icon=":material/network_check:"):
            engine.services.probe_now(service)
            with st.spinner("Asking…"):
                st.session_state["tested"] = engine.health.test(service), datetime.now(UTC)
    report, at = st.session_state.get("tested", (None, None))
    if report is not None:
        show = st.success if report.ok else st.error
        answers = "answers" if report.ok else "does not answer"
        show(f"{name(report.service)}: {answers} after {report.latency_ms:.1f} ms. Asked at {at:%H:%M:%S} UTC.")
        st.text(report.detail)


def waiting(engine: Engine) -> None:
    """What was accepted and is not done yet."""
    one, two, three = st.columns(3)
    one.metric("Spooled tickets", engine.spool.waiting(), help="Accepted while the database was away; routed when it is back")
    two.metric("Set aside", len(engine.spool.set_aside), help="Cannot be stored as they are: `python -m engine spool` says why")
    if engine.outbox is not None:
        try:
            three.metric("Vectors to send", engine.outbox.waiting(), help="Changes on their way to the remote vector index")
        except ConsoleError:
            three.metric("Vectors to send", None)


def usage(engine: Engine) -> None:
    """Calls, tokens and cost since the start."""
    if engine.gemini is None:
        st.caption("GOOGLE_API_KEY is not set: the learned router decides, and doubtful tickets are left to people.")
        return
    seen = engine.gemini.usage()
    one, two, three = st.columns(3)
    one.metric("Answers", f"{seen.calls:,}", help="Since this process started")
    two.metric("Tokens", f"{seen.input_tokens + seen.output_tokens:,}", help=f"{seen.input_tokens:,} read, {seen.output_tokens:,} written")
    three.metric("Cost", f"${seen.cost:.4f}", help="At the prices in the settings")
    if seen.unusable:
        unusable = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(seen.unusable.items()))
        st.text(f"Unusable answers: {unusable}. Other stages decided those tickets.")


def embedding(engine: Engine) -> None:
    """How many exemplars have a vector of the wanted embedder. Raises ConsoleError."""
    progress = engine.reembedder.progress()
    share = progress.done / progress.total if progress.total else 1.0
    st.progress(share, text=f"{progress.done:,} of {progress.total:,} exemplars have a vector of {progress.embedder}")
    used = engine.state.current().versions["embedder"]
    if used != progress.embedder:
        st.info(f"{used} answers until every vector is there; then the console changes over by itself.", icon=":material/sync:")
