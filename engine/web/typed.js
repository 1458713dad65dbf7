// Keeps what somebody has typed and not sent when a page is loaded again, as it is when their session has ended: in this tab alone, until it is
// there again. It lies sealed with the user's own key, which comes with the pages after signing in and stays nowhere: whoever signs in next
// in the same tab, or looks at what the browser keeps, finds nothing to read. A browser seals over TLS or on the machine itself alone; elsewhere
// nothing is kept.
(() => {
  if (window.consoleTyped || !crypto.subtle) return;
  window.consoleTyped = true;

  // Customers' words, and what was written about them.
  const FIELDS = [".st-key-subject input", ".st-key-body textarea", ".st-key-customer_ref input", '[class*="st-key-note_"] input',
    '[class*="st-key-overrule_reason_"] input'].join();
  const DRAWN = '[data-testid="stApp"][data-test-script-state="notRunning"]';
  const ITEM = "console-typed";
  // Signs. What is longer is hardly a ticket, and might be why the page was loaded again.
  const LONGEST = 100_000;

  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
  const key = crypto.subtle.importKey("raw", bytes(document.currentScript.dataset.key), "AES-GCM", false, ["encrypt", "decrypt"]);
  const nameOf = (field) => [...field.closest('[class*="st-key-"]').classList].find((name) => name.startsWith("st-key-"));

  // By page and field: `back` what is to be put back where its field is drawn and empty, `typed` what stands there. Until `back` is read, nothing is kept.
  // `at`: the page whose fields stand there.
  let back = null, typed = {}, at = null, kept = "", latest = 0, over = false;

  const open = async () => {
    try {
      const [salt, sealed] = sessionStorage.getItem(ITEM).split(" ").map(bytes);
      return JSON.parse(new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-GCM", iv: salt }, await key, sealed)));
    } catch {
      // Nothing is there, or somebody else's.
      sessionStorage.removeItem(ITEM);
      return {};
    }
  };

  const seal = async () => {
    const all = {};
    for (const [page, fields] of [...Object.entries(back), ...Object.entries(typed)]) {
      if (Object.keys(fields).length > 0) all[page] = { ...all[page], ...fields };
    }
    const text = JSON.stringify(all);
    // It is there, or being sealed.
    if (text === kept) return;
    const mine = latest += 1;
    kept = text;
    if (text === "{}") {
      sessionStorage.removeItem(ITEM);
      return;
    }
    const salt = crypto.getRandomValues(new Uint8Array(12));
    const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv: salt }, await key, new TextEncoder().encode(text)));
    // Something newer may have been typed meanwhile.
    if (mine !== latest || over) return;
    const written = (part) => btoa([...part].map((byte) => String.fromCharCode(byte)).join(""));
    try {
      sessionStorage.setItem(ITEM, `${written(salt)} ${written(sealed)}`);
    } catch {
      sessionStorage.removeItem(ITEM);
    }
  };

  const put = (field, text) => {
    // Past the framework's own setter, which would not notice; it takes a text over when its field is left.
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new FocusEvent("focusout", { bubbles: true }));
  };

  const look = () => {
    if (back === null || over) return;
    const fields = [...document.querySelectorAll(FIELDS)], page = location.pathname, earlier = back[page] ?? {}, drawn = document.querySelector(DRAWN) !== null;
    // A run that goes on has emptied what it took, and the next text may be typed there. On the way to another page its address comes first.
    if (drawn) at = page;
    else if (at !== page || fields.length === 0) return;
    for (const field of drawn ? fields : []) {
      const text = earlier[nameOf(field)];
      delete earlier[nameOf(field)];
      if (text !== undefined && field.value === "") put(field, text);
    }
    const held = fields.filter(({ value }) => value.trim() !== "" && value.length <= LONGEST);
    typed[page] = Object.fromEntries(held.map((field) => [nameOf(field), field.value]));
    seal();
  };

  document.addEventListener("input", look);
  document.addEventListener("click", ({ target }) => {
    if (target.closest('a[href="/auth/logout"]') === null) return;
    over = true;
    sessionStorage.removeItem(ITEM);
  }, true);
  let due = 0;
  new MutationObserver(() => {
    due ||= requestAnimationFrame(() => {
      due = 0;
      look();
    });
  }).observe(document.body, { attributeFilter: ["data-test-script-state"], childList: true, subtree: true });
  open().then((found) => {
    back = found;
    look();
  });
})();
