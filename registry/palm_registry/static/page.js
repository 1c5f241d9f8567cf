// Joined from registry/web by tools/join_panel.py: change the sources, and join them again.

import { PageTransport, Store, createPanel, summary } from "./panel.js";

// ---- ansi.js

// What components print, made safe and readable: colours are kept, everything else that would move
// a cursor or hide something is taken out or shown.

const SEQUENCE = new RegExp(
  [
    "(?:\\x1b\\[|\\x9b)([0-?]*)([ -/]*)([@-~])", // CSI; an SGR if it ends in "m"
    "(?:\\x1b[\\]PX^_]|[\\x90\\x98\\x9d-\\x9f])[^\\x07\\x1b\\x9c]*(?:\\x07|\\x1b\\\\|\\x9c|$)", // titles, links
    "\\x1b[ -/]*[0-Z\\\\^-~]", // short ones
  ].join("|"),
  "g",
);
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
const BIDI = /[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

// What a progress bar wrote over is gone.
function lastVersion(line) {
  const trimmed = line.replace(/\r+$/, "");
  return trimmed.slice(trimmed.lastIndexOf("\r") + 1);
}

// Controls become pictures of themselves, what turns or hides text its number.
function visible(text) {
  return text
    .replace(CONTROLS, (c) => {
      const code = c.charCodeAt(0);
      if (code === 0x7f) return "\u2421";
      return code < 0x20 ? String.fromCharCode(0x2400 + code) : `\u27e8${code.toString(16)}\u27e9`;
    })
    .replace(BIDI, (c) => `\u27e8U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

function plain(line) {
  return visible(lastVersion(line).replace(SEQUENCE, ""));
}

// Runs of one look: [{text, style}], style null where nothing is special.
function runs(line) {
  const text = lastVersion(line);
  const found = [];
  let style = {};
  let from = 0;
  const push = (part) => {
    if (part) found.push({ text: visible(part), style: Object.keys(style).length ? style : null });
  };
  for (const match of text.matchAll(SEQUENCE)) {
    push(text.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[3] === "m" && !match[2] && /^[0-9;:]*$/.test(match[1])) style = styled(style, match[1]);
  }
  push(text.slice(from));
  return found;
}

const ON = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"], 39: ["fg"], 49: ["bg"] };

function styled(before, parameters) {
  const codes = parameters.split(/[;:]/).map(Number);
  let style = { ...before };
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i];
    if (code === 0) style = {};
    else if (ON[code]) style[ON[code]] = true;
    else if (OFF[code]) for (const name of OFF[code]) delete style[name];
    else if (code >= 30 && code <= 37) style.fg = code - 30;
    else if (code >= 40 && code <= 47) style.bg = code - 40;
    else if (code >= 90 && code <= 97) style.fg = code - 82;
    else if (code >= 100 && code <= 107) style.bg = code - 92;
    else if (code === 38 || code === 48) {
      const [colour, used] = extended(codes.slice(i + 1));
      if (colour !== null) style[code === 38 ? "fg" : "bg"] = colour;
      i += used;
    }
  }
  return style;
}

// "5;n" is one of 256 colours, "2;r;g;b" any.
function extended([kind, ...rest]) {
  const byte = (n) => Number.isInteger(n) && n >= 0 && n <= 255;
  if (kind === 5 && byte(rest[0])) return [rest[0] < 16 ? rest[0] : cube(rest[0]), 2];
  if (kind === 2 && rest.slice(0, 3).length === 3 && rest.slice(0, 3).every(byte)) {
    return [`rgb(${rest.slice(0, 3).join(", ")})`, 4];
  }
  return [null, kind === 5 ? 2 : kind === 2 ? 4 : 0];
}

function cube(n) {
  if (n >= 232) return `rgb(${Array(3).fill(8 + 10 * (n - 232)).join(", ")})`;
  const level = (v) => (v ? 55 + 40 * v : 0);
  const k = n - 16;
  return `rgb(${level(Math.floor(k / 36))}, ${level(Math.floor(k / 6) % 6)}, ${level(k % 6)})`;
}

// ---- dom.js

// Making and changing elements. Whatever comes from outside goes through textContent.

const SVG = "http://www.w3.org/2000/svg";

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Assigning what is there already would cost layout, and the reader's selection.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function setClass(node, name, on) {
  if (node.classList.contains(name) !== Boolean(on)) node.classList.toggle(name, Boolean(on));
}

// Make the children of a node these, in this order; those that stay are not touched.
function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
}

// Call back when the colours of the page change: what is drawn on a canvas does not follow them.
function watchTheme(callback) {
  const watched = new MutationObserver(callback);
  const options = { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-theme"] };
  watched.observe(document.body, options);
  watched.observe(document.documentElement, options);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", callback);
  return () => {
    watched.disconnect();
    dark.removeEventListener("change", callback);
  };
}

// Keep plain keys that are pressed within a node from what else listens to them: a notebook would take an
// arrow for "next cell", and two d for "delete this cell". Keys with Ctrl, Alt or Meta are left to it.
// JupyterLab listens at the document before anybody in it, and asks what has the focus for this attribute.
function keepKeys(node) {
  const onKey = (event) => {
    if (!node.contains(event.target)) return;
    const plain = !(event.ctrlKey || event.altKey || event.metaKey);
    event.target.toggleAttribute("data-lm-suppress-shortcuts", plain);
  };
  window.addEventListener("keydown", onKey, true);
  return () => window.removeEventListener("keydown", onKey, true);
}

// A name and its value; not a list of definitions, which notebooks give a look of their own.
function fact(name, value) {
  return element("div", "palm-fact", element("span", "palm-fact-name", name), " ", value);
}

function button(className, label, onClick, ...children) {
  const node = element("button", className, ...children);
  node.type = "button";
  if (label) {
    node.setAttribute("aria-label", label);
    node.title = label;
  }
  node.addEventListener("click", onClick);
  return node;
}

const ICONS = {
  stop: "M4 4h8v8H4z",
  start: "M5 3.2v9.6L12.6 8z",
  restart: "M8 2.5A5.5 5.5 0 1 0 13.5 8h-1.6A3.9 3.9 0 1 1 8 4.1V6.4l3.7-3.1L8 .3z",
  less: "M3.5 7.2h9v1.6h-9z",
  more: "M7.2 3.5h1.6v3.7h3.7v1.6H8.8v3.7H7.2V8.8H3.5V7.2h3.7z",
  close: "M4.3 3.2 8 6.9l3.7-3.7 1.1 1.1L9.1 8l3.7 3.7-1.1 1.1L8 9.1l-3.7 3.7-1.1-1.1L6.9 8 3.2 4.3z",
};

function icon(name) {
  const path = svg("path", { d: ICONS[name] });
  return svg("svg", { viewBox: "0 0 16 16", class: "palm-icon", "aria-hidden": "true" }, path);
}

// ---- api.js

// The registry's API as a page of it uses it, with the cookie that it has.

// What the registry refused; status 0: it did not answer.
class Refusal extends Error {
  constructor(text, { hint = "", status = 0, code = "", data = {} } = {}) {
    super(text);
    Object.assign(this, { hint, status, code, data });
  }

  get isSilence() {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

function inWords({ message, hint }) {
  return hint ? `${message} (${hint})` : message;
}

// `over` is called once the browser's session is: nothing can be asked any more.
class Api {
  constructor({ base, xsrf, over, ask = (url, options) => fetch(url, options) }) {
    Object.assign(this, { base, xsrf, over, ask, skew: 0 });
  }

  address(path) {
    return new URL(path, this.base);
  }

  // Seconds since the epoch, by the registry's clock as far as its answers tell it.
  now() {
    return Date.now() / 1000 + this.skew;
  }

  headers() {
    return { "X-XSRF-Token": this.xsrf };
  }

  get(path, query = {}) {
    const url = this.address(path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
    }
    return this.answer(url, {});
  }

  post(path, body) {
    return this.change("POST", path, body);
  }

  put(path, body) {
    return this.change("PUT", path, body);
  }

  delete(path) {
    return this.change("DELETE", path);
  }

  change(method, path, body) {
    const headers = this.headers();
    if (body === undefined) return this.answer(this.address(path), { method, headers });
    headers["Content-Type"] = "application/json";
    return this.answer(this.address(path), { method, headers, body: JSON.stringify(body) });
  }

  async answer(url, options) {
    let response;
    try {
      response = await this.ask(url, options);
    } catch {
      throw new Refusal("the registry does not answer", { hint: "it may be starting anew: try again" });
    }
    this.setClock(response.headers.get("Date"));
    if (response.status === 204) return null;
    const value = await response.json().catch(() => null);
    if (response.ok) return value;
    const { text, hint, code, data } = value?.error ?? {};
    const { status } = response;
    if (status === 401) this.over(code === "session" ? "" : text);
    throw new Refusal(text ?? `the registry answered ${status}`, { hint, status, code, data });
  }

  setClock(date) {
    const skew = (Date.parse(date) - Date.now()) / 1000;
    if (Number.isFinite(skew)) this.skew = Math.abs(skew) > 3 ? skew : 0; // it tells whole seconds
  }
}

const pathOf = (key, ...parts) => ["api/clusters", key, ...parts].map((part, n) => (n ? encodeURIComponent(part) : part)).join("/");

const ALLOWED = {
  viewer: ["viewer"],
  operator: ["viewer", "operator"],
  runner: [],
  admin: ["viewer", "operator", "admin"],
};

function may(caller, scope) {
  return (ALLOWED[caller.scope] ?? []).includes(scope);
}

// ---- grid.js

// A table whose rows keep their elements, so that focus stays where it is while values change.
//
// A column is {title, className, text(item)} or {title, className, make(current) -> {node, update(item)}}
// where current() is the item of the row by now.


function createGrid({ caption, columns, keyOf, classOf = () => "" }) {
  const rows = new Map();
  const body = element("tbody");
  const head = element("tr", "", ...columns.map(headingOf));
  const node = element(
    "table", "page-grid", element("caption", "palm-hidden", caption), element("thead", "", head), body,
  );

  function update(items) {
    const keys = new Set(items.map(keyOf));
    for (const key of [...rows.keys()]) if (!keys.has(key)) rows.delete(key);
    arrange(body, items.map((item) => rowFor(item).update(item)));
  }

  function rowFor(item) {
    const key = keyOf(item);
    if (!rows.has(key)) rows.set(key, gridRow(columns, classOf));
    return rows.get(key);
  }

  // By keys, too, it can be scrolled where there is no room for all of its columns.
  const scroller = element("div", "page-scroll", node);
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "region");
  scroller.setAttribute("aria-label", caption);
  return { node: scroller, update };
}

function headingOf({ title, className = "", quiet = false }) {
  const cell = element("th", className, quiet ? element("span", "palm-hidden", title) : title);
  cell.scope = "col";
  return cell;
}

function gridRow(columns, classOf) {
  let item = null;
  const cells = columns.map((column, n) => {
    const cell = element(n ? "td" : "th", column.className ?? "");
    if (!n) cell.scope = "row";
    if (column.text) return { cell, update: () => setText(cell, visible(String(column.text(item)))) };
    const made = column.make(() => item);
    cell.append(made.node);
    return { cell, update: () => made.update?.(item) };
  });
  const node = element("tr", "", ...cells.map((each) => each.cell));
  return {
    update(next) {
      item = next;
      node.className = classOf(item);
      for (const each of cells) each.update();
      return node;
    },
  };
}

// ---- times.js

// Times and how long ago they were, as people read them. No DOM.

const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

function lasting(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [size, name] = UNITS.find(([least]) => whole >= least) ?? [1, "s"];
  return `${Math.floor(whole / size)} ${name}`;
}

function ago(seconds) {
  return `${lasting(seconds)} ago`;
}

function stamp(time) {
  const date = new Date(time * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

// ---- parts.js

// Small parts that several screens have.


function link(text, href, className = "page-link") {
  const node = element("a", className, text);
  node.href = href;
  return node;
}

function press(text, onClick, className = "palm-button") {
  const node = element("button", className, text);
  node.type = "button";
  node.addEventListener("click", onClick);
  return node;
}

function code(text) {
  return element("code", "page-code", text);
}

let fields = 0;

// A label and what it is the label of.
function field(text, control, hint = "") {
  fields += 1;
  control.id = `page-field-${fields}`;
  const label = element("label", "page-field-name", text);
  label.htmlFor = control.id;
  const node = element("div", "page-field", label, control);
  if (!hint) return node;
  const said = element("span", "page-hint", hint);
  said.id = `${control.id}-hint`;
  control.setAttribute("aria-describedby", said.id);
  node.append(said);
  return node;
}

function input(attributes) {
  return Object.assign(element("input", "page-input"), { autocomplete: "off", spellcheck: false }, attributes);
}

function choice(options, chosen) {
  const node = element("select", "page-input");
  node.append(...options.map(([value, text]) => optionOf(value, text)));
  if (chosen !== undefined) node.value = chosen;
  return node;
}

// Offer others; what was chosen stays chosen, also while it is not among them.
function offer(node, options) {
  const { value } = node;
  const all = options.some(([each]) => each === value) ? options : [...options, [value, value]];
  const same = [...node.options].map((each) => each.value).join("\n") === all.map(([each]) => each).join("\n");
  if (same) return;
  node.replaceChildren(...all.map(([each, text]) => optionOf(each, text)));
  node.value = value;
}

function optionOf(value, text) {
  const node = element("option", "", visible(text));
  node.value = value;
  return node;
}

// A state: a shape, a word and a colour.
function badge(tag = "span") {
  const dot = element("span", "palm-dot");
  dot.setAttribute("aria-hidden", "true");
  const words = element("span");
  const node = element(tag, "palm-state", dot, words);
  return {
    node,
    words,
    update(state, text) {
      node.dataset.state = state;
      setText(words, text);
    },
  };
}

function timeAgo() {
  const node = element("time");
  return {
    node,
    update(time, now) {
      node.dateTime = new Date(time * 1000).toISOString();
      node.title = stamp(time);
      setText(node, ago(now - time));
    },
  };
}

// Nothing there yet: what that means, and what to do next.
function emptiness(title, ...next) {
  return element("div", "page-empty", element("p", "page-empty-title", title), element("p", "", ...next));
}

// ---- poll.js

// Asking again and again, as long as somebody looks.

function poll(ask, { seconds, banner, failed }) {
  let timer = null;
  let ended = false;
  let asking = null;
  let again = false; // somebody wants to know what is after what is being asked

  async function once() {
    clearTimeout(timer);
    try {
      await ask();
      banner.clear();
    } catch (error) {
      if (ended) return;
      if (error.isSilence) banner.show("The registry does not answer. Trying again.");
      else failed(error);
    }
    if (!ended && !document.hidden) timer = setTimeout(now, 1000 * seconds);
  }

  function now() {
    again = asking !== null;
    asking ??= once().finally(() => {
      asking = null;
      if (again && !ended) return now();
    });
    return asking;
  }

  const onVisible = () => {
    if (!document.hidden && !ended) now();
  };
  document.addEventListener("visibilitychange", onVisible);
  now();
  return {
    now,
    close() {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    },
  };
}

// ---- audit.js

// Who changed what, and who tried to: for admins.


const ENTRIES = 100;

// What the answer was: [state for the dot, words].
function outcomeOf({ status, code }) {
  if (status >= 500) return ["failed", `failed (${code || status})`];
  if (status >= 400) return ["unknown", `refused (${code || status})`];
  return ["ready", "done"];
}

function detailsInWords(details) {
  return Object.entries(details)
    .filter(([name]) => name !== "browser")
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}

function createAudit(page, route) {
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

// ---- format.js

// Numbers and times as a person reads them, never wider than their column.

const NONE = "\u2013";

function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours) return `${hours}:${two(minutes)}:${two(whole % 60)}`;
  return `${minutes}:${two(whole % 60)}`;
}

// How long something takes, from microseconds up.
function span(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} \u00b5s`;
  if (seconds < 1) return `${significant(seconds * 1000)} ms`;
  if (seconds < 60) return `${significant(seconds)} s`;
  return duration(seconds);
}

function clock(time) {
  return new Date(time * 1000).toLocaleTimeString([], { hour12: false });
}

// A time of today; of another day, with its date.
function moment(time, now) {
  const date = new Date(time * 1000);
  const today = date.toDateString() === new Date(now * 1000).toDateString();
  return today ? clock(time) : `${date.toLocaleDateString("sv")} ${clock(time)}`;
}

function timestamp(time) {
  const date = new Date(time * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function bytes(size) {
  if (size === null || size === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = size;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit ? significant(value) : Math.round(value)} ${units[unit]}`;
}

function percent(value) {
  if (value === null || value === undefined) return NONE;
  return value > 0 && value < 0.95 ? `${value.toFixed(1)} %` : `${Math.round(value)} %`;
}

// 0, 0.4, 12, 340, 1.2k, 56k, 3.1M
function short(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0";
  if (value < 9.95) return Number.isInteger(value) ? String(value) : value.toFixed(1);
  if (value < 999.5) return String(Math.round(value));
  const units = ["k", "M", "G"];
  let unit = -1;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${significant(value)}${units[unit]}`;
}

function rate(value) {
  return value === null || value === undefined ? NONE : `${short(value)}/s`;
}

function grouped(value) {
  return value.toLocaleString("en-US");
}

function plural(count, one, many = `${one}s`) {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

// To a tenth: of a pixel, mostly.
function round(value) {
  return Math.round(value * 10) / 10;
}

function significant(value) {
  return value < 9.95 ? value.toFixed(1) : String(Math.round(value));
}

// ---- unified.js

// The difference of two texts, as lines with their numbers. No DOM.

// {kind: "hunk" | "same" | "added" | "removed", old, new, text}, old and new are null where there is
// no such line. The two lines that name the files are left out.
function linesOfDiff(unified) {
  const found = [];
  let before = 0;
  let after = 0;
  let inside = false;
  for (const line of unified.split("\n")) {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/.exec(line);
    if (hunk) {
      [before, after] = [Number(hunk[1]), Number(hunk[2])];
      inside = true;
      found.push({ kind: "hunk", old: null, new: null, text: line });
    } else if (!inside || line === "" || line.startsWith("\\")) {
      continue;
    } else if (line[0] === "+") {
      found.push({ kind: "added", old: null, new: after++, text: line.slice(1) });
    } else if (line[0] === "-") {
      found.push({ kind: "removed", old: before++, new: null, text: line.slice(1) });
    } else {
      found.push({ kind: "same", old: before++, new: after++, text: line.slice(1) });
    }
  }
  return found;
}

function countsOfDiff(lines) {
  const count = (kind) => lines.filter((line) => line.kind === kind).length;
  return { added: count("added"), removed: count("removed") };
}

// ---- difference.js

// A difference of texts, and what it does, as elements.


const SIGNS = { added: "+", removed: "\u2212", same: "", hunk: "" };
const SPOKEN = { added: "added: ", removed: "removed: " };

function drawDifference(unified) {
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

function doesAnything(diff) {
  return Boolean(diff && (diff.added.length || diff.changed.length || diff.removed.length));
}

function drawEffects({ added, removed, changed, unchanged }) {
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

// ---- dialog.js

// Questions in the middle of the page. The element keeps focus within, closes at Escape, and gives
// focus back to where it was.


let dialogs = 0;

// Ask; `act` does what was meant, and what it refuses is said here. Returns what `act` returned, or
// undefined if it was not meant.
function ask({ title, children = [], verb, danger = false, act, complete = () => true }) {
  dialogs += 1;
  const heading = element("h2", "", title);
  heading.id = `page-dialog-${dialogs}`;
  const problem = element("p", "page-problem");
  problem.setAttribute("role", "alert");
  const submit = element("button", `palm-button ${danger ? "page-danger" : "page-primary"}`, verb);
  submit.type = "submit";
  const cancel = press("Cancel", () => node.close());
  const foot = element("div", "page-dialog-foot", cancel, submit);
  const form = element("form", "", heading, ...children, problem, foot);
  const node = element("dialog", "page-dialog", form);
  node.setAttribute("aria-labelledby", heading.id);
  const look = () => {
    submit.disabled = !complete();
  };
  form.addEventListener("input", look);
  look();
  return new Promise((resolve) => {
    let result;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (submit.disabled) return;
      submit.disabled = true;
      try {
        result = (await act()) ?? null;
        node.close();
      } catch (error) {
        problem.textContent = visible(inWords(error));
        submit.disabled = false;
      }
    });
    showDialog(node, () => resolve(result));
  });
}

// Tell something that must not be overlooked, until it is closed.
function tell({ title, children }) {
  dialogs += 1;
  const heading = element("h2", "", title);
  heading.id = `page-dialog-${dialogs}`;
  const done = press("Done", () => node.close(), "palm-button page-primary");
  const node = element("dialog", "page-dialog", heading, ...children, element("div", "page-dialog-foot", done));
  node.setAttribute("aria-labelledby", heading.id);
  return new Promise((resolve) => showDialog(node, resolve));
}

function showDialog(node, closed) {
  const before = document.activeElement;
  node.addEventListener("close", () => {
    node.remove();
    if (before?.isConnected) before.focus();
    else document.querySelector("main")?.focus();
    closed();
  });
  document.querySelector(".palm-page").append(node);
  node.showModal();
  (node.querySelector("input, select, textarea") ?? node.querySelector("button"))?.focus();
}

// Ask for the name of what is to go, so that nobody does it by mistake.
function confirmByName({ title, name, text, verb, act }) {
  const typed = input({ type: "text", name: "confirmation" });
  const said = element("p", "", ...text);
  const label = field(`Type ${visible(name)} to go on`, typed);
  return ask({
    title, children: [said, label], verb, danger: true, act, complete: () => typed.value === name,
  });
}

function closeDialogs() {
  for (const node of document.querySelectorAll("dialog[open]")) node.close();
}

// ---- indent.js

// What Tab, and Shift with it, do to a text. No DOM.

const STEP = "  ";

// Return what to put in place of text.slice(from, to), and what is selected then.
function indentation(text, start, end, back) {
  const several = text.slice(start, end).includes("\n");
  if (!several && !back) {
    return { from: start, to: end, insert: STEP, start: start + STEP.length, end: start + STEP.length };
  }
  const from = text.lastIndexOf("\n", start - 1) + 1;
  const last = several && text[end - 1] === "\n" ? end - 1 : end;
  const stop = text.indexOf("\n", last);
  const to = stop < 0 ? text.length : stop;
  const lines = text.slice(from, to).split("\n");
  const moved = lines.map((line) => (back ? line.replace(/^( {1,2}|\t)/, "") : line && STEP + line));
  const shift = (n) => moved[n].length - lines[n].length;
  const all = moved.reduce((sum, _, n) => sum + shift(n), 0);
  return {
    from,
    to,
    insert: moved.join("\n"),
    start: Math.max(from, start + shift(0)),
    end: Math.max(from, end + all),
  };
}

// ---- editor.js

// A text with numbers beside its lines, and at some lines what is wrong there.
//
// It is a plain text area, so that all that a browser and a reader of screens can do with one works.


const LINE = 20; // pixels, as in the style sheet
const PADDING = 8;

function createEditor({ label, describedBy, readOnly = false, changed, save }) {
  const area = element("textarea", "page-editor-text");
  Object.assign(area, { spellcheck: false, wrap: "off", readOnly, autocapitalize: "off" });
  area.setAttribute("aria-label", label);
  area.setAttribute("aria-describedby", describedBy);
  const numbers = element("div", "page-editor-numbers");
  const marks = element("div", "page-editor-marks");
  for (const each of [numbers, marks]) each.setAttribute("aria-hidden", "true");
  const node = element("div", "page-editor", numbers, element("div", "page-editor-field", marks, area));
  let leaving = false; // Escape was pressed: Tab goes on to what comes next
  let problems = [];

  function number() {
    const count = area.value.split("\n").length;
    while (numbers.childElementCount > count) numbers.lastChild.remove();
    while (numbers.childElementCount < count) {
      numbers.append(element("div", "", String(numbers.childElementCount + 1)));
    }
  }

  function mark() {
    const lines = area.value.split("\n");
    const at = problems.filter(({ line }) => line && line <= lines.length);
    arrange(marks, at.map(({ line, text, hint }) => {
      const said = element("div", "page-editor-mark", visible(hint ? `${text} (${hint})` : text));
      said.style.top = `${PADDING + (line - 1) * LINE}px`;
      said.style.paddingLeft = `calc(${lines[line - 1].length + 3}ch + ${PADDING}px)`;
      return said;
    }));
    [...numbers.children].forEach((each, n) => {
      each.className = at.some(({ line }) => line === n + 1) ? "page-editor-wrong" : "";
    });
    area.setAttribute("aria-invalid", String(problems.length > 0));
  }

  function follow() {
    numbers.style.transform = `translateY(${-area.scrollTop}px)`;
    marks.style.transform = `translate(${-area.scrollLeft}px, ${-area.scrollTop}px)`;
  }

  function onKey(event) {
    if (event.key === "Escape") leaving = true;
    else if (event.key === "Tab" && !leaving && !readOnly) indent(event);
    else if (event.key !== "Shift") leaving = false;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
      event.preventDefault();
      save();
    }
  }

  function indent(event) {
    event.preventDefault();
    const { from, to, insert, start, end } = indentation(area.value, area.selectionStart, area.selectionEnd, event.shiftKey);
    area.setSelectionRange(from, to);
    // The only way by which a browser can undo it.
    if (!document.execCommand("insertText", false, insert)) area.setRangeText(insert, from, to);
    area.setSelectionRange(start, end);
  }

  area.addEventListener("keydown", onKey);
  area.addEventListener("scroll", follow);
  area.addEventListener("blur", () => {
    leaving = false;
  });
  area.addEventListener("input", () => {
    number();
    mark();
    changed();
  });
  number();

  return {
    node,
    get text() {
      return area.value;
    },
    set text(text) {
      if (area.value === text) return;
      area.value = text;
      number();
      mark();
      follow();
    },
    setProblems(found) {
      problems = found;
      mark();
    },
    goTo(line) {
      const lines = area.value.split("\n").slice(0, line - 1);
      const start = lines.reduce((sum, each) => sum + each.length + 1, 0);
      const end = area.value.indexOf("\n", start);
      area.focus();
      area.setSelectionRange(start, end < 0 ? area.value.length : end);
      area.scrollTop = Math.max(0, (line - 4) * LINE);
    },
  };
}

// What is wrong, each a button that leads to its line.
function drawProblems(list, problems, goTo) {
  list.replaceChildren(...problems.map(({ text, line, key, hint }) => {
    const where = [line ? `line ${line}` : "", key ? `key ${visible(key)}` : ""].filter(Boolean).join(", ");
    const place = element("button", "page-place", where || "the file");
    place.type = "button";
    place.disabled = !line;
    place.addEventListener("click", () => goTo(line));
    const advice = element("span", "page-hint");
    setText(advice, visible(hint ?? ""));
    return element("li", "", place, element("span", "", visible(text)), advice);
  }));
}

// ---- configuration.js

// The file of a cluster: written here, looked at as one types, and put in force.


const PAUSE = 300; // milliseconds without a key after which the registry is asked
const NONE_YET = { version: 0, text: "", file: "cluster.toml", folder: "" };
const EXAMPLE = `[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "\${name}"]

[components.foo-worker]
role = "worker"
module = "palm"
args = ["worker", "words.py", "--master", "foo", "--name", "\${name}"]
replicas = 2
needs = ["foo"]
`;

function createConfiguration(page, watched) {
  const writes = may(page.caller, "operator");
  const { key } = watched;
  const drafts = page.drafts;
  const about = element("p", "page-about");
  const state = badge("p");
  state.words.setAttribute("role", "status");
  const list = element("ul", "page-problems");
  const after = element("div", "page-after");
  const note = element("p", "page-stale");
  note.setAttribute("role", "status");
  const folder = input({ type: "text", name: "folder", placeholder: "absolute path", readOnly: !writes });
  const example = press("Begin with an example", () => write(EXAMPLE));
  const revert = press("Revert", () => write(force.text, force.folder));
  const apply = press("Apply \u2026", () => put(), "palm-button page-primary");
  const hint = element(
    "p", "page-hint",
    writes ? "Tab indents, Shift+Tab takes it back; Escape, then Tab leaves the text. Ctrl+S applies." : "You may read this file; changing it takes the scope operator.",
  );
  hint.id = "page-editor-hint";
  const editor = createEditor({
    label: "Cluster file", describedBy: hint.id, readOnly: !writes,
    changed: () => typed(), save: () => put(),
  });
  let force = NONE_YET;
  let timer = null;
  let asked = 0;
  let checked = { text: null, valid: false, does: false };
  let closed = false;
  let loaded = false;

  const isChanged = () => editor.text !== force.text || folder.value !== force.folder;
  // What is in force can be applied again, where somebody has stopped or scaled what it says.
  const isReady = () => writes && checked.valid && checked.text === editor.text && (isChanged() || checked.does);

  function buttons() {
    revert.disabled = !isChanged();
    apply.disabled = !isReady();
    example.hidden = editor.text !== "" || !writes;
  }

  function write(text, where = folder.value) {
    editor.text = text;
    folder.value = where;
    typed();
  }

  function typed() {
    if (isChanged()) drafts.set(key, { text: editor.text, folder: folder.value, of: force.version });
    else drafts.delete(key);
    buttons();
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  }

  // Ask what it would mean, and what it would do.
  async function look() {
    asked += 1;
    const mine = asked;
    const text = editor.text;
    const body = { text, file: force.file, folder: folder.value };
    try {
      const found = text.trim() ? await page.api.post(pathOf(key, "config", "check"), body) : { valid: false, problems: [], components: [] };
      const would = found.valid ? await page.api.post(pathOf(key, "config", "diff"), body) : null;
      const texts = found.valid && isChanged() && force.version ? would.unified : "";
      if (mine !== asked || closed) return;
      checked = { text, valid: found.valid, does: doesAnything(would?.diff) };
      say(found, text);
      after.replaceChildren(...(would ? [element("h2", "", "What applying it does"), drawEffects(would.diff)] : []));
      if (texts) after.append(element("h2", "", `Against version ${force.version}`), drawDifference(texts));
    } catch (error) {
      if (mine === asked && !closed) state.update("unknown", visible(inWords(error)));
    }
    buttons();
  }

  function say({ valid, problems, components }, text) {
    editor.setProblems(problems);
    drawProblems(list, problems, (line) => editor.goTo(line));
    if (!text.trim()) state.update("stopped", "empty");
    else if (valid) state.update("ready", `valid: ${plural(components.length, "component")}`);
    else state.update("failed", plural(problems.length, "problem"));
  }

  function tellForce() {
    const who = force.by ? ` by ${visible(force.by)}` : "";
    const why = force.note ? `: ${visible(force.note)}` : "";
    setText(about, force.version ? `${visible(force.file)}, version ${force.version}, put in force ${stamp(force.created)}${who}${why}` : "No file is in force yet.");
  }

  async function load({ keep = false } = {}) {
    try {
      const any = await page.api.get(pathOf(key, "config", "versions"), { limit: 1 });
      force = any.length ? await page.api.get(pathOf(key, "config")) : NONE_YET;
    } catch (error) {
      state.update("unknown", visible(inWords(error)));
      return;
    }
    if (closed) return;
    loaded = true;
    tellForce();
    const draft = drafts.get(key);
    if (!keep) {
      setText(note, "");
      editor.text = draft?.text ?? force.text;
      folder.value = draft?.folder ?? force.folder;
      if (draft) setText(note, draft.of === force.version ? "Your changes are not applied yet." : `Your changes began with version ${draft.of}; they are compared with version ${force.version} now.`);
    }
    buttons();
    look();
  }

  async function put() {
    if (!isReady()) return;
    const why = input({ type: "text", name: "note", maxLength: 200, placeholder: "why, for those who come after" });
    const effects = after.querySelector(".page-effects")?.cloneNode(true) ?? element("p", "page-quiet", "Nothing that runs would change.");
    const body = () => ({
      text: editor.text, file: force.file, folder: folder.value, note: why.value, expected_version: force.version,
    });
    const done = await ask({
      title: `Apply it to ${visible(key)}?`,
      children: [effects, field("Note", why)],
      verb: "Apply",
      act: async () => {
        try {
          return await page.api.put(pathOf(key, "config"), body());
        } catch (error) {
          if (error.code === "version") error.hint = "close this: the text is compared with that version then";
          throw error;
        }
      },
    });
    if (done) {
      drafts.delete(key);
      page.say(done.changed ? `Version ${done.version} is in force.` : `Version ${done.version} was in force already.`);
    }
    await load({ keep: !done });
  }

  // What could not be asked while the registry was away is asked once it is heard of.
  function catchUp() {
    if (!loaded) load();
    else if (checked.text !== editor.text) look();
  }

  folder.addEventListener("input", typed);
  const unsubscribe = watched.subscribe((frame) => {
    if (frame.topic === "status") catchUp();
    if (frame.topic !== "events" || frame.data.kind !== "config.changed") return;
    const { version } = frame.data.data;
    if (version <= force.version || !force.created) return;
    if (isChanged()) setText(note, `Version ${version} was put in force meanwhile. Your text stays; applying it is compared with that version.`);
    load({ keep: isChanged() });
  });
  buttons();
  load();
  const bar = element("div", "page-bar", field("Folder of its scripts", folder), element("div", "page-push", example, revert, apply));
  if (!writes) bar.lastChild.remove();
  const left = element("div", "page-write", bar, editor.node, hint);
  const right = element("div", "page-look", state.node, list, after);
  return {
    node: element("div", "", about, note, element("div", "page-columns", left, right)),
    close() {
      closed = true;
      clearTimeout(timer);
      unsubscribe();
    },
  };
}

// ---- happened.js

// What happened in a cluster: as it comes, and all that is kept of it.


const AT_ONCE = 100;
const KINDS_OF = ["cluster", "component", "config", "lease", "node", "output", "signal"];
const BAD = /\.(failed|lost|refused|died|gave-up)$/;

// Whether an event is one of those that are wanted; the registry's rule, for those that come live.
function isWanted(event, { component = "", kind = "" }) {
  if (component && event.component !== component) return false;
  return !kind || event.kind === kind || event.kind.startsWith(`${kind}.`);
}

function createClusterEvents(page, watched, query) {
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

// ---- routes.js

// Where one is, in the part of the address behind "#": it works below any path. No DOM.

const TABS = {
  overview: "Overview",
  configuration: "Configuration",
  versions: "Versions",
  nodes: "Nodes",
  events: "Events",
};
const PLACES = { clusters: "Clusters", tokens: "Tokens", audit: "Audit" };

function parseRoute(hash) {
  const [path, search = ""] = hash.replace(/^#?\/?/, "").split("?");
  const query = Object.fromEntries(new URLSearchParams(search));
  const parts = path.split("/").filter(Boolean).map(decoded);
  const [place = "clusters", key, tab = "overview"] = parts;
  if (parts.length <= 1 && Object.hasOwn(PLACES, place)) return { place, query };
  if (place === "clusters" && parts.length <= 3 && Object.hasOwn(TABS, tab)) {
    return { place: "cluster", key, tab, query };
  }
  return { place: "nowhere", query };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function addressOf({ place, key, tab = "overview", query = {} }) {
  const parts = place === "cluster" ? ["clusters", key, ...(tab === "overview" ? [] : [tab])] : [place];
  const path = place === "clusters" ? "" : parts.map(encodeURIComponent).join("/");
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined);
  const search = new URLSearchParams(given).toString();
  return `#/${path}${search ? `?${search}` : ""}`;
}

function titleOf({ place, key, tab }) {
  if (place === "cluster") return tab === "overview" ? `${key} - palm` : `${key}: ${TABS[tab]} - palm`;
  return `${PLACES[place] ?? "Not found"} - palm`;
}

// ---- clusters.js

// All clusters that one may see.


const LINGERS = [
  ["", "stays until it is deleted"],
  ["120", "ends 2 min after its last holder"],
  ["3600", "ends 1 h after its last holder"],
];

function createClusters(page) {
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
function stateOf(info) {
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

function endOf({ state, linger, holders }) {
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

function resetCluster(page, key) {
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

// ---- nodes.js

// The machines of a cluster.


// What each node has to do, of the status and the samples of a cluster: id -> {parts, cpu, rss}.
function workOf(state) {
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

function partsInWords(parts) {
  return [...parts].map(([name, count]) => (count > 1 ? `${name} \u00d7${count}` : name)).join(", ");
}

function stateOfNode({ alive, overdue }) {
  if (alive) return ["ready", "ready"];
  return overdue ? ["failed", "lost, given up"] : ["unknown", "lost"];
}

const IDLE = { parts: new Map(), cpu: null, rss: null };

function createNodes(page, watched) {
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
function placesInWords(node) {
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

// ---- versions.js

// The versions of a cluster's file: who put them there, what is different, and the way back.


const VERSIONS = 50;

// Which two versions are compared: those that are asked for, else the one in force with the one before.
function comparedVersions(versions, query) {
  const numbers = versions.map((each) => each.version);
  const given = (text) => (numbers.includes(Number(text)) ? Number(text) : null);
  const to = given(query.to) ?? (versions.find((each) => each.in_force) ?? versions[0]).version;
  const from = given(query.from) ?? numbers.filter((n) => n < to)[0] ?? to;
  return { from, to };
}

function createVersions(page, watched, query) {
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

// ---- watched.js

// One cluster while somebody looks at it: its live feed, for the panel and for all other screens of it.


class Watched {
  // `gone` is called when there is no such cluster any more.
  constructor(api, key, { mayAct, banner, gone }) {
    Object.assign(this, { api, key, banner, gone, status: null, listeners: new Set() });
    this.transport = new PageTransport(key, {
      address: (path) => api.address(path),
      headers: () => api.headers(),
    });
    this.unsubscribe = this.transport.subscribe({
      frames: (frames) => this.takeFrames(frames),
      link: (link) => this.takeLink(link),
    });
    this.store = new Store(this.transport, { mayAct });
    this.store.sleep(); // until its panel is shown
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  takeFrames(frames) {
    for (const frame of frames) {
      if (frame.topic === "status") this.status = frame.data;
      for (const listener of this.listeners) listener(frame);
    }
  }

  takeLink({ live, away = 0 }) {
    if (live && !away) {
      this.banner.clear();
      return;
    }
    this.banner.show("Connection lost. What runs goes on, and nothing that happens is missed. Trying again.");
    this.look();
  }

  // A connection that is refused does not say why; a request does.
  async look() {
    try {
      await this.api.get(pathOf(this.key));
    } catch (error) {
      if (error.status === 404) this.gone();
      else if (!error.isSilence) this.banner.show(error.message);
    }
  }

  close() {
    this.unsubscribe();
    this.store.close();
    this.transport.close();
    this.banner.clear();
  }
}

// ---- cluster.js

// One cluster: its name, how it is, and the screens about it.


const SCREENS = {
  overview: createOverview,
  configuration: createConfiguration,
  versions: createVersions,
  nodes: createNodes,
  events: createClusterEvents,
};

function createCluster(page, route) {
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

// ---- tokens.js

// Who gets in: tokens, for admins.


const SCOPES = [
  ["viewer", "read (viewer)"],
  ["operator", "read and change clusters (operator)"],
  ["runner", "join one cluster as a node (runner)"],
  ["admin", "do everything, for all (admin)"],
];
const LIVES = [
  ["2592000", "30 days"],
  ["86400", "1 day"],
  ["31536000", "1 year"],
  ["", "for ever"],
];
const DAY = 86400;
const OWN = "owner"; // in the file of whose registry it is

function createTokens(page) {
  const make = press("New token", () => makeToken(page).then(() => polling.now()), "palm-button page-primary");
  const count = element("p", "page-count");
  const head = element("div", "page-head", element("h1", "", "Tokens"), count, make);
  const problem = element("p", "page-problem");
  const now = () => page.api.now();
  const grid = createGrid({
    caption: "Tokens",
    columns: [
      { title: "Name", text: (token) => token.name },
      { title: "Scope", text: (token) => token.scope },
      { title: "User", text: (token) => token.user },
      { title: "Cluster", text: (token) => token.cluster || "all" },
      { title: "Made by", text: (token) => token.creator || "\u2013" },
      { title: "Made", className: "page-quiet page-number", make: () => momentCell(now, "created") },
      { title: "Last used", className: "page-quiet page-number", make: () => momentCell(now, "used") },
      { title: "Expires", className: "page-quiet page-rest", text: (token) => expiryOf(token, now()) },
      { title: "Actions", quiet: true, className: "page-actions", make: (current) => revokeCell(page, current, () => polling.now()) },
    ],
    keyOf: (token) => token.name,
  });
  const polling = poll(
    async () => {
      const found = await page.api.get("api/tokens");
      setText(problem, "");
      setText(count, plural(found.length, "token"));
      grid.update(found);
    },
    { seconds: 5, banner: page.banner, failed: (error) => setText(problem, visible(error.message)) },
  );
  return { node: element("section", "page-screen", head, problem, grid.node), close: polling.close };
}

function expiryOf({ expires }, now) {
  if (expires === null) return "never";
  const left = expires - now;
  if (left <= 0) return "over";
  return `in ${lasting(left > DAY ? DAY * Math.round(left / DAY) : left)}`;
}

function momentCell(now, name) {
  const time = timeAgo();
  const never = element("span", "", "never");
  return {
    node: element("span", "", time.node, never),
    update(token) {
      const known = token[name] !== null;
      time.node.hidden = !known;
      never.hidden = known;
      if (known) time.update(token[name], now());
    },
  };
}

function revokeCell(page, current, again) {
  const revoke = press("Revoke", () => revokeToken(page, current()).then(again));
  return {
    node: revoke,
    update(token) {
      revoke.hidden = token.name === OWN;
      setAttribute(revoke, "aria-label", `Revoke ${token.name}`);
    },
  };
}

function revokeToken(page, { name }) {
  const mine = name === page.caller.token ? " This page is open by it, and ends, too." : "";
  return ask({
    title: `Revoke ${name}?`,
    children: [element("p", "", `Whoever has it is let in no more, and what is open by it ends at once.${mine}`)],
    verb: "Revoke",
    danger: true,
    act: async () => {
      await page.api.delete(`api/tokens/${encodeURIComponent(name)}`);
      page.say(`${name} is revoked.`);
    },
  });
}

async function makeToken(page) {
  const name = input({ type: "text", name: "name", required: true, pattern: "[A-Za-z0-9_\\-]+", maxLength: 64 });
  const scope = choice(SCOPES, "viewer");
  const keys = (await page.api.get("api/clusters")).map((info) => [info.key, info.key]);
  const cluster = choice([["", "all"], ...keys]);
  const life = choice(LIVES);
  const made = await ask({
    title: "New token",
    children: [
      field("Name", name, "Letters, digits, - and _"),
      field("It may", scope),
      field("Cluster", cluster, "A runner's is for one cluster"),
      field("Good for", life),
    ],
    verb: "Make",
    complete: () => name.validity.valid && (scope.value !== "runner" || cluster.value !== ""),
    act: () => page.api.post("api/tokens", {
      name: name.value, scope: scope.value, cluster: cluster.value,
      ttl: life.value ? Number(life.value) : null,
    }),
  });
  if (made) await showSecret(made);
}

function showSecret({ name, token, expires }) {
  const secret = input({ type: "text", readOnly: true, value: token, className: "page-input page-secret" });
  secret.setAttribute("aria-label", "The token");
  secret.addEventListener("focus", () => secret.select());
  const copied = element("span", "page-hint");
  copied.setAttribute("role", "status");
  const copy = press("Copy", async () => {
    secret.select();
    try {
      await navigator.clipboard.writeText(token);
    } catch {
      document.execCommand("copy"); // without TLS browsers give no clipboard
    }
    setText(copied, "Copied.");
  });
  const until = expires === null ? "It does not expire." : `It is good until ${stamp(expires)}.`;
  return tell({
    title: `Token ${name}`,
    children: [
      element("p", "", `This is the only time that it is shown: keep it in a file that only you can read. ${until}`),
      element("div", "page-secret-row", secret, copy),
      copied,
    ],
  });
}

// ---- main.js

// The registry's page: one screen at a time, by the address; see ../README.md.
//
// Whatever comes from elsewhere is text: it reaches the page through text nodes only.


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
