// The machines of a cluster.

import { visible } from "../src/ansi.js";
import { element, setAttribute, setText } from "../src/dom.js";
import { bytes, percent, plural } from "../src/format.js";
import { may, pathOf } from "./api.js";
import { resetCluster } from "./clusters.js";
import { confirmByName } from "./dialog.js";
import { createGrid } from "./grid.js";
import { badge, code, emptiness, press, timeAgo } from "./parts.js";
import { poll } from "./poll.js";

// What each node has to do, of the status and the samples of a cluster: id -> {parts, cpu, rss}.
export function workOf(state) {
  const found = new Map();
  for (const component of state.components) {
    for (const process of component.processes) {
      if (!process.node) continue;
      const known = found.get(process.node) ?? { parts: new Map(), cpu: null, rss: null };
      found.set(process.node, known);
      known.parts.set(component.name, (known.parts.get(component.name) ?? 0) + 1);
      const sample = process.pid === null ? null : state.samples.get(process.name);
      for (const kind of ["cpu", "rss"]) {
        if (sample?.[kind] !== null && sample?.[kind] !== undefined) known[kind] = (known[kind] ?? 0) + sample[kind];
      }
    }
  }
  return found;
}

export function partsInWords(parts) {
  return [...parts].map(([name, count]) => (count > 1 ? `${name} \u00d7${count}` : name)).join(", ");
}

export function stateOfNode({ alive, overdue }) {
  if (alive) return ["ready", "ready"];
  return overdue ? ["failed", "lost, given up"] : ["unknown", "lost"];
}

const IDLE = { parts: new Map(), cpu: null, rss: null };

export function createNodes(page, watched) {
  const operates = may(page.caller, "operator");
  const problem = element("p", "page-problem");
  const count = element("p", "page-count");
  const reset = press("Forget lost nodes", () => resetCluster(page, watched.key).then(() => polling.now()));
  const bar = element("div", "page-bar", count, reset);
  const grid = createGrid({
    caption: "Nodes",
    columns: nodeColumns(page, watched, operates, () => polling.now()),
    keyOf: (node) => node.id,
  });
  const empty = emptiness(
    "No node has joined",
    "The cluster's own comes with it: ", code(`palm --cluster ${watched.key} up`),
    ". On another machine that has the address of this registry and a token: ", code(`palm --cluster ${watched.key} runner --name NAME`),
  );
  empty.hidden = grid.node.hidden = bar.hidden = true;
  let nodes = [];

  function draw() {
    const work = workOf(watched.store.state);
    empty.hidden = nodes.length > 0;
    grid.node.hidden = bar.hidden = !nodes.length;
    reset.hidden = !operates || nodes.every((node) => node.alive);
    const lost = nodes.filter((node) => !node.alive).length;
    setText(count, `${plural(nodes.length, "node")}${lost ? `, ${lost} lost` : ""}`);
    grid.update(nodes.map((node) => ({ ...node, ...(work.get(node.id) ?? IDLE) })));
  }

  const unsubscribe = watched.store.subscribe((what) => what !== "log" && draw());
  const polling = poll(
    async () => {
      nodes = await page.api.get(pathOf(watched.key, "nodes"));
      setText(problem, "");
      draw();
    },
    { seconds: 2, banner: page.banner, failed: (error) => setText(problem, visible(error.message)) },
  );
  return {
    node: element("div", "", problem, bar, grid.node, empty),
    close() {
      polling.close();
      unsubscribe();
    },
  };
}

function nodeColumns(page, watched, operates, again) {
  const columns = [
    { title: "Name", text: (node) => node.name },
    { title: "State", make: () => nodeState() },
    { title: "Places", className: "page-number", text: (node) => placesInWords(node) },
    { title: "Components", className: "page-wide page-wrap", text: (node) => partsInWords(node.parts) || "\u2013" },
    { title: "CPU", className: "page-number", text: (node) => percent(node.cpu) },
    { title: "Memory", className: "page-number", text: (node) => bytes(node.rss) },
    { title: "Cores", className: "page-number", text: (node) => node.cores || "\u2013" },
    { title: "Address", text: (node) => node.address || "\u2013" },
    { title: "Labels", className: "page-rest", make: () => labelsCell() },
    { title: "Heard", className: "page-quiet page-number", make: () => heardCell(page.api) },
  ];
  if (operates) {
    columns.push({ title: "Actions", quiet: true, className: "page-actions", make: (current) => removeCell(page, watched, current, again) });
  }
  return columns;
}

/** How many of its places are taken; a node without a number of them takes any. */
export function placesInWords(node) {
  const taken = [...node.parts.values()].reduce((sum, count) => sum + count, 0);
  return node.places ? `${taken} of ${node.places}` : "any";
}

function nodeState() {
  const state = badge();
  return { node: state.node, update: (node) => state.update(...stateOfNode(node)) };
}

function labelsCell() {
  const node = element("div", "page-labels");
  return {
    node,
    update({ labels }) {
      const texts = Object.entries(labels).map(([name, value]) => visible(`${name}=${value}`));
      if (node.dataset.labels === texts.join("\n")) return;
      node.dataset.labels = texts.join("\n");
      node.replaceChildren(...texts.map((text) => element("span", "page-label", text)));
    },
  };
}

function heardCell(api) {
  const time = timeAgo();
  return { node: time.node, update: (node) => time.update(node.seen, api.now()) };
}

function removeCell(page, watched, current, again) {
  const remove = press("Remove", () => removeNode(page, watched.key, current()).then(again));
  return {
    node: remove,
    update: (node) => setAttribute(remove, "aria-label", `Remove ${node.name}`),
  };
}

function removeNode(page, key, { id, name, parts }) {
  const runs = parts.size ? `It runs ${visible(partsInWords(parts))}: these end there, and begin on other nodes that suit. ` : "";
  return confirmByName({
    title: `Remove ${name}?`,
    name,
    text: [`${runs}Its runner ends what it runs, and itself.`],
    verb: "Remove",
    act: async () => {
      await page.api.delete(pathOf(key, "nodes", id));
      page.say(`${name} is removed.`);
    },
  });
}
