"""Submit: one ticket, or a file of them; the answer at once."""
from __future__ import annotations

import streamlit as st

from engine.domain import Channel, Priority, Spooled, TicketDraft
from engine.errors import ConsoleError, NotAccepted, TicketRejected
from pages.parts import decision as decision_view
from pages.parts import upload, words
from pages.parts.guard import open_page

operator, engine = open_page("Submit a ticket", caption="Type what the customer said. The console says where it goes, and how sure it is.")

single, many = st.tabs(["One ticket", "A file of tickets"])

with single:
    left, right = st.columns([5, 6], gap="large")
    with left, st.form("ticket", border=False, enter_to_submit=False):
        subject = st.text_input("Subject (optional)", key="subject", max_chars=200)
        body = st.text_area("What did the customer say?", key="body", height=220, placeholder="you took the money twice for my october bill")
        one, two, three = st.columns(3)
        channel = one.selectbox("Channel", list(Channel), index=list(Channel).index(Channel.WEB), format_func=str.capitalize, key="channel")
        priority = two.selectbox("Priority", list(Priority), index=1, format_func=str.capitalize, key="priority")
        customer = three.text_input("Customer reference", key="customer_ref", max_chars=64)
        sent = st.form_submit_button("Route it", type="primary", key="route", shortcut="Ctrl+Enter", width="stretch", icon=":material/alt_route:")
    if sent:
        draft = TicketDraft(
            body=body, subject=subject, channel=channel, priority=priority, customer_ref=customer, created_by=operator.name
        )
        try:
            engine.limits.take("submit", operator.name)
            with right, st.spinner("Routing…"):
                st.session_state["decision"] = engine.router.route(draft)
        except TicketRejected as error:
            st.session_state.pop("decision", None)
            right.error(f"The ticket was not accepted. {error.field.capitalize()}: {error.limit}.", icon=":material/block:")
            right.text(f"Found {error.found}. Nothing was stored; your text is still in the form.")
        except NotAccepted as error:
            st.session_state.pop("decision", None)
            right.error("The ticket was NOT accepted: it could be kept nowhere. Your text is still in the form.", icon=":material/block:")
            right.text(str(error))
        except ConsoleError as error:
            st.session_state.pop("decision", None)
            right.error("The ticket was not stored. Your text is still in the form; please send it again.", icon=":material/cloud_off:")
            right.text(str(error))
    with right:
        if isinstance(st.session_state.get("decision"), Spooled):
            decision_view.show_spooled(st.session_state["decision"])
        elif "decision" in st.session_state:
            decision_view.show(st.session_state["decision"], engine=engine, operator=operator.name)
        elif not sent:
            st.info("The answer appears here: department, confidence, the reason, and what else it could be.", icon=":material/alt_route:")

with many:
    upload.show(engine=engine, operator=operator.name)

st.subheader("Latest tickets", anchor=False)
try:
    rows = engine.decisions.latest(limit=10, created_by=None if operator.may("all_tickets") else operator.name)
except ConsoleError as error:
    st.warning("The latest tickets cannot be read at the moment. Nothing is lost.", icon=":material/cloud_off:")
    st.text(str(error))
else:
    if rows:
        st.dataframe(upload.latest_table(rows), hide_index=True, width="stretch", column_config={**words.TIMES, **words.CONFIDENCES})
    else:
        st.caption("No ticket yet. The first one you route appears here.")
