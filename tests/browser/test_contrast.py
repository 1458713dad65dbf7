"""What is written can be read: contrasts as WCAG AA asks for, in both themes. In a real browser."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from engine.domain import TicketDraft
from tests.browser.conftest import heard, settled
from tests.serving import Served
from tests.signin import sign_in

pytestmark = pytest.mark.browser

# Text that is written over what lies behind it, with a contrast under 4.5 : 1: [contrast, text]. Disabled controls need none.
FAINT = """selector => {
    const parts = colour => {
        const all = colour.match(/[\\d.]+/g).map(Number), scale = colour.startsWith("color(") ? 255 : 1
        return [all[0] * scale, all[1] * scale, all[2] * scale, all.length > 3 ? all[3] : 1]
    }
    const over = (front, back) => [0, 1, 2].map(i => front[i] * front[3] + back[i] * (1 - front[3])).concat(1)
    const linear = part => (part /= 255) <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) + 0.05
    const above = one => one ? [one, ...above(one.parentElement)] : []
    const faint = []
    for (const one of document.querySelectorAll(selector)) {
        if (one.closest(":disabled") || !one.textContent.trim() || !one.getBoundingClientRect().width) continue
        const line = above(one).map(each => getComputedStyle(each))
        const back = line.map(style => parts(style.backgroundColor)).reduceRight((behind, colour) => over(colour, behind), [255, 255, 255, 1])
        const text = parts(one instanceof SVGElement ? line[0].fill : line[0].color)
        text[3] *= line.reduce((product, style) => product * style.opacity, 1)
        const [dark, bright] = [light(over(text, back)), light(back)].sort((a, b) => a - b)
        if (bright / dark < 4.5) faint.push([Math.round(100 * bright / dark) / 100, one.textContent.trim()])
    }
    return faint
}"""
WRITTEN = (
    "[data-testid=stCaptionContainer] p, [data-testid^=stBaseButton] p, kbd, [data-tag] span, [data-testid=stSidebar] span, "
    "[data-testid=stWidgetLabel] p, [data-testid=stText], [data-testid=stAlert] p, [role=tab] p, h1, h2, h3, a, .xtick text, .ytick text, .xtitle, .ytitle"
)

MAIN = {"submit": ".st-key-route button", "policy": ".st-key-save_policy button"}


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, chromium: Browser, served: Served) -> Iterator[Page]:
    """A page of an admin whose browser asks for this theme."""
    context = heard(chromium.new_context(viewport={"width": 1280, "height": 1600}, color_scheme=request.param))
    page = context.new_page()
    sign_in(page, served.url, "admin", served.words["admin"])
    yield page
    context.close()


@pytest.mark.parametrize("name", ["submit", "review", "policy", "dashboard", "users", "audit"])
def test_captions_buttons_and_the_keys_of_shortcuts_can_be_read(served: Served, themed: Page, name: str) -> None:
    if name == "dashboard":
        served.engine.router.route(TicketDraft(body="where is my parcel"))
        served.engine.router.settle()
    themed.goto(f"{served.url}/{name}")
    themed.locator("[data-testid=stHeading] h1").wait_for()
    settled(themed)
    if name == "policy":
        themed.get_by_text("Cache, audit and stages").click()
        themed.get_by_text("Exact cache").wait_for()
    if name == "dashboard":
        themed.locator(".ytick text").first.wait_for()
    if name in MAIN:
        themed.locator(MAIN[name]).hover()
        themed.wait_for_timeout(300)
    # What comes into view or is drawn anew is fainter for a moment.
    with suppress(PlaywrightTimeout):
        themed.wait_for_function(f"selector => ({FAINT})(selector).length === 0", arg=WRITTEN)
    assert themed.evaluate(FAINT, WRITTEN) == []


def test_with_forced_colours_it_is_seen_what_is_chosen_what_is_on_and_where_the_keyboard_is(served: Served, chromium: Browser) -> None:
    context = heard(chromium.new_context(viewport={"width": 1280, "height": 1600}, forced_colors="active"))
    page = context.new_page()
    sign_in(page, served.url, "admin", served.words["admin"])
    page.goto(f"{served.url}/dashboard")
    page.get_by_role("switch", name="Demo tickets").wait_for()
    settled(page)
    paper = "getComputedStyle(one).backgroundColor"
    chosen, other = (page.get_by_role("radio", name=name).locator("p").evaluate(f"one => {paper}") for name in ("Last 24 hours", "Last hour"))
    assert chosen != other
    track = page.locator(".st-key-demo label > div").first
    # As they are once nothing moves any more.
    both = f"""async one => {{
        await Promise.all(one.getAnimations({{ subtree: true }}).map(each => each.finished));
        return [{paper}, getComputedStyle(one.firstElementChild).backgroundColor];
    }}"""
    on = track.evaluate(both)
    page.get_by_role("switch", name="Demo tickets").press("Space")
    settled(page)
    off = track.evaluate(both)
    assert on != off and len(set(on)) == len(set(off)) == 2
    page.goto(f"{served.url}/policy")
    page.locator(".st-key-save_policy button").wait_for()
    settled(page)
    page.locator(".st-key-policy_reason input").focus()
    page.keyboard.press("Tab")
    button = page.locator(".st-key-save_policy button")
    assert button.evaluate("one => one.matches(':focus-visible') && getComputedStyle(one).outlineStyle") == "solid"
    context.close()
