"""Which policy and departments the fields of the Policy page were filled from, and what to do when others are in force by now.

A click makes the page read the live policy anew before the click is handled. What the fields were filled from is therefore
kept in the session: what somebody entered is about that policy and those departments, whatever is in force meanwhile.
"""
from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from engine import policy as policies
from engine import policy_words
from engine.domain import Limits, Policy, Thresholds
from pages.parts import words

_START, _SEEN = "policy_start", "policy_seen"
_BUTTONS = ("save_policy", "restore_policy", "apply_newer")
_FIELD = policy_words.FIELD | {
    "thresholds": "Routed alone from, one click from", "departments": "Routed alone from, one click from",
    "limits": "A stage answers from, lowest tracked accuracy, nearest similarity at least",
}


@dataclass(frozen=True, slots=True)
class Start:
    """What the fields were filled from. `key` ends the keys of their widgets: fields filled from something else are others."""

    policy: Policy
    departments: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.policy.number}_{zlib.crc32(repr(self.departments).encode()):08x}"


def current(live: Policy, departments: Sequence[str]) -> Start:
    """What the fields are filled from: what is in force when they are first shown, until `renew`."""
    return st.session_state.setdefault(_START, Start(live, tuple(departments)))


def renew() -> None:
    """The next run fills the fields from what is in force then."""
    st.session_state.pop(_START, None)


def seen(live: Policy) -> int:
    """The number that the page showed as being in force when its buttons were clicked; from now on it shows `live`."""
    before = st.session_state.get(_SEEN, live.number)
    st.session_state[_SEEN] = live.number
    return before


def follow(start: Start, draft: Policy, live: Policy, departments: Sequence[str], history: Sequence[Any]) -> None:
    """When something else is in force by now: fill the fields anew if nothing was entered, else say so and leave that to a click."""
    newer = live.number != start.policy.number
    lists = (("new", set(departments) - set(start.departments)), ("no longer live", set(start.departments) - set(departments)))
    if not newer and not any(names for _, names in lists):
        return
    untouched = start.policy.within(start.departments)
    if draft.target_accuracy is not None:
        # Beside a target nobody enters thresholds of departments.
        untouched = replace(untouched, departments=draft.departments)
    yours = _differences(untouched, draft)
    # A click on an untouched page is answered first, or it would be lost.
    if not yours and not any(st.session_state.get(button) for button in _BUTTONS):
        renew()
        st.rerun()
    told, before, now = [], policy_words.name(start.policy.number), policy_words.name(live.number)
    if newer:
        told.append(f"Meanwhile {_made(live, history)}. The fields still hold {before} and what you entered. That cannot be put in force: "
                    "it would undo the newer policy.")
    if changed := "; ".join(f"{what}: {words.plain(', '.join(sorted(names)))}" for what, names in lists if names):
        told.append(f"Meanwhile the departments have changed ({changed}). The table still shows those of before; nothing can be put in force for "
                    "one that is no longer live.")
    told.append(f"“Start from {now}” fills all fields anew. Note before what you want to enter again.")
    st.warning(" ".join(told), icon=":material/sync_problem:")
    theirs = _differences(start.policy, live)
    if rows := [
        (name, (yours.get(name) or theirs[name])[0], yours[name][1] if name in yours else "", theirs[name][1] if name in theirs else "")
        for name in dict.fromkeys([*yours, *theirs])
    ]:
        columns = ["Field", f"In {before}", "Entered by you", f"Changed by {now}"]
        st.dataframe(pd.DataFrame(rows, columns=columns)[columns[: 4 if newer else 3]], hide_index=True, width="stretch")
    st.button(f"Start from {now}", key="start_anew", icon=":material/restart_alt:", on_click=renew)


def figure(value: float) -> str:
    """A number as exactly as it is stored: 0.9 is "0.9", 0.995 is "0.995"."""
    return f"{value:.15g}"


def _differences(old: Policy, new: Policy) -> dict[str, tuple[str, str]]:
    """What differs, by the name that the page gives it, both values as text; departments one by one."""
    found = {}
    for name, (before, after) in policies.changes(old, new).items():
        if name not in {"departments", "limits"}:
            found[_FIELD[name]] = (_text(before), _text(after))
            continue
        for department in sorted({*before, *after}):
            if before.get(department) != after.get(department):
                found[f"{department}: {_FIELD[name].lower()}"] = (_text(before.get(department)), _text(after.get(department)))
    return found


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, frozenset):
        return ", ".join(sorted(stage.value.replace("_", " ") for stage in value)) or "none"
    if isinstance(value, Limits):
        return ", ".join("as for all" if one is None else figure(one) for one in (value.confidence, value.accuracy, value.similarity))
    return f"{figure(value.auto)}, {figure(value.preselect)}" if isinstance(value, Thresholds) else figure(value)


def _made(live: Policy, history: Sequence[Any]) -> str:
    row = next((row for row in history if row.number == live.number), None)
    return policy_words.in_force(live.number, (row.created_at, words.plain(row.author), words.plain(row.reason)) if row else None)
