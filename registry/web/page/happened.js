// What happened in a cluster: as it comes, and all that is kept of it.

import { visible } from "../src/ansi.js";
import { element, setText } from "../src/dom.js";
import { inWords, pathOf } from "./api.js";
import { createGrid } from "./grid.js";
import { choice, emptiness, field, offer, press } from "./parts.js";
import { stamp } from "./times.js";

const AT_ONCE = 100;
const KINDS_OF = ["cluster", "component", "config", "lease", "node", "output", "signal"];
const BAD = /\.(failed|lost|refused|died|gave-up)$/;

// Whether an event is one of those that are wanted; the registry's rule, for those that come live.
export function isWanted(event, { component = "", kind = "" }) {
  if (component && event.component !== component) return false;
  return !kind || event.kind === kind || event.kind.startsWith(`${kind}.`);
}

export function createClusterEvents(page, watched, query) {
  const component = choice([["", "all components"]]);
  const kind = choice([["", "all kinds"], ...KINDS_OF.map((each) => [each, each])]);
  const older = press("Older", () => more());
  const problem = element("p", "page-problem");
  const empty = emptiness("Nothing of that kind has happened", "Choose another component, or all kinds.");
  const grid = createGrid({
    caption: "Events, newest first",
    columns: [
      { title: "Time", className: "page-time", text: (event) => stamp(event.time) },
      { title: "Kind", text: (event) => event.kind },
      { title: "Component", text: (event) => event.component || "\u2013" },
      { title: "Node", text: (event) => event.node || "\u2013" },
      { title: "What happened", className: "page-rest page-wrap", text: (event) => event.text },
    ],
    keyOf: (event) => event.seq,
    classOf: (event) => (BAD.test(event.kind) ? "page-bad" : ""),
  });
  let events = new Map();
  let wanted = query;
  let asked = 0;
  let early = []; // what came live before the first page did
  empty.hidden = older.hidden = true;

  function draw() {
    const sorted = [...events.values()].sort((a, b) => b.seq - a.seq);
    grid.node.hidden = !sorted.length;
    empty.hidden = sorted.length > 0;
    grid.update(sorted);
  }

  async function load(before) {
    asked += 1;
    const mine = asked;
    try {
      const { component: name, kind: of } = wanted;
      const asking = { latest: 1, limit: AT_ONCE, before, component: name, kind: of };
      const found = await page.api.get(pathOf(watched.key, "events"), asking);
      if (mine !== asked) return;
      for (const event of [...found.events, ...after(found.events)]) events.set(event.seq, event);
      early = null;
      older.hidden = !found.more;
      setText(problem, "");
      draw();
    } catch (error) {
      setText(problem, visible(inWords(error)));
    }
  }

  // A feed begins with events of before, which may be on a page that nobody has asked for.
  function after(page) {
    const first = page[0]?.seq ?? 0;
    return (early ?? []).filter((event) => event.seq > first && isWanted(event, wanted));
  }

  const more = () => load(Math.min(...events.keys()));

  function show(next) {
    wanted = next;
    component.value = next.component ?? "";
    kind.value = next.kind ?? "";
    events = new Map();
    early = [];
    load();
  }

  const choose = () => page.go({
    place: "cluster", key: watched.key, tab: "events",
    query: { component: component.value, kind: kind.value },
  });
  component.addEventListener("change", choose);
  kind.addEventListener("change", choose);
  const names = () => offer(component, [["", "all components"], ...(watched.status?.components ?? []).map((c) => [c.name, c.name])]);
  const unsubscribe = watched.subscribe((frame) => {
    if (frame.topic === "status") {
      names();
      if (early) load(); // it could not be asked for before
    }
    if (frame.topic !== "events") return;
    if (early) early.push(frame.data);
    if (early || frame.data.seq < Math.min(...events.keys()) || !isWanted(frame.data, wanted)) return;
    events.set(frame.data.seq, frame.data);
    draw();
  });
  names();
  if (query.component) offer(component, [["", "all components"], [query.component, query.component]]);
  show(query);
  const bar = element("div", "page-bar", field("Component", component), field("Kind", kind));
  return {
    node: element("div", "", bar, problem, grid.node, empty, element("div", "page-more", older)),
    show,
    close: unsubscribe,
  };
}
