// What the pages' framework leaves out for people who work by keyboard, with a screen reader or on a small screen. Served to the
// pages alone; it looks for places by the names that the pages give them and knows nothing of what stands there.
(() => {
  if (window.consolePage) return;
  window.consolePage = true;

  // Forms that are drawn anew for the next ticket, and where the keyboard goes on then: in the first field there.
  const NEXT = new Map([[".st-key-labelled", ".st-key-labelled"], [".st-key-labelled_looked_up", ".st-key-looked_up"]]);
  const FIELDS = "input:not(:disabled), textarea:not(:disabled), button:not(:disabled)";
  // Where answers appear, and what of them is said.
  const ANSWER = ".st-key-answer";
  const SAID = '[data-testid="stAlertContainer"], .stMarkdownBadge, [data-testid="stHeading"], [data-testid="stMetricValue"]';

  const region = document.createElement("div");
  region.setAttribute("role", "status");
  region.id = "said";
  region.style.cssText = "position: fixed; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;";
  document.body.append(region);

  let focused = null, form = null, where = location.pathname, before = null;
  document.addEventListener("focusin", ({ target }) => {
    focused = target;
    form = [...NEXT.keys()].find((one) => target.closest(one)) ?? null;
  });

  // Nothing moves while its beginning can be seen.
  const show = (place) => {
    const { top } = place.getBoundingClientRect();
    if (top >= 0 && top <= 0.8 * window.innerHeight) return;
    // Below the bar that lies over the page.
    place.style.scrollMarginTop = "4.5rem";
    place.scrollIntoView({ block: "start" });
  };

  const keepFocus = () => {
    if (form === null || focused.isConnected || document.activeElement !== document.body) return;
    const place = document.querySelector(NEXT.get(form));
    if (place === null) return;
    place.querySelector(FIELDS)?.focus({ preventScroll: true });
    show(place);
  };

  // An icon is written as its name.
  const words = (element) => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll('[role="img"], [data-testid*="Icon"]').forEach((icon) => icon.remove());
    const text = copy.textContent.trim();
    return text.endsWith(".") ? text : `${text}.`;
  };

  const tell = () => {
    const place = document.querySelector(ANSWER);
    const answer = place === null ? "" : [...place.querySelectorAll(SAID)].map(words).join(" ");
    const asBefore = answer === before || before === null || where !== location.pathname;
    [before, where] = [answer, location.pathname];
    if (asBefore || answer === "") return;
    region.textContent = answer;
    show(place);
  };

  let due = 0;
  const look = () => {
    due ||= requestAnimationFrame(() => {
      due = 0;
      keepFocus();
      tell();
    });
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
})();
