// The registry's page: one screen at a time, by the address; see ../README.md.
//
// Whatever comes from elsewhere is text: it reaches the page through text nodes only.

import { visible } from "../src/ansi.js";
import { element, setAttribute, setText } from "../src/dom.js";
import { Api, inWords, may } from "./api.js";
import { createAudit } from "./audit.js";
import { createCluster } from "./cluster.js";
import { createClusters } from "./clusters.js";
import { closeDialogs } from "./dialog.js";
import { code, emptiness, link } from "./parts.js";
import { PLACES, addressOf, parseRoute, titleOf } from "./routes.js";
import { createTokens } from "./tokens.js";

const SAID_FOR = 8000; // milliseconds
const AGAIN = 2000;

const screens = { clusters: createClusters, cluster: createCluster, tokens: createTokens, audit: createAudit, nowhere: createNowhere };
const given = (name) => document.querySelector(`meta[name="${name}"]`).content;
const at = (id) => document.getElementById(id);

const api = new Api({
  base: new URL(given("base") || "./", document.baseURI),
  xsrf: given("xsrf"),
  over: (text) => end(text ? visible(text) : "You are not logged in any more: the session is over, or was ended."),
});
const page = { api, caller: null, drafts: new Map(), banner: createBanner(at("banner")), say, go };
let current = null; // {place, view}
let ended = false;

function createBanner(node) {
  return {
    show(text) {
      setText(node, text);
      node.hidden = false;
    },
    clear() {
      node.hidden = true;
    },
  };
}

let saying = null;

function say(text) {
  clearTimeout(saying);
  setText(at("said"), visible(text));
  saying = setTimeout(() => setText(at("said"), ""), SAID_FOR);
}

function go(route) {
  location.hash = addressOf(route);
}

function show() {
  if (ended) return;
  const route = parseRoute(location.hash);
  document.title = titleOf(route);
  navigation(route);
  if (current && current.place === route.place && current.view.key === route.key && current.view.show) {
    current.view.show(route);
    return;
  }
  closeDialogs();
  const first = current === null;
  current?.view.close?.();
  const allowed = !["tokens", "audit"].includes(route.place) || may(page.caller, "admin");
  const view = allowed ? screens[route.place](page, route) : createForbidden();
  current = { place: route.place, view };
  at("main").replaceChildren(view.node);
  // Who reads by ear, or goes by keys, goes on where the page does.
  if (!first) at("main").focus({ preventScroll: true });
}

function navigation({ place }) {
  const here = place === "cluster" ? "clusters" : place;
  for (const each of document.querySelectorAll("#places a[data-place]")) {
    setAttribute(each, "aria-current", each.dataset.place === here ? "page" : null);
  }
}

function createNowhere() {
  const back = link("All clusters", addressOf({ place: "clusters" }));
  return { node: element("section", "page-screen", element("h1", "", "Not found"), emptiness("There is nothing at this address", back)) };
}

function createForbidden() {
  const text = "This is for tokens of the scope admin; yours is ";
  return { node: element("section", "page-screen", element("h1", "", "Not for you"), emptiness("You may not see this", text, code(page.caller.scope), ".")) };
}

function fill() {
  const { caller } = page;
  const places = Object.entries(PLACES).filter(([place]) => place === "clusters" || may(caller, "admin"));
  const links = places.map(([place, text]) => {
    const node = link(text, addressOf({ place }), "page-place-link");
    node.dataset.place = place;
    return node;
  });
  const docs = link("API", api.address("docs").href, "page-place-link");
  at("places").replaceChildren(...links, docs);
  const only = caller.cluster ? `, ${caller.cluster} only` : "";
  setText(at("who"), visible(`${caller.user} \u00b7 ${caller.scope}${only}`));
  at("who").title = visible(`token ${caller.token}`);
  at("logout").hidden = !caller.browser;
}

// Nothing can be asked any more: say so, and how to get in again.
function end(text) {
  if (ended) return;
  ended = true;
  closeDialogs();
  current?.view.close?.();
  page.banner.clear();
  document.title = "Not logged in - palm";
  at("places").replaceChildren();
  at("logout").hidden = true;
  setText(at("who"), "");
  at("main").replaceChildren(element(
    "section", "page-screen", element("h1", "", "Not logged in"),
    emptiness(text, "Run ", code("palm ui"), " in a terminal where you use palm: it prints an address that opens this page again, once, within half a minute."),
  ));
  at("main").focus();
}

async function logOut() {
  at("logout").disabled = true;
  try {
    await api.post("logout");
    end("You are logged out.");
  } catch (error) {
    say(inWords(error));
  }
  at("logout").disabled = false;
}

async function begin() {
  try {
    page.caller = await api.get("api/caller");
  } catch (error) {
    if (ended) return;
    page.banner.show(`${visible(inWords(error))}. Trying again.`);
    setTimeout(begin, AGAIN);
    return;
  }
  page.banner.clear();
  fill();
  show();
  window.addEventListener("hashchange", show);
}

at("logout").addEventListener("click", logOut);
at("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address says which screen is shown
  at("main").focus();
});
window.addEventListener("beforeunload", (event) => {
  if (page.drafts.size && !ended) event.preventDefault();
});
begin();
