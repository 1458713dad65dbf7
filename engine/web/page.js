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

  const MAIN = '[data-testid="stMain"]';
  const DRAWN = '[data-testid="stApp"][data-test-script-state="notRunning"]';

  const region = document.createElement("div");
  region.setAttribute("role", "status");
  region.id = "said";
  region.style.cssText = "position: fixed; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;";
  document.body.append(region);

  let focused = null, form = null;
  // `acted`: somebody has done something on the page `where`. `shown`: the answer as it stood at the end of a run, `earlier` before that run.
  let where = location.pathname, acted = false, running = false, earlier = [], shown = [], told = "";
  document.addEventListener("focusin", ({ target }) => {
    focused = target;
    form = [...NEXT.keys()].find((one) => target.closest(one)) ?? null;
  });

  for (const deed of ["click", "keydown"]) {
    document.addEventListener(deed, ({ target }) => { acted ||= target.closest(MAIN) !== null; }, true);
  }

  // Nothing moves while its beginning can be seen.
  const show = (place, { above }) => {
    const { top } = place.getBoundingClientRect();
    if (above ? top >= 0 && top <= 0.8 * window.innerHeight : top <= 0.8 * window.innerHeight) return;
    // Below the bar that lies over the page.
    place.style.scrollMarginTop = "4.5rem";
    place.scrollIntoView({ block: "start" });
  };

  const keepFocus = () => {
    if (form === null || focused.isConnected || document.activeElement !== document.body) return;
    const place = document.querySelector(NEXT.get(form));
    if (place === null) return;
    place.querySelector(FIELDS)?.focus({ preventScroll: true });
    show(place, { above: true });
  };

  // An icon is written as its name.
  const words = (element) => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll('[role="img"], [data-testid*="Icon"]').forEach((icon) => icon.remove());
    const text = copy.textContent.trim();
    return text.endsWith(".") ? text : `${text}.`;
  };

  const answer = () => [...document.querySelectorAll(ANSWER)].flatMap((place) => [...place.querySelectorAll(SAID)].map(words));

  const begin = () => {
    if (!running) [running, earlier, told] = [true, shown, ""];
    // The next ticket's answer is new as a whole, whatever it has in common with the one before.
    if (answer().length === 0) earlier = [];
  };

  const tell = () => {
    [running, shown] = [false, answer()];
    // A page that is opened may show an earlier answer.
    if (!acted) earlier = shown;
    const said = shown.filter((one) => !earlier.includes(one)).join(" ");
    if (said === "" || said === told) return;
    region.textContent = told = said;
    // Who chooses at the foot of a long answer stays there.
    show(document.querySelector(ANSWER), { above: false });
  };

  let due = 0;
  const look = () => {
    const drawn = () => document.querySelector(DRAWN) !== null;
    if (where !== location.pathname) [where, acted] = [location.pathname, false];
    // A run may be over before the next frame.
    if (!drawn()) begin();
    due ||= requestAnimationFrame(() => {
      due = 0;
      keepFocus();
      if (drawn()) tell();
    });
  };
  new MutationObserver(look).observe(document.body, { attributeFilter: ["data-test-script-state"], childList: true, subtree: true, characterData: true });
})();
