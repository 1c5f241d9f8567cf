// A log as a list of which only what is in view is in the page, so that its length costs nothing.

import { runs } from "./ansi.js";
import { button, element, setClass, setText } from "./dom.js";
import { bytes, grouped, timestamp } from "./format.js";
import { DRAWN, Heights } from "./heights.js";
import { createBar } from "./logbar.js";

export const LINE = 18; // pixels
const AROUND = 20; // lines above and below that are drawn, too
const NEAR = 40; // pixels from the top at which earlier lines are fetched
const PADDING = 32; // pixels beside the text of a line, and of what stands before it, in characters
const GAP = 12; // pixels between them
const TIME = 12; // characters of a time, of a name at least
const WHOSE = 8;

export function createLogView(store, id) {
  const { log } = store;
  const drawn = new Map(); // number of a line -> its element
  let several = false; // processes: then each line says whose it is
  let look = { times: false, wrap: false };
  const heights = new Heights();
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
    shows: (asked) => {
      const place = topLine();
      look = { ...asked };
      redraw();
      if (!log.following) scroll.scrollTop = heights.top(place) * LINE;
    },
    lines: () => log.lines,
    several: () => several,
  });
  const node = element("div", "palm-logview", bar.node, element("div", "palm-logbox", above, scroll, quiet, latest));

  scroll.addEventListener("scroll", onScroll, { passive: true });
  const watched = new ResizeObserver(() => look.wrap && later());
  watched.observe(scroll);

  const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < LINE;

  const topLine = () => heights.at(scroll.scrollTop / LINE);

  // Characters of a row; 0: lines are not wrapped.
  function columns() {
    if (!look.wrap) return 0;
    const character = widthOfCharacter(scroll);
    let width = scroll.clientWidth - PADDING;
    if (look.times) width -= TIME * character + GAP;
    if (several) width -= WHOSE * character + GAP;
    return Math.max(1, Math.floor(width / character));
  }

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
    setClass(list, "palm-times", look.times);
    setClass(list, "palm-wrap", look.wrap);
    heights.wrap(columns());
    heights.update(log);
    list.style.height = `${heights.total * LINE}px`;
    // Lines that came before those in view must not move them; and the end stays in view.
    if (came) scroll.scrollTop += heights.top(came) * LINE;
    if (log.following) scroll.scrollTop = scroll.scrollHeight;
    drawLines();
    if (look.wrap) settle();
    drawAround();
    bar.update();
  }

  function drawLines() {
    const top = topLine() - AROUND;
    const bottom = heights.at((scroll.scrollTop + scroll.clientHeight) / LINE) + 1 + AROUND;
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
      after = each.node;
    }
    place();
  }

  function place() {
    for (const [number, { node }] of drawn) node.style.top = `${heights.top(number - log.first) * LINE}px`;
  }

  // Wrapped lines are as high as they turn out to be; what is in view must not move for that.
  function settle() {
    const found = [...drawn.values()].map(({ line, node }) => [line, Math.round(node.offsetHeight / LINE)]);
    const news = found.filter(([line, rows]) => heights.learn(line, rows));
    if (!news.length) return;
    const first = topLine();
    const before = heights.top(first);
    heights.update(log);
    list.style.height = `${heights.total * LINE}px`;
    place();
    if (log.following) scroll.scrollTop = scroll.scrollHeight;
    else scroll.scrollTop += (heights.top(first) - before) * LINE;
    later();
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

  return { node, draw: later, redraw, close: () => watched.disconnect() };
}

const ruler = document.createElement("canvas").getContext("2d");

function widthOfCharacter(node) {
  const { fontSize, fontFamily } = getComputedStyle(node);
  ruler.font = `${fontSize} ${fontFamily}`;
  return ruler.measureText("0".repeat(100)).width / 100;
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
