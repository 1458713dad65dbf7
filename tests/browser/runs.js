// What a page has asked its server for and whether that has come, for the tests alone: the page itself says "notRunning" until the
// first word of the answer is there, which a busy machine takes its time for.
(() => {
  // The fields of Streamlit's BackMsg, ClientState and ForwardMsg that are looked at, by their numbers.
  const RERUN = 11, FRAGMENT = 5, BY_ITSELF = 6, BEGUN = 4, ENDED = 6, ENDED_FOR_ANOTHER = 2;
  // Milliseconds: for what the page draws last; where a run was on its way already, which may be the one that is heard of; and for a run of a
  // part of the page that is not there any more, of which nothing is ever heard.
  const DRAWING = 30, CROSSED = 600, DROPPED = 3_000;

  // Numbers as they are, everything else as its bytes.
  const fields = (bytes) => {
    const found = new Map();
    let at = 0;
    const number = () => {
      let value = 0, factor = 1, byte;
      do {
        byte = bytes[at++];
        value += (byte & 127) * factor;
        factor *= 128;
      } while (byte > 127);
      return value;
    };
    while (at < bytes.length) {
      const tag = number(), kind = tag & 7, from = at;
      if (kind === 0) found.set(tag >>> 3, number());
      else {
        const length = { 1: 8, 5: 4 }[kind] ?? number();
        found.set(tag >>> 3, bytes.subarray(at, at + length));
        at += length;
      }
      if (at === from) throw new Error(`kind ${kind} is not known`);
    }
    return found;
  };

  // `waiting`: what somebody asked for has not ended; `asked`: it has not begun either. `crossed`: another run was on its way when it was asked for.
  let waiting = false, asked = false, running = false, crossed = false, dropped = false, byItself = false, over = true, last = 0;

  // Over when the browser has nothing left to do.
  const overAfter = (milliseconds) => {
    const now = ++last;
    const idle = (then) => requestIdleCallback(() => { if (now === last) then(); }, { timeout: 2_000 });
    setTimeout(() => idle(() => idle(() => { [over, waiting, asked] = [true, false, false]; })), milliseconds);
  };

  const said = (bytes) => {
    const state = fields(bytes).get(RERUN);
    if (state === undefined) return;
    const told = fields(state);
    // A part of the page that asks every few seconds by itself, and takes as long to draw, would be waited for without end.
    if (told.get(BY_ITSELF)) {
      byItself = true;
      return;
    }
    crossed = asked || running || byItself;
    dropped = (dropped || !asked) && told.has(FRAGMENT);
    [waiting, asked, over] = [true, true, false];
    last += 1;
    if (dropped) overAfter(DROPPED);
  };

  const heard = (bytes) => {
    const told = fields(bytes);
    if (told.has(BEGUN)) {
      [asked, running, byItself] = [false, true, false];
      if (!waiting && !over && crossed) [waiting, crossed] = [true, false];
      if (!over && waiting) last += 1;
    }
    if (!told.has(ENDED)) return;
    running = told.get(ENDED) === ENDED_FOR_ANOTHER;
    if (running || !waiting || asked) return;
    waiting = false;
    overAfter(crossed ? CROSSED : DRAWING);
  };

  window.WebSocket = class extends WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => heard(new Uint8Array(data)));
    }

    send(data) {
      said(new Uint8Array(data));
      super.send(data);
    }
  };
  window.runsAreOver = () => over;
})();
