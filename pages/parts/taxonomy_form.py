"""Changing departments in place, adding one, and replacing the whole taxonomy by CSV files."""
from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pandas as pd
import streamlit as st

from engine import taxonomy_csv
from engine.bootstrap import Engine
from engine.domain import Department, Topic
from engine.errors import ConsoleError
from engine.sanitize import one_line, plain_text
from pages.parts import mishap, words

PURPOSE = "What belongs there and what does not; a language model reads it"


@dataclass(slots=True)
class Done:
    """What was done in this session: what is still to be told of it, and how many departments it added."""

    notes: list[str] = field(default_factory=list)
    added: int = 0


def _done() -> Done:
    # One object, changed without a line that touches the session: a second click ends the run at such a line.
    own: Done = st.session_state.setdefault("taxonomy_done", Done())
    return own


def show_notes() -> None:
    """Say once what was done."""
    own = _done()
    for note in own.notes:
        st.success(note, icon=":material/check_circle:")
    own.notes.clear()


def edit(departments: Sequence[Department], topics: Sequence[Topic]) -> list[Department]:
    """The departments as a table to edit; those that differ from what is stored."""
    version = _version([d.name for d in departments])
    count = {d.name: sum(t.department == d.name for t in topics) for d in departments}
    frame = pd.DataFrame(
        [(d.name, d.purpose, count[d.name], d.triage, d.live) for d in departments],
        columns=["Department", "Purpose", "Topics", "Triage", "Live"],
    )
    table = st.data_editor(
        frame, hide_index=True, width="stretch", disabled=["Department", "Topics"], key=f"purposes_{version}",
        column_config={
            "Purpose": st.column_config.TextColumn(width="large", max_chars=1000, help=PURPOSE),
            "Triage": st.column_config.CheckboxColumn(help="Takes every ticket while nothing is learned; at most one"),
            "Live": st.column_config.CheckboxColumn(help="Off: retired"),
        },
    )
    made = [Department(name, plain_text(purpose or ""), bool(triage), bool(live)) for name, purpose, _, triage, live in table.itertuples(index=False)]
    return [new for old, new in zip(departments, made, strict=True) if old != new]


def _version(names: list[str]) -> str:
    """The end of the table's key: edits are kept by row, so a table with other rows is another one.

    What was entered in the one before it is shown again, under the names it was entered for, and counts no longer.
    """
    version = f"{st.session_state.get('taxonomy_saves', 0)}_{zlib.crc32(repr(names).encode()):08x}"
    before, rows = st.session_state.get("taxonomy_rows", (version, names))
    st.session_state["taxonomy_rows"] = (version, names)
    # A saving changes the version as well: what it sent is stored.
    edited = st.session_state.get(f"purposes_{before}", {}).get("edited_rows", {}) if rows != names else {}
    lost = [f"{rows[row]}, {column.lower()}: {value}" for row, cells in edited.items() for column, value in cells.items()]
    if lost:
        st.warning(
            "Nothing of what you entered was changed: meanwhile there are other departments. Look at them, then enter again what should "
            "still be changed. You had entered:", icon=":material/sync_problem:",
        )
        st.text("\n".join(lost))
    return version


def save(changed: Sequence[Department], *, engine: Engine, operator: str) -> None:
    """Store the changes; the router follows at once."""
    own = _done()
    try:
        before = {d.name: d for d in engine.taxonomy.departments(retired=True)}
        after = before | {d.name: d for d in changed}
        if sum(d.triage for d in after.values()) > 1 or sum(d.live for d in after.values()) < 2:
            st.error("Nothing was changed: at most one department takes triage, and at least two must be live.", icon=":material/block:")
            return

        def noted(connection: object) -> None:
            for department in changed:
                engine.audit.record(
                    operator, "department_changed", "department", department.name, connection=connection,
                    before=_fields(before[department.name]), after=_fields(department),
                )

        engine.taxonomy.save(changed, also=noted)
    except ConsoleError as error:
        mishap.told("The departments were not changed.", error)
        return
    _followed(engine)
    own.notes.append(f"{len(changed)} changed. Every instance follows within seconds.")
    # A table of its own after each saving: an old one would send its edits again.
    st.session_state["taxonomy_saves"] = st.session_state.get("taxonomy_saves", 0) + 1
    st.rerun()


def add(*, engine: Engine, operator: str) -> None:
    """One more department, which people can choose at once; the learned router follows their choices."""
    own = _done()
    # Empty fields after each that was added; a second click is one on a button that is no longer there.
    with st.form(f"new_department_{own.added}", border=False):
        name = one_line(st.text_input("Name", key=f"department_name_{own.added}", max_chars=taxonomy_csv.NAME_MAX))
        purpose = plain_text(st.text_area("Purpose", key=f"department_purpose_{own.added}", max_chars=1000, help=PURPOSE))
        if not st.form_submit_button("Add the department", key=f"add_department_{own.added}", icon=":material/add:"):
            return
    if not 1 <= len(name) <= taxonomy_csv.NAME_MAX:
        st.error(f"Nothing was added: a department needs a name of 1 to {taxonomy_csv.NAME_MAX} characters.", icon=":material/block:")
        return
    made = Department(name, purpose)
    try:
        engine.taxonomy.add(made, also=lambda connection: engine.audit.record(
            operator, "department_added", "department", name, connection=connection, after=_fields(made),
        ))
        own.notes.append(
            f"{words.plain(name)} is added. On every instance people can choose it within seconds, on Submit and on Review; the learned router sends "
            "tickets there once it has learned some that were labelled so."
        )
        own.added += 1
    except ConsoleError as error:
        mishap.told("The department was not added. What you entered is still in the fields.", error, icon=":material/block:")
        return
    _followed(engine)
    st.rerun()


def replace(*, engine: Engine, operator: str) -> None:
    """Three files become the new taxonomy; the learned router is fitted on them."""
    one, two, three = st.columns(3)
    first = one.file_uploader("departments.csv: department, purpose, triage", type=["csv"], key="departments_csv")
    second = two.file_uploader("topics.csv (optional): department, topic, purpose", type=["csv"], key="topics_csv")
    third = three.file_uploader("exemplars.csv: text, department, topic", type=["csv"], key="exemplars_csv")
    sure = st.checkbox("Replace what is there", key="replace_sure")
    if not st.button("Check, replace and learn", key="replace", disabled=not (first and third and sure), icon=":material/swap_horiz:"):
        return
    own, bar = _done(), st.progress(0.0, text="Checking the files…")
    try:
        departments = taxonomy_csv.departments(first.getvalue())
        topics = taxonomy_csv.topics(second.getvalue(), departments) if second else []
        exemplars = taxonomy_csv.exemplars(third.getvalue(), departments, topics, source="imported")
        number = engine.trainer.replace(
            departments, topics, exemplars,
            progress=lambda done, total: bar.progress(done / total, text=f"{done:,} of {total:,} exemplars read; then learning"),
            also=lambda connection: engine.audit.record(
                operator, "taxonomy_replaced", "taxonomy", "all", connection=connection,
                after={"departments": len(departments), "topics": len(topics), "exemplars": len(exemplars)},
            ),
        )
    except ConsoleError as error:
        bar.empty()
        mishap.told("The taxonomy was not replaced; everything is as it was.", error, icon=":material/block:")
        return
    _followed(engine)
    own.notes.append(f"{len(departments)} departments, {len(exemplars):,} exemplars; model {number} has learned them.")
    st.rerun()


def _followed(engine: Engine) -> None:
    """Take up at once what is stored; an instance that cannot do so now follows a moment later."""
    with suppress(ConsoleError):
        engine.state.refresh()


def _fields(department: Department) -> dict[str, object]:
    return {"purpose": department.purpose, "triage": department.triage, "live": department.live}
