// The versions of a cluster's file: who put them there, what is different, and the way back.

import { visible } from "../src/ansi.js";
import { element, setAttribute, setText } from "../src/dom.js";
import { bytes } from "../src/format.js";
import { inWords, may, pathOf } from "./api.js";
import { drawDifference, drawEffects } from "./difference.js";
import { ask } from "./dialog.js";
import { createGrid } from "./grid.js";
import { badge, emptiness, field, input, link, press } from "./parts.js";
import { addressOf } from "./routes.js";
import { stamp } from "./times.js";

const VERSIONS = 50;

// Which two versions are compared: those that are asked for, else the one in force with the one before.
export function comparedVersions(versions, query) {
  const numbers = versions.map((each) => each.version);
  const given = (text) => (numbers.includes(Number(text)) ? Number(text) : null);
  const to = given(query.to) ?? (versions.find((each) => each.in_force) ?? versions[0]).version;
  const from = given(query.from) ?? numbers.filter((n) => n < to)[0] ?? to;
  return { from, to };
}

export function createVersions(page, watched, query) {
  const operates = may(page.caller, "operator");
  const problem = element("p", "page-problem");
  const edit = addressOf({ place: "cluster", key: watched.key, tab: "configuration" });
  const empty = emptiness("No file was put in force yet", "Write one in the ", link("configuration", edit), ".");
  const title = element("h2", "");
  const shown = element("div", "page-compared");
  const compared = element("div", "page-card", title, shown);
  const older = press("Older", () => load(versions.at(-1).version));
  let versions = [];
  let pair = { from: 0, to: 0 };
  let given = query;
  let asked = 0;
  const grid = createGrid({
    caption: "Versions of the file, latest first",
    columns: [
      { title: "Version", className: "page-number", text: (each) => each.version },
      { title: "From", make: (current) => pickCell("from", current) },
      { title: "To", make: (current) => pickCell("to", current) },
      { title: "When", className: "page-time", text: (each) => stamp(each.created) },
      { title: "Who", text: (each) => each.by || "\u2013" },
      { title: "Note", className: "page-rest page-wrap", text: (each) => each.note || "\u2013" },
      { title: "File", text: (each) => each.file },
      { title: "Size", className: "page-number", text: (each) => bytes(each.size) },
      { title: "State", make: () => forceCell() },
      ...(operates ? [{ title: "Actions", quiet: true, className: "page-actions", make: (current) => backCell(current) }] : []),
    ],
    keyOf: (each) => each.version,
  });
  empty.hidden = grid.node.hidden = compared.hidden = older.hidden = true;

  function pickCell(end, current) {
    const radio = input({ type: "radio", name: `compare-${end}`, className: "" });
    radio.addEventListener("change", () => choose({ ...pair, [end]: current().version }));
    return {
      node: radio,
      update({ version }) {
        radio.checked = pair[end] === version;
        setAttribute(radio, "aria-label", `Compare ${end} version ${version}`);
      },
    };
  }

  function backCell(current) {
    const back = press("Roll back", () => rollBack(page, watched.key, current()).then((done) => done && load()));
    return {
      node: back,
      update(each) {
        back.hidden = each.in_force;
        setAttribute(back, "aria-label", `Roll back to version ${each.version}`);
      },
    };
  }

  const choose = (next) => page.go({ place: "cluster", key: watched.key, tab: "versions", query: next });

  async function load(before) {
    try {
      const found = await page.api.get(pathOf(watched.key, "config", "versions"), { before, limit: VERSIONS });
      versions = before === undefined ? found : [...versions, ...found];
      older.hidden = found.length < VERSIONS;
      setText(problem, "");
      draw();
    } catch (error) {
      setText(problem, visible(inWords(error)));
    }
  }

  function draw() {
    const any = versions.length > 0;
    empty.hidden = any;
    grid.node.hidden = compared.hidden = !any;
    if (!any) return;
    pair = comparedVersions(versions, given);
    grid.update(versions);
    compare();
  }

  async function compare() {
    asked += 1;
    const mine = asked;
    setText(title, pair.from === pair.to ? `Version ${pair.to}` : `From version ${pair.from} to ${pair.to}`);
    try {
      const body = { version: pair.to, against: pair.from };
      const found = await page.api.post(pathOf(watched.key, "config", "diff"), body);
      if (mine === asked) shown.replaceChildren(drawEffects(found.diff), drawDifference(found.unified));
    } catch (error) {
      if (mine === asked) shown.replaceChildren(element("p", "page-problem", visible(inWords(error))));
    }
  }

  const unsubscribe = watched.subscribe((frame) => {
    if (frame.topic === "status" && problem.textContent) load(); // it can be asked again
    if (frame.topic === "events" && frame.data.kind === "config.changed" && versions.every((each) => each.version !== frame.data.data.version)) load();
  });
  load();
  return {
    node: element("div", "", problem, grid.node, element("div", "page-more", older), compared, empty),
    show(next) {
      given = next;
      draw();
    },
    close: unsubscribe,
  };
}

function forceCell() {
  const state = badge();
  return {
    node: state.node,
    update(each) {
      state.node.hidden = !each.in_force;
      state.update("ready", "in force");
    },
  };
}

async function rollBack(page, key, { version }) {
  const note = input({ type: "text", name: "note", maxLength: 200 });
  const effects = element("div", "", "Looking at what it would do ...");
  page.api.post(pathOf(key, "config", "diff"), { version }).then(
    (found) => effects.replaceChildren(drawEffects(found.diff)),
    (error) => effects.replaceChildren(element("p", "page-problem", visible(inWords(error)))),
  );
  return ask({
    title: `Roll back to version ${version}?`,
    children: [element("p", "", "Its text becomes a new version, and is in force at once."), effects, field("Note", note)],
    verb: "Roll back",
    act: async () => {
      const done = await page.api.post(pathOf(key, "config", "rollback"), { version, note: note.value });
      page.say(`Version ${done.version} is in force, as version ${version} was.`);
      return done;
    },
  });
}
