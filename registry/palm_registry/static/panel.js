// The cluster panel: one ES module, drawn by anywidget in a notebook and by the registry's page.
//
// createPanel(root) -> { update(snapshot), append(batch), destroy() } draws; it knows no transport.
// The default export connects it to a widget model: the trait "snapshot" holds everything, custom
// messages {type: "output", entries: [{process, fresh, lines}]} add lines, {type: "reset", snapshot} replaces,
// {type: "alive", time} says that nothing changed.
//
// Whatever a component says is text: it reaches the page through textContent only.

const KEPT_LINES = 500;
const STATES = {
  ready: "ready",
  starting: "starting",
  "backing-off": "backing off",
  stopping: "stopping",
  stopped: "stopped",
  failed: "failed",
};
const COLUMNS = [
  ["Name", ""],
  ["Role", "palm-role"],
  ["State", ""],
  ["PID", "palm-number palm-pid"],
  ["Restarts", "palm-number"],
  ["Uptime", "palm-number"],
  ["Functions", "palm-wide"],
];
const PLAIN_ENDS = ["was stopped", "ended with exit code 0"];
const SILENCE = 7000; // milliseconds without a message after which nobody seems to be there
const FOLDED_FROM = 9; // replicas from which a component starts folded

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours) return `${hours}:${two(minutes)}:${two(whole % 60)}`;
  return `${minutes}:${two(whole % 60)}`;
}

function clock(time) {
  return new Date(time * 1000).toLocaleTimeString([], { hour12: false });
}

// How the cluster is: [state for the dot, words].
function summary(snapshot) {
  const own = snapshot.components.filter((c) => c.own);
  const wanted = own.reduce((n, c) => n + c.desired, 0);
  const missing = own.reduce((n, c) => n + Math.max(0, c.desired - c.ready), 0);
  if (!snapshot.components.length) return ["stopped", "no components"];
  if (missing) {
    const worst = own.some((c) => c.state === "failed") ? "failed" : "starting";
    return [worst, `${wanted - missing} of ${wanted} ready`];
  }
  if (wanted) return ["ready", wanted === 1 ? "1 process ready" : `${wanted} processes ready`];
  return ["stopped", own.length ? "stopped" : "nothing started here"];
}

// Whether the reason for a state is worth a line.
function isNews(process) {
  if (!process.reason) return false;
  if (process.state === "stopped") return !PLAIN_ENDS.includes(process.reason);
  return process.state === "failed" || process.state === "backing-off";
}

// A component without its replicas' rows: what stands in one line.
function joint(component) {
  const several = component.processes.length > 1;
  return several ? null : component.processes[0];
}

export function createPanel(root, memory = {}) {
  const id = `palm-${Math.random().toString(36).slice(2, 10)}`;
  memory.folded ??= new Map();
  memory.output ??= new Map();
  memory.selected ??= null;
  let snapshot = { cluster: "", time: 0, live: true, components: [], output: {} };
  let received = performance.now(); // when the snapshot was true
  let heard = received;
  let lost = false;
  let pending = false;
  let drawn = null; // the process whose output is in the page, and how far

  const panel = element("section", "palm-panel");
  const head = element("header", "palm-head");
  const title = element("span", "palm-title");
  const badge = element("span", "palm-state palm-summary");
  const age = element("span", "palm-age");
  head.append(title, badge, age);

  const scroller = element("div", "palm-scroll");
  const table = element("table", "palm-table");
  const caption = element("caption", "palm-hidden", "Components of the cluster");
  const headings = element("tr");
  for (const [text, className] of COLUMNS) {
    const cell = element("th", className, text);
    cell.scope = "col";
    headings.append(cell);
  }
  const thead = element("thead");
  thead.append(headings);
  const body = element("tbody");
  table.append(caption, thead, body);
  scroller.append(table);

  const empty = element("p", "palm-empty");
  empty.append("Nothing runs yet. Start a master: ", element("code", "", "%palm master --name foo"));

  const output = element("section", "palm-output");
  const outputHead = element("div", "palm-output-head");
  const outputTitle = element("span", "palm-output-title");
  const latest = element("button", "palm-latest", "Latest \u2193");
  latest.type = "button";
  latest.hidden = true;
  outputHead.append(outputTitle, latest);
  const log = element("div", "palm-log");
  log.id = `${id}-log`;
  log.tabIndex = 0;
  log.setAttribute("role", "log");
  log.setAttribute("aria-live", "off"); // it would be read aloud without end
  output.append(outputHead, log);

  panel.append(head, empty, scroller, output);
  root.append(panel);

  // Where a reader looks at the end, new lines keep the end in view.
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 12;
  const toEnd = () => {
    log.scrollTop = log.scrollHeight;
    latest.hidden = true;
  };
  const onScroll = () => {
    latest.hidden = atEnd();
  };
  const onLatest = () => {
    toEnd();
    log.focus();
  };
  const buttons = () => [...body.querySelectorAll("button.palm-name")];
  const onKey = (event) => {
    const all = buttons();
    const at = all.indexOf(document.activeElement);
    if (at < 0) return;
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook would take it for "next cell"
    all[Math.min(all.length - 1, Math.max(0, next))].focus();
  };
  const onClick = (event) => {
    const fold = event.target.closest("button.palm-fold");
    if (fold) {
      memory.folded.set(fold.dataset.component, fold.getAttribute("aria-expanded") === "true");
      draw();
      return;
    }
    if (event.target.closest("button.palm-name") || !window.getSelection()?.toString()) {
      const row = event.target.closest("tr[data-process]");
      if (row) select(row.dataset.process);
    }
  };
  log.addEventListener("scroll", onScroll, { passive: true });
  latest.addEventListener("click", onLatest);
  body.addEventListener("keydown", onKey);
  body.addEventListener("click", onClick);

  function select(process) {
    memory.selected = process;
    draw();
    drawOutput(true);
  }

  // The selected process while it exists, else the one that needs attention, else the latest.
  function selected() {
    const all = snapshot.components.flatMap((c) => c.processes.map((p) => [p, c.own]));
    if (all.some(([p]) => p.name === memory.selected)) return memory.selected;
    const own = all.filter(([, mine]) => mine).map(([p]) => p);
    const bad = own.find((p) => p.state === "failed" || p.state === "backing-off");
    return (bad ?? own[own.length - 1] ?? all[0]?.[0])?.name ?? null;
  }

  function isFolded(component) {
    return memory.folded.get(component.name) ?? component.processes.length >= FOLDED_FROM;
  }

  function draw() {
    const focused = buttons().indexOf(document.activeElement);
    const focusedName = focused < 0 ? null : document.activeElement.closest("tr").dataset.process;
    panel.setAttribute("aria-label", `palm cluster ${snapshot.cluster}`);
    panel.classList.toggle("palm-frozen", !snapshot.live || lost);
    title.replaceChildren("Cluster ", element("strong", "", snapshot.cluster));
    const [state, words] = summary(snapshot);
    badge.dataset.state = state;
    badge.replaceChildren(dot(), words);
    age.textContent = liveness();
    empty.hidden = snapshot.components.length > 0;
    scroller.hidden = output.hidden = !snapshot.components.length;
    const rows = snapshot.components.flatMap(rowsOf);
    body.replaceChildren(...rows);
    if (focusedName !== null) {
      buttons()
        .find((b) => b.closest("tr").dataset.process === focusedName)
        ?.focus();
    }
    tick();
  }

  function liveness() {
    if (snapshot.live && !lost) return "live";
    const when = clock(snapshot.time);
    if (lost) return `no news since ${when}`;
    return snapshot.note ? `as of ${when}, ${snapshot.note}` : `as of ${when}`;
  }

  function dot() {
    const node = element("span", "palm-dot");
    node.setAttribute("aria-hidden", "true");
    return node;
  }

  function rowsOf(component) {
    const only = joint(component);
    if (only || !component.processes.length) return processRows(component, only, true);
    const folded = isFolded(component);
    const rows = [groupRow(component, folded), ...servesRow(component)];
    if (!folded) for (const p of component.processes) rows.push(...processRows(component, p, false));
    return rows;
  }

  function groupRow(component, folded) {
    const row = element("tr", "palm-group");
    const fold = element("button", "palm-fold");
    fold.type = "button";
    fold.dataset.component = component.name;
    fold.setAttribute("aria-expanded", String(!folded));
    fold.append(element("span", "palm-chevron"), component.name);
    fold.firstChild.setAttribute("aria-hidden", "true");
    const restarts = component.processes.reduce((n, p) => n + p.restarts, 0);
    const words = `${component.ready} of ${component.processes.length} ready`;
    const over = component.processes.every((p) => p.state === "stopped");
    row.classList.toggle("palm-over", over);
    const state =
      component.state === "ready" ? words : over ? "stopped" : `${words}, ${STATES[component.state]}`;
    row.append(
      cell(fold, "", true),
      cell(component.role, "palm-role"),
      stateCell(component.state, state),
      cell("", "palm-number palm-pid"),
      cell(String(restarts), restarts ? "palm-number palm-noted" : "palm-number palm-none"),
      cell("", "palm-number"),
      functionsCell(component),
    );
    return row;
  }

  function processRows(component, process, single) {
    const row = element("tr", single ? "" : "palm-replica");
    const name = element("button", "palm-name", process?.name ?? component.name);
    name.type = "button";
    const isSelected = process && process.name === selected();
    if (process) {
      row.dataset.process = process.name;
      name.setAttribute("aria-controls", log.id);
      name.setAttribute("aria-pressed", String(isSelected));
      row.classList.toggle("palm-selected", isSelected);
    }
    const state = process?.state ?? "stopped";
    const words = component.own ? STATES[state] : `${STATES[state]}, elsewhere`;
    const restarts = process?.restarts ?? 0;
    const up = cell("–", "palm-number palm-none");
    if (process?.started != null) {
      up.dataset.started = process.started;
      up.className = "palm-number";
    }
    row.append(
      cell(name, "", true),
      cell(single ? component.role : "", "palm-role"),
      stateCell(state, words),
      cell(process?.pid ?? "–", process?.pid ? "palm-number palm-pid" : "palm-number palm-pid palm-none"),
      cell(String(restarts), restarts ? "palm-number palm-noted" : "palm-number palm-none"),
      up,
      single ? functionsCell(component) : cell("", "palm-wide"),
    );
    row.classList.toggle("palm-over", state === "stopped");
    const why = process && isNews(process);
    const rows = single ? [row, ...servesRow(component, process, isSelected)] : [row];
    return why ? [...rows, whyRow(process, single, isSelected)] : rows;
  }

  // Where there is no room for a column, the functions stand in a row of their own.
  function servesRow(component, process, isSelected) {
    if (!component.functions.length) return [];
    const row = element("tr", process ? "palm-serves" : "palm-serves palm-replica");
    if (process) row.dataset.process = process.name;
    row.classList.toggle("palm-selected", Boolean(isSelected));
    const text = element("td", "", "Serves ");
    text.append(element("span", "palm-code", component.functions.join(", ")));
    text.colSpan = COLUMNS.length;
    row.append(text);
    return [row];
  }

  function whyRow(process, single, isSelected) {
    const row = element("tr", single ? "palm-why" : "palm-why palm-replica");
    row.dataset.process = process.name;
    row.classList.toggle("palm-selected", isSelected);
    const text = element("td", "", `It ${process.reason}.`);
    text.colSpan = COLUMNS.length;
    row.append(text);
    return row;
  }

  function cell(content, className = "", heading = false) {
    const node = element(heading ? "th" : "td", className);
    if (heading) node.scope = "row";
    node.append(content instanceof Node ? content : String(content));
    return node;
  }

  function stateCell(state, words) {
    const node = element("td");
    const inner = element("span", "palm-state");
    inner.dataset.state = state;
    inner.append(dot(), words);
    node.append(inner);
    return node;
  }

  function functionsCell(component) {
    const node = element("td", "palm-wide");
    if (component.functions.length) {
      node.append(element("div", "palm-code", component.functions.join(", ")));
    } else {
      node.className += " palm-none";
      node.append(component.master ? `of ${component.master}` : "–");
    }
    return node;
  }

  // Uptimes run here, by the kernel's clock: the snapshot says what time it is there.
  function tick() {
    const passed = snapshot.live && !lost ? (performance.now() - received) / 1000 : 0;
    for (const node of body.querySelectorAll("[data-started]")) {
      const text = duration(snapshot.time + passed - Number(node.dataset.started));
      if (node.textContent !== text) node.textContent = text;
    }
  }

  function drawOutput(whole) {
    const process = selected();
    const lines = memory.output.get(process) ?? [];
    outputTitle.replaceChildren("Output of ", element("strong", "", process ?? ""));
    const again = whole || !drawn || drawn.process !== process || drawn.lines !== lines;
    const follow = again || atEnd();
    const count = again ? lines.length : Math.min(lines.length, lines.total - drawn.total);
    const fresh = lines.slice(lines.length - count);
    if (again) log.replaceChildren();
    log.querySelector(".palm-quiet")?.remove();
    log.append(...fresh.map(lineOf));
    while (log.childElementCount > KEPT_LINES) log.firstElementChild.remove();
    log.classList.toggle("palm-silent", !log.childElementCount);
    if (!log.childElementCount) log.append(element("div", "palm-quiet", quiet(process)));
    drawn = { process, lines, total: lines.total };
    if (follow) toEnd();
    else latest.hidden = false;
  }

  function quiet(process) {
    const owner = snapshot.components.find((c) => c.processes.some((p) => p.name === process));
    return owner && !owner.own ? "Its output is where it was started." : "No output yet.";
  }

  function lineOf([stream, text]) {
    const line = element("div", "palm-line");
    if (stream === "stderr") {
      line.classList.add("palm-stderr");
      line.append(element("span", "palm-stream", "err"));
    }
    line.append(element("span", "palm-text", text));
    return line;
  }

  function later() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      drawOutput(false);
    });
  }

  function onTimer() {
    const silent = snapshot.live && performance.now() - heard > SILENCE;
    if (silent !== lost) {
      lost = silent;
      draw();
    }
    tick();
  }

  const timer = setInterval(onTimer, 1000);

  return {
    update(next) {
      snapshot = next;
      received = heard = performance.now();
      lost = false;
      remember(memory, next);
      draw();
      drawOutput(false);
    },
    append() {
      heard = performance.now();
      later();
    },
    alive(time) {
      snapshot = { ...snapshot, time };
      received = heard = performance.now();
      onTimer();
    },
    destroy() {
      clearInterval(timer);
      panel.remove();
    },
  };
}

// Lines live beside the views: a second view, or one drawn again, shows them all.
function remember(memory, snapshot, replace = false) {
  for (const [process, lines] of Object.entries(snapshot.output)) {
    if (replace || !memory.output.has(process)) put(memory, process, true, lines);
  }
}

function put(memory, process, fresh, lines) {
  let kept = memory.output.get(process);
  if (fresh || !kept) {
    kept = [];
    kept.total = 0;
    memory.output.set(process, kept);
  }
  kept.push(...lines);
  kept.total += lines.length;
  if (kept.length > KEPT_LINES) kept.splice(0, kept.length - KEPT_LINES);
}

const memories = new WeakMap(); // model -> what its views share

function memoryOf(model) {
  let memory = memories.get(model);
  if (memory) return memory;
  memory = { output: new Map(), views: new Set() };
  memories.set(model, memory);
  model.on("msg:custom", (message) => {
    if (message.type === "output") {
      for (const { process, fresh, lines } of message.entries) put(memory, process, fresh, lines);
      for (const view of memory.views) view.append();
    } else if (message.type === "alive") {
      for (const view of memory.views) view.alive(message.time);
    } else if (message.type === "reset") {
      remember(memory, message.snapshot, true);
      for (const view of memory.views) view.update(message.snapshot);
    }
  });
  model.on("change:snapshot", () => {
    for (const view of memory.views) view.update(model.get("snapshot"));
  });
  return memory;
}

export default {
  initialize({ model }) {
    memoryOf(model);
  },
  render({ model, el }) {
    const memory = memoryOf(model);
    const panel = createPanel(el, memory);
    memory.views.add(panel);
    panel.update(model.get("snapshot"));
    model.send({ type: "ready" });
    return () => {
      memory.views.delete(panel);
      panel.destroy();
      if (!memory.views.size) model.send({ type: "gone" });
    };
  },
};
