// A log as a list of which only what is in view is in the page, so that its length costs nothing.

import { plain, runs } from "./ansi.js";
import { button, element, setAttribute, setClass, setText } from "./dom.js";
import { bytes, grouped, timestamp } from "./format.js";
import { textOf } from "./lines.js";

export const LINE = 18; // pixels
const AROUND = 20; // lines above and below that are drawn, too
const NEAR = 40; // pixels from the top at which earlier lines are fetched
const TYPING = 250; // milliseconds without a key after which a search begins
const DRAWN = 4000; // characters of a line that are drawn

export function createLogView(store, id) {
  const { log } = store;
  const drawn = new Map(); // number of a line -> its element
  let several = false; // processes: then each line says whose it is
  let times = false;
  let wasFirst = log.first;
  let wasTurn = log.turn;
  let pending = false;

  const list = element("div", "palm-lines");
  const scroll = element("div", "palm-log", list);
  scroll.id = id;
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "log");
  scroll.setAttribute("aria-live", "off"); // it would be read aloud without end
  scroll.setAttribute("aria-label", "Output");
  const above = element("div", "palm-above");
  above.setAttribute("role", "status");
  const quiet = element("p", "palm-quiet");
  const latest = button("palm-latest", "", () => toLatest());
  const bar = createBar(store, {
    shows: (on) => {
      times = on;
      redraw();
    },
    lines: () => log.lines,
    several: () => several,
  });
  const node = element("div", "palm-logview", bar.node, element("div", "palm-logbox", above, scroll, quiet, latest));

  scroll.addEventListener("scroll", onScroll, { passive: true });

  const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < LINE;

  async function toLatest() {
    await log.latest();
    scroll.focus();
  }

  function onScroll() {
    if (log.following && !atEnd()) log.pause();
    else if (!log.following && log.live && atEnd()) log.latest();
    if (scroll.scrollTop < NEAR && log.more && !log.busy && !log.error) log.older();
    later();
  }

  function later() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      draw();
    });
  }

  function redraw() {
    list.replaceChildren();
    drawn.clear();
    draw();
  }

  function draw() {
    if (log.turn !== wasTurn || log.first > wasFirst) {
      list.replaceChildren();
      drawn.clear();
    }
    const came = log.turn === wasTurn ? Math.max(0, wasFirst - log.first) : 0;
    wasTurn = log.turn;
    wasFirst = log.first;
    several = severalProcesses(log);
    setClass(list, "palm-times", times);
    list.style.height = `${log.count * LINE}px`;
    // Lines that came before those in view must not move them; and the end stays in view.
    if (came) scroll.scrollTop += came * LINE;
    if (log.following) scroll.scrollTop = scroll.scrollHeight;
    drawLines();
    drawAround();
    bar.update();
  }

  function drawLines() {
    const top = Math.floor(scroll.scrollTop / LINE) - AROUND;
    const bottom = top + Math.ceil(scroll.clientHeight / LINE) + 2 * AROUND;
    const from = Math.max(0, top) + log.first;
    const to = Math.min(log.count, Math.max(0, bottom)) + log.first;
    for (const [number, each] of drawn) {
      if (number >= from && number < to) continue;
      each.node.remove();
      drawn.delete(number);
    }
    let after = null;
    for (let number = to - 1; number >= from; number -= 1) {
      const line = log.at(number);
      let each = drawn.get(number);
      if (each && each.line !== line) {
        each.node.remove(); // it had not ended
        each = null;
      }
      if (!each) {
        each = { line, node: lineNode(line, log.at(number - 1), several, log.find) };
        drawn.set(number, each);
        list.insertBefore(each.node, after);
      }
      each.node.style.top = `${(number - log.first) * LINE}px`;
      after = each.node;
    }
  }

  function drawAround() {
    const empty = !log.count;
    setClass(scroll, "palm-silent", empty);
    quiet.hidden = !empty;
    setText(quiet, empty ? nothing(store) : "");
    above.hidden = !(log.error || log.skipped || (log.busy && !empty));
    setText(above, told(log));
    latest.hidden = log.following;
    setText(latest, log.fresh ? `${grouped(log.fresh)} new lines \u2193` : "Latest \u2193");
  }

  return { node, draw: later, redraw };
}

function severalProcesses({ lines, selection }) {
  return Boolean(selection && !selection.name && lines.some((line) => line.process !== lines[0].process));
}

function told(log) {
  if (log.error) return `Earlier lines cannot be had: ${log.error.message}`;
  if (log.busy) return "Looking for earlier lines ...";
  return log.skipped ? `More than can be shown: ${bytes(log.skipped)} were passed over. Scroll up to read them.` : "";
}

function nothing(store) {
  const { log } = store;
  if (log.error) return `No output can be had: ${log.error.message}`;
  if (!log.selection) {
    return store.state.components.length ? "Its output is where it was started." : "";
  }
  if (log.busy) return "Looking for output ...";
  return log.find || log.stream ? "No line is like that." : "No output yet.";
}

function lineNode(line, previous, several, find) {
  const node = element("div", "palm-line");
  if (line.stream === "stderr") node.classList.add("palm-stderr");
  if (line.lost) node.classList.add("palm-gap");
  if (previous && previous.process === line.process && previous.instance !== line.instance) {
    node.classList.add("palm-life");
    node.title = "Started anew here";
  }
  node.append(element("span", "palm-time", timestamp(line.time)));
  if (several) node.append(element("span", "palm-whose", line.process));
  if (line.stream === "stderr") node.append(element("span", "palm-stream", "err"));
  node.append(textNode(line.text, find));
  return node;
}

function textNode(text, find) {
  const node = element("span", "palm-text");
  const cut = text.length > DRAWN ? text.slice(0, DRAWN) : text;
  for (const run of runs(cut)) node.append(...marked(run, find));
  if (text.length > DRAWN) {
    node.append(element("span", "palm-more", ` ... ${grouped(text.length - DRAWN)} more characters`));
  }
  return node;
}

function marked({ text, style }, find) {
  const parts = find ? text.split(find) : [text];
  const nodes = parts.flatMap((part, i) => (i ? [element("mark", "", find), part] : [part]));
  if (!style) return nodes;
  const node = element("span", "", ...nodes);
  for (const [name, value] of Object.entries(style)) {
    if (value === true) node.classList.add(`palm-${name}`);
    else if (typeof value === "number") node.classList.add(`palm-${name}-${value}`);
    else node.style[name === "fg" ? "color" : "backgroundColor"] = value;
  }
  return [node];
}

// Search, streams, times, follow, copy and download.
function createBar(store, { shows, lines, several }) {
  const { log } = store;
  let typing = null;
  const search = element("input", "palm-search");
  Object.assign(search, { type: "search", placeholder: "Search all output" });
  search.setAttribute("aria-label", "Search all output");
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(apply, TYPING);
  });
  search.addEventListener("keydown", (event) => {
    event.stopPropagation(); // keys are the notebook's commands
    if (event.key === "Enter") apply();
  });
  const stream = element("select", "palm-choice");
  stream.setAttribute("aria-label", "Streams");
  for (const [value, text] of [["", "All streams"], ["stdout", "stdout"], ["stderr", "stderr"]]) {
    const option = element("option", "", text);
    option.value = value;
    stream.append(option);
  }
  stream.addEventListener("change", apply);
  const times = toggle("Times", (on) => shows(on));
  const follow = toggle("Follow", (on) => (on ? log.latest() : log.pause()));
  const copy = button("palm-button", "", () => copyLines(), "Copy");
  const save = button("palm-button", "", () => saveLines(), "Download");
  const said = element("span", "palm-hidden");
  said.setAttribute("role", "status");

  function apply() {
    clearTimeout(typing);
    log.filter(stream.value, search.value);
  }

  const asText = (line) => {
    const whose = several() ? `${line.process} | ` : "";
    return `${whose}${plain(line.text)}\n`;
  };

  async function copyLines() {
    const text = lines().map(asText).join("");
    try {
      await navigator.clipboard.writeText(text);
      flash(copy, "Copied");
    } catch {
      flash(copy, "Not allowed here");
    }
  }

  async function saveLines() {
    save.disabled = true;
    const { text, whole } = await allOutput(store);
    save.disabled = false;
    if (text === null) {
      flash(save, "Failed");
      return;
    }
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = `${log.selection.name ?? log.selection.component}.log`;
    link.click();
    URL.revokeObjectURL(link.href);
    flash(save, whole ? "Saved" : "Saved the last part");
  }

  function flash(node, text) {
    const before = node.dataset.label ?? node.textContent;
    node.dataset.label = before;
    node.textContent = text;
    said.textContent = text;
    setTimeout(() => {
      node.textContent = before;
    }, 1500);
  }

  return {
    node: element("div", "palm-bar", search, stream, times, follow, element("span", "palm-gap"), copy, save, said),
    update() {
      setAttribute(follow, "aria-pressed", String(log.following));
      for (const each of [search, stream, times, follow, copy]) each.disabled = !log.selection;
      if (!save.disabled || !log.busy) save.disabled = !log.selection;
    },
  };
}

const DOWNLOAD = 20000; // lines that are asked for at once
const DOWNLOADS = 50; // and how often

// All output of what is chosen, as it was written; its newest part where it is very long.
async function allOutput({ log, transport }) {
  const parts = [];
  let before = "";
  for (let i = 0; i < DOWNLOADS; i += 1) {
    const action = { do: "output", ...log.selection, lines: DOWNLOAD, before };
    let page;
    try {
      page = await transport.request(action);
    } catch {
      return { text: null, whole: false };
    }
    parts.unshift(page.records.map((record) => textOf(record).replace(/\n?$/, "\n")).join(""));
    before = page.first;
    if (!page.more || !before) return { text: parts.join(""), whole: true };
  }
  return { text: parts.join(""), whole: false };
}

function toggle(text, onChange) {
  const node = button("palm-button palm-toggle", "", () => {
    const on = node.getAttribute("aria-pressed") !== "true";
    node.setAttribute("aria-pressed", String(on));
    onChange(on);
  }, text);
  node.setAttribute("aria-pressed", "false");
  return node;
}
