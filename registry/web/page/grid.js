// A table whose rows keep their elements, so that focus stays where it is while values change.
//
// A column is {title, className, text(item)} or {title, className, make(current) -> {node, update(item)}}
// where current() is the item of the row by now.

import { visible } from "../src/ansi.js";
import { arrange, element, setText } from "../src/dom.js";

export function createGrid({ caption, columns, keyOf, classOf = () => "" }) {
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
