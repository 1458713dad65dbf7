"""Review: say what was right; the accuracy of each department follows at once."""
from __future__ import annotations

import streamlit as st

from engine.errors import ConsoleError
from pages.parts import labelling, mishap, words
from pages.parts.guard import open_page

operator, engine = open_page("Review outcomes", caption="Your labels are what the shown confidence is checked against.")
labelling.told()
EVERY = "All departments"

try:
    waiting, departments = engine.outcomes.waiting(), [d.name for d in engine.taxonomy.departments()]
    # Tickets of a department that was retired wait as well.
    chosen = st.selectbox("Department", [EVERY, *departments, *sorted(waiting.keys() - set(departments))], key="review_department")
    queue = engine.outcomes.queue(limit=25, department=None if chosen == EVERY else chosen)
    accuracy = engine.outcomes.accuracy()
except ConsoleError as error:
    unsaved = "; one that you were just saving was not stored" if labelling.desk().refused[0] else ""
    mishap.told(f"The review queue cannot be read at the moment. No saved label is lost{unsaved}. A ticket that you were labelling stays here.", error)
    labelling.without_queue(engine=engine, operator=operator.name)
    st.stop()

left, right = st.columns([3, 2], gap="large")
with left:
    if queue:
        count = sum(waiting.values()) if chosen == EVERY else waiting.get(chosen, 0)
        st.caption(f"{words.count(count, 'ticket')} waiting for a label; overruled ones come first, then those that were sampled, in an order of chance.")
    shown = labelling.form(queue, departments, engine=engine, operator=operator.name, part=chosen)
    if shown is None:
        # In the form's place, where the pages' script (engine/web/page.js) looks for what comes next.
        with st.container(key="labelled"):
            st.success("Nothing waits for a label here.", icon=":material/done_all:")
            st.caption("Doubtful decisions and a random share of the confident ones appear here as tickets come in.")
    with st.expander("Label a ticket by its number"):
        labelling.lookup(departments, engine=engine, operator=operator.name, shown=shown)
with right:
    st.subheader("Accuracy by department", anchor=False)
    labelling.accuracy_table(accuracy)
