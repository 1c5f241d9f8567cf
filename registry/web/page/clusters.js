// All clusters that one may see.

import { visible } from "../src/ansi.js";
import { element, setAttribute, setText } from "../src/dom.js";
import { plural } from "../src/format.js";
import { may, pathOf } from "./api.js";
import { ask, confirmByName } from "./dialog.js";
import { createGrid } from "./grid.js";
import { badge, choice, code, emptiness, field, input, link, press, timeAgo } from "./parts.js";
import { poll } from "./poll.js";
import { addressOf } from "./routes.js";
import { lasting } from "./times.js";

const LINGERS = [
  ["", "stays until it is deleted"],
  ["120", "ends 2 min after its last holder"],
  ["3600", "ends 1 h after its last holder"],
];

export function createClusters(page) {
  const operates = may(page.caller, "operator");
  const make = press("New cluster", () => makeCluster(page), "palm-button page-primary");
  const count = element("p", "page-count");
  const head = element("div", "page-head", element("h1", "", "Clusters"), count);
  if (operates && !page.caller.cluster) head.append(make);
  const grid = createGrid({
    caption: "Clusters",
    columns: columnsOf(page, operates, () => polling.now()),
    keyOf: (info) => info.key,
  });
  const empty = emptyClusters(operates);
  grid.node.hidden = empty.hidden = true;
  const problem = element("p", "page-problem");
  const node = element("section", "page-screen", head, problem, grid.node, empty);

  function update(found) {
    const sorted = [...found].sort((a, b) => (a.key < b.key ? -1 : 1));
    problem.textContent = "";
    grid.node.hidden = !sorted.length;
    empty.hidden = sorted.length > 0;
    setText(count, sorted.length ? plural(sorted.length, "cluster") : "");
    grid.update(sorted);
  }

  const polling = poll(async () => update(await page.api.get("api/clusters", { status: 1 })), {
    seconds: 2,
    banner: page.banner,
    failed: (error) => setText(problem, visible(error.message)),
  });
  return { node, close: polling.close };
}

function columnsOf(page, operates, again) {
  const columns = [
    { title: "Name", className: "page-wide", make: () => nameCell() },
    { title: "State", className: "page-rest", make: () => stateCell() },
    { title: "Components", className: "page-number", text: (info) => info.components },
    { title: "Nodes", className: "page-number", text: (info) => info.nodes },
    { title: "File", className: "page-number", text: (info) => (info.config_version ? `v${info.config_version}` : "\u2013") },
    { title: "Owner", text: (info) => info.owner },
    { title: "Ends", className: "page-quiet", text: endOf },
    { title: "Changed", className: "page-quiet page-number", make: () => changedCell(page.api) },
  ];
  if (operates) {
    columns.push({ title: "Actions", quiet: true, className: "page-actions", make: (current) => actionsCell(page, current, again) });
  }
  return columns;
}

function nameCell() {
  const anchor = link("", "");
  const people = element("span", "page-quiet");
  return {
    node: element("div", "page-name", anchor, people),
    update(info) {
      setText(anchor, info.key);
      setAttribute(anchor, "href", addressOf({ place: "cluster", key: info.key }));
      setText(people, info.name === info.key ? "" : visible(info.name));
    },
  };
}

// How a cluster is: [state for the dot, words].
export function stateOf(info) {
  if (info.state !== "alive") return [info.state === "ending" ? "stopping" : "stopped", info.state];
  if (!info.components) return ["stopped", "empty"];
  if (info.ready) return ["ready", "ready"];
  if (info.missing) return ["unknown", `${plural(info.missing, "process", "processes")} missing`];
  return ["unknown", "not known"];
}

function stateCell() {
  const state = badge();
  return { node: state.node, update: (info) => state.update(...stateOf(info)) };
}

function changedCell(api) {
  const time = timeAgo();
  return { node: time.node, update: (info) => time.update(info.updated, api.now()) };
}

export function endOf({ state, linger, holders }) {
  if (state !== "alive") return "";
  if (linger === null) return "stays";
  const held = holders.length ? `held by ${holders.length}, ` : "";
  return `${held}lingers ${lasting(linger)}`;
}

function actionsCell(page, current, again) {
  const reset = press("Reset", () => resetCluster(page, current().key).then(again));
  const remove = press("Delete", () => deleteCluster(page, current().key).then(again));
  return {
    node: element("div", "", reset, remove),
    update(info) {
      setAttribute(reset, "aria-label", `Reset ${info.key}`);
      setAttribute(remove, "aria-label", `Delete ${info.key}`);
    },
  };
}

function makeCluster(page) {
  const name = input({ type: "text", name: "name", required: true, pattern: "[A-Za-z0-9_\\-]+", maxLength: 64 });
  const linger = choice(LINGERS);
  const act = async () => {
    const body = { name: name.value.trim(), linger: linger.value ? Number(linger.value) : null };
    const info = await page.api.post("api/clusters", body);
    page.go({ place: "cluster", key: info.key, tab: "configuration" });
  };
  return ask({
    title: "New cluster",
    children: [
      field("Name", name, "Letters, digits, - and _"),
      field("How long it lives", linger),
    ],
    verb: "Make",
    act,
    complete: () => name.validity.valid,
  });
}

function deleteCluster(page, key) {
  return confirmByName({
    title: `Delete ${key}?`,
    name: key,
    text: ["Its components are stopped, and the cluster is forgotten with all its output, events and files. There is no way back."],
    verb: "Delete",
    act: async () => {
      await page.api.delete(pathOf(key));
      page.say(`${key} is deleted.`);
    },
  });
}

export function resetCluster(page, key) {
  return ask({
    title: `Reset ${key}?`,
    children: [element("p", "", "Nodes that are lost are forgotten, and what ran there is placed again. What runs elsewhere goes on.")],
    verb: "Reset",
    act: async () => {
      await page.api.post(pathOf(key, "reset"));
      page.say(`Lost nodes of ${key} are forgotten.`);
    },
  });
}

function emptyClusters(operates) {
  const next = operates
    ? ["Make one here, or start one where you work: ", code("palm up"), " in a terminal, ", code("%palm master --name foo"), " in a notebook."]
    : ["Whoever has a token with more rights can make one: ", code("palm up"), "."];
  return emptiness("No clusters yet", ...next);
}
