// Questions in the middle of the page. The element keeps focus within, closes at Escape, and gives
// focus back to where it was.

import { visible } from "../src/ansi.js";
import { element } from "../src/dom.js";
import { inWords } from "./api.js";
import { field, input, press } from "./parts.js";

let dialogs = 0;

// Ask; `act` does what was meant, and what it refuses is said here. Returns what `act` returned, or
// undefined if it was not meant.
export function ask({ title, children = [], verb, danger = false, act, complete = () => true }) {
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
export function tell({ title, children }) {
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
export function confirmByName({ title, name, text, verb, act }) {
  const typed = input({ type: "text", name: "confirmation" });
  const said = element("p", "", ...text);
  const label = field(`Type ${visible(name)} to go on`, typed);
  return ask({
    title, children: [said, label], verb, danger: true, act, complete: () => typed.value === name,
  });
}

export function closeDialogs() {
  for (const node of document.querySelectorAll("dialog[open]")) node.close();
}
