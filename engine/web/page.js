// What the pages' framework leaves out for people who work by keyboard, with a screen reader or on a small screen. Served to the
// pages alone; it looks for places by the names that the pages give them and knows nothing of what stands there.
(() => {
  if (window.consolePage) return;
  window.consolePage = true;

  // Forms that are drawn anew for the next ticket, and where the keyboard goes on then: in the first field there.
  const NEXT = new Map([[".st-key-labelled", ".st-key-labelled"], [".st-key-labelled_looked_up", ".st-key-looked_up"]]);
  const SENDER = '[data-testid="stFormSubmitButton"] button';
  const FIELDS = "input:not(:disabled), textarea:not(:disabled), button:not(:disabled)";
  // Places beside the form that a page's shortcut sends: who presses it there means what stands there.
  const BESIDE = '.st-key-looked_up, .st-key-labelled_looked_up, [class*="st-key-open_number_"], .st-key-opened';
  // Lists whose buttons go away when they have done their work; the keyboard goes on at what takes their place.
  const LISTS = '[class*="st-key-listed_"]';
  // Places whose buttons do something else, or nothing more, once one of them has done its work; the keyboard goes on at the place itself, where
  // pressing again does nothing.
  const RESTS = '[class*="st-key-rests_"]';
  // Places with a text and with controls that are called alike wherever they stand: their names say what they are about.
  const ABOUT = '[class*="st-key-about_"]';
  // Where answers appear, where a page tells what came of a click anywhere on it, and what of both is said.
  const ANSWER = ".st-key-answer", DONE = '[class*="st-key-done_"]';
  const SAID = '[data-testid="stAlertContainer"], .stMarkdownBadge, [data-testid="stHeading"], [data-testid="stMetricValue"]';

  const APP = '[data-testid="stApp"]';
  const MAIN = '[data-testid="stMain"]';
  const DRAWN = '[data-testid="stApp"][data-test-script-state="notRunning"]';

  // The framework takes the view out of the address before it leaves a page, and puts it in after it has come to one, as steps of their own:
  // Back led to the page without its filters. An address that is only emptied is no step, a view that is put in belongs to the one before. And a
  // page that Back or Forward only passed on the way became a step when its run came, which cut the steps beyond: nobody goes there without a click.
  const push = history.pushState.bind(history);
  let led = false;
  addEventListener("popstate", () => { led = true; });
  document.addEventListener("click", () => { led = false; }, true);
  history.pushState = (state, unused, url) => {
    const { pathname, search } = new URL(url ?? "", location.href);
    if (pathname === location.pathname) {
      if (search !== "") history.replaceState(state, unused, url);
    } else if (!led) push(state, unused, url);
  };

  const region = document.createElement("div");
  region.setAttribute("role", "status");
  region.id = "said";
  region.style.cssText = "position: fixed; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;";
  document.body.append(region);

  const fieldsOf = (place) => [...place.querySelectorAll(FIELDS)];
  const drawn = () => document.querySelector(DRAWN) !== null;
  const named = (place, start) => [...(place?.classList ?? [])].find((name) => name.startsWith(start)) ?? "";
  // Which of its list's fields the keyboard is at, how far below the list's beginning, and what it is about.
  let focused = null, form = null, list = null, rest = null, nth = 0, depth = 0, row = "";
  // Milliseconds: less than anybody takes to read the next ticket, more than lies between two presses of one double press. `arrived`: when the
  // keyboard came to a form that was drawn anew, until something is done there.
  const UNREAD = 500;
  let arrived = -UNREAD;
  // `acted`: how often somebody has done something on the page `where`, `toldOf` when something was told last. `shown`: the answer as it stood
  // at the end of a run, `earlier` before that run.
  let where = location.pathname, acted = 0, toldOf = 0, running = false, earlier = [], shown = [], told = "";
  document.addEventListener("focusin", ({ target }) => {
    // What opens over the page belongs to the control that opened it, and gives the keyboard back to it without this event.
    if (target.closest(APP) === null) return;
    focused = target;
    form = [...NEXT.keys()].find((one) => target.closest(one)) ?? null;
    const listed = target.closest(LISTS);
    list = listed === null ? null : `.${named(listed, "st-key-listed_")}`;
    const rests = target.closest(RESTS);
    rest = rests === null ? null : `.${named(rests, "st-key-rests_")}`;
    stand();
  });

  // Anew whenever something has changed: what stands above may have gone.
  const stand = () => {
    const listed = list !== null && focused.isConnected ? focused.closest(list) : null;
    if (listed === null) return;
    [nth, depth] = [fieldsOf(listed).indexOf(focused), focused.getBoundingClientRect().top - listed.getBoundingClientRect().top];
    row = named(focused.closest(ABOUT), "st-key-about_");
  };

  for (const deed of ["click", "keydown"]) {
    document.addEventListener(deed, ({ target }) => { if (target.closest(MAIN) !== null) acted += 1; }, true);
  }

  const sends = ({ key, ctrlKey, metaKey }) => key === "Enter" && (ctrlKey || metaKey);
  // When it was pressed, and not when a busy browser comes to it.
  const unread = ({ timeStamp }) => form !== null
    && (timeStamp - arrived < UNREAD || (!focused.isConnected && document.querySelector(form) !== null));
  const drop = (event) => {
    event.stopImmediatePropagation();
    event.preventDefault();
  };
  // Each of the presses that a key gives while it is held down, and the second of a double one, would be about what came after the first.
  document.addEventListener("keydown", (event) => {
    // It ends what an input method composes, and is not about the form yet; one browser says so by the number alone.
    if (event.key === "Enter" && (event.isComposing || event.keyCode === 229)) event.stopImmediatePropagation();
    else if (event.key === "Enter") {
      // In a text they are new lines.
      if (sends(event) ? event.repeat || unread(event) : event.repeat && !event.target.matches("textarea")) drop(event);
    } else if (!["Control", "Meta", "Shift"].includes(event.key)) arrived = -UNREAD;
  }, true);
  document.addEventListener("input", () => { arrived = -UNREAD; }, true);
  document.addEventListener("click", (event) => {
    if (event.detail > 1 && form !== null && event.target.closest(form) !== null && unread(event)) drop(event);
    // A Mac's browsers leave the keyboard where it was when a button is clicked; nothing would tell when the next ticket came.
    else if (event.target.closest([...NEXT.keys()].join()) !== null) event.target.closest(SENDER)?.focus({ preventScroll: true });
  }, true);
  // Who has a list open chooses from it first: what is marked there was dropped, and the form sent with what stood in the field before.
  document.addEventListener("keydown", (event) => {
    if (!sends(event) || !event.target.matches('[role="combobox"][aria-expanded="true"]')) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    // Words that nothing in the list begins with choose nothing: the field shows again what it holds, before that is sent.
    const key = event.target.hasAttribute("aria-activedescendant") ? "Enter" : "Escape";
    event.target.dispatchEvent(new KeyboardEvent("keydown", { key, code: key, bubbles: true, cancelable: true }));
  }, true);
  // The fields have had the key when it comes to the body; the framework listens for shortcuts on the document.
  document.body.addEventListener("keydown", (event) => {
    if (sends(event) && event.target.closest(BESIDE) !== null) event.stopPropagation();
  });

  // Nothing moves while its beginning can be seen.
  const show = (place, { above }) => {
    const { top } = place.getBoundingClientRect();
    if (above ? top >= 0 && top <= 0.8 * window.innerHeight : top <= 0.8 * window.innerHeight) return;
    // Below the bar that lies over the page.
    place.style.scrollMarginTop = "4.5rem";
    place.scrollIntoView({ block: "start" });
  };

  const keepFocus = () => {
    if (drawn()) stand();
    if ((form ?? list ?? rest) === null) return;
    // A browser may leave the keyboard at a button that cannot be pressed any more.
    const stays = focused.isConnected && !(rest !== null && focused.disabled);
    if (stays || ![document.body, focused].includes(document.activeElement)) return;
    // While a list is drawn, what comes next in a row may be missing, and the next row's would be taken for it.
    if (form === null && !drawn()) return;
    const place = document.querySelector(NEXT.get(form) ?? list ?? rest);
    if (place === null) return;
    if ((form ?? list) === null) {
      place.tabIndex = -1;
      place.focus({ preventScroll: true });
      return;
    }
    const fields = fieldsOf(place), was = place.getBoundingClientRect().top + depth;
    const left = fields.find((one) => row !== "" && one.closest(`.${row}`) !== null);
    // A list without anything left to press is read itself, and so is a form in whose place nothing waits any more.
    const next = form !== null ? fields[0] ?? (drawn() ? place : null) : left ?? fields[Math.min(nth, fields.length - 1)] ?? place;
    if (next === null) return;
    if (next === place) place.tabIndex = -1;
    next.focus({ preventScroll: true });
    if (form !== null) {
      arrived = performance.now();
      show(place, { above: true });
    }
    // Nothing moves for somebody who has gone on reading elsewhere when a list changes by itself.
    else if (was >= 0 && was <= window.innerHeight) show(next, { above: true });
  };

  // An icon is written as its name.
  const words = (element) => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll('[role="img"], [data-testid*="Icon"]').forEach((icon) => icon.remove());
    const text = copy.textContent.trim();
    return text.endsWith(".") ? text : `${text}.`;
  };

  const name = () => {
    for (const place of document.querySelectorAll(ABOUT)) {
      const text = (place.querySelector('[data-testid="stText"]') ?? place.querySelector('[data-testid="stMarkdown"]'))?.textContent.trim();
      if (!text) continue;
      for (const one of place.querySelectorAll('button:not([role="radio"]), [role="radiogroup"]')) {
        one.setAttribute("aria-label", one.matches("button") ? `${words(one)} ${text}` : text);
      }
    }
  };

  // Each with its place, whose name tells that something has been done again from what still stands there.
  const answer = () => [...document.querySelectorAll(`${ANSWER}, ${DONE}`)].flatMap((place) => {
    const done = named(place, "st-key-done_");
    return [...place.querySelectorAll(SAID)].map((one) => `${done}\n${words(one)}`);
  });

  const begin = () => {
    if (!running) [running, earlier] = [true, shown];
    // The next ticket's answer is new as a whole, whatever it has in common with the one before.
    if (answer().length === 0) earlier = [];
  };

  const tell = () => {
    [running, shown] = [false, answer()];
    // A page that is opened may show an earlier answer.
    if (acted === 0) earlier = shown;
    const said = shown.filter((one) => !earlier.includes(one)).map((one) => one.slice(one.indexOf("\n") + 1)).join(" ");
    // A place may get its words first and its name a moment later.
    if (said === "" || (said === told && acted === toldOf)) return;
    region.textContent = said;
    [told, toldOf] = [said, acted];
    const done = document.querySelector(`${DONE}:has(${SAID})`);
    // Who chooses at the foot of a long answer stays there.
    show(done ?? document.querySelector(ANSWER), { above: done !== null });
  };

  let due = 0;
  const look = () => {
    if (where !== location.pathname) [where, acted, told] = [location.pathname, 0, ""];
    // A run may be over before the next frame.
    if (!drawn()) begin();
    due ||= requestAnimationFrame(() => {
      due = 0;
      name();
      keepFocus();
      if (drawn()) tell();
    });
  };
  new MutationObserver(look).observe(document.body, { attributeFilter: ["data-test-script-state"], childList: true, subtree: true, characterData: true });
})();
