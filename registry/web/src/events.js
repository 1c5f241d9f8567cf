// What happened, newest first.

import { visible } from "./ansi.js";
import { arrange, element } from "./dom.js";
import { clock } from "./format.js";

export function createEvents(store) {
  const rows = new Map();
  const empty = element("p", "palm-quiet", "Nothing has happened yet.");
  const list = element("ol", "palm-events");
  list.tabIndex = 0;
  list.setAttribute("aria-label", "Events");
  list.reversed = true;

  function rowOf(event) {
    const time = element("time", "", clock(event.time));
    time.dateTime = new Date(event.time * 1000).toISOString();
    const row = element("li", "", time, element("span", "", visible(event.text || event.kind)));
    row.dataset.kind = event.kind;
    rows.set(event.seq, row);
    return row;
  }

  function update() {
    const { events } = store.state;
    const present = new Set(events.map((event) => event.seq));
    for (const seq of [...rows.keys()]) if (!present.has(seq)) rows.delete(seq);
    empty.hidden = events.length > 0;
    list.hidden = !events.length;
    arrange(list, [...events].reverse().map((event) => rows.get(event.seq) ?? rowOf(event)));
  }

  return { node: element("div", "", empty, list), update };
}
