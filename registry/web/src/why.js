// Why a process ended: what is known, and what may be done.

import { button, element, fact, setClass } from "./dom.js";
import { plain } from "./ansi.js";
import { moment, plural } from "./format.js";

const SIGNALS = {
  1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
  9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM",
};

// The exit code of who wants to be started again; see palm/spec/exits.py.
const START_AGAIN = 83;

// States of a process that says how its run before ended.
const ENDS = ["backing-off", "failed"];

// Whether there is something to be explained.
export function isInTrouble(process) {
  if (process.state === "failed" || process.state === "backing-off") return true;
  return process.state !== "ready" && cameBack(process);
}

// Whether it is well, and was not.
export function isWellAgain(process) {
  return process.state === "ready" && cameBack(process);
}

// A run that was over by plan, as after so many calls, is not worth a word.
function cameBack(process) {
  return process.restarts > 0 && ![0, START_AGAIN].includes(process.exit ?? 0);
}

// {title, facts, lines, advice, calm} of a process in trouble, or that was; events say when.
export function explain(component, process, events = [], now = 0) {
  if (isWellAgain(process)) return recovery(process, events, now);
  const facts = [];
  if (process.exit !== null) facts.push(["Exit", ending(process.exit)]);
  facts.push(["Restarts", process.restarts ? plural(process.restarts, "time", "times") : "none"]);
  if (process.node) facts.push(["Node", process.node]);
  const lines = process.lastLines.split("\n").map(plain);
  while (lines.length && !lines[lines.length - 1].trim()) lines.pop();
  return {
    title: process.reason ? `It ${process.reason}.` : `It is ${process.state}.`,
    facts,
    lines,
    advice: advice(component, process, lines),
    calm: false,
  };
}

function recovery(process, events, now) {
  const { died, at, since } = lives(process, events);
  const when = at === null ? "" : ` at ${moment(at, now)}`;
  const back = since === null ? "is ready again" : `is ready since ${moment(since, now)}`;
  const often = process.restarts > 1 ? `That makes ${plural(process.restarts, "restart")}. ` : "";
  return {
    title: `It ${died}${when}, was restarted, and ${back}.`,
    facts: [],
    lines: [],
    advice: `${often}Its output and the events say more.`,
    calm: true,
  };
}

// How and when the run before ended, and since when this one is ready, as far as it is known.
function lives(process, events) {
  const mine = events.filter((event) => event.data?.name === process.name);
  const end = mine.filter(({ data }) => data.exit === process.exit && ENDS.includes(data.state)).pop();
  const ready = mine.filter(({ data }) => data.state === "ready").pop();
  const prefix = `${process.name} `;
  return {
    died: end?.text.startsWith(prefix) ? end.text.slice(prefix.length) : endedBy(process.exit),
    at: end?.time ?? null,
    since: ready && ready.time >= (end?.time ?? 0) ? ready.time : process.started,
  };
}

function endedBy(exit) {
  return exit >= 0 ? `ended with exit code ${exit}` : `was ${ending(exit)}`;
}

export function ending(exit) {
  if (exit >= 0) return `code ${exit}`;
  return `killed by ${SIGNALS[-exit] ?? `signal ${-exit}`}`;
}

function advice(component, process, lines) {
  const last = lines.slice(-4).join("\n"); // the error itself, and what palm says of it
  const missing = /No module named '?([\w.]+)'?/.exec(last);
  if (missing) {
    return `The interpreter of ${component.name} has no ${missing[1]}: install it there, or import it in the cell that it serves.`;
  }
  if (/SyntaxError|NameError|ImportError/.test(last)) return "Mend the cell or the file, and start it again.";
  if (/Address already in use/.test(last)) return "Another process has its port: stop that one, or give it another.";
  if (process.exit === -9) {
    return "Nobody asked palm for this: somebody used kill -9, or the machine ran out of memory (see the kernel's log).";
  }
  if (process.exit === -11 || process.exit === -7) return "A library crashed, not Python: try without its native code, or another version.";
  if (process.state === "failed") return "palm has given up. Mend what its last lines say, then restart it.";
  return "palm tries again by itself, with longer and longer pauses.";
}

// A card of it: update({component, process}) or update(null).
export function createWhy(store) {
  const title = element("strong", "palm-why-title");
  const facts = element("div", "palm-facts");
  const lines = element("pre", "palm-last");
  lines.tabIndex = 0;
  lines.setAttribute("role", "group");
  lines.setAttribute("aria-label", "Last lines of its error output");
  const hint = element("p", "palm-advice");
  const again = button("palm-button", "", () => store.act({ do: "restart", component: again.dataset.component }), "Restart");
  const foot = element("div", "palm-why-foot", hint, again);
  const node = element("section", "palm-card palm-trouble", title, facts, lines, foot);
  node.hidden = true;
  let shown = "";
  if (!store.mayAct) again.remove();
  return {
    node,
    update(found) {
      node.hidden = !found;
      if (!found) return;
      const told = explain(found.component, found.process, store.state.events, store.time);
      again.dataset.component = found.component.name;
      again.hidden = !found.component.own || told.calm;
      again.disabled = !store.isLive || store.pending.has(found.component.name);
      const text = JSON.stringify([found.process.name, told]);
      if (text === shown) return; // whoever selects text in it keeps that
      shown = text;
      setClass(node, "palm-calm", told.calm);
      node.setAttribute("aria-label", told.calm ? "What happened before" : "Why it ended");
      title.textContent = `${found.process.name}: ${told.title}`;
      facts.hidden = !told.facts.length;
      facts.replaceChildren(...told.facts.map(([name, value]) => fact(name, value)));
      lines.hidden = !told.lines.length;
      lines.textContent = told.lines.join("\n");
      hint.textContent = told.advice;
    },
  };
}
