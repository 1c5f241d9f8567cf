// A difference of texts, and what it does, as elements.

import { visible } from "../src/ansi.js";
import { element } from "../src/dom.js";
import { plural } from "../src/format.js";
import { countsOfDiff, linesOfDiff } from "./unified.js";

const SIGNS = { added: "+", removed: "\u2212", same: "", hunk: "" };
const SPOKEN = { added: "added: ", removed: "removed: " };

export function drawDifference(unified) {
  const lines = linesOfDiff(unified);
  if (!lines.length) return element("p", "page-quiet", "The texts are the same.");
  const { added, removed } = countsOfDiff(lines);
  const counts = element(
    "p", "page-diff-counts",
    element("span", "page-added", `+${added}`), " ", element("span", "page-removed", `\u2212${removed}`),
    element("span", "page-quiet", ` ${plural(added + removed, "line")}`),
  );
  const list = element("div", "page-diff", ...lines.map(lineOfDifference));
  list.tabIndex = 0;
  list.setAttribute("role", "region");
  list.setAttribute("aria-label", "Difference of the texts");
  return element("div", "", counts, list);
}

function lineOfDifference({ kind, old, new: fresh, text }) {
  const number = (n) => element("span", "page-diff-number", n === null ? "" : String(n));
  const sign = element("span", "page-diff-sign", SIGNS[kind]);
  for (const each of [sign]) each.setAttribute("aria-hidden", "true");
  const said = element("span", "page-diff-text", visible(text));
  if (SPOKEN[kind]) said.prepend(element("span", "palm-hidden", SPOKEN[kind]));
  return element("div", `page-diff-line page-diff-${kind}`, number(old), number(fresh), sign, said);
}

const EFFECTS = { started: "start", restarted: "restart", scaled: "scale", stopped: "stop", none: "none" };

export function doesAnything(diff) {
  return Boolean(diff && (diff.added.length || diff.changed.length || diff.removed.length));
}

export function drawEffects({ added, removed, changed, unchanged }) {
  const all = [
    ...added.map((each) => ["added", each]),
    ...changed.map((each) => ["changed", each]),
    ...removed.map((each) => ["removed", each]),
  ];
  const same = unchanged.length ? `${plural(unchanged.length, "component")} ${unchanged.length === 1 ? "stays" : "stay"} as ${unchanged.length === 1 ? "it is" : "they are"}.` : "";
  if (!all.length) return element("p", "page-quiet", `Nothing that runs would change. ${same}`);
  const list = element("ul", "page-effects", ...all.map(effectLine));
  return element("div", "", list, same ? element("p", "page-quiet", same) : "");
}

function effectLine([how, { name, effect, text }]) {
  const mark = element("span", `page-effect page-effect-${EFFECTS[effect] ?? "none"}`, how);
  return element("li", "", mark, element("strong", "", visible(name)), element("span", "", visible(text)));
}
