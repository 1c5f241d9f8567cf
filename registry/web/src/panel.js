// The panel of a cluster: how it is, its components, and what is known of the chosen one.

import { button, element, keepKeys, setAttribute, setClass, setText, watchTheme } from "./dom.js";
import { clock } from "./format.js";
import { createCharts } from "./chart.js";
import { createEvents } from "./events.js";
import { createLogView } from "./logview.js";
import { configuration, summary } from "./rows.js";
import { processNamed } from "./state.js";
import { createTable } from "./table.js";
import { createTopology } from "./topology.js";
import { createWhy, isInTrouble, isWellAgain } from "./why.js";

const AWAY =
  "What runs goes on, jobs too. Its output is kept, and shown here once the registry answers again; until then nothing can be started or stopped from here.";
let panels = 0;

export function createPanel(root, store) {
  panels += 1;
  const id = `palm-${panels}`;
  const head = createHead(store);
  const away = element("p", "palm-away");
  away.setAttribute("role", "status");
  const missing = element("ul", "palm-missing");
  missing.setAttribute("aria-label", "Missing");
  const empty = element("p", "palm-empty");
  const table = createTable(store, { logId: `${id}-log` });
  const scroller = element("div", "palm-scroll", table.node);
  const why = createWhy(store);
  const chosen = createChosen(store);
  const details = createTabs(id, store, {
    output: ["Output", createLogView(store, `${id}-log`)],
    load: ["Load", createCharts(store)],
    topology: ["Topology", createTopology(store)],
    events: ["Events", createEvents(store)],
  });
  const lower = element("div", "palm-details", chosen.node, why.node, details.node);
  const panel = element("section", "palm-panel", head.node, away, missing, empty, scroller, lower);
  root.append(panel);
  let pending = false;

  function draw() {
    pending = false;
    const { state } = store;
    const any = state.components.length > 0;
    panel.setAttribute("aria-label", `palm cluster ${state.cluster}`);
    setClass(panel, "palm-frozen", !store.isLive);
    head.update();
    away.hidden = !state.away || !state.live || store.lost;
    setText(away, away.hidden ? "" : AWAY);
    missing.hidden = !state.missing.length;
    missing.replaceChildren(...configuration(state).map(missingLine));
    empty.hidden = any;
    sayEmpty(empty, state);
    scroller.hidden = lower.hidden = !any;
    if (!any) return;
    table.update();
    chosen.update();
    why.update(trouble(store));
    details.update();
  }

  // What comes in one message is drawn once, and no more often than the screen is.
  function later() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(draw);
  }

  const unsubscribe = store.subscribe((what) => {
    if (what === "log") details.update("output");
    else later();
  });
  const unwatch = watchTheme(later);
  const giveKeys = keepKeys(panel);
  const timer = setInterval(() => {
    store.look();
    table.tick();
    head.update();
  }, 1000);
  draw();

  return {
    destroy() {
      clearInterval(timer);
      unwatch();
      giveKeys();
      unsubscribe();
      details.close();
      panel.remove();
    },
  };
}

function createHead(store) {
  const name = element("strong");
  const dot = element("span", "palm-dot");
  dot.setAttribute("aria-hidden", "true");
  const words = element("span");
  words.setAttribute("role", "status");
  const badge = element("span", "palm-state palm-summary", dot, words);
  const age = element("span", "palm-age");
  return {
    node: element("header", "palm-head", element("span", "palm-title", "Cluster ", name), badge, age),
    update() {
      const [state, text] = store.state.known ? summary(store.state) : ["starting", "connecting"];
      setText(name, store.state.cluster);
      badge.dataset.state = state;
      setText(words, text);
      setText(age, liveness(store));
    },
  };
}

function liveness(store) {
  const { state } = store;
  if (store.isLive) return "live";
  if (state.live && state.away && !store.lost) return `the registry does not answer since ${clock(state.away)}`;
  const when = clock(state.time);
  if (store.lost) return `no news since ${when}`;
  return state.note ? `as of ${when}, ${state.note}` : `as of ${when}`;
}

function missingLine({ text, why }) {
  return element("li", "", element("strong", "", text), why ? `: ${why}` : "");
}

function sayEmpty(node, state) {
  if (node.hidden || node.dataset.known === String(state.known)) return;
  node.dataset.known = String(state.known);
  if (!state.known) node.replaceChildren("Waiting for the registry ...");
  else node.replaceChildren("Nothing runs yet. Start a master: ", element("code", "", "%palm master --name foo"));
}

// The process that needs to be explained: the chosen one, or the worst of the chosen component.
function trouble(store) {
  const found = processNamed(store.state, store.current ?? "");
  if (found) return isInTrouble(found.process) || isWellAgain(found.process) ? found : null;
  const component = store.state.components.find((c) => c.name === store.current);
  const process = component?.processes.find(isInTrouble) ?? component?.processes.find(isWellAgain);
  return process ? { component, process } : null;
}

// One line of what does not change often.
function createChosen(store) {
  const title = element("strong");
  const facts = element("span", "palm-chosen-facts");
  const node = element("div", "palm-chosen", title, facts);
  return {
    node,
    update() {
      const name = store.current;
      const found = processNamed(store.state, name ?? "");
      const component = found?.component ?? store.state.components.find((c) => c.name === name);
      setText(title, name ?? "");
      if (!component) return;
      const parts = [component.role];
      if (component.master) parts.push(`of ${component.master}`);
      if (found?.process.pid) parts.push(`pid ${found.process.pid}`);
      if (found?.process.node) parts.push(`node ${found.process.node}`);
      if (component.kernel) parts.push("in a kernel");
      if (component.functions.length) parts.push(`serves ${component.functions.join(", ")}`);
      setText(facts, parts.join(" \u00b7 "));
    },
  };
}

function createTabs(id, store, views) {
  const names = Object.keys(views);
  store.tab ??= "output";
  const list = element("div", "palm-tabs");
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Details");
  const tabs = {};
  const panes = {};
  for (const [name, [text, view]] of Object.entries(views)) {
    const tab = button("palm-tab", "", () => choose(name), text);
    Object.assign(tab, { id: `${id}-tab-${name}` });
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", `${id}-pane-${name}`);
    const pane = element("div", "palm-pane", view.node);
    pane.id = `${id}-pane-${name}`;
    pane.setAttribute("role", "tabpanel");
    pane.setAttribute("aria-labelledby", tab.id);
    tabs[name] = tab;
    panes[name] = pane;
    list.append(tab);
  }
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    choose(names[(names.indexOf(store.tab) + step + names.length) % names.length]);
    tabs[store.tab].focus();
  });

  function choose(name) {
    store.tab = name;
    update();
  }

  // Only what is in view is drawn.
  function update(only) {
    for (const name of names) {
      const on = name === store.tab;
      setAttribute(tabs[name], "aria-selected", String(on));
      tabs[name].tabIndex = on ? 0 : -1;
      panes[name].hidden = !on;
    }
    if (only && only !== store.tab) return;
    const view = views[store.tab][1];
    (view.draw ?? view.update)();
  }

  const close = () => names.forEach((name) => views[name][1].close?.());
  return { node: element("div", "", list, ...Object.values(panes)), update, close };
}
