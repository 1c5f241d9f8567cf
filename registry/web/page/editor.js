// A text with numbers beside its lines, and at some lines what is wrong there.
//
// It is a plain text area, so that all that a browser and a reader of screens can do with one works.

import { visible } from "../src/ansi.js";
import { arrange, element, setText } from "../src/dom.js";
import { indentation } from "./indent.js";

const LINE = 20; // pixels, as in the style sheet
const PADDING = 8;

export function createEditor({ label, describedBy, readOnly = false, changed, save }) {
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
export function drawProblems(list, problems, goTo) {
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
