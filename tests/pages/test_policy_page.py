"""The Policy page's fields belong to one policy and to departments by name, and show what is stored."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from engine import policy as policies
from engine.bootstrap import Engine
from engine.domain import Department, Limits, Policy, Stage, Thresholds, TicketDraft
from engine.errors import ServiceUnavailable
from engine.outcome import Outcome
from engine.risk import derive_per_department
from engine.sanitize import remark
from pages.parts import policy_outlook
from tests.pages.opening import said

OPENS = Callable[[str], AppTest]


def another(console: Engine, policy: Policy | None = None, *, author: str = "ann", **fields: Any) -> Policy:
    """A policy that somebody else puts in force."""
    changed = replace(policy or console.policies.live(), **fields)
    return policies.save(
        changed, console.policies, departments=[d.name for d in console.taxonomy.departments()], author=author, reason="by another manager"
    )


def field(page: AppTest, label: str) -> Any:
    return next(element for element in page.number_input if element.label == label)


def save(page: AppTest, reason: str = "so that it is so") -> AppTest:
    page.text_input(key="policy_reason").set_value(reason)
    return page.button(key="save_policy").click().run()


def editor(page: AppTest) -> str:
    return str(page.data_editor[0].key)


def entered(page: AppTest, key: str, department: str, column: str, value: object, names: list[str]) -> None:
    """As the browser sends it with the next click: by the row that the department had in the table that was shown."""
    page.session_state[key] = {"edited_rows": {names.index(department): {column: value}}, "added_rows": [], "deleted_rows": []}


def test_after_going_back_the_fields_show_the_policy_that_is_in_force_and_saving_does_not_undo_it(opened: OPENS, console: Engine) -> None:
    another(console, accuracy=0.7)
    another(console, accuracy=0.85)
    page = opened("policy")
    assert field(page, "Lowest tracked accuracy").value == 0.85
    page.selectbox(key="policy_earlier").set_value(1).run()
    page.button(key="restore_policy").click().run()
    assert "Back to policy 1, now in force as policy 3." in said(page)
    assert field(page, "Lowest tracked accuracy").value == 0.7
    save(page)
    assert (console.policies.live().number, console.policies.live().accuracy) == (4, 0.7)


def test_the_first_change_can_be_taken_back_though_the_defaults_before_it_are_no_stored_policy(opened: OPENS, console: Engine) -> None:
    another(console, accuracy=0.7)
    page = opened("policy")
    page.selectbox(key="policy_earlier").set_value(0).run()
    page.button(key="restore_policy").click().run()
    assert "Back to the built-in defaults, now in force as policy 2." in said(page)
    assert console.policies.live() == replace(Policy(), number=2)


def test_what_stored_decisions_cannot_tell_of_a_change_is_named(opened: OPENS, console: Engine) -> None:
    another(console, review_rate=1.0)
    console.state.refresh()
    decision = console.router.route(TicketDraft(body="where is my parcel"))
    console.router.review(Outcome(ticket_id=decision.ticket_id, department=decision.department, labelled_by="sue"))
    console.state.refresh()
    page = opened("policy")
    assert "1 label" in {metric.value for metric in page.metric} and "in these figures" not in said(page)
    field(page, "Lowest tracked accuracy").set_value(0.7).run()
    assert "in these figures" not in said(page)
    field(page, "Nearest similarity at least").set_value(0.75).run()
    assert "Not wholly in these figures: the nearest similarity. By whom" in said(page)
    next(box for box in page.multiselect if box.label == "Stages").unselect(Stage.SEMANTIC).run()
    assert "Not wholly in these figures: the stages, the nearest similarity. By whom" in said(page)


def test_a_page_on_which_nothing_was_entered_follows_the_policy_that_came_into_force(opened: OPENS, console: Engine) -> None:
    page = opened("policy")
    page.text_input(key="policy_reason").set_value("to be kept").run()
    another(console, accuracy=0.86)
    page.run()
    assert field(page, "Lowest tracked accuracy").value == 0.86
    assert not page.warning
    assert page.text_input(key="policy_reason").value == "to be kept"


def test_saving_a_form_of_an_earlier_policy_is_refused_and_what_was_entered_stays_until_one_starts_anew(opened: OPENS, console: Engine) -> None:
    another(console)
    page = opened("policy")
    field(page, "Nearest similarity at least").set_value(0.75)
    made = another(console, accuracy=0.85)
    save(page, "mine")
    assert not page.exception
    assert console.policies.live() == made, "the newer policy stands"
    assert "Nothing was changed: another policy came into force meanwhile." in said(page)
    assert "policy 2 is in force since" in said(page)
    assert "by ann (by another manager). This change was made to policy 1." in said(page)
    assert "Meanwhile policy 2 is in force" in page.warning[0].value
    assert field(page, "Nearest similarity at least").value == 0.75
    table = next(frame.value for frame in page.dataframe if "Entered by you" in frame.value.columns).set_index("Field")
    assert table.loc["Nearest similarity at least"].tolist() == ["0.7", "0.75", ""]
    assert table.loc["Lowest tracked accuracy"].tolist() == ["0.8", "", "0.85"]
    save(page, "mine again")
    assert console.policies.live() == made
    page.button(key="start_anew").click().run()
    assert not page.warning and not page.error
    assert (field(page, "Nearest similarity at least").value, field(page, "Lowest tracked accuracy").value) == (0.7, 0.85)
    field(page, "Nearest similarity at least").set_value(0.75)
    save(page)
    assert "Policy 3 is in force" in said(page)
    assert (console.policies.live().accuracy, console.policies.live().similarity) == (0.85, 0.75)


@pytest.mark.parametrize("button", ["save_policy", "restore_policy"])
def test_a_click_on_an_untouched_page_whose_policy_is_no_longer_in_force_is_answered(opened: OPENS, console: Engine, button: str) -> None:
    another(console, accuracy=0.7)
    another(console, accuracy=0.75)
    page = opened("policy")
    page.selectbox(key="policy_earlier").set_value(1)
    page.text_input(key="policy_reason").set_value("as it was").run()
    made = another(console, accuracy=0.9)
    page.button(key=button).click().run()
    assert console.policies.live() == made
    assert "Nothing was changed: another policy came into force meanwhile." in said(page)
    assert field(page, "Lowest tracked accuracy").value == 0.9
    page.button(key=button).click().run()
    assert console.policies.live().number == 4, "seen once, it may be undone"


def test_a_threshold_is_stored_for_the_department_beside_which_it_was_entered_though_others_came_and_went(opened: OPENS, console: Engine) -> None:
    live = [d.name for d in console.taxonomy.departments()]
    first, second, last = live[0], live[1], live[-1]
    console.taxonomy.save([Department(first, "x", live=False)])
    page = opened("policy")
    key, names = editor(page), [d.name for d in console.taxonomy.departments()]
    entered(page, key, second, "Routed alone from", 0.98, names)
    # As many rows as before: the first comes back, the last goes, and all between them move.
    console.taxonomy.save([Department(first, "x"), Department(last, "x", live=False)])
    save(page)
    assert not page.exception
    assert {name: t.auto for name, t in console.policies.live().departments.items()} == {second: 0.98}
    assert editor(page) != key


@pytest.mark.parametrize("target", [None, 0.9], ids=["explicit", "target"])
def test_a_department_can_have_limits_of_its_own_beside_thresholds_and_beside_a_target(opened: OPENS, console: Engine, target: float | None) -> None:
    another(console, target_accuracy=target, limits={"Sales": Limits(similarity=0.9)})
    page = opened("policy")
    table = page.data_editor[-1]
    names = table.value["Department"].tolist()
    assert table.value.set_index("Department").loc["Sales", "Nearest similarity at least"] == 0.9
    entered(page, str(table.key), "Complaints", "Lowest tracked accuracy", 0.95, names)
    save(page)
    assert not page.exception
    live = console.policies.live()
    assert live.limits == {"Sales": Limits(similarity=0.9), "Complaints": Limits(accuracy=0.95)}
    assert (live.number, live.target_accuracy, live.departments) == (2, target, {})
    page = opened("policy")
    entered(page, str(page.data_editor[-1].key), "Sales", "Nearest similarity at least", 1.5, names)
    save(page)
    assert "Sales, “Nearest similarity at least”: must lie in [0, 1]; found 1.5" in said(page) and console.policies.live() == live


def test_a_limit_beyond_a_promise_is_shown_as_what_holds_and_not_as_promised() -> None:
    def page() -> None:
        import numpy as np

        from engine import policy as policies
        from engine.domain import Limits, Policy
        from pages.parts import policy_outlook
        from tests.unit.test_policy import DEPARTMENTS, evidence

        asked = Policy(target_accuracy=0.9, limits={"Sales": Limits(confidence=0.995), "Billing": Limits(accuracy=0.5)})
        policy, found = policies.derived(asked, evidence(4000), DEPARTMENTS)
        assert np.all([item.threshold.value < 0.995 for item in found.values()])
        policy_outlook.promise(policy, found)

    shown = AppTest.from_function(page, default_timeout=60).run()
    assert not shown.exception
    table = shown.dataframe[0].value.set_index("Department")
    assert table.loc["Sales", ["Routed alone from", "One click from"]].tolist() == [0.995, 0.995]
    assert pd.isna(table.loc["Sales", "Share routed alone"]) and table.loc["Billing", "Share routed alone"] > 50
    assert table.loc["Billing", "Routed alone from"] < 0.995
    assert any(caption.value.startswith("Sales: the department's own limit asks for more") for caption in shown.caption)


def test_limits_that_two_managers_change_at_once_are_shown_side_by_side(opened: OPENS, console: Engine) -> None:
    page = opened("policy")
    table = page.data_editor[-1]
    entered(page, str(table.key), "Sales", "A stage answers from", 0.5, table.value["Department"].tolist())
    another(console, limits={"Sales": Limits(accuracy=0.9)})
    save(page)
    (row,) = next(frame.value for frame in page.dataframe if "Entered by you" in frame.value).itertuples(index=False)
    assert tuple(row)[1:] == ("none", "0.5, as for all, as for all", "as for all, 0.9, as for all")
    assert console.policies.live().limits == {"Sales": Limits(accuracy=0.9)}


def test_a_threshold_for_a_department_that_was_retired_meanwhile_is_refused_and_not_dropped(opened: OPENS, console: Engine) -> None:
    page = opened("policy")
    key, names = editor(page), [d.name for d in console.taxonomy.departments()]
    entered(page, key, names[1], "Routed alone from", 0.98, names)
    console.taxonomy.save([Department(names[1], "x", live=False)])
    save(page)
    assert console.policies.all() == []
    assert f"{names[1]} is not a live department" in said(page)
    assert f"no longer live: {names[1]}" in page.warning[0].value
    entered(page, key, names[1], "Routed alone from", 0.98, names)
    page.button(key="start_anew").click().run()
    assert page.data_editor[0].value["Department"].tolist() == [*names[:1], *names[2:]]
    assert not page.warning


def test_what_was_entered_for_departments_that_were_replaced_meanwhile_is_shown_and_not_taken_for_others(opened: OPENS, console: Engine) -> None:
    before = console.taxonomy.departments(retired=True)
    page = opened("departments")
    key, names = editor(page), [d.name for d in before]
    entered(page, key, names[0], "Purpose", "what I wanted", names)
    page.run()
    assert page.button(key="save_departments").disabled is False
    console.taxonomy.save([Department("AAA the first of all", "x")])
    entered(page, key, names[0], "Purpose", "what I wanted", names)
    page.button(key="save_departments").click().run()
    assert not page.exception
    assert not page.success
    assert "Nothing of what you entered was changed" in page.warning[0].value
    assert f"{names[0]}, purpose: what I wanted" in said(page)
    assert [d for d in console.taxonomy.departments(retired=True) if d.name in names] == before
    entered(page, editor(page), names[0], "Purpose", "what I wanted", ["AAA the first of all", *names])
    page.run()
    page.button(key="save_departments").click().run()
    assert "1 changed." in said(page) and not page.warning
    assert next(d for d in console.taxonomy.departments() if d.name == names[0]).purpose == "what I wanted"


def test_a_policy_that_was_stored_is_not_called_unstored_because_this_instance_could_not_take_it_up_at_once(
    opened: OPENS, console: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened("policy")

    def away() -> bool:
        raise ServiceUnavailable("database", "away for a moment")

    monkeypatch.setattr(console.state, "refresh", away)
    save(page)
    assert "Policy 1 is in force" in said(page)
    assert not page.error


FINE = Policy(
    confidence=0.8555, accuracy=0.8125, similarity=0.7123, audit_rate=0.001, review_rate=0.005, deadline=0.125,
    thresholds=Thresholds(0.995, 0.9875), departments={"Sales": Thresholds(0.99951, 0.9731846094131)},
)


def test_fields_that_are_not_touched_keep_their_values_and_no_format_rounds_them(opened: OPENS, console: Engine) -> None:
    stored = another(console, FINE)
    page = opened("policy")
    values = {element.label: element.value for element in page.number_input}
    assert values["Routed alone from"] == 0.995 and values["Share of sure ones reviewed"] == 0.005
    assert {element.proto.format for element in page.number_input if element.label != "Similar tickets that must agree"} == {"%g"}
    assert "Empty means 0.995 and 0.9875" in said(page)
    columns = json.loads(page.data_editor[0].proto.columns)
    for name in ("Routed alone from", "One click from"):
        # A step would limit what a cell shows and takes.
        assert columns[name]["type_config"]["format"] == "%g" and columns[name]["type_config"].get("step") is None
    save(page)
    assert replace(console.policies.live(), number=0) == replace(stored, number=0)


PROMISED = Policy(target_accuracy=0.9321, thresholds=Thresholds(0.96, 0.6), departments={"Sales": Thresholds(0.99, 0.8)}, deadline=2.5)


@pytest.mark.parametrize("stored", [FINE, PROMISED, replace(PROMISED, target_accuracy=0.999), replace(PROMISED, target_accuracy=0.75)])
def test_starting_from_the_newer_policy_fills_in_all_of_it_and_saving_it_changes_nothing(opened: OPENS, console: Engine, stored: Policy) -> None:
    another(console)
    page = opened("policy")
    field(page, "Nearest similarity at least").set_value(0.77)
    made = another(console, stored)
    page.run()
    page.button(key="start_anew").click().run()
    assert not page.exception and not page.warning
    save(page)
    assert console.policies.live() == replace(made, number=3)


def test_promised_thresholds_stay_with_their_target_and_go_with_it(opened: OPENS, console: Engine) -> None:
    another(console, PROMISED)
    page = opened("policy")
    assert "the thresholds that it promised by stay with them: Sales from 0.99." in said(page)
    field(page, "Lowest tracked accuracy").set_value(0.85)
    save(page)
    assert (console.policies.live().accuracy, console.policies.live().departments) == (0.85, PROMISED.departments)
    field(page, "Routed alone from").set_value(0.97).run()
    assert "stay with them" not in said(page)
    save(page)
    assert console.policies.live().departments == {}, "no label promises anything here"
    another(console, PROMISED)
    page.run()
    page.slider[0].set_value(90.0).run()
    save(page)
    assert (console.policies.live().target_accuracy, console.policies.live().departments) == (0.9, {})


@pytest.mark.parametrize("target", [share / 200 for share in range(160, 200)])
def test_a_target_that_is_chosen_is_the_share_that_is_shown(target: float) -> None:
    assert round(100 * target, 6) / 100 == target


def test_the_history_shows_times_as_other_tables_do(opened: OPENS, console: Engine) -> None:
    another(console, FINE)
    page = opened("policy")
    table = next(frame for frame in page.dataframe if "Since (UTC)" in frame.value.columns)
    columns = json.loads(table.proto.columns)
    assert columns["Since (UTC)"]["type_config"]["format"] == "YYYY-MM-DD HH:mm:ss"
    assert columns["Routed alone from"]["type_config"]["format"] == "%g"
    assert pd.Timestamp(table.value["Since (UTC)"][0]) == console.policies.all()[0].created_at


def test_a_change_that_rounds_to_nothing_has_neither_sign_nor_colour() -> None:
    assert policy_outlook._points(0.50049, 0.50051) is None
    assert policy_outlook._points(0.50051, 0.50049) is None
    assert policy_outlook._points(None, 0.5) is None
    assert (policy_outlook._points(0.5, 0.51), policy_outlook._points(0.51, 0.5)) == ("+1.0 points", "-1.0 points")


def test_labels_that_a_promise_lacks_are_a_range_of_two_digits() -> None:
    none = derive_per_department([], [], [], target=0.95, known=["Sales"])["Sales"]

    def needed(least: int | None, enough: int | None) -> str:
        return policy_outlook.needed(replace(none, threshold=replace(none.threshold, labels_needed=least, labels_enough=enough)))

    assert needed(11_135, None) == "about 12,000 or more"
    assert needed(184, 1_401) == "about 190 to 1,500 more"
    assert needed(181, 189) == "about 190 more"
    assert needed(7, 40) == "about 7 to 40 more"
    assert needed(88, 88) == "about 88 more"
    assert needed(None, None) == "cannot be reached"


def test_what_another_manager_wrote_formats_nothing(opened: OPENS, console: Engine) -> None:
    page = opened("policy")
    field(page, "Lowest tracked accuracy").set_value(0.75)
    words = remark("**now** ![x](https://example.com/x.png)")
    policies.save(
        Policy(), console.policies, departments=[d.name for d in console.taxonomy.departments()], author=":red[eve]", reason=words
    )
    page.run()
    assert "**now**" not in page.warning[0].value and "![x]" not in page.warning[0].value and ":red[" not in page.warning[0].value
