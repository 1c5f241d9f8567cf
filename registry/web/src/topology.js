// Components and the messages between them, as a graph from left to right.

import { arrange, element, setAttribute, setText, svg } from "./dom.js";
import { rate, round, short } from "./format.js";
import { total } from "./series.js";
import { STATES, wantedOf } from "./rows.js";

const CLIENTS = "clients";
const INSIDE = " (inside)"; // what a component that runs its own functions calls that part of it
export const BOX = { width: 164, height: 44, across: 88, down: 20, margin: 12 };

// {nodes, edges} of a state: a node each component, an edge each pair that exchanges messages, and
// each worker's link to its master. What is counted of single processes is added up.
export function graphOf(state) {
  const owner = new Map();
  for (const c of state.components) {
    for (const name of [c.name, ...c.processes.map((p) => p.name)]) {
      owner.set(name, c.name);
      owner.set(`${name}${INSIDE}`, c.name);
    }
  }
  const edges = new Map();
  const edge = (source, target) => {
    const key = `${source}\u0000${target}`;
    if (!edges.has(key)) edges.set(key, { key, source, target, rates: [], again: [], open: 0 });
    return edges.get(key);
  };
  for (const c of state.components) if (owner.has(c.master)) edge(c.master, c.name);
  for (const sample of state.samples.values()) {
    for (const counted of sample.edges ?? []) {
      const source = owner.get(counted.source) ?? (counted.role === "client" ? CLIENTS : counted.source);
      const target = owner.get(counted.target) ?? counted.target;
      if (source === target) continue;
      const found = edge(source, target);
      // Both ends of a link between stages count it.
      (counted.role === "stage before" ? found.again : found.rates).push(counted.rate ?? null);
      found.open += counted.open ?? 0;
    }
  }
  const nodes = new Map(state.components.map((c) => [c.name, nodeOf(c)]));
  for (const { source, target } of edges.values()) {
    for (const name of [source, target]) if (!nodes.has(name)) nodes.set(name, other(name));
  }
  const list = [...edges.values()].map(({ rates, again, ...rest }) => {
    const counts = rates.length ? rates : again;
    return { ...rest, rate: total(counts), counted: counts.length > 0 };
  });
  return { nodes: [...nodes.values()], edges: list };
}

function nodeOf(c) {
  const several = c.processes.length > 1;
  const words = STATES[c.state] ?? c.state;
  return { name: c.name, role: c.role, state: c.state, note: several ? `${c.ready} of ${wantedOf(c)} ready` : words };
}

function other(name) {
  return { name, role: "", state: name === CLIENTS ? "ready" : "stopped", note: name === CLIENTS ? "notebooks, programs" : "" };
}

// Where everything is: each node one step to the right of those that it gets messages from. Of a
// circle, one edge goes back.
export function layout({ nodes, edges }) {
  const depth = new Map(nodes.map((node) => [node.name, 0]));
  for (let round = 0; round < nodes.length; round += 1) {
    let moved = false;
    for (const { source, target } of edges) {
      const least = depth.get(source) + 1;
      if (depth.get(target) < least && least < nodes.length) {
        depth.set(target, least);
        moved = true;
      }
    }
    if (!moved) break;
  }
  const columns = [];
  for (const node of nodes) (columns[depth.get(node.name)] ??= []).push(node);
  const filled = columns.filter(Boolean);
  untangle(filled, edges);
  const tallest = Math.max(1, ...filled.map((column) => column.length));
  const height = tallest * (BOX.height + BOX.down) - BOX.down;
  const places = new Map();
  filled.forEach((column, x) => {
    const own = column.length * (BOX.height + BOX.down) - BOX.down;
    column.forEach((node, y) => {
      places.set(node.name, {
        x: BOX.margin + x * (BOX.width + BOX.across),
        y: BOX.margin + (height - own) / 2 + y * (BOX.height + BOX.down),
      });
    });
  });
  const width = filled.length * (BOX.width + BOX.across) - BOX.across;
  return { places, width: Math.max(width, 0) + 2 * BOX.margin, height: height + 2 * BOX.margin };
}

// Put nodes of a column in the order of those that they get messages from, so that few links cross.
function untangle(columns, edges) {
  const rank = new Map();
  for (const column of columns) {
    const wish = new Map(
      column.map(({ name }, i) => {
        const before = edges.filter((e) => e.target === name && rank.has(e.source));
        const sum = before.reduce((n, e) => n + rank.get(e.source), 0);
        return [name, before.length ? sum / before.length : i / column.length];
      }),
    );
    column.sort((a, b) => wish.get(a.name) - wish.get(b.name));
    column.forEach(({ name }, i) => rank.set(name, (i + 0.5) / column.length));
  }
}

export function createTopology(store) {
  const boxes = new Map();
  const links = new Map();
  const under = svg("g");
  const over = svg("g");
  const picture = svg("svg", { class: "palm-graph", role: "img" }, under, over);
  const list = element("ul", "palm-hidden");
  const node = element("div", "palm-topology", picture, list);
  node.tabIndex = 0;
  node.setAttribute("role", "region");
  node.setAttribute("aria-label", "Topology");

  function update() {
    const graph = graphOf(store.state);
    const { places, width, height } = layout(graph);
    setAttribute(picture, "viewBox", `0 0 ${width} ${height}`);
    setAttribute(picture, "width", width);
    setAttribute(picture, "height", height);
    setAttribute(picture, "aria-label", `${graph.nodes.length} components, ${graph.edges.length} links`);
    arrange(over, graph.nodes.map((each) => draw(boxes, each.name, createBox).update(each, places.get(each.name))));
    arrange(
      under,
      graph.edges.map((each) =>
        draw(links, each.key, createLink).update(each, places.get(each.source), places.get(each.target)),
      ),
    );
    list.replaceChildren(...graph.edges.map((each) => element("li", "", spoken(each))));
  }

  return { node, update };
}

function draw(known, key, make) {
  if (!known.has(key)) known.set(key, make());
  return known.get(key);
}

function spoken({ source, target, rate: now }) {
  return `${source} to ${target}: ${now === null ? "no messages known" : `${short(now)} messages a second`}`;
}

function createBox() {
  const box = svg("rect", { width: BOX.width, height: BOX.height, rx: 6 });
  const shape = svg("circle", { cx: 15, cy: 16, r: 4 });
  const name = svg("text", { x: 26, y: 20, class: "palm-node-name" });
  const note = svg("text", { x: 26, y: 35, class: "palm-node-note" });
  const title = svg("title");
  const node = svg("g", { class: "palm-node" }, title, box, shape, name, note);
  return {
    update(each, place) {
      setAttribute(node, "transform", `translate(${place.x} ${place.y})`);
      setAttribute(node, "data-state", each.state);
      setText(title, `${each.name}: ${each.note}`);
      setText(name, shortened(each.name, 17));
      setText(note, shortened([each.role, each.note].filter(Boolean).join(", "), 22));
      return node;
    },
  };
}

function createLink() {
  const path = svg("path", { class: "palm-link" });
  const tip = svg("path", { class: "palm-tip" });
  const label = svg("text", { class: "palm-link-rate", "text-anchor": "middle" });
  const node = svg("g", {}, path, tip, label);
  return {
    update(edge, from, to) {
      const back = to.x <= from.x;
      const [x1, y1] = [from.x + BOX.width, from.y + BOX.height / 2];
      const [x2, y2] = [to.x - 6, to.y + BOX.height / 2];
      const bend = back ? BOX.across : Math.max(24, (x2 - x1) / 2);
      setAttribute(path, "d", `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
      setAttribute(tip, "d", `M${x2 + 6} ${y2}l-8 -4v8z`);
      // Nearer to its end, where links of one source are apart.
      setAttribute(label, "x", round(curveAt(x1, x1 + bend, x2 - bend, x2)));
      setAttribute(label, "y", round(curveAt(y1, y1, y2, y2)) - 6);
      setText(label, edge.counted ? rate(edge.rate) : "");
      setAttribute(node, "class", edge.rate > 0 ? "palm-edge palm-flows" : "palm-edge");
      return node;
    },
  };
}

// A cubic curve at the place of its label.
function curveAt(a, b, c, d, t = 0.68) {
  const u = 1 - t;
  return u * u * u * a + 3 * u * u * t * b + 3 * u * t * t * c + t * t * t * d;
}

function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}\u2026` : text;
}
