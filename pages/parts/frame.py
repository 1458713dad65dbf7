"""The main script of every visit: navigation by role, then the chosen page."""
from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import streamlit as st

PAGES = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PAGES.parent)) if str(PAGES.parent) not in sys.path else None

from engine import access, process  # noqa: E402 - the path comes first
from engine.errors import ConsoleError  # noqa: E402
from pages.parts import guard, mishap, reload  # noqa: E402

# Not an icon by name: as the tab's picture the browser would fetch it from another host. Before the navigation, which brings such icons; the
# title comes after it, once, since a screen reader may say each change of it.
st.set_page_config(page_icon="🔀", layout="wide")

# The framework writes white on the dark theme's bright blue (2.4 : 1), a shortcut's keys fainter still, and a light grey (3.7 : 1) beside
# charts on white. WCAG asks for 4.5 : 1. What it tells by a background or a shadow alone, what is chosen, how a switch or a slider stands, where the
# keyboard is, is gone where a system's own high contrast colours are forced on the page.
READABLE = """<style>
[data-testid^="stBaseButton-primary"]:not(:disabled), [data-testid^="stBaseButton-primary"]:not(:disabled):is(:hover, :focus, :active),
[data-testid="stMultiSelectTagsContainer"] [data-tag], [data-testid="stMultiSelectTagsContainer"] [data-tag] *
{ color: light-dark(#ffffff, #12171f); }
[data-testid^="stBaseButton"]:not(:disabled) kbd { opacity: 1; }
.js-plotly-plot :is(.xtick text, .ytick text, .xtitle, .ytitle, .annotation-text) { fill: light-dark(#55606e, #e6ebf2) !important; }
@media (forced-colors: active) {
  :focus-visible, :is([data-testid="stCheckbox"], [data-testid="stSlider"] [data-rac]:has(> [data-testid="stSliderThumbValue"])):has(:focus-visible)
  { outline: 3px solid CanvasText !important; outline-offset: 2px; }
  :is(input, textarea):focus-visible { outline-offset: -3px; }
  [data-testid="stButtonGroup"] [aria-checked="true"] p, [role="tab"][aria-selected="true"] p
  { forced-color-adjust: none; background: SelectedItem; color: SelectedItemText; }
  [data-testid="stCheckbox"] label > div:not([data-testid]) { forced-color-adjust: none; background: Canvas; outline: 1px solid CanvasText; }
  [data-testid="stCheckbox"] label > div:not([data-testid]) > div { background: CanvasText; }
  [data-testid="stCheckbox"][data-selected] label > div:not([data-testid]) { background: SelectedItem; }
  [data-testid="stCheckbox"][data-selected] label > div:not([data-testid]) > div { background: SelectedItemText; }
  [data-testid="stSlider"] :has(> [data-testid="stSliderThumbValue"]) { outline: 2px solid CanvasText; }
}
</style>"""

# File name, title, icon; shown in this order to the roles that may open them.
SECTIONS = {
    "Work": (("submit", "Submit", "send"), ("review", "Review", "fact_check"), ("accuracy", "Accuracy", "verified")),
    "Watch": (("dashboard", "Dashboard", "monitoring"), ("alerts", "Alerts", "notifications")),
    "Steer": (("policy", "Policy", "tune"), ("departments", "Departments", "lan")),
    "Run": (("system", "System", "dns"), ("users", "Users", "group"), ("audit", "Audit log", "history")),
    "You": (("account", "Account", "account_circle"),),
}


def page(name: str, title: str, icon: str):  # noqa: ANN201 - Streamlit's own type
    """A page by its file, whose absolute path keeps Streamlit from finding pages by itself. To a role that may not open it, its
    address (a manager's link, sent on) says so, and the file is not run.
    """
    if access.opens(operator.role, name):
        return st.Page(str(PAGES / f"{name}.py"), title=title, icon=f":material/{icon}:", url_path=name, default=name == "submit")
    return st.Page(partial(guard.refuse, operator.role, access.PAGES[name]), title=title, url_path=name, visibility="hidden")


try:
    operator = guard.who()
except ConsoleError as error:
    st.set_page_config(page_title="Routing console")
    mishap.told("The console cannot start. Nothing that was stored is lost.", error)
    st.stop()
if operator is None:
    st.set_page_config(page_title="Routing console")
    guard.ask_to_sign_in()

st.html(READABLE)
st.html('<script src="/page.js"></script>', unsafe_allow_javascript=True)
chosen = st.navigation({section: [page(*one) for one in pages] for section, pages in SECTIONS.items()})
# Tabs and the browser's history tell one page from another; a screen reader says it first.
st.set_page_config(page_title=f"{chosen.title} · Routing console")
with st.sidebar:
    st.text(f"{operator.name} ({operator.role})")
    st.html('<a href="/auth/logout">Sign out</a>')
reload.tell(process.running())
chosen.run()
