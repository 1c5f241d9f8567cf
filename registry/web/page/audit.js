// Who changed what, and who tried to: for admins.

import { visible } from "../src/ansi.js";
import { element, setText } from "../src/dom.js";
import { createGrid } from "./grid.js";
import { badge, emptiness, field, input, press } from "./parts.js";
import { poll } from "./poll.js";
import { stamp } from "./times.js";

const ENTRIES = 100;

// What the answer was: [state for the dot, words].
export function outcomeOf({ status, code }) {
  if (status >= 500) return ["failed", `failed (${code || status})`];
  if (status >= 400) return ["unknown", `refused (${code || status})`];
  return ["ready", "done"];
}

export function detailsInWords(details) {
  return Object.entries(details)
    .filter(([name]) => name !== "browser")
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}

export function createAudit(page, route) {
  const token = input({ type: "search", name: "token", placeholder: "all" });
  const cluster = input({ type: "search", name: "cluster", placeholder: "all" });
  const refused = input({ type: "checkbox", name: "refused", className: "" });
  const older = press("Older", () => load(Math.min(...entries.keys())));
  const problem = element("p", "page-problem");
  const empty = emptiness("No such entry", "Entries are kept for 90 days.");
  const grid = createGrid({ caption: "Audit list, newest first", columns: auditColumns(), keyOf: (entry) => entry.seq });
  let entries = new Map();
  let wanted = {};
  let round = 0;
  empty.hidden = older.hidden = true;

  function draw() {
    const sorted = [...entries.values()].sort((a, b) => b.seq - a.seq);
    grid.node.hidden = !sorted.length;
    empty.hidden = sorted.length > 0;
    grid.update(sorted);
  }

  async function load(before) {
    const mine = round;
    const found = await page.api.get("api/audit", { latest: 1, limit: ENTRIES, before, ...wanted });
    if (mine !== round) return;
    if (before !== undefined || !entries.size) older.hidden = !found.more;
    for (const entry of found.entries) entries.set(entry.seq, entry);
    setText(problem, "");
    draw();
  }

  function show({ query }) {
    wanted = query;
    if (document.activeElement !== token) token.value = query.token ?? "";
    if (document.activeElement !== cluster) cluster.value = query.cluster ?? "";
    refused.checked = query.refused === "1";
    entries = new Map();
    round += 1;
    polling.now();
  }

  const choose = () => page.go({
    place: "audit",
    query: { token: token.value.trim(), cluster: cluster.value.trim(), refused: refused.checked ? "1" : "" },
  });
  for (const each of [token, cluster, refused]) each.addEventListener("change", choose);
  const polling = poll(() => load(), {
    seconds: 5, banner: page.banner, failed: (error) => setText(problem, visible(error.message)),
  });
  show(route);
  const only = element("label", "page-check", refused, "refused only");
  const bar = element("div", "page-bar", field("Token", token), field("Cluster", cluster), only);
  const head = element("div", "page-head", element("h1", "", "Audit"));
  return {
    node: element("section", "page-screen", head, bar, problem, grid.node, empty, element("div", "page-more", older)),
    show,
    close: polling.close,
  };
}

function auditColumns() {
  return [
    { title: "Time", className: "page-time", text: (entry) => stamp(entry.time) },
    { title: "Token", text: (entry) => entry.token || "\u2013" },
    { title: "User", text: (entry) => entry.user || "\u2013" },
    { title: "By", text: (entry) => (entry.details.browser ? "browser" : "program") },
    { title: "From", text: (entry) => entry.address },
    { title: "What", className: "page-wrap page-mono", text: (entry) => entry.what },
    { title: "Details", className: "page-rest page-wrap page-quiet", text: (entry) => detailsInWords(entry.details) },
    { title: "Outcome", make: () => outcomeCell() },
  ];
}

function outcomeCell() {
  const state = badge();
  return { node: state.node, update: (entry) => state.update(...outcomeOf(entry)) };
}
