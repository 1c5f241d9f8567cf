// Small parts that several screens have.

import { visible } from "../src/ansi.js";
import { element, setText } from "../src/dom.js";
import { ago, stamp } from "./times.js";

export function link(text, href, className = "page-link") {
  const node = element("a", className, text);
  node.href = href;
  return node;
}

export function press(text, onClick, className = "palm-button") {
  const node = element("button", className, text);
  node.type = "button";
  node.addEventListener("click", onClick);
  return node;
}

export function code(text) {
  return element("code", "page-code", text);
}

let fields = 0;

// A label and what it is the label of.
export function field(text, control, hint = "") {
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

export function input(attributes) {
  return Object.assign(element("input", "page-input"), { autocomplete: "off", spellcheck: false }, attributes);
}

export function choice(options, chosen) {
  const node = element("select", "page-input");
  node.append(...options.map(([value, text]) => optionOf(value, text)));
  if (chosen !== undefined) node.value = chosen;
  return node;
}

// Offer others; what was chosen stays chosen, also while it is not among them.
export function offer(node, options) {
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
export function badge(tag = "span") {
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

export function timeAgo() {
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
export function emptiness(title, ...next) {
  return element("div", "page-empty", element("p", "page-empty-title", title), element("p", "", ...next));
}
