// The file of a cluster: written here, looked at as one types, and put in force.

import { visible } from "../src/ansi.js";
import { element, setText } from "../src/dom.js";
import { plural } from "../src/format.js";
import { inWords, may, pathOf } from "./api.js";
import { doesAnything, drawDifference, drawEffects } from "./difference.js";
import { ask } from "./dialog.js";
import { createEditor, drawProblems } from "./editor.js";
import { badge, field, input, press } from "./parts.js";
import { stamp } from "./times.js";

const PAUSE = 300; // milliseconds without a key after which the registry is asked
const NONE_YET = { version: 0, text: "", file: "cluster.toml", folder: "" };
const EXAMPLE = `[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "\${name}"]

[components.foo-worker]
role = "worker"
module = "palm"
args = ["worker", "words.py", "--master", "foo", "--name", "\${name}"]
replicas = 2
needs = ["foo"]
`;

export function createConfiguration(page, watched) {
  const writes = may(page.caller, "operator");
  const { key } = watched;
  const drafts = page.drafts;
  const about = element("p", "page-about");
  const state = badge("p");
  state.words.setAttribute("role", "status");
  const list = element("ul", "page-problems");
  const after = element("div", "page-after");
  const note = element("p", "page-stale");
  note.setAttribute("role", "status");
  const folder = input({ type: "text", name: "folder", placeholder: "absolute path", readOnly: !writes });
  const example = press("Begin with an example", () => write(EXAMPLE));
  const revert = press("Revert", () => write(force.text, force.folder));
  const apply = press("Apply \u2026", () => put(), "palm-button page-primary");
  const hint = element(
    "p", "page-hint",
    writes ? "Tab indents, Shift+Tab takes it back; Escape, then Tab leaves the text. Ctrl+S applies." : "You may read this file; changing it takes the scope operator.",
  );
  hint.id = "page-editor-hint";
  const editor = createEditor({
    label: "Cluster file", describedBy: hint.id, readOnly: !writes,
    changed: () => typed(), save: () => put(),
  });
  let force = NONE_YET;
  let timer = null;
  let asked = 0;
  let checked = { text: null, valid: false, does: false };
  let closed = false;
  let loaded = false;

  const isChanged = () => editor.text !== force.text || folder.value !== force.folder;
  // What is in force can be applied again, where somebody has stopped or scaled what it says.
  const isReady = () => writes && checked.valid && checked.text === editor.text && (isChanged() || checked.does);

  function buttons() {
    revert.disabled = !isChanged();
    apply.disabled = !isReady();
    example.hidden = editor.text !== "" || !writes;
  }

  function write(text, where = folder.value) {
    editor.text = text;
    folder.value = where;
    typed();
  }

  function typed() {
    if (isChanged()) drafts.set(key, { text: editor.text, folder: folder.value, of: force.version });
    else drafts.delete(key);
    buttons();
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  }

  // Ask what it would mean, and what it would do.
  async function look() {
    asked += 1;
    const mine = asked;
    const text = editor.text;
    const body = { text, file: force.file, folder: folder.value };
    try {
      const found = text.trim() ? await page.api.post(pathOf(key, "config", "check"), body) : { valid: false, problems: [], components: [] };
      const would = found.valid ? await page.api.post(pathOf(key, "config", "diff"), body) : null;
      const texts = found.valid && isChanged() && force.version ? would.unified : "";
      if (mine !== asked || closed) return;
      checked = { text, valid: found.valid, does: doesAnything(would?.diff) };
      say(found, text);
      after.replaceChildren(...(would ? [element("h2", "", "What applying it does"), drawEffects(would.diff)] : []));
      if (texts) after.append(element("h2", "", `Against version ${force.version}`), drawDifference(texts));
    } catch (error) {
      if (mine === asked && !closed) state.update("unknown", visible(inWords(error)));
    }
    buttons();
  }

  function say({ valid, problems, components }, text) {
    editor.setProblems(problems);
    drawProblems(list, problems, (line) => editor.goTo(line));
    if (!text.trim()) state.update("stopped", "empty");
    else if (valid) state.update("ready", `valid: ${plural(components.length, "component")}`);
    else state.update("failed", plural(problems.length, "problem"));
  }

  function tellForce() {
    const who = force.by ? ` by ${visible(force.by)}` : "";
    const why = force.note ? `: ${visible(force.note)}` : "";
    setText(about, force.version ? `${visible(force.file)}, version ${force.version}, put in force ${stamp(force.created)}${who}${why}` : "No file is in force yet.");
  }

  async function load({ keep = false } = {}) {
    try {
      const any = await page.api.get(pathOf(key, "config", "versions"), { limit: 1 });
      force = any.length ? await page.api.get(pathOf(key, "config")) : NONE_YET;
    } catch (error) {
      state.update("unknown", visible(inWords(error)));
      return;
    }
    if (closed) return;
    loaded = true;
    tellForce();
    const draft = drafts.get(key);
    if (!keep) {
      setText(note, "");
      editor.text = draft?.text ?? force.text;
      folder.value = draft?.folder ?? force.folder;
      if (draft) setText(note, draft.of === force.version ? "Your changes are not applied yet." : `Your changes began with version ${draft.of}; they are compared with version ${force.version} now.`);
    }
    buttons();
    look();
  }

  async function put() {
    if (!isReady()) return;
    const why = input({ type: "text", name: "note", maxLength: 200, placeholder: "why, for those who come after" });
    const effects = after.querySelector(".page-effects")?.cloneNode(true) ?? element("p", "page-quiet", "Nothing that runs would change.");
    const body = () => ({
      text: editor.text, file: force.file, folder: folder.value, note: why.value, expected_version: force.version,
    });
    const done = await ask({
      title: `Apply it to ${visible(key)}?`,
      children: [effects, field("Note", why)],
      verb: "Apply",
      act: async () => {
        try {
          return await page.api.put(pathOf(key, "config"), body());
        } catch (error) {
          if (error.code === "version") error.hint = "close this: the text is compared with that version then";
          throw error;
        }
      },
    });
    if (done) {
      drafts.delete(key);
      page.say(done.changed ? `Version ${done.version} is in force.` : `Version ${done.version} was in force already.`);
    }
    await load({ keep: !done });
  }

  // What could not be asked while the registry was away is asked once it is heard of.
  function catchUp() {
    if (!loaded) load();
    else if (checked.text !== editor.text) look();
  }

  folder.addEventListener("input", typed);
  const unsubscribe = watched.subscribe((frame) => {
    if (frame.topic === "status") catchUp();
    if (frame.topic !== "events" || frame.data.kind !== "config.changed") return;
    const { version } = frame.data.data;
    if (version <= force.version || !force.created) return;
    if (isChanged()) setText(note, `Version ${version} was put in force meanwhile. Your text stays; applying it is compared with that version.`);
    load({ keep: isChanged() });
  });
  buttons();
  load();
  const bar = element("div", "page-bar", field("Folder of its scripts", folder), element("div", "page-push", example, revert, apply));
  if (!writes) bar.lastChild.remove();
  const left = element("div", "page-write", bar, editor.node, hint);
  const right = element("div", "page-look", state.node, list, after);
  return {
    node: element("div", "", about, note, element("div", "page-columns", left, right)),
    close() {
      closed = true;
      clearTimeout(timer);
      unsubscribe();
    },
  };
}
