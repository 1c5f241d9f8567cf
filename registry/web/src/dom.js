// Making and changing elements. Whatever comes from outside goes through textContent.

const SVG = "http://www.w3.org/2000/svg";

export function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Assigning what is there already would cost layout, and the reader's selection.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function setClass(node, name, on) {
  if (node.classList.contains(name) !== Boolean(on)) node.classList.toggle(name, Boolean(on));
}

// Make the children of a node these, in this order; those that stay are not touched.
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
}

// Call back when the colours of the page change: what is drawn on a canvas does not follow them.
export function watchTheme(callback) {
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
export function keepKeys(node) {
  const onKey = (event) => {
    if (!node.contains(event.target)) return;
    const plain = !(event.ctrlKey || event.altKey || event.metaKey);
    event.target.toggleAttribute("data-lm-suppress-shortcuts", plain);
  };
  window.addEventListener("keydown", onKey, true);
  return () => window.removeEventListener("keydown", onKey, true);
}

// A name and its value; not a list of definitions, which notebooks give a look of their own.
export function fact(name, value) {
  return element("div", "palm-fact", element("span", "palm-fact-name", name), " ", value);
}

export function button(className, label, onClick, ...children) {
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

export function icon(name) {
  const path = svg("path", { d: ICONS[name] });
  return svg("svg", { viewBox: "0 0 16 16", class: "palm-icon", "aria-hidden": "true" }, path);
}
