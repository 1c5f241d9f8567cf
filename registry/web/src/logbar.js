// What stands above a log: search, streams, how lines look, follow, copy and download.

import { plain } from "./ansi.js";
import { button, element, setAttribute } from "./dom.js";
import { textOf } from "./lines.js";

const TYPING = 250; // milliseconds without a key after which a search begins

// shows({times, wrap}) is called when lines are to look otherwise.
export function createBar(store, { shows, lines, several }) {
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
  const look = { times: false, wrap: false };
  const looks = (name) => (on) => {
    look[name] = on;
    shows(look);
  };
  const times = toggle("Times", looks("times"));
  const wrap = toggle("Wrap", looks("wrap"));
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
    node: element("div", "palm-bar", search, stream, times, wrap, follow, element("span", "palm-gap"), copy, save, said),
    update() {
      setAttribute(follow, "aria-pressed", String(log.following));
      for (const each of [search, stream, times, wrap, follow, copy]) each.disabled = !log.selection;
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
