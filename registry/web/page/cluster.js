// One cluster: its name, how it is, and the screens about it.

import { visible } from "../src/ansi.js";
import { element, setAttribute, setText } from "../src/dom.js";
import { createPanel, summary } from "../src/main.js";
import { may } from "./api.js";
import { createConfiguration } from "./configuration.js";
import { createClusterEvents } from "./happened.js";
import { createNodes } from "./nodes.js";
import { badge, code, emptiness, link } from "./parts.js";
import { TABS, addressOf } from "./routes.js";
import { createVersions } from "./versions.js";
import { Watched } from "./watched.js";

const SCREENS = {
  overview: createOverview,
  configuration: createConfiguration,
  versions: createVersions,
  nodes: createNodes,
  events: createClusterEvents,
};

export function createCluster(page, route) {
  const { key } = route;
  const mayAct = may(page.caller, "operator");
  const watched = new Watched(page.api, key, { mayAct, banner: page.banner, gone });
  const head = clusterHead(key, watched);
  const body = element("div", "page-body");
  const node = element("section", "page-screen", head.node, body);
  let screen = null;
  let shown = "";
  let isGone = false;

  function show(next) {
    if (isGone) return;
    head.choose(next.tab);
    if (screen && shown === next.tab) {
      screen.show?.(next.query);
      return;
    }
    screen?.close?.();
    shown = next.tab;
    screen = SCREENS[next.tab](page, watched, next.query);
    body.replaceChildren(screen.node);
  }

  function gone() {
    isGone = true;
    screen?.close?.();
    screen = null;
    watched.close();
    const back = link("All clusters", addressOf({ place: "clusters" }));
    node.replaceChildren(
      element("h1", "", visible(key)),
      emptiness("There is no such cluster", "It was deleted, or it is somebody else's. ", back),
    );
  }

  show(route);
  return {
    node,
    key,
    show,
    close() {
      screen?.close?.();
      head.close();
      watched.close();
    },
  };
}

function clusterHead(key, watched) {
  const back = link("Clusters", addressOf({ place: "clusters" }));
  const title = element("h1", "", visible(key));
  const state = badge();
  state.words.setAttribute("role", "status");
  const live = element("span", "page-quiet page-live");
  const tabs = Object.fromEntries(
    Object.entries(TABS).map(([tab, text]) => [tab, link(text, addressOf({ place: "cluster", key, tab }), "page-tab")]),
  );
  const list = element("nav", "page-tabs", ...Object.values(tabs));
  list.setAttribute("aria-label", "Screens of the cluster");
  const crumbs = element("div", "page-crumbs", back, element("span", "page-quiet", "/"), title, state.node, live);
  const update = () => {
    const { store } = watched;
    state.update(...(store.state.known ? summary(store.state) : ["unknown", "connecting"]));
    setText(live, store.isLive ? "live" : "not live");
  };
  const unsubscribe = watched.store.subscribe((what) => what !== "log" && update());
  update();
  return {
    node: element("header", "page-cluster", crumbs, list),
    choose(tab) {
      for (const [name, each] of Object.entries(tabs)) setAttribute(each, "aria-current", name === tab ? "page" : null);
    },
    close: unsubscribe,
  };
}

function createOverview(page, watched) {
  const root = element("div", "page-overview");
  const next = may(page.caller, "operator")
    ? [
        "Write down what is to run in its ",
        link("configuration", addressOf({ place: "cluster", key: watched.key, tab: "configuration" })),
        ", or start something where you work: ", code(`palm --cluster ${watched.key} master --name foo`),
      ]
    : ["Nobody has said yet what is to run in it."];
  const empty = emptiness("Nothing runs in this cluster", ...next);
  const panel = createPanel(root, watched.store);
  const look = () => {
    const { state } = watched.store;
    const none = state.known && !state.components.length;
    empty.hidden = !none;
    root.hidden = none;
  };
  const unsubscribe = watched.store.subscribe((what) => what === "status" && look());
  look();
  watched.store.wake();
  return {
    node: element("div", "", empty, root),
    close() {
      unsubscribe();
      panel.destroy();
      watched.store.sleep();
    },
  };
}
