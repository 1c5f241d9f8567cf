// The components as a table. A row keeps its elements as long as its component is there, so that
// focus and selection stay where they are, whatever changes.

import { arrange, button, element, icon, setAttribute, setClass, setText } from "./dom.js";
import { NONE, bytes, duration, percent, rate, short } from "./format.js";
import { rowsOf } from "./rows.js";
import { createSparkline } from "./sparkline.js";

const COLUMNS = [
  ["Name", ""],
  ["Role", "palm-role"],
  ["State", "palm-of-state"],
  ["CPU", "palm-measure"],
  ["Memory", "palm-measure"],
  ["Rate", "palm-measure"],
  ["Queue", "palm-measure"],
  ["Restarts", "palm-number palm-restarts"],
  ["Uptime", "palm-number palm-uptime"],
  ["Actions", "palm-actions"],
];
const MEASURES = [
  ["cpu", percent, 10, "of a processor"],
  ["rss", bytes, 0, "of memory"],
  ["rate", rate, 1, "results"],
  ["queue", short, 4, "messages wait or run"],
];
const VERBS = { stop: "Stop", start: "Start", restart: "Restart" };

export function createTable(store, { logId }) {
  const body = element("tbody");
  const rows = new Map();
  const node = scaffold(body);
  body.addEventListener("keydown", (event) => moveFocus(body, event));
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-selects]");
    if (!row || event.target.closest("button:not(.palm-name)")) return;
    if (event.target.closest(".palm-name") || !window.getSelection()?.toString()) {
      store.select(row.dataset.selects);
    }
  });

  function update() {
    const wanted = rowsOf(store.state, store.folded);
    for (const key of [...rows.keys()]) if (!wanted.some((row) => row.key === key)) rows.delete(key);
    const current = store.current;
    arrange(
      body,
      wanted.flatMap((row) => {
        if (!rows.has(row.key)) rows.set(row.key, createRow(store, logId));
        return rows.get(row.key).update(row, current);
      }),
    );
    tick();
  }

  // Uptimes run here, by the clock of those who sent the state.
  function tick() {
    for (const row of rows.values()) row.tick(store.time);
  }

  return { node, update, tick };
}

function scaffold(body) {
  const headings = element("tr");
  for (const [text, className] of COLUMNS) {
    const label = text === "Actions" ? element("span", "palm-hidden", text) : text;
    const cell = element("th", className, label);
    cell.scope = "col";
    headings.append(cell);
  }
  const caption = element("caption", "palm-hidden", "Components of the cluster");
  return element("table", "palm-table", caption, element("thead", "", headings), body);
}

function createRow(store, logId) {
  let row = null;
  const name = button("palm-name", "", () => {});
  name.setAttribute("aria-controls", logId);
  const fold = button("palm-fold", "", () => store.fold(row.component, !row.closed));
  fold.append(element("span", "palm-chevron"));
  const head = element("th", "", element("div", "", fold, name));
  head.scope = "row";
  const role = element("td", "palm-role");
  const dot = element("span", "palm-dot");
  dot.setAttribute("aria-hidden", "true");
  const words = element("span", "palm-words");
  const state = element("span", "palm-state", dot, words);
  const measures = MEASURES.map(([kind, text, least, what]) => createMeasure(kind, text, least, what));
  const restarts = element("td", "palm-number palm-restarts");
  const uptime = element("td", "palm-number palm-uptime");
  const actions = createActions(store);
  const tr = element(
    "tr", "", head, role, element("td", "palm-of-state", state),
    ...measures.map((each) => each.node), restarts, uptime, actions.node,
  );
  const below = createBelow(store);

  function update(next, current) {
    row = next;
    const selected = current === row.selects && row.kind !== "none";
    tr.dataset.selects = row.selects;
    tr.dataset.kind = row.kind;
    setClass(tr, "palm-group", row.kind === "group");
    setClass(tr, "palm-replica", row.kind === "replica");
    setClass(tr, "palm-selected", selected);
    setClass(tr, "palm-over", row.state === "stopped");
    setAttribute(tr, "data-asks", row.kind !== "replica" && store.questions.has(row.component));
    setText(name, row.name);
    setAttribute(name, "aria-pressed", String(selected));
    fold.hidden = row.kind !== "group";
    setAttribute(fold, "aria-expanded", String(!row.closed));
    setAttribute(fold, "aria-label", `Processes of ${row.component}`);
    setText(role, row.role);
    state.dataset.state = row.state;
    setText(words, row.words);
    measures.forEach((each) => each.update(row));
    setText(restarts, String(row.restarts));
    setClass(restarts, "palm-noted", row.restarts > 0);
    setClass(restarts, "palm-none", !row.restarts);
    actions.update(row);
    return [tr, ...below.update(row, selected)];
  }

  function tick(time) {
    const text = row.started === null ? NONE : duration(time - row.started);
    setText(uptime, text);
    setAttribute(uptime, "data-started", row.started);
    setClass(uptime, "palm-none", row.started === null);
  }

  return { update, tick };
}

function createMeasure(kind, text, least, what) {
  const spark = createSparkline(kind);
  const value = element("span", "palm-value");
  const node = element("td", `palm-measure palm-measure-${kind}`, element("div", "", spark.node, value));
  return {
    node,
    update({ values, series }) {
      setText(value, text(values[kind]));
      setClass(node, "palm-none", values[kind] === null);
      node.title = values[kind] === null ? "not known yet" : `${text(values[kind])} ${what}`;
      spark.update(series[kind], least);
    },
  };
}

function createActions(store) {
  let row = null;
  const act = (verb) => store.act({ do: verb, component: row.component });
  const buttons = Object.fromEntries(
    Object.keys(VERBS).map((verb) => [verb, button(`palm-act palm-act-${verb}`, "", () => act(verb), icon(verb))]),
  );
  const to = (n) => store.act({ do: "scale", component: row.component, replicas: row.scale + n });
  const less = button("palm-act", "", () => to(-1), icon("less"));
  const more = button("palm-act", "", () => to(1), icon("more"));
  const count = element("span", "palm-count");
  const scale = element("span", "palm-scale", less, count, more);
  scale.setAttribute("role", "group");
  const node = element("td", "palm-actions", element("div", "", scale, ...Object.values(buttons)));
  return {
    node,
    update(next) {
      row = next;
      const busy = store.pending.has(row.component) || !store.isLive;
      for (const [verb, each] of Object.entries(buttons)) {
        each.hidden = !store.mayAct || !row.actions.includes(verb);
        label(each, `${VERBS[verb]} ${row.component}`);
        each.disabled = busy;
      }
      scale.hidden = !store.mayAct || row.scale === null;
      if (row.scale === null) return;
      setText(count, String(row.scale));
      setAttribute(scale, "aria-label", `Processes of ${row.component}: ${row.scale}`);
      label(less, `One process less of ${row.component}`);
      label(more, `One process more of ${row.component}`);
      less.disabled = busy || row.scale <= 1;
      more.disabled = busy;
    },
  };
}

function label(node, text) {
  setAttribute(node, "aria-label", text);
  setAttribute(node, "title", text);
}

// What stands below a row: why it is as it is, what is being done, and what failed.
function createBelow(store) {
  let component = "";
  const why = wide("palm-why");
  const doing = wide("palm-doing");
  const failed = wide("palm-failed");
  doing.cell.setAttribute("role", "status");
  const asked = wide("palm-asked");
  const ask = createAsk(store, asked.cell);
  const text = element("span", "palm-failed-text");
  text.setAttribute("role", "alert");
  const close = button("palm-act", "Dismiss", () => store.dismiss(component), icon("close"));
  failed.cell.append(text, close);
  return {
    update(row, selected) {
      component = row.component;
      const found = [];
      const mine = row.kind !== "replica";
      const note = mine ? store.notes.get(component) : null;
      const pending = mine ? store.pending.get(component) : null;
      const question = mine ? store.questions.get(component) : null;
      for (const each of [why, asked, doing, failed]) {
        each.row.dataset.selects = row.selects;
        setClass(each.row, "palm-replica", row.kind === "replica");
        setClass(each.row, "palm-selected", selected);
      }
      if (row.why) found.push(said(why, why.cell, row.why));
      if (question) found.push(asked.row);
      ask(component, question);
      if (pending) found.push(said(doing, doing.cell, pending));
      if (note) found.push(said(failed, text, note.hint ? `${note.text} (${note.hint})` : note.text));
      return found;
    },
  };
}

// The question whether something is to be done, with its answers. Who asked for it by a key finds the
// harmless answer under it, and is back at the row's name afterwards.
function createAsk(store, cell) {
  let component = "";
  let shown = null;
  const text = element("span", "palm-asked-text");
  const yes = button("palm-button palm-grave", "", () => answer(true));
  const no = button("palm-button", "", () => answer(false));
  cell.append(text, element("span", "palm-answers", yes, no));
  cell.setAttribute("role", "group");
  cell.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    answer(false);
  });

  function answer(sure) {
    const name = cell.closest("tbody").querySelector(`tr[data-asks="true"] .palm-name`);
    store.answer(component, sure);
    name?.focus();
  }

  return (name, question) => {
    component = name;
    yes.disabled = !store.isLive;
    if (question === shown) return;
    shown = question ?? null;
    if (!shown) return;
    setText(text, shown.text);
    setText(yes, shown.yes);
    setText(no, shown.no);
    cell.setAttribute("aria-label", shown.text);
    const here = document.activeElement;
    requestAnimationFrame(() => {
      if (cell.closest(".palm-panel")?.contains(here)) no.focus();
    });
  };
}

// It does not span columns: those that there is no room for would then take some.
function wide(className) {
  const cell = element("div");
  return { row: element("tr", `palm-below ${className}`, element("td", "", cell)), cell };
}

function said(line, node, text) {
  setText(node, text);
  return line.row;
}

function moveFocus(body, event) {
  const all = [...body.querySelectorAll("button.palm-name")];
  const at = all.indexOf(document.activeElement);
  if (at < 0) return;
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  event.stopPropagation(); // the notebook would take it for "next cell"
  all[Math.min(all.length - 1, Math.max(0, next))].focus();
}
